//! Shared Key signatures, for the client of the tests alone.

use http::HeaderMap;

/// What Shared Key signs: <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>.
pub(super) fn to_sign(request: &reqwest::Request, account: &str) -> String {
    let headers = request.headers();
    let mut lines = vec![request.method().to_string()];
    for name in [
        "content-encoding",
        "content-language",
        "content-length",
        "content-md5",
        "content-type",
        "date",
        "if-modified-since",
        "if-match",
        "if-none-match",
        "if-unmodified-since",
        "range",
    ] {
        let value = header(headers, name).unwrap_or_default();
        lines.push(if value == "0" { String::new() } else { value });
    }
    let mut own: Vec<_> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-ms-"))
        .collect();
    own.sort_unstable();
    lines.extend(own.into_iter().map(|name| {
        let value = header(headers, name).unwrap_or_default();
        format!("{name}:{value}")
    }));
    lines.push(format!("/{account}{}", request.url().path()));
    let mut query: Vec<_> = request.url().query_pairs().collect();
    query.sort();
    lines.extend(
        query
            .into_iter()
            .map(|(name, value)| format!("{name}:{value}")),
    );
    lines.join("\n")
}

/// A header's value as text.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
