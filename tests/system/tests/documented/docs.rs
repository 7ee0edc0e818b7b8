//! Settings, flags, variables, Events and alerts: as the programs have them, and as people read of them.

use std::collections::BTreeSet;

use stillpoint_plugin::{
    azure::VARIABLES,
    config::{BackupSettings, Settings},
    kubernetes::EventReason,
    velero::ALSO_SERVE,
};

use super::{documents, metrics::RULES, programs, read, words};

/// Velero's, helm's and buildah's, which stand alone as ours do.
const FOREIGN_FLAGS: [&str; 7] = [
    "--build-arg",
    "--csi-snapshot-timeout",
    "--features",
    "--item-block-worker-count",
    "--pod-labels",
    "--sa-annotations",
    "--set",
];

pub(super) fn alerts() -> BTreeSet<String> {
    let rules = read(RULES);
    let alerts = rules.lines().filter_map(|line| {
        let name = line.trim().strip_prefix("- alert: ")?;
        Some(name.to_owned())
    });
    alerts.collect()
}

/// Whether some document has it between backticks, as a whole or at the beginning.
fn is_documented(name: &str) -> bool {
    documents().iter().any(|(_, text)| {
        ["`", " ", "=", ",", ":", "{"]
            .iter()
            .any(|end| text.contains(&format!("`{name}{end}")))
    })
}

#[test]
fn every_key_of_a_location_is_documented_and_no_other() {
    let keys: BTreeSet<_> = Settings::KEYS.iter().chain(&BackupSettings::KEYS).collect();
    for key in &keys {
        assert!(is_documented(key), "`{key}` is documented nowhere");
    }
    let readme = read("README.md");
    let tables = readme.split("| key | values (default) | meaning |").skip(1);
    let mut rows = 0;
    for table in tables {
        let lines = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        for line in lines {
            let cell = line.split('|').nth(1).unwrap();
            for key in cell.split('`').skip(1).step_by(2) {
                assert!(keys.contains(&key), "README.md: `{key}` is no key");
                rows += 1;
            }
        }
    }
    assert!(rows >= keys.len(), "{rows} keys in README's tables");
}

#[test]
fn every_flag_and_variable_is_documented_and_no_other() {
    let help = programs::help();
    let (flags, variables) = (programs::flags(&help), programs::variables(&help));
    assert!(
        flags.len() > 20 && variables.len() > 20,
        "{flags:?} {variables:?}"
    );
    let guide = read("docs/operations.md");
    for flag in &flags {
        assert!(
            guide.contains(&format!("`{flag}")),
            "docs/operations.md does not name {flag}"
        );
    }
    let plugin = [ALSO_SERVE, "KUBECONFIG", "SSL_CERT_FILE", "STILLPOINT_LOG"];
    let known: BTreeSet<_> = variables
        .iter()
        .map(String::as_str)
        .chain(plugin)
        .chain(VARIABLES)
        .collect();
    for variable in &known {
        // It is refused; its error says so.
        if *variable != "AZURE_USERNAME" {
            assert!(
                is_documented(variable),
                "`{variable}` is documented nowhere"
            );
        }
    }
    for (document, text) in documents() {
        for named in words(&text, "STILLPOINT_", programs::is_variable).chain(words(
            &text,
            "AZURE_",
            programs::is_variable,
        )) {
            // A name of one's own, that a key of the location says.
            let own = named == "AZURE_STORAGE_ACCOUNT_ACCESS_KEY";
            assert!(
                own || known.contains(named),
                "{document}: {named} is read by nobody"
            );
        }
        for named in programs::flags_of_ours(&text) {
            let is_known = flags.contains(&named) || FOREIGN_FLAGS.contains(&named.as_str());
            assert!(is_known, "{document}: no program takes {named}");
        }
    }
}

#[test]
fn every_event_and_alert_is_documented_with_its_remedy_and_no_other() {
    let guide = read("docs/operations.md");
    let reasons: BTreeSet<_> = EventReason::ALL.iter().map(ToString::to_string).collect();
    for reason in &reasons {
        assert!(
            guide.contains(&format!("| `{reason}` |")),
            "no row for Event {reason}"
        );
    }
    let alerts = alerts();
    for alert in &alerts {
        assert!(
            guide.contains(&format!("| `{alert}` |")),
            "no row for alert {alert}"
        );
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric();
    for (document, text) in documents() {
        for named in words(&text, "Snapshot", is_letter) {
            let told = text.contains(&format!("`{named}`"));
            let other = ["Snapshot", "Snapshots", "SnapshotLocation"].contains(&named);
            assert!(
                !told || other || reasons.contains(named),
                "{document}: no Event is {named}"
            );
        }
        for named in words(&text, "Stillpoint", is_letter) {
            assert!(
                named == "Stillpoint" || alerts.contains(named),
                "{document}: no alert is {named}"
            );
        }
    }
}
