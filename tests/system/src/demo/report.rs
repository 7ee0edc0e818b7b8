//! The demo's table: a column for each snapshot.

use serde_json::Value;

use super::Examined;
use crate::table::{Cell, Table, Tone};

/// The longest text of a cell.
const WIDTH: usize = 20;

/// The table, and whether all is as it should be: the frozen copies whole, the others recognized for what they are.
pub fn report(examined: &[Examined]) -> (Table, bool) {
    let mut table = Table::default();
    let mut rows = Rows {
        table: &mut table,
        examined,
        good: true,
    };
    rows.add("", |one| {
        let freeze = if one.is_frozen() {
            "frozen"
        } else {
            "not frozen"
        };
        Cell::plain(format!("{}, {freeze}", one.kind))
    });
    rows.table.line();
    rows.judged("consistency, by its tag", |one| {
        (
            one.tag("stillpoint-consistency"),
            one.is_frozen() != (one.tag("stillpoint-consistency") == "crash"),
        )
    });
    rows.add("frozen", |one| {
        match one.tag("stillpoint-frozen-ms").as_str() {
            "" | "0" => Cell::new("–", Tone::Faint),
            millis => Cell::plain(format!("{millis} ms")),
        }
    });
    rows.add("Azure, PUT to Succeeded", |one| {
        let taken = one
            .shot
            .seen
            .succeeded
            .map(|end| end.since(&one.shot.seen.accepted));
        Cell::new(
            taken.map_or("–".into(), |taken| format!("{} ms", taken.as_millis())),
            Tone::Faint,
        )
    });
    rows.add("writers' longest stall", |one| {
        Cell::plain(format!("{} ms", one.shot.stall.as_millis()))
    });
    rows.table.line();
    rows.seen("journal of the copy", |one| {
        (one.journal.words.clone(), one.journal.clean)
    });
    rows.seen("files, no replay", |one| {
        let (files, before) = (one.files, one.shot.files_before);
        let torn = if files.torn > 0 {
            format!(", {} torn", files.torn)
        } else {
            String::new()
        };
        (
            format!("{} of {before}{torn}", files.whole.min(before)),
            files.torn == 0 && files.whole >= before,
        )
    });
    rows.seen("SQLite, no replay", |one| match &one.sqlite {
        Ok(answer) => (format!("integrity_check {answer}"), answer == "ok"),
        Err(error) => (short(error), false),
    });
    rows.table.line();
    rows.add("restored disk", |one| Cell::plain(short(&one.disk)));
    rows.judged("its zone", |one| (one.zone.clone(), one.zone == "2"));
    rows.judged("PV zone label", |one| {
        mapped(&one.persistent_volume["metadata"]["labels"]["topology.kubernetes.io/zone"])
    });
    rows.judged("PV node affinity", |one| {
        let required = &one.persistent_volume["spec"]["nodeAffinity"]["required"];
        mapped(&required["nodeSelectorTerms"][0]["matchExpressions"][0]["values"][0])
    });
    rows.judged("mounted as a node would", |one| match &one.mounted {
        Ok(files) => (
            format!("{} files", files.whole),
            !one.is_frozen() || files.torn == 0,
        ),
        Err(error) => (short(error), false),
    });
    let good = rows.good;
    (table, good)
}

struct Rows<'a> {
    table: &'a mut Table,
    examined: &'a [Examined],
    good: bool,
}

impl Rows<'_> {
    fn add(&mut self, name: &str, cell: impl Fn(&Examined) -> Cell) {
        let cells = self.examined.iter().map(cell);
        self.table.row([Cell::plain(name)].into_iter().chain(cells));
    }

    /// What must be so on every copy.
    fn judged(&mut self, name: &str, value: impl Fn(&Examined) -> (String, bool)) {
        self.good &= self.examined.iter().all(|one| value(one).1);
        self.add(name, |one| {
            let (text, good) = value(one);
            Cell::judged(text, good)
        });
    }

    /// What must be so on a frozen copy; on the others it is what one gets.
    fn seen(&mut self, name: &str, value: impl Fn(&Examined) -> (String, bool)) {
        self.good &= self
            .examined
            .iter()
            .all(|one| !one.is_frozen() || value(one).1);
        self.add(name, |one| {
            let (text, good) = value(one);
            Cell::judged(text, good)
        });
    }
}

impl Examined {
    fn tag(&self, name: &str) -> String {
        self.shot.seen.tags.get(name).cloned().unwrap_or_default()
    }

    fn is_frozen(&self) -> bool {
        self.tag("stillpoint-frozen-ms")
            .parse::<u64>()
            .is_ok_and(|millis| millis > 0)
    }
}

fn mapped(zone: &Value) -> (String, bool) {
    let zone = zone.as_str().unwrap_or("none").to_owned();
    let good = zone == "westeurope-2";
    (zone, good)
}

fn short(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    text.chars().take(WIDTH - 1).chain(['…']).collect()
}
