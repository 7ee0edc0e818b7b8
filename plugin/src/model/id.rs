//! Azure resource IDs. Azure compares them without case, so these do too; they print as they were read.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

/// A text that is not the resource ID it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{value}` is not a {expected} ID: expected \
     /subscriptions/<subscription>/resourceGroups/<group>/providers/Microsoft.Compute/{kind}/<name>"
)]
pub struct InvalidId {
    value: String,
    expected: &'static str,
    kind: &'static str,
}

/// A resource group of a subscription.
#[derive(Clone, Debug)]
pub struct ResourceGroup {
    /// The subscription's ID.
    pub subscription: String,
    /// The group's name.
    pub name: String,
}

impl ResourceGroup {
    fn key(&self) -> impl Iterator<Item = u8> {
        folded(&self.subscription)
            .chain(*b"/")
            .chain(folded(&self.name))
    }
}

impl PartialEq for ResourceGroup {
    fn eq(&self, other: &Self) -> bool {
        self.key().eq(other.key())
    }
}

impl Eq for ResourceGroup {}

impl Hash for ResourceGroup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().for_each(|byte| byte.hash(state));
    }
}

impl fmt::Display for ResourceGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "/subscriptions/{}/resourceGroups/{}",
            self.subscription, self.name
        )
    }
}

macro_rules! resource_id {
    ($(#[$doc:meta])* $id:ident, $expected:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $id {
            /// Where it lives.
            pub group: ResourceGroup,
            /// Its name in that group.
            pub name: String,
        }

        impl $id {
            /// The resource of that name in that group.
            pub fn new(group: ResourceGroup, name: impl Into<String>) -> Self {
                Self { group, name: name.into() }
            }
        }

        impl PartialEq for $id {
            fn eq(&self, other: &Self) -> bool {
                self.group == other.group && self.name.eq_ignore_ascii_case(&other.name)
            }
        }

        impl Eq for $id {}

        impl Hash for $id {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.group.hash(state);
                folded(&self.name).for_each(|byte| byte.hash(state));
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let kind = $kind;
                write!(f, "{}/providers/Microsoft.Compute/{kind}/{}", self.group, self.name)
            }
        }

        impl FromStr for $id {
            type Err = InvalidId;

            fn from_str(value: &str) -> Result<Self, InvalidId> {
                let (group, name) = parse(value, $kind).ok_or_else(|| InvalidId {
                    value: value.to_owned(),
                    expected: $expected,
                    kind: $kind,
                })?;
                Ok(Self { group, name })
            }
        }
    };
}

resource_id! {
    /// A managed disk.
    DiskId, "managed disk", "disks"
}
resource_id! {
    /// A snapshot of a managed disk.
    SnapshotId, "snapshot", "snapshots"
}

fn parse(value: &str, kind: &str) -> Option<(ResourceGroup, String)> {
    let mut segments = value.strip_prefix('/')?.split('/');
    let mut labelled = |label: &str| {
        let found = segments.next()?;
        let value = segments.next()?;
        (found.eq_ignore_ascii_case(label) && is_name(value)).then_some(value)
    };
    let subscription = labelled("subscriptions")?.to_owned();
    let group = labelled("resourceGroups")?.to_owned();
    let provider = labelled("providers")?;
    let name = labelled(kind)?.to_owned();
    let complete = segments.next().is_none() && provider.eq_ignore_ascii_case("Microsoft.Compute");
    complete.then_some((
        ResourceGroup {
            subscription,
            name: group,
        },
        name,
    ))
}

fn is_name(segment: &str) -> bool {
    let allowed = |c: char| c.is_alphanumeric() || "-_.()".contains(c);
    !segment.is_empty() && segment.chars().all(allowed)
}

fn folded(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().map(|byte| byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "/subscriptions/s-1/resourceGroups/rg/providers/Microsoft.Compute/disks/d_1";

    #[test]
    fn ids_round_trip() {
        assert_eq!(ID.parse::<DiskId>().unwrap().to_string(), ID);
    }

    #[test]
    fn any_letter_case_is_the_same_disk() {
        let shouted: DiskId = ID.to_uppercase().parse().unwrap();
        assert_eq!(shouted, ID.parse().unwrap());
    }

    #[test]
    fn what_is_no_disk_id_is_refused() {
        for value in [
            "",
            "d_1",
            "/subscriptions//resourceGroups/rg/providers/Microsoft.Compute/disks/d",
            "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/snapshots/d",
            "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/disks/d",
            "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/disks/d/more",
            "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/disks/a?b",
        ] {
            let error = value.parse::<DiskId>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{value}`")), "{error}");
        }
    }
}
