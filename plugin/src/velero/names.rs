//! The names under which Velero knows the plugin.

use std::{ffi::OsStr, fmt};

use thiserror::Error;

/// Our own name.
pub const OWN_NAME: PluginName = PluginName("stillpoint.io/azure");

/// The environment variable that lists further names, separated by commas.
pub const ALSO_SERVE: &str = "STILLPOINT_ALSO_SERVE";

/// Names of other plugins that ours can stand in for: same config keys, same identifiers.
const STAND_IN: [PluginName; 1] = [PluginName("velero.io/azure")];

/// `<DNS subdomain>/<name>`, one of those that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PluginName(&'static str);

impl PluginName {
    /// As it goes over the wire.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Names that this process does not serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// In the environment.
    #[error("{ALSO_SERVE} holds {0:?}; it takes {stand_in:?} or nothing", stand_in = STAND_IN[0].0)]
    AlsoServe(String),
    /// In a request.
    #[error("this process serves no plugin named {name:?}, only {served}")]
    NotServed {
        /// As it was asked for.
        name: String,
        /// What would do.
        served: String,
    },
}

/// The names of this process.
#[derive(Clone, Debug)]
pub struct Served {
    names: Result<Vec<PluginName>, NameError>,
}

impl Served {
    /// From the value of [`ALSO_SERVE`]. An error in it is kept until a host asks, so that Velero shows it instead
    /// of a process that ended before it could be spoken with.
    pub fn new(also_serve: Option<&OsStr>) -> Self {
        let also_serve = also_serve.unwrap_or_default().to_string_lossy();
        let further = also_serve
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let mut names = vec![OWN_NAME];
        for name in further {
            let known = STAND_IN
                .into_iter()
                .chain([OWN_NAME])
                .find(|known| known.0 == name);
            match known {
                Some(known) if names.contains(&known) => {}
                Some(known) => names.push(known),
                None => {
                    return Self {
                        names: Err(NameError::AlsoServe(name.to_owned())),
                    };
                }
            }
        }
        Self { names: Ok(names) }
    }

    /// All of them.
    ///
    /// # Errors
    /// If the environment held a wrong one.
    pub fn names(&self) -> Result<&[PluginName], NameError> {
        self.names.as_deref().map_err(Clone::clone)
    }

    /// The one that a request means.
    ///
    /// # Errors
    /// If it is not served, or the environment held a wrong one.
    pub fn find(&self, name: &str) -> Result<PluginName, NameError> {
        let names = self.names()?;
        names
            .iter()
            .copied()
            .find(|served| served.0 == name)
            .ok_or_else(|| {
                let served: Vec<_> = names.iter().map(|name| name.0).collect();
                NameError::NotServed {
                    name: name.to_owned(),
                    served: served.join(", "),
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_environment() {
        for (value, expected) in [
            (None, Some(&["stillpoint.io/azure"][..])),
            (Some(""), Some(&["stillpoint.io/azure"])),
            (
                Some("velero.io/azure"),
                Some(&["stillpoint.io/azure", "velero.io/azure"]),
            ),
            (
                Some(" velero.io/azure ,"),
                Some(&["stillpoint.io/azure", "velero.io/azure"]),
            ),
            (
                Some("velero.io/azure,velero.io/azure"),
                Some(&["stillpoint.io/azure", "velero.io/azure"]),
            ),
            (Some("stillpoint.io/azure"), Some(&["stillpoint.io/azure"])),
            (Some("azure"), None),
            (Some("velero.io/azuer"), None),
            (Some("Velero.io/azure"), None),
            (Some("velero.io/azure;x"), None),
        ] {
            let served = Served::new(value.map(OsStr::new));
            let names = served.names().ok();
            let names = names.map(|names| names.iter().map(|name| name.0).collect::<Vec<_>>());
            assert_eq!(names.as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn wrong_name_is_told_with_what_is_right() {
        let error = Served::new(Some(OsStr::new("velero.io/aws")))
            .names()
            .unwrap_err()
            .to_string();
        for part in ["STILLPOINT_ALSO_SERVE", "velero.io/aws", "velero.io/azure"] {
            assert!(error.contains(part), "{error}");
        }
        let error = Served::new(None)
            .find("velero.io/azure")
            .unwrap_err()
            .to_string();
        assert!(error.contains("stillpoint.io/azure"), "{error}");
    }
}
