//! What the chart tells the programs: every variable is one that they know, with their own default.

use std::{collections::BTreeMap, process::Command};

use serde_json::{Value, json};
use stillpoint_cluster::{missing, rendered};
use stillpoint_system::programs;

use crate::values::object;

/// The variables that `--help` names, with their defaults.
fn known(program: &str, arguments: &[&str]) -> BTreeMap<String, Option<String>> {
    let mut command = Command::new(programs::program(program).unwrap());
    let help = command.args(arguments).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let mut known = BTreeMap::new();
    for (at, _) in help.match_indices("[env: ") {
        let rest = &help[at + "[env: ".len()..];
        let name = rest.split(['=', ']']).next().unwrap();
        // A default stands behind its variable.
        let of_option = rest.split("[env: ").next().unwrap();
        let default = of_option.split_once("[default: ");
        let default = default.and_then(|(_, rest)| Some(rest.split_once(']')?.0.to_owned()));
        known.insert(name.to_owned(), default);
    }
    known
}

#[tokio::test]
async fn the_programs_know_every_variable_and_have_the_same_defaults() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let values =
        json!({ "gate": { "certManager": { "enabled": true }, "excludeNamespaces": ["ci"] } });
    let objects = rendered(&values).await.unwrap();
    // Read outside of the options: the level of the agent's log, and what the plugin reads too.
    let elsewhere = [
        ("stillpoint-agent", "STILLPOINT_LOG"),
        ("stillpoint-gate", "AZURE_CREDENTIALS_FILE"),
    ];
    // The chart's own: who asks, and where cert-manager's files are.
    let chosen = ["STILLPOINT_ACCEPT", "STILLPOINT_GATE_EXCLUDE_NAMESPACES"];
    for (kind, program, arguments) in [
        ("DaemonSet", programs::AGENT, &["serve"][..]),
        ("Deployment", programs::GATE, &[]),
    ] {
        let known = known(program, arguments);
        assert!(known.len() > 4, "{program}: {known:?}");
        let container =
            &object(&objects, kind, program).unwrap()["spec"]["template"]["spec"]["containers"][0];
        for variable in container["env"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            if elsewhere.contains(&(program, name)) {
                continue;
            }
            let default = known.get(name);
            let default =
                default.unwrap_or_else(|| panic!("{program} does not know {name}: {known:?}"));
            if let (Some(default), Value::String(value), false) =
                (default, &variable["value"], chosen.contains(&name))
            {
                assert_eq!(value, default, "{program}: {name}");
            }
        }
    }
    assert!(known(programs::AGENT, &["serve"])["STILLPOINT_ACCEPT"].is_some());
}
