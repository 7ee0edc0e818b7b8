//! Listing blobs, as Azure names them: `object_store` refuses names that Azure has (`a//b`, `a/`).

use std::time::Instant;

use bytes::Bytes;
use http::Method;

use super::{
    Account, BlobError,
    ask::{ask, in_query},
    xml,
};
use crate::azure::failure::Failure;

pub(super) async fn common_prefixes(
    account: &Account,
    container: &str,
    prefix: &str,
    delimiter: &str,
) -> Result<Vec<String>, BlobError> {
    let query = format!("{}&delimiter={}", query(prefix), in_query(delimiter));
    let prefixes = "EnumerationResults/Blobs/BlobPrefix/Name";
    all(account, container, &query, prefixes).await
}

pub(super) async fn objects(
    account: &Account,
    container: &str,
    prefix: &str,
) -> Result<Vec<String>, BlobError> {
    let names = "EnumerationResults/Blobs/Blob/Name";
    all(account, container, &query(prefix), names).await
}

fn query(prefix: &str) -> String {
    format!("restype=container&comp=list&prefix={}", in_query(prefix))
}

/// The texts of the elements at `path`, of all pages.
async fn all(
    account: &Account,
    container: &str,
    query: &str,
    path: &str,
) -> Result<Vec<String>, BlobError> {
    let started = Instant::now();
    let wire = &account.wire;
    let url = format!("{}?{query}", wire.url(container));
    let mut names = Vec::new();
    let mut marker = String::new();
    loop {
        let url = match marker.as_str() {
            "" => url.clone(),
            marker => format!("{url}&marker={}", in_query(marker)),
        };
        let next = async {
            let answer = ask(wire, Method::GET, &url, Bytes::new()).await?;
            page(&answer, path, &mut names)
        };
        marker = next.await.map_err(|failure| {
            BlobError::of(failure, wire.resource(container, None), started.elapsed())
        })?;
        if marker.is_empty() {
            return Ok(names);
        }
    }
}

/// Adds the texts of the elements at `path`; returns where the next page begins, empty after the last.
fn page(answer: &[u8], path: &str, names: &mut Vec<String>) -> Result<String, Failure> {
    let (mut marker, mut whole) = (String::new(), false);
    xml::read(answer, |found, text| {
        // Two pages may have the same prefix, at the end of one and the beginning of the other.
        if found == path && names.last().is_none_or(|last| last != text) {
            names.push(text.to_owned());
        } else if found == "EnumerationResults/NextMarker" {
            marker = text.to_owned();
        } else if found == "EnumerationResults" {
            whole = true;
        }
    })?;
    // Velero forgets the backups that are not listed, so a page of somebody else must not pass for an empty list.
    if whole {
        return Ok(marker);
    }
    Err(Failure::Malformed(
        "the answer is no list of blobs".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BLOBS: &str = "EnumerationResults/Blobs/Blob/Name";
    const PREFIXES: &str = "EnumerationResults/Blobs/BlobPrefix/Name";

    fn document(blobs: &str, marker: &str) -> String {
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\
             <EnumerationResults ServiceEndpoint=\"https://a/\" ContainerName=\"c\"><Prefix>p</Prefix>\
             <Blobs>{blobs}</Blobs>{marker}</EnumerationResults>"
        )
    }

    #[test]
    fn blobs_and_prefixes_are_told_apart() {
        let answer = document(
            "<BlobPrefix><Name>a/</Name></BlobPrefix>\
             <Blob><Name>a//b</Name><Properties><Name>no</Name></Properties></Blob>\
             <BlobPrefix><Name> /</Name></BlobPrefix>\
             <Blob><Name>$c/</Name></Blob>\
             <Blob><Name Encoded=\"true\">x%EF%BF%BF</Name></Blob>",
            "<NextMarker />",
        );
        for (path, expected) in [
            (BLOBS, &["a//b", "$c/", "x\u{ffff}"][..]),
            (PREFIXES, &["a/", " /"]),
        ] {
            let mut names = Vec::new();
            let marker = page(answer.as_bytes(), path, &mut names).unwrap();
            assert_eq!(
                (names, marker.as_str()),
                (expected.iter().map(|name| (*name).to_owned()).collect(), ""),
                "{path}"
            );
        }
    }

    #[test]
    fn prefix_that_two_pages_share_comes_once() {
        let mut names = Vec::new();
        for (prefixes, next) in [(["a/", "b/"], "2!8!YQ--"), (["b/", "c/"], "")] {
            let blobs =
                prefixes.map(|name| format!("<BlobPrefix><Name>{name}</Name></BlobPrefix>"));
            let answer = document(&blobs.concat(), &format!("<NextMarker>{next}</NextMarker>"));
            let marker = page(answer.as_bytes(), PREFIXES, &mut names).unwrap();
            assert_eq!(marker, next);
        }
        assert_eq!(names, ["a/", "b/", "c/"]);
    }

    #[test]
    fn page_of_somebody_else_is_no_empty_list() {
        let error = page(b"<html><body/></html>", BLOBS, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, Failure::Malformed(_)), "{error}");
    }

    proptest! {
        #[test]
        fn any_name_comes_back(names in proptest::collection::vec("(?s)[^\r\0]{1,20}", 1..5)) {
            let mut names = names;
            names.dedup();
            let blobs: String = names
                .iter()
                .map(|name| format!("<Blob><Name>{}</Name></Blob>", quick_xml::escape::escape(name.as_str())))
                .collect();
            let mut found = Vec::new();
            page(document(&blobs, "<NextMarker/>").as_bytes(), BLOBS, &mut found).unwrap();
            prop_assert_eq!(found, names);
        }
    }
}
