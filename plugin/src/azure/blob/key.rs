//! Object keys, as `object_store`'s paths and in URLs.
//!
//! ```text
//! key               a//b %          what Velero says
//! encoded           a%2F%2Fb%20%25  what Azure gets, as the Go SDK writes it: one segment, so nobody normalises it
//! object_store's    a%252F%252Fb%2520%2525  of a path that is `encoded`; `sent` turns it back
//! ```
//!
//! A path of `object_store` cannot have `//`, `.`, control characters or a slash at an end; a key can.

use http::{Uri, uri::PathAndQuery};
use object_store::path::Path;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::BlobError;

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Azure's limit, in characters.
const LONGEST: usize = 1024;

/// `key` as it is in a URL that somebody else is to open.
pub(super) fn encoded(key: &str) -> Result<String, BlobError> {
    // Every client of HTTP takes a segment of dots for a direction, also an encoded one.
    let addressable = !matches!(key, "" | "." | "..") && key.chars().count() <= LONGEST;
    if !addressable {
        return Err(BlobError::Name {
            what: "key",
            value: key.to_owned(),
            expected: "1 to 1,024 characters, not just `.` or `..`",
        });
    }
    Ok(utf8_percent_encode(key, RESERVED).to_string())
}

/// `key` as a path that `object_store` takes unchanged.
pub(super) fn to_path(key: &str) -> Result<Path, BlobError> {
    Path::parse(encoded(key)?).map_err(|error| BlobError::Name {
        what: "key",
        value: format!("{key}: {error}"),
        expected: "a key that can be encoded",
    })
}

/// A path in the URL of a request of our own, as `object_store` writes those of its own.
pub(super) fn escaped(path: &Path) -> String {
    path.as_ref().replace('%', "%25")
}

/// Makes of a URL with an [`escaped`] path what is signed and sent. Once.
pub(super) fn sent(uri: &mut Uri) {
    // Neither an account nor a container has a `%` in its name.
    if !uri.path().contains("%25") {
        return;
    }
    let path = uri.path().replace("%25", "%");
    let whole = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let Ok(whole) = PathAndQuery::try_from(whole) else {
        return;
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(whole);
    if let Ok(made) = Uri::from_parts(parts) {
        *uri = made;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use futures::executor::block_on;
    use object_store::{
        ClientOptions, ObjectStoreExt as _,
        azure::MicrosoftAzureBuilder,
        client::{
            HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
            HttpService,
        },
    };
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    /// Keeps the URL of the last request, and sends nothing.
    #[derive(Clone, Debug, Default)]
    struct Catch(Arc<Mutex<Uri>>);

    #[async_trait]
    impl HttpService for Catch {
        async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
            *self.0.lock().unwrap() = request.uri().clone();
            Err(HttpError::new(HttpErrorKind::Unknown, std::fmt::Error))
        }
    }

    impl HttpConnector for Catch {
        fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
            Ok(HttpClient::new(self.clone()))
        }
    }

    const CONTAINER: &str = "https://127.0.0.1:1/devstoreaccount1/velero";

    /// What goes out for `key`, by `object_store` and by ourselves, as the HTTP client parses it.
    fn sent_urls(key: &str) -> [String; 2] {
        let catch = Catch::default();
        let store = MicrosoftAzureBuilder::new()
            .with_account("devstoreaccount1")
            .with_endpoint("https://127.0.0.1:1/devstoreaccount1".to_owned())
            .with_container_name("velero")
            .with_http_connector(catch.clone())
            .with_skip_signature(true)
            .build()
            .unwrap();
        let path = to_path(key).unwrap();
        block_on(store.head(&path)).unwrap_err();
        let theirs = catch.0.lock().unwrap().clone();
        let ours = format!("{CONTAINER}/{}", escaped(&path)).parse().unwrap();
        [theirs, ours].map(|mut uri: Uri| {
            sent(&mut uri);
            url::Url::parse(&uri.to_string()).unwrap().to_string()
        })
    }

    fn check(key: &str) {
        for url in sent_urls(key) {
            let name = url.strip_prefix(&format!("{CONTAINER}/")).unwrap();
            assert!(!name.contains(['/', '?', '#']), "{key:?}: {name}");
            let decoded = percent_decode_str(name).decode_utf8().unwrap();
            assert_eq!(decoded, key, "{name}");
        }
    }

    #[test]
    fn key_arrives_as_it_is() {
        for key in [
            "backups/nightly/nightly.tar.gz",
            "a//b",
            "/a",
            "a/",
            "./a/../b/.",
            "...",
            "%",
            "%25",
            "%2F",
            "%252e",
            "a b+c?d#e&f=g",
            "\\",
            "ä/日本/🙂",
            "\u{1}\t\n\u{7f}",
        ] {
            check(key);
        }
    }

    #[test]
    fn key_that_cannot_be_addressed_is_refused() {
        for key in ["", ".", "..", &"k".repeat(1025)] {
            let error = to_path(key).unwrap_err();
            assert!(matches!(error, BlobError::Name { .. }), "{key}");
        }
        check(&"é".repeat(1024));
    }

    #[test]
    fn query_is_left_alone() {
        let mut uri = "https://h/c/a%252Fb?prefix=%252F&comp=x".parse().unwrap();
        sent(&mut uri);
        assert_eq!(uri, "https://h/c/a%2Fb?prefix=%252F&comp=x");
    }

    proptest! {
        #[test]
        fn any_key_arrives_as_it_is(key in "\\PC{1,40}|[./%\\\\?#&+ a]{1,12}|(?s).{1,20}") {
            prop_assume!(!matches!(key.as_str(), "." | ".."));
            check(&key);
        }
    }
}
