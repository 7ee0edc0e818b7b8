//! What was found, a line each.

use serde_json::{Value, json};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    /// It may be wrong, or nobody can tell.
    Warning,
    Wrong,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warn",
            Self::Wrong => "wrong",
        }
    }
}

#[derive(Clone, Debug)]
struct Finding {
    check: &'static str,
    state: State,
    message: String,
    /// How to mend it, where the message does not say.
    remedy: Option<&'static str>,
}

/// All checks, in their order.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    pub(super) fn good(&mut self, check: &'static str, message: impl Into<String>) {
        self.note(check, State::Good, message.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        remedy: &'static str,
    ) {
        self.note(check, State::Warning, message.into(), Some(remedy));
    }

    pub(super) fn wrong(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        remedy: &'static str,
    ) {
        self.note(check, State::Wrong, message.into(), Some(remedy));
    }

    fn note(
        &mut self,
        check: &'static str,
        state: State,
        message: String,
        remedy: Option<&'static str>,
    ) {
        // A line each, whatever a server said.
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        self.0.push(Finding {
            check,
            state,
            message,
            remedy,
        });
    }

    fn count_wrong(&self) -> usize {
        let wrong = self.0.iter().filter(|one| one.state == State::Wrong);
        wrong.count()
    }

    pub(super) fn is_good(&self) -> bool {
        self.count_wrong() == 0
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.0 {
            let (state, check, message) = (finding.state.name(), finding.check, &finding.message);
            let remedy = finding.remedy.map(|remedy| format!(" -> {remedy}"));
            let remedy = remedy.unwrap_or_default();
            text += &format!("{state:5}  {check}: {message}{remedy}\n");
        }
        text += &match self.count_wrong() {
            0 => "nothing is wrong\n".to_owned(),
            count => format!("{count} wrong\n"),
        };
        text
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
        report.good("kernel", "6.1");
        report.warn("clock", "nobody\ntells", "ask");
        assert!(report.is_good());
        assert_eq!(
            report.text(),
            "ok     kernel: 6.1\nwarn   clock: nobody tells -> ask\nnothing is wrong\n"
        );
        report.wrong("journal", "none", "make one");
        assert!(
            report
                .text()
                .ends_with("wrong  journal: none -> make one\n1 wrong\n")
        );
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(
            (&json["ok"], &json["checks"][2]["state"]),
            (&json!(false), &json!("wrong"))
        );
    }
}
