//! The alert rules, by Prometheus' own tool.

use std::{fs, path::Path, process::Command};

use stillpoint_cluster::{missing, promtool};

use super::{metrics::RULES, path};

fn run(promtool: &Path, directory: &Path, arguments: &[&str]) {
    let output = Command::new(promtool)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(
        output.status.success() && text.contains("SUCCESS"),
        "{arguments:?}: {text}"
    );
}

#[tokio::test]
async fn every_alert_fires_on_what_it_is_about_and_on_nothing_else() {
    if let Some(why) = missing() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let promtool = promtool().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::copy(path(RULES), at("stillpoint.yaml")).unwrap();
    let cases = include_str!("rules.yaml");
    fs::write(at("cases.yaml"), cases).unwrap();
    run(
        &promtool,
        directory.path(),
        &["check", "rules", "stillpoint.yaml"],
    );
    run(
        &promtool,
        directory.path(),
        &["test", "rules", "cases.yaml"],
    );
    for alert in super::docs::alerts() {
        let quiet = format!("alertname: {alert}, eval_time");
        let loud = format!("alertname: {alert}\n    exp_alerts:");
        assert!(cases.contains(&quiet), "{alert} is not seen to be quiet");
        assert!(cases.contains(&loud), "{alert} is not seen to fire");
    }
}
