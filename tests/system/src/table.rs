//! Tables and progress for a person: aligned, coloured on a terminal only.

use std::{
    fmt::{self, Write as _},
    io::{IsTerminal as _, stdout},
};

/// How a cell is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// As it should be.
    Good,
    /// Not what one wants.
    Bad,
    /// Of lesser interest.
    Faint,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }
}

/// A text and its tone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell of that tone.
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }

    /// A plain one.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }

    /// Good if `good`, else bad.
    pub fn judged(text: impl Into<String>, good: bool) -> Self {
        Self::new(text, if good { Tone::Good } else { Tone::Bad })
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows of cells under a heading. An empty row is a line across.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) -> &mut Self {
        self.rows.push(cells.into_iter().collect());
        self
    }

    /// Adds a line across.
    pub fn line(&mut self) -> &mut Self {
        self.row([])
    }

    /// The table as text.
    pub fn render(&self, coloured: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width_of = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(Cell::width)
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        let across = widths.iter().sum::<usize>() + 3 * columns.saturating_sub(1);
        let mut text = String::new();
        for row in &self.rows {
            text.push_str("  ");
            if row.is_empty() {
                text.push_str(&"─".repeat(across));
            }
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if index > 0 {
                    text.push_str("   ");
                }
                text.push_str(&paint(&cell.text, cell.tone, coloured));
                if index + 1 < row.len() {
                    text.push_str(&" ".repeat(width - cell.width()));
                }
            }
            text.push('\n');
        }
        text
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(stdout().is_terminal()))
    }
}

/// `text` in `tone`, if `coloured`.
pub fn paint(text: &str, tone: Tone, coloured: bool) -> String {
    let mut painted = String::new();
    let _ = match (coloured, tone) {
        (false, _) | (_, Tone::Plain) => write!(painted, "{text}"),
        (true, tone) => write!(painted, "\x1b[{}m{text}\x1b[0m", tone.code()),
    };
    painted
}

/// A line of progress, faint on a terminal.
pub fn progress(text: impl AsRef<str>) {
    println!(
        "{}",
        paint(text.as_ref(), Tone::Faint, stdout().is_terminal())
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_colours_take_no_room() {
        let mut table = Table::default();
        table
            .row([
                Cell::plain("a"),
                Cell::judged("größer", true),
                Cell::plain("x"),
            ])
            .line();
        table.row([
            Cell::plain("bbb"),
            Cell::judged("no", false),
            Cell::plain("y"),
        ]);
        let plain = "  a     größer   x\n  ──────────────────\n"
            .replace("──────────────────", &"─".repeat(16));
        assert_eq!(table.render(false), format!("{plain}  bbb   no       y\n"));
        let stripped = table
            .render(true)
            .replace("\x1b[32m", "")
            .replace("\x1b[31m", "");
        assert_eq!(stripped.replace("\x1b[0m", ""), table.render(false));
    }
}
