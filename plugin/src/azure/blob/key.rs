//! Object keys, as `object_store`'s paths and in URLs.

use object_store::path::Path;

use super::BlobError;

/// `key` as a path that `object_store` takes unchanged.
pub(super) fn to_path(key: &str) -> Result<Path, BlobError> {
    let invalid = || BlobError::Name {
        what: "key",
        value: key.to_owned(),
        expected: "1 to 1,024 characters",
    };
    Path::parse(key).map_err(|_| invalid())
}
