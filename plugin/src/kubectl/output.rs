//! What is printed on stdout: tables as kubectl's, YAML, JSON.

use std::io::{self, Write};

use serde::Serialize;

/// Rows under headings.
#[derive(Clone, Debug)]
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    /// One cell for each heading; an empty one is shown as kubectl shows it.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let none = |cell: String| {
            if cell.is_empty() {
                "<none>".to_owned()
            } else {
                cell
            }
        };
        self.rows.push(cells.into_iter().map(none).collect());
    }

    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let mut widths: Vec<_> = self.headings.iter().map(|text| text.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let headings: Vec<String> = self
            .headings
            .iter()
            .map(|text| (*text).to_owned())
            .collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let cells = row.iter().zip(&widths);
            let line: String = cells
                .map(|(cell, width)| format!("{cell:width$}   "))
                .collect();
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Documents of YAML, one after another.
pub(super) fn yaml<T: Serialize>(out: &mut impl Write, documents: &[T]) -> io::Result<()> {
    for (number, document) in documents.iter().enumerate() {
        if number > 0 {
            writeln!(out, "---")?;
        }
        // IDs are long, and stay on their lines.
        let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
        let text = serde_saphyr::to_string_with_options(document, options);
        let text = text.map_err(io::Error::other)?;
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

pub(super) fn json<T: Serialize>(out: &mut impl Write, document: &T) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn text(print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["a-long-name".to_owned(), String::new()]);
        table.row(["b".to_owned(), "done".to_owned()]);
        assert_eq!(
            text(|out| table.print(out)),
            "NAME          STATE\na-long-name   <none>\nb             done\n"
        );
    }

    #[test]
    fn documents_of_yaml_read_as_what_was_written() {
        let documents = [
            json!({ "a": "1", "b": ["true", "x: y", ""], "c": { "d": null, "e": 1 } }),
            json!({ "zone": "no", "path": "/subscriptions/s", "text": "# not a comment" }),
        ];
        let text = text(|out| yaml(out, &documents));
        let read: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(read, documents, "{text}");
        // As kubectl reads it, by YAML 1.1, `no` is false.
        assert!(!text.contains("zone: no\n"), "{text}");
    }
}
