//! The values of a location's keys, each from its text. An error is what would have been allowed.

use std::{
    collections::BTreeMap, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration,
};

use url::Url;

use super::{FreezeMode, ServiceAccount, duration};
use crate::{
    model::{Sku, Zone},
    tags,
};

type Parsed<T> = Result<T, String>;

/// As Go's `strconv.ParseBool`, which the stock plugin uses.
pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

pub(super) fn within(
    range: RangeInclusive<Duration>,
    allowed: &'static str,
) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| {
        duration::parse(text)
            .filter(|duration| range.contains(duration))
            .ok_or_else(|| format!("{allowed}, such as 1m30s"))
    }
}

pub(super) fn resource_group(text: &str) -> Parsed<String> {
    let allowed = |c: char| c.is_alphanumeric() || "-_.()".contains(c);
    let fits = text.chars().all(allowed)
        && !text.ends_with('.')
        && (1..=90).contains(&text.chars().count());
    fits.then(|| text.to_owned()).ok_or_else(|| {
        "the name of a resource group: at most 90 letters, digits, `-_.()`, not ending in `.`"
            .to_owned()
    })
}

pub(super) fn subscription(text: &str) -> Parsed<String> {
    uuid::Uuid::from_str(text)
        .map(|_| text.to_owned())
        .map_err(|_| "a subscription's ID, such as 00000000-0000-0000-0000-000000000000".to_owned())
}

/// `https` only, on this host too: a token is sent there, and the login refuses anything else.
pub(super) fn endpoint(text: &str) -> Parsed<Url> {
    Url::parse(text)
        .ok()
        .filter(|url| url.has_host() && url.scheme() == "https")
        .ok_or_else(|| "an https URL, such as https://management.azure.com".to_owned())
}

pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    Ok(PathBuf::from(text))
}

pub(super) fn pem(text: &str) -> Parsed<String> {
    (text.contains("-----BEGIN CERTIFICATE-----") && text.contains("-----END CERTIFICATE-----"))
        .then(|| text.to_owned())
        .ok_or_else(|| "certificates in PEM, -----BEGIN CERTIFICATE----- and so on".to_owned())
}

pub(super) fn freeze(text: &str) -> Parsed<FreezeMode> {
    text.parse().map_err(|_| "auto, required or off".to_owned())
}

/// The path of a socket; none is auto.
pub(super) fn agent(text: &str) -> Parsed<Option<PathBuf>> {
    match text.split_once(':') {
        None if text == "auto" => Ok(None),
        Some(("unix", path)) if path.starts_with('/') => Ok(Some(PathBuf::from(path))),
        _ => Err("auto, or unix: and the absolute path of the agent's socket".to_owned()),
    }
}

pub(super) fn service_account(text: &str) -> Parsed<ServiceAccount> {
    text.split_once('/')
        .and_then(|(namespace, name)| ServiceAccount::new(namespace, name))
        .ok_or_else(|| {
            "the namespace and name of a ServiceAccount, such as velero/velero".to_owned()
        })
}

/// Its lower-case form: Azure takes both, but signs only that.
pub(super) fn storage_account(text: &str) -> Parsed<String> {
    let fits = (3..=24).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric());
    fits.then(|| text.to_ascii_lowercase()).ok_or_else(|| {
        "the name of a storage account: 3 to 24 lower-case letters and digits; its URL belongs into `storageAccountURI`"
            .to_owned()
    })
}

/// Plain http too, as the stock plugin takes it: a key only signs, it is not sent.
pub(super) fn blob_endpoint(text: &str) -> Parsed<Url> {
    Url::parse(text)
        .ok()
        .filter(|url| {
            url.has_host()
                && matches!(url.scheme(), "https" | "http")
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        })
        .ok_or_else(|| {
            "the URL of a storage account's blob endpoint, such as https://account.blob.core.windows.net, \
             without a query or a password"
                .to_owned()
        })
}

pub(super) fn variable(text: &str) -> Parsed<String> {
    let fits = !text.contains(|c: char| "=:;#".contains(c) || c.is_whitespace() || c.is_control());
    fits.then(|| text.to_owned()).ok_or_else(|| {
        "the name of the variable in the credentials that holds the account's key, not the key"
            .to_owned()
    })
}

/// Up to what the stock plugin takes.
pub(super) fn block_size(text: &str) -> Parsed<usize> {
    text.parse()
        .ok()
        .filter(|size| (1..=100 << 20).contains(size))
        .ok_or_else(|| "a number of bytes from 1 to 104857600".to_owned())
}

/// The stock plugin's form, within Azure's rules for tags.
pub(super) fn tag_list(text: &str) -> Parsed<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for (key, value) in pairs(text).ok_or("key1=value1,key2=value2")? {
        tags::check(&key, &value)?;
        if tags
            .keys()
            .any(|other: &String| other.eq_ignore_ascii_case(&key))
        {
            return Err(format!("each key once; `{key}` is there twice"));
        }
        tags.insert(key, value);
    }
    Ok(tags)
}

pub(super) fn zone_mapping(text: &str) -> Parsed<BTreeMap<Zone, Zone>> {
    let form =
        || "zones of one region, such as westeurope-1=westeurope-2,westeurope-2=westeurope-3";
    let mut mapping = BTreeMap::new();
    for (from, to) in pairs(text).ok_or_else(form)? {
        let from: Zone = from
            .parse()
            .map_err(|error| format!("{}: {error}", form()))?;
        let to: Zone = to.parse().map_err(|error| format!("{}: {error}", form()))?;
        if from.region != to.region {
            return Err(format!(
                "zones of one region (a disk cannot be made in {} from a snapshot in {}: copy the snapshot first)",
                to.region, from.region
            ));
        }
        if let Some(other) = mapping.insert(from.clone(), to) {
            return Err(format!("each zone once; {from} goes to {other} already"));
        }
    }
    Ok(mapping)
}

pub(super) fn sku_mapping(text: &str) -> Parsed<Vec<(Sku, Sku)>> {
    let form =
        || "disk SKUs, such as Premium_LRS=PremiumV2_LRS,Standard_LRS=StandardSSD_ZRS".to_owned();
    let mut mapping: Vec<(Sku, Sku)> = Vec::new();
    for (from, to) in pairs(text).ok_or_else(form)? {
        if !is_sku(&from) || !is_sku(&to) {
            return Err(form());
        }
        let (from, to) = (Sku::new(from), Sku::new(to));
        if mapping.iter().any(|(other, _)| *other == from) {
            return Err(format!("each SKU once; {from} is there twice"));
        }
        mapping.push((from, to));
    }
    Ok(mapping)
}

/// Azure adds SKUs now and then, so the shape is checked, not the name.
fn is_sku(text: &str) -> bool {
    text.rsplit_once('_').is_some_and(|(name, redundancy)| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric())
            && ["LRS", "ZRS"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(redundancy))
    })
}

/// `a=b,c=d`; blanks around the parts do not count. `None` if a part is no pair.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let (key, value) = (key.trim(), value.trim());
            (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tag_lists_round_trip(tags in prop::collection::btree_map("[a-z][a-z0-9.-]{3,9}", "[A-Za-z0-9=/ ]{0,8}", 1..6)) {
            let tags: BTreeMap<String, String> = tags.into_iter()
                .filter(|(key, _)| tags::check(key, "").is_ok())
                .map(|(key, value)| (key, value.trim().to_owned())).collect();
            prop_assume!(!tags.is_empty());
            let text: Vec<_> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            prop_assert_eq!(tag_list(&text.join(", ")), Ok(tags));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            let _ = (tag_list(&text), zone_mapping(&text), sku_mapping(&text), endpoint(&text), agent(&text));
            let _ = (storage_account(&text), blob_endpoint(&text), variable(&text), block_size(&text), pem(&text));
        }
    }
}
