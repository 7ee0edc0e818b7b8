//! The locations that the README and `deploy/samples` show.

use std::{collections::HashMap, path::Path};

use serde_json::Value;

use crate::config::{BackupSettings, Settings};

fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"))
}

/// As the API server takes it: a map of strings.
fn config(document: &Value) -> HashMap<String, String> {
    let config = document["config"].as_object().unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    config
        .iter()
        .map(|(key, value)| {
            let value = text(value).unwrap_or_else(|| panic!("{key}: {value} needs quotes"));
            (key.clone(), value)
        })
        .collect()
}

fn check_backups(spec: &Value) {
    if let Err(error) = BackupSettings::parse(&config(spec)) {
        panic!("{error}: {spec}");
    }
}

#[test]
fn backup_samples_are_valid_and_for_veleros_own_writers_too() {
    let samples = documents(&repository("deploy/samples/backup-storage-location.yaml"));
    assert_eq!(samples.len(), 5);
    for sample in samples {
        assert_eq!(sample["kind"], "BackupStorageLocation");
        assert_eq!(sample["spec"]["provider"], "velero.io/azure");
        check_backups(&sample["spec"]);
    }
}

#[test]
fn snapshot_sample_is_valid() {
    let samples = documents(&repository("deploy/samples/volume-snapshot-location.yaml"));
    for sample in &samples {
        assert_eq!(sample["kind"], "VolumeSnapshotLocation");
        Settings::parse(&config(&sample["spec"])).unwrap();
    }
    assert_eq!(samples.len(), 1);
}

/// Whole locations, and `config`s by themselves.
#[test]
fn locations_of_the_readme_are_valid() {
    let readme = repository("README.md");
    let mut seen = 0;
    for block in readme.split("```yaml\n").skip(1) {
        let yaml = block.split("```").next().unwrap();
        for document in documents(yaml) {
            let spec = if document["spec"].is_object() {
                &document["spec"]
            } else {
                &document
            };
            check_backups(spec);
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
}

#[test]
fn every_key_is_in_the_readme() {
    let readme = repository("README.md");
    for error in [
        Settings::parse(&[("x".to_owned(), String::new())].into()).unwrap_err(),
        BackupSettings::parse(&[("x".to_owned(), String::new())].into()).unwrap_err(),
    ] {
        let text = error.to_string();
        let (_, keys) = text.split_once("the keys are ").unwrap();
        for key in keys.split(", ") {
            assert!(readme.contains(&format!("`{key}`")), "{key}");
        }
    }
}
