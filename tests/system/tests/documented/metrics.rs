//! Every metric is of a program, documented, and shown or alerted on by what is shipped.

use std::collections::BTreeSet;

use super::{documents, programs, read, words};

pub(super) const RULES: &str = "deploy/chart/rules/stillpoint.yaml";
const DASHBOARD: &str = "deploy/chart/dashboards/stillpoint.json";

fn is_name(c: char) -> bool {
    c.is_ascii_lowercase() || c == '_'
}

/// Of samples: what queries name.
fn names(text: &str) -> BTreeSet<String> {
    [
        "stillpoint_agent_",
        "stillpoint_gate_",
        "process_start_time_",
    ]
    .into_iter()
    .flat_map(|prefix| words(text, prefix, is_name))
    .map(str::to_owned)
    .collect()
}

/// Without what a histogram's samples are called.
fn family(name: &str) -> String {
    let suffixes = ["_bucket", "_sum", "_count"];
    let cut = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
    cut.unwrap_or(name).to_owned()
}

#[test]
fn rules_dashboard_and_docs_name_the_metrics_that_the_programs_show_and_all_of_them() {
    let text = programs::all_metrics();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    // A family of labels would have no sample if it did not begin with all of them; a histogram has its sum.
    let shown = names(&samples.join("\n"));
    assert!(shown.len() > 20, "{shown:?}");
    let (rules, dashboard) = (names(&read(RULES)), names(&read(DASHBOARD)));
    for used in rules.iter().chain(&dashboard) {
        // A bucket is there once something was observed.
        let exists = shown.contains(used)
            || used
                .strip_suffix("_bucket")
                .is_some_and(|histogram| shown.contains(&format!("{histogram}_sum")));
        assert!(exists, "no program shows {used}: {shown:?}");
    }
    let families: BTreeSet<_> = shown.iter().map(|name| family(name)).collect();
    let used: BTreeSet<_> = rules.union(&dashboard).map(|name| family(name)).collect();
    for metric in &families {
        assert!(
            used.contains(metric),
            "neither rule nor panel shows {metric}"
        );
    }
    let guide = read("docs/operations.md");
    for metric in &families {
        let row = format!("| `{metric}` |");
        let labelled = format!("| `{metric}{{");
        assert!(
            guide.contains(&row) || guide.contains(&labelled),
            "docs/operations.md has no row for {metric}"
        );
    }
    for (document, text) in documents() {
        for named in names(&text) {
            assert!(
                families.contains(&family(&named)),
                "{document} names {named}, which no program shows"
            );
        }
    }
}

#[test]
fn reasons_and_outcomes_in_rules_and_docs_are_those_of_the_programs() {
    let text = programs::all_metrics();
    for label in ["reason", "outcome", "verdict"] {
        let begin = format!("{label}=\"");
        let values = |text: &str| -> BTreeSet<String> {
            let marks = text.split(&begin).skip(1);
            marks
                .map(|rest| rest.split('"').next().unwrap().to_owned())
                .collect()
        };
        let known = values(&text);
        assert!(known.len() > 3, "{label}: {known:?}");
        for used in values(&read(RULES)) {
            assert!(known.contains(&used), "{RULES}: {label}={used}");
        }
        let guide = read("docs/operations.md");
        for value in known {
            let named = format!("`{value}`");
            assert!(
                guide.contains(&named),
                "docs/operations.md: {label} {named}"
            );
        }
    }
}
