//! Paths of ARM, whose literals have no case.

use crate::{Kind, ResourceId};

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) subscription: Option<String>,
    pub(crate) target: Target,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    Subscriptions,
    Subscription,
    Groups,
    Group(String),
    Skus,
    Operation {
        location: String,
        id: String,
    },
    List {
        group: Option<String>,
        kind: Kind,
    },
    Resource {
        id: ResourceId,
    },
    /// `listKeys` of a storage account.
    ListKeys {
        id: ResourceId,
    },
    /// `beginGetAccess` of a disk or snapshot, which nothing is exported through here.
    Access {
        id: ResourceId,
    },
}

const COMPUTE: [&str; 23] = [
    "2016-04-30-preview",
    "2017-03-30",
    "2018-04-01",
    "2018-06-01",
    "2018-09-30",
    "2019-03-01",
    "2019-07-01",
    "2019-11-01",
    "2020-05-01",
    "2020-06-30",
    "2020-09-30",
    "2020-12-01",
    "2021-04-01",
    "2021-08-01",
    "2021-12-01",
    "2022-03-02",
    "2022-07-02",
    "2023-01-02",
    "2023-04-02",
    "2023-10-02",
    "2024-03-02",
    "2025-01-02",
    "2026-03-02",
];
/// From when keys have names.
const STORAGE: [&str; 32] = [
    "2016-01-01",
    "2016-05-01",
    "2016-07-01",
    "2016-12-01",
    "2017-06-01",
    "2017-10-01",
    "2018-02-01",
    "2018-03-01-preview",
    "2018-07-01",
    "2018-11-01",
    "2019-04-01",
    "2019-06-01",
    "2020-08-01-preview",
    "2021-01-01",
    "2021-02-01",
    "2021-04-01",
    "2021-05-01",
    "2021-06-01",
    "2021-08-01",
    "2021-09-01",
    "2022-05-01",
    "2022-09-01",
    "2023-01-01",
    "2023-04-01",
    "2023-05-01",
    "2024-01-01",
    "2025-01-01",
    "2025-06-01",
    "2025-08-01",
    "2026-04-01",
    "2026-06-01",
    "2026-09-01",
];
const SKUS: [&str; 4] = ["2017-03-30", "2017-09-01", "2019-04-01", "2021-07-01"];

impl Route {
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        if lower.first() != Some(&"subscriptions") {
            return None;
        }
        let Some(subscription) = parts.get(1).copied() else {
            return Some(Self {
                subscription: None,
                target: Target::Subscriptions,
            });
        };
        let target = match lower.get(2..)? {
            [] => Target::Subscription,
            ["resourcegroups"] => Target::Groups,
            ["resourcegroups", _] => Target::Group(parts[3].into()),
            ["providers", "microsoft.compute", "skus"] => Target::Skus,
            [
                "providers",
                "microsoft.compute",
                "locations",
                _,
                "diskoperations",
                _,
            ] => Target::Operation {
                location: parts[5].into(),
                id: parts[7].into(),
            },
            ["providers", provider, kind] => Target::List {
                group: None,
                kind: Kind::parse(provider, kind)?,
            },
            ["resourcegroups", _, "providers", provider, kind] => Target::List {
                group: Some(parts[3].into()),
                kind: Kind::parse(provider, kind)?,
            },
            ["resourcegroups", _, "providers", provider, kind, _] => {
                let kind = Kind::parse(provider, kind)?;
                let id = ResourceId::new(subscription, parts[3], kind, parts[7]);
                Target::Resource { id }
            }
            [
                "resourcegroups",
                _,
                "providers",
                "microsoft.compute",
                kind @ ("disks" | "snapshots"),
                _,
                "begingetaccess",
            ] => {
                let kind = Kind::parse("microsoft.compute", kind)?;
                let id = ResourceId::new(subscription, parts[3], kind, parts[7]);
                Target::Access { id }
            }
            [
                "resourcegroups",
                _,
                "providers",
                "microsoft.storage",
                "storageaccounts",
                _,
                "listkeys",
            ] => {
                let id = ResourceId::new(subscription, parts[3], Kind::StorageAccount, parts[7]);
                Target::ListKeys { id }
            }
            _ => return None,
        };
        Some(Self {
            subscription: Some(subscription.into()),
            target,
        })
    }

    /// What a permission or a lock is about: the path without an action.
    pub(crate) fn scope<'a>(&self, path: &'a str) -> &'a str {
        let path = path.trim_end_matches('/');
        match &self.target {
            Target::ListKeys { .. } | Target::Access { .. } => {
                path.rsplit_once('/').map_or(path, |(scope, _)| scope)
            }
            Target::Subscriptions
            | Target::Subscription
            | Target::Groups
            | Target::Group(_)
            | Target::Skus
            | Target::Operation { .. }
            | Target::List { .. }
            | Target::Resource { .. } => path,
        }
    }

    /// The versions that this type knows; empty: any.
    pub(crate) fn api_versions(&self) -> &'static [&'static str] {
        match &self.target {
            Target::Subscriptions | Target::Subscription | Target::Groups | Target::Group(_) => &[],
            Target::Skus => &SKUS,
            Target::List {
                kind: Kind::StorageAccount,
                ..
            }
            | Target::ListKeys { .. } => &STORAGE,
            Target::Resource { id } if id.kind == Kind::StorageAccount => &STORAGE,
            Target::Operation { .. }
            | Target::List { .. }
            | Target::Resource { .. }
            | Target::Access { .. } => &COMPUTE,
        }
    }

    pub(crate) fn kind_name(&self) -> &'static str {
        match &self.target {
            Target::Subscriptions | Target::Subscription => "subscriptions",
            Target::Groups | Target::Group(_) => "subscriptions/resourceGroups",
            Target::Skus => "skus",
            Target::Operation { .. } => "locations/DiskOperations",
            Target::List { kind, .. } => kind.name(),
            Target::Resource { id } | Target::ListKeys { id } | Target::Access { id } => {
                id.kind.name()
            }
        }
    }

    /// The action that a role must allow.
    pub(crate) fn action(&self, verb: &str) -> String {
        let kind = self.kind_name();
        match &self.target {
            Target::Subscriptions | Target::Subscription | Target::Groups | Target::Group(_) => {
                format!("Microsoft.Resources/{kind}/{verb}")
            }
            Target::Skus | Target::Operation { .. } => format!("Microsoft.Compute/{kind}/{verb}"),
            Target::List { kind, .. } => format!("{kind}/{verb}"),
            Target::Resource { id } => format!("{}/{verb}", id.kind),
            Target::ListKeys { id } => format!("{}/listKeys/{verb}", id.kind),
            Target::Access { id } => format!("{}/beginGetAccess/{verb}", id.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_any_case() {
        let disk = "/SUBSCRIPTIONS/s/resourcegroups/G/Providers/microsoft.compute/DISKS/d";
        let route = Route::parse(disk).unwrap();
        assert!(
            matches!(&route.target, Target::Resource { id } if id.name == "d" && id.group == "G"),
            "{route:?}"
        );
        assert_eq!(route.action("write"), "Microsoft.Compute/disks/write");
        let keys = "/subscriptions/s/resourceGroups/g/providers/microsoft.storage/storageaccounts/a/LISTKEYS";
        let route = Route::parse(keys).unwrap();
        assert_eq!(
            route.action("action"),
            "Microsoft.Storage/storageAccounts/listKeys/action"
        );
        for (path, found) in [
            ("/subscriptions", true),
            (
                "/subscriptions/s/providers/Microsoft.Compute/locations/l/diskOperations/o",
                true,
            ),
            (
                "/subscriptions/s/providers/Microsoft.Compute/galleries",
                false,
            ),
            ("/elsewhere", false),
            (
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d/beginGetAccess",
                true,
            ),
            (
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a/regenerateKey",
                false,
            ),
            (
                "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/disks/d",
                false,
            ),
        ] {
            assert_eq!(Route::parse(path).is_some(), found, "{path}");
        }
    }
}
