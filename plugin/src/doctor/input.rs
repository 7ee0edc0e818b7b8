//! Where the location's config comes from: a file, standard input, or the command line.

use std::{
    collections::HashMap,
    io::{self, Read as _},
    path::PathBuf,
};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::config::{BackupSettings, Settings};

/// A config that cannot be read.
#[derive(Debug, Error)]
pub enum InputError {
    /// No file.
    #[error("--config {}: {source}; expected a file, `-` for standard input, or key=value", .path.display())]
    File {
        /// As it was given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not understood.
    #[error(
        "--config {place}: {reason}; expected a VolumeSnapshotLocation or BackupStorageLocation in YAML or JSON, as \
         `kubectl get -o yaml` prints one, or its config alone: a map of texts"
    )]
    Form {
        /// Where.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Pairs and files together.
    #[error("--config: expected either one file or key=value, not both")]
    Both,
    /// Nothing.
    #[error(
        "--config is missing: expected a file with the location, `-` for standard input, or key=value,…; to check \
         what the credentials alone say, `--config freeze=auto`"
    )]
    Nothing,
}

/// Which location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Snapshots,
    Backups,
}

/// A location as Velero would hand it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) kind: Kind,
    pub(super) config: HashMap<String, String>,
    /// Name and key of the Secret that Velero would write to `credentialsFile`.
    pub(super) credential: Option<(String, String)>,
}

impl Input {
    /// From what `--config` says, each time it was given.
    pub(super) fn read(given: &[String]) -> Result<Self, InputError> {
        let pairs: Vec<_> = given.iter().filter_map(|text| pairs(text)).collect();
        match given {
            [] => Err(InputError::Nothing),
            _ if pairs.len() == given.len() => {
                let config: HashMap<_, _> = pairs.into_iter().flatten().collect();
                Ok(Self::of_config(config))
            }
            [place] => Self::parse(place, &contents(place)?),
            _ => Err(InputError::Both),
        }
    }

    fn of_config(config: HashMap<String, String>) -> Self {
        let kind = match config.contains_key("storageAccount") {
            true => Kind::Backups,
            false => Kind::Snapshots,
        };
        Self {
            kind,
            config,
            credential: None,
        }
    }

    fn parse(place: &str, text: &str) -> Result<Self, InputError> {
        let wrong = |reason: String| InputError::Form {
            place: place.to_owned(),
            reason,
        };
        let value: Value =
            serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if value.get("spec").is_none() {
            let config = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
            return Ok(Self::of_config(config));
        }
        let object: Object =
            serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        let kind = match object.kind.as_str() {
            "VolumeSnapshotLocation" => Kind::Snapshots,
            "BackupStorageLocation" => Kind::Backups,
            other => return Err(wrong(format!("kind is `{other}`"))),
        };
        let Spec {
            mut config,
            credential,
            object_storage,
        } = object.spec;
        if let Some(storage) = object_storage {
            let told = [("bucket", Some(storage.bucket)), ("prefix", storage.prefix)];
            for (key, value) in told {
                config.extend(value.map(|value| (key.to_owned(), value)));
            }
        }
        Ok(Self {
            kind,
            config,
            credential: credential.map(|selector| (selector.name, selector.key)),
        })
    }
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    kind: String,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    config: HashMap<String, String>,
    credential: Option<Selector>,
    object_storage: Option<Storage>,
}

#[derive(Deserialize)]
struct Selector {
    name: String,
    key: String,
}

#[derive(Deserialize)]
struct Storage {
    bucket: String,
    prefix: Option<String>,
}

fn contents(place: &str) -> Result<String, InputError> {
    let read = match place {
        "-" => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        }
        path => std::fs::read_to_string(path),
    };
    read.map_err(|source| InputError::File {
        path: place.into(),
        source,
    })
}

/// `key=value,key=value`; a value may have commas and equal signs itself: a key is what a location has for one, or what
/// stands at the beginning.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let known = |key: &str| {
        let mut keys = Settings::KEYS.iter().chain(&BackupSettings::KEYS);
        keys.any(|known| known.eq_ignore_ascii_case(key))
    };
    let is_key = |key: &str| !key.is_empty() && key.chars().all(char::is_alphanumeric);
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in text.split(',') {
        match (part.split_once('='), pairs.last_mut()) {
            (Some((key, value)), _) if known(key) => {
                pairs.push((key.to_owned(), value.to_owned()));
            }
            (_, Some((_, before))) => {
                before.push(',');
                before.push_str(part);
            }
            (Some((key, value)), None) if is_key(key) => {
                pairs.push((key.to_owned(), value.to_owned()));
            }
            _ => return None,
        }
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn pairs_may_have_commas_and_come_apart() {
        let given = [
            "freeze=required,zoneMapping=westeurope-1=westeurope-2,westeurope-3=westeurope-1,agent=auto".to_owned(),
            "resourceGroup=backups".to_owned(),
        ];
        let input = Input::read(&given).unwrap();
        let mapping = "westeurope-1=westeurope-2,westeurope-3=westeurope-1";
        let expected = config(&[
            ("freeze", "required"),
            ("zoneMapping", mapping),
            ("agent", "auto"),
            ("resourceGroup", "backups"),
        ]);
        assert_eq!((input.kind, input.config), (Kind::Snapshots, expected));
        let unknown = Input::read(&["frieze=auto".to_owned()]).unwrap();
        assert_eq!(unknown.config, config(&[("frieze", "auto")]));
    }

    #[test]
    fn a_location_is_read_as_kubectl_prints_it_and_as_its_config_alone() {
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/samples/");
        let sample = format!("{samples}volume-snapshot-location.yaml");
        let input = Input::read(&[sample]).unwrap();
        assert_eq!(input.kind, Kind::Snapshots);
        Settings::parse(&input.config).unwrap();
        let location = r#"{"kind": "BackupStorageLocation", "spec": {
            "config": {"storageAccount": "a"}, "credential": {"name": "n", "key": "k"},
            "objectStorage": {"bucket": "velero"}}}"#;
        let input = Input::parse("-", location).unwrap();
        assert_eq!(input.kind, Kind::Backups);
        assert_eq!(input.credential, Some(("n".to_owned(), "k".to_owned())));
        let expected = config(&[("storageAccount", "a"), ("bucket", "velero")]);
        assert_eq!(input.config, expected);
        let input = Input::parse("-", "freeze: auto\n").unwrap();
        assert_eq!(input.config, config(&[("freeze", "auto")]));
    }

    #[test]
    fn what_cannot_be_read_says_what_was_expected() {
        for (given, expected) in [
            (&[][..], "--config is missing"),
            (&["/nowhere"], "expected a file"),
            (&["freeze=auto", "/nowhere"], "not both"),
        ] {
            let given: Vec<_> = given.iter().map(|text| (*text).to_owned()).collect();
            let error = Input::read(&given).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = Input::parse("-", "kind: Pod\nspec: {}\n").unwrap_err();
        assert!(error.to_string().contains("`Pod`"), "{error}");
    }
}
