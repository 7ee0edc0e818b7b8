//! What a subscription has: lists, page by page.

use async_trait::async_trait;
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use super::{
    bucket::Kind,
    client::{Client, odd},
    snapshot_map,
};
use crate::{
    model::{Sku, Snapshot},
    ports::{AzureError, Catalogue, Offer},
};

/// A page of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    pub(super) value: Vec<T>,
    #[serde(default = "Option::default")]
    pub(super) next_link: Option<String>,
}

/// A kind of a resource, as far as it is needed (`Microsoft.Compute/skus`, 2021-07-01).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSku {
    #[serde(default)]
    resource_type: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    location_info: Vec<LocationInfo>,
    #[serde(default)]
    restrictions: Vec<Restriction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LocationInfo {
    #[serde(default)]
    location: String,
    #[serde(default)]
    zones: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Restriction {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    restriction_info: RestrictionInfo,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestrictionInfo {
    #[serde(default)]
    zones: Vec<String>,
}

impl Client {
    /// All pages of a list.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        mut url: Url,
        what: &(dyn std::fmt::Display + Sync),
        subscription: &str,
    ) -> Result<Vec<T>, AzureError> {
        let mut found = Vec::new();
        loop {
            let terms = self.terms(Kind::Read, subscription);
            let reply = self.core.call(terms, || self.core.wire.get(&url)).await;
            let read = reply.map_err(|failed| failed.about(what))?;
            let page: Page<T> = serde_json::from_slice(&read.body)
                .map_err(|error| odd(what, &error.to_string()))?;
            found.extend(page.value);
            let Some(link) = page.next_link.filter(|link| !link.is_empty()) else {
                return Ok(found);
            };
            url = Url::parse(&link).map_err(|error| odd(what, &error.to_string()))?;
        }
    }
}

#[async_trait]
impl Catalogue for Client {
    async fn all_snapshots(&self, subscription: &str) -> Result<Vec<Snapshot>, AzureError> {
        let what = format!("the snapshots of subscription {subscription}");
        let url = self.core.wire.list_of_all(subscription);
        let found = self.pages(url, &what, subscription).await?;
        Ok(found
            .into_iter()
            .filter_map(snapshot_map::Read::into_snapshot)
            .collect())
    }

    async fn disk_offers(
        &self,
        subscription: &str,
        region: &str,
    ) -> Result<Vec<Offer>, AzureError> {
        let what = format!("the disk SKUs of {region}");
        let url = self.core.wire.list_of_skus(subscription, region);
        let found = self.pages(url, &what, subscription).await?;
        Ok(offers(found, region))
    }
}

/// One for each SKU: Premium SSD has an entry for each of its sizes.
fn offers(skus: Vec<ResourceSku>, region: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for sku in skus {
        let is = |text: &str, other| text.eq_ignore_ascii_case(other);
        let barred = sku.restrictions.iter().any(|one| is(&one.kind, "Location"));
        let here = sku.location_info.iter();
        let here = here.filter(|one| crate::model::region(&one.location) == region);
        let mut here = here.peekable();
        if !is(&sku.resource_type, "disks") || barred || here.peek().is_none() {
            continue;
        }
        let withheld: Vec<_> = sku
            .restrictions
            .iter()
            .filter(|one| is(&one.kind, "Zone"))
            .flat_map(|one| &one.restriction_info.zones)
            .collect();
        let zones = here.flat_map(|one| &one.zones);
        let zones: Vec<_> = zones.filter(|zone| !withheld.contains(zone)).collect();
        let name = Sku::new(sku.name.clone());
        let known = offers.iter().position(|offer| offer.sku == name);
        let place = known.unwrap_or_else(|| {
            offers.push(Offer {
                sku: name,
                zones: Vec::new(),
            });
            offers.len() - 1
        });
        for zone in zones {
            if !offers[place].zones.contains(zone) {
                offers[place].zones.push(zone.clone());
            }
        }
        offers[place].zones.sort_unstable();
    }
    offers
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_offer_is_what_the_subscription_can_have_in_the_region() {
        let listed = json!([
            { "resourceType": "disks", "name": "Premium_LRS", "size": "P4",
              "locationInfo": [{ "location": "WestEurope", "zones": ["3", "1", "2"] }],
              "restrictions": [{ "type": "Zone", "values": ["WestEurope"], "reasonCode": "NotAvailableForSubscription",
                                 "restrictionInfo": { "locations": ["WestEurope"], "zones": ["3"] } }] },
            { "resourceType": "disks", "name": "Premium_LRS", "size": "P6",
              "locationInfo": [{ "location": "westeurope", "zones": ["1", "2"] }] },
            { "resourceType": "disks", "name": "Premium_ZRS", "locationInfo": [{ "location": "westeurope" }] },
            { "resourceType": "disks", "name": "UltraSSD_LRS", "locationInfo": [{ "location": "westeurope", "zones": ["1"] }],
              "restrictions": [{ "type": "Location", "restrictionInfo": {} }] },
            { "resourceType": "snapshots", "name": "Standard_LRS", "locationInfo": [{ "location": "westeurope" }] },
            { "resourceType": "disks", "name": "Standard_LRS", "locationInfo": [{ "location": "northeurope" }] },
        ]);
        let offers = offers(serde_json::from_value(listed).unwrap(), "westeurope");
        let offers: Vec<_> = offers
            .iter()
            .map(|o| (o.sku.as_str(), o.zones.join(",")))
            .collect();
        assert_eq!(
            offers,
            [
                ("Premium_LRS", "1,2".to_owned()),
                ("Premium_ZRS", String::new())
            ]
        );
    }
}
