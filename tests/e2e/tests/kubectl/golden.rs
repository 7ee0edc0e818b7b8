//! What was seen, with what differs each time made the same, beside what is written down.

use std::{collections::BTreeMap, env, fs, path::Path};

use anyhow::{Context as _, Result, ensure};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kubectl/golden");
const BEGIN: &str =
    "<!-- a real run: written and checked by the tests of kubectl stillpoint -->\n```console\n";
const END: &str = "```\n<!-- end of the run -->\n";
/// Says that what is seen is what is to be written down from now on.
const UPDATE: &str = "UPDATE_GOLDEN";

/// Compares with a file.
pub(crate) fn check(name: &str, seen: &str) -> Result<()> {
    let path = Path::new(FILES).join(name);
    if env::var_os(UPDATE).is_some() {
        return Ok(fs::write(path, seen)?);
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    same(&path.display().to_string(), seen, &expected)
}

/// Compares with the README.
pub(crate) fn check_readme(seen: &str) -> Result<()> {
    let readme = fs::read_to_string(README)?;
    let begin = readme.find(BEGIN).context("the README has no run")? + BEGIN.len();
    let length = readme[begin..]
        .find(END)
        .context("the README's run has no end")?;
    if env::var_os(UPDATE).is_some() {
        let (before, after) = (&readme[..begin], &readme[begin + length..]);
        return Ok(fs::write(README, format!("{before}{seen}{after}"))?);
    }
    same("the README's run", seen, &readme[begin..begin + length])
}

fn same(what: &str, seen: &str, expected: &str) -> Result<()> {
    ensure!(
        seen == expected,
        "{what} says otherwise; if this is how it is to be, run the test with {UPDATE}=1\n--- written:\n{expected}\n--- seen:\n{seen}"
    );
    Ok(())
}

/// Names of fresh IDs by their order, and times.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<String, usize>);

impl Names {
    /// The text as it would be each time.
    pub(crate) fn normalised(&mut self, text: &str, subscription: &str) -> String {
        let text = text.replace(subscription, "00000000-0000-0000-0000-000000000000");
        let mut seen = String::new();
        let mut timed = "";
        for line in text.lines() {
            // Tables end with what differs.
            let ends = ["FROZEN-MS", "AGE"]
                .into_iter()
                .find(|end| line.ends_with(end));
            timed = match ends {
                Some(end) => end,
                None if line.is_empty() || line.starts_with('$') => "",
                None => timed,
            };
            let line = if ends.is_some() {
                line.to_owned()
            } else {
                times(line, timed)
            };
            seen += &self.without_ids(&line);
            seen.push('\n');
        }
        seen
    }

    fn without_ids(&mut self, line: &str) -> String {
        let mut seen = String::new();
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            if c.is_ascii_alphanumeric() || c == '-' {
                word.push(c);
                continue;
            }
            seen += &self.without_id(&word);
            seen.push(c);
            word.clear();
        }
        seen.pop();
        seen
    }

    /// Fresh IDs are at the ends of names.
    fn without_id(&mut self, word: &str) -> String {
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        for (length, dashes) in [(36, 4), (32, 0)] {
            let Some(at) = word.len().checked_sub(length) else {
                continue;
            };
            let id = &word[at..];
            if !hex(id) || id.matches('-').count() != dashes || id.starts_with("00000000") {
                continue;
            }
            let next = self.0.len() + 1;
            let number = *self.0.entry(id.to_owned()).or_insert(next);
            let id = match dashes {
                0 => format!("{number:08x}{:024}", 0),
                _ => format!("{number:08x}-0000-4000-8000-{:012}", 0),
            };
            return format!("{}{id}", &word[..at]);
        }
        word.to_owned()
    }
}

fn times(line: &str, column: &str) -> String {
    let (rest, last) = line.rsplit_once(' ').unwrap_or(("", line));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match column {
        "FROZEN-MS" if digits(last) => return format!("{rest} 712"),
        "AGE" if last.strip_suffix('s').is_some_and(digits) => return format!("{rest} 10s"),
        _ => {}
    }
    match line
        .split_once("frozen for ")
        .and_then(|(before, rest)| Some((before, rest.split_once(" ms")?)))
    {
        Some((before, (number, after))) if digits(number) => {
            format!("{before}frozen for 712 ms{after}")
        }
        _ => line.to_owned(),
    }
}
