//! Azure resource IDs, which compare without case.

use std::{fmt, hash, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The resource types that the lab knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `Microsoft.Compute/disks`
    Disk,
    /// `Microsoft.Compute/snapshots`
    Snapshot,
    /// `Microsoft.Compute/diskEncryptionSets`
    DiskEncryptionSet,
    /// `Microsoft.Compute/diskAccesses`
    DiskAccess,
    /// `Microsoft.Compute/virtualMachines`
    VirtualMachine,
    /// `Microsoft.Storage/storageAccounts`
    StorageAccount,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Disk,
        Self::Snapshot,
        Self::DiskEncryptionSet,
        Self::DiskAccess,
        Self::VirtualMachine,
        Self::StorageAccount,
    ];

    /// Whose type it is, such as `Microsoft.Compute`.
    pub fn provider(self) -> &'static str {
        match self {
            Self::Disk
            | Self::Snapshot
            | Self::DiskEncryptionSet
            | Self::DiskAccess
            | Self::VirtualMachine => "Microsoft.Compute",
            Self::StorageAccount => "Microsoft.Storage",
        }
    }

    /// The type within its provider.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "disks",
            Self::Snapshot => "snapshots",
            Self::DiskEncryptionSet => "diskEncryptionSets",
            Self::DiskAccess => "diskAccesses",
            Self::VirtualMachine => "virtualMachines",
            Self::StorageAccount => "storageAccounts",
        }
    }

    pub(crate) fn parse(provider: &str, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            kind.provider().eq_ignore_ascii_case(provider) && kind.name().eq_ignore_ascii_case(name)
        })
    }
}

impl fmt::Display for Kind {
    /// With its provider, `Microsoft.Compute/disks`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider(), self.name())
    }
}

/// `/subscriptions/S/resourceGroups/G/providers/PROVIDER/TYPE/NAME`
#[derive(Clone)]
pub struct ResourceId {
    /// The subscription's GUID.
    pub subscription: String,
    /// The resource group, spelt as whoever wrote the ID did.
    pub group: String,
    /// The type.
    pub kind: Kind,
    /// The resource's name.
    pub name: String,
}

impl ResourceId {
    pub(crate) fn new(subscription: &str, group: &str, kind: Kind, name: &str) -> Self {
        Self {
            subscription: subscription.into(),
            group: group.into(),
            kind,
            name: name.into(),
        }
    }

    /// The form in which IDs are compared.
    pub(crate) fn key(&self) -> String {
        self.to_string().to_ascii_lowercase()
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subscription,
            group,
            kind,
            name,
        } = self;
        write!(
            f,
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/{kind}/{name}"
        )
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for ResourceId {}

impl hash::Hash for ResourceId {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// Not the ID of a resource that the lab knows.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a resource ID; expected \
     /subscriptions/S/resourceGroups/G/providers/PROVIDER/TYPE/NAME"
)]
pub struct ParseResourceIdError(String);

impl FromStr for ResourceId {
    type Err = ParseResourceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<_> = text.split('/').collect();
        let [
            root,
            subscriptions,
            subscription,
            groups,
            group,
            providers,
            provider,
            kind,
            name,
        ] = parts[..]
        else {
            return Err(ParseResourceIdError(text.into()));
        };
        let literals = [
            (root, ""),
            (subscriptions, "subscriptions"),
            (groups, "resourceGroups"),
            (providers, "providers"),
        ];
        let known = literals
            .iter()
            .all(|(seen, expected)| seen.eq_ignore_ascii_case(expected));
        let whole = ![subscription, group, name].contains(&"");
        match Kind::parse(provider, kind) {
            Some(kind) if known && whole => Ok(Self::new(subscription, group, kind, name)),
            _ => Err(ParseResourceIdError(text.into())),
        }
    }
}

impl Serialize for ResourceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResourceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_compare_without_case_and_keep_their_spelling() {
        let id = "/subscriptions/S/resourcegroups/Rg/providers/microsoft.compute/Disks/D1";
        let parsed: ResourceId = id.parse().unwrap();
        assert_eq!(parsed, id.to_uppercase().parse().unwrap());
        assert_eq!((&*parsed.group, &*parsed.name), ("Rg", "D1"));
    }

    #[test]
    fn other_paths_are_refused() {
        for text in [
            "",
            "/subscriptions/S",
            "disk",
            "/subscriptions//resourceGroups/G/providers/Microsoft.Compute/disks/D",
            "/subscriptions/S/resourceGroups/G/providers/Microsoft.Storage/disks/D",
        ] {
            assert!(text.parse::<ResourceId>().is_err(), "{text}");
        }
    }
}
