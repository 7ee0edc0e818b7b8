//! What was found, a line each.

use serde_json::{Value, json};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Good,
    Wrong,
    /// It may be wrong, or nobody can tell.
    Warning,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Wrong => "wrong",
            Self::Warning => "warn",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    check: &'static str,
    state: State,
    message: String,
    /// How to mend it, where the message does not say.
    remedy: Option<String>,
}

/// All checks, in their order.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn good(&mut self, check: &'static str, message: impl Into<String>) {
        self.note(check, State::Good, message.into(), None);
    }

    /// `remedy` is empty where the message says what to do.
    pub(super) fn wrong(&mut self, check: &'static str, message: impl Into<String>, remedy: &str) {
        self.note(check, State::Wrong, message.into(), Some(remedy));
    }

    pub(super) fn warn(&mut self, check: &'static str, message: impl Into<String>, remedy: &str) {
        self.note(check, State::Warning, message.into(), Some(remedy));
    }

    fn note(&mut self, check: &'static str, state: State, message: String, remedy: Option<&str>) {
        // A line each, whatever a server said.
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let remedy = remedy.filter(|remedy| !remedy.is_empty());
        self.0.push(Finding {
            check,
            state,
            message,
            remedy: remedy.map(str::to_owned),
        });
    }

    pub(super) fn is_good(&self) -> bool {
        self.0.iter().all(|finding| finding.state != State::Wrong)
    }

    pub(super) fn text(&self) -> String {
        let line = |finding: &Finding| {
            let Finding { check, message, .. } = finding;
            let remedy = finding.remedy.as_ref();
            let remedy = remedy.map(|remedy| format!(" -> {remedy}"));
            let (state, remedy) = (finding.state.name(), remedy.unwrap_or_default());
            format!("{state:5}  {check}: {message}{remedy}\n")
        };
        let lines: String = self.0.iter().map(line).collect();
        let wrong = self.0.iter().filter(|one| one.state == State::Wrong);
        lines
            + &match wrong.count() {
                0 => "nothing is wrong\n".to_owned(),
                count => format!("{count} wrong\n"),
            }
    }

    pub(super) fn json(&self) -> String {
        let finding = |finding: &Finding| {
            json!({
                "check": finding.check,
                "state": finding.state.name(),
                "message": finding.message,
                "remedy": finding.remedy,
            })
        };
        let checks: Value = self.0.iter().map(finding).collect();
        format!("{:#}\n", json!({ "ok": self.is_good(), "checks": checks }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_each_and_wrong_only_where_something_is() {
        let mut report = Report::default();
        report.good("config", "19 keys");
        report.warn("clock", "nobody\ntells", "");
        assert!(report.is_good());
        assert_eq!(
            report.text(),
            "ok     config: 19 keys\nwarn   clock: nobody tells\nnothing is wrong\n"
        );
        report.wrong("agents", "none", "install them");
        assert!(!report.is_good());
        assert!(
            report
                .text()
                .ends_with("wrong  agents: none -> install them\n1 wrong\n")
        );
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["checks"][2]["remedy"], "install them");
    }
}
