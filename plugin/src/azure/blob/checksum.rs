//! The checksum that goes with a body, so that Storage takes nothing else than what was sent.
//!
//! MD5, since that is what Storage checks besides its own CRC-64; it guards against faults, not against people.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use md5::{Digest as _, Md5};
use object_store::client::HttpRequestBody;

/// As `Content-MD5` has it.
pub(super) fn of(body: &HttpRequestBody) -> String {
    let mut digest = Md5::new();
    // A clone shares the bytes, and all of them are there: it never waits.
    let mut parts = body.clone();
    while let Some(Some(Ok(part))) = parts.frame().now_or_never() {
        if let Some(bytes) = part.data_ref() {
            digest.update(bytes);
        }
    }
    BASE64_STANDARD.encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use object_store::PutPayload;

    use super::*;

    #[test]
    fn checksum_is_of_all_parts() {
        let whole = HttpRequestBody::from(bytes::Bytes::from_static(b"message digest"));
        // RFC 1321, A.5: f96b697d7cb7938d525a2f31aaf161d0.
        assert_eq!(of(&whole), "+WtpfXy3k41SWi8xqvFh0A==");
        let parts = PutPayload::from_iter(["mess", "", "age digest"].map(bytes::Bytes::from));
        assert_eq!(of(&HttpRequestBody::from(parts)), of(&whole));
    }
}
