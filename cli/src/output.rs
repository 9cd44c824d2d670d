//! What commands print: data on standard output, as tables for people or JSON for machines.

use crate::failure::Failure;
use bigdata_common::Timestamp;
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, Width};
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// A column narrower than this is not worth wrapping.
const LAST_COLUMN_MIN: u16 = 20;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON for machines.
    pub(crate) json: bool,
    colour: bool,
    terminal: bool,
}

impl Output {
    /// Colour and width only where a person reads, and `NO_COLOR` is not set.
    pub(crate) fn new(json: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, terminal, colour: terminal && !no_colour }
    }

    /// One line of data.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", text.as_ref())?;
        Ok(())
    }

    /// Data as it is.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// A value as JSON: indented where a person reads, on one line otherwise.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = if self.terminal { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        self.line(text.map_err(|error| Failure::of(&error))?)
    }

    /// A table, or one line instead of an empty one.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn table<const COLUMNS: usize>(
        &self,
        header: [&str; COLUMNS],
        rows: Vec<[String; COLUMNS]>,
        empty: &str,
    ) -> Result<(), Failure> {
        if rows.is_empty() {
            eprintln!("{empty}");
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(header.map(|title| Cell::new(title.to_uppercase())));
        for row in rows {
            table.add_row(row.map(|text| self.cell(text)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.fit(&mut table);
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// On a terminal the last column, which tells reasons and descriptions, is wrapped to what is left of the width;
    /// names and addresses stay whole.
    fn fit(&self, table: &mut Table) {
        let widths = table.column_max_content_widths();
        let others: u16 = widths.iter().rev().skip(1).map(|width| width + 2).sum();
        let left = if self.terminal { table.width().unwrap_or(0).saturating_sub(others) } else { 0 };
        table.set_content_arrangement(ContentArrangement::Disabled);
        if left < LAST_COLUMN_MIN || widths.last().is_none_or(|last| last + 2 <= left) {
            return;
        }
        table.set_content_arrangement(ContentArrangement::Dynamic);
        for column in table.column_iter_mut() {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if let Some(last) = table.column_iter_mut().last() {
            last.set_constraint(ColumnConstraint::Absolute(Width::Fixed(left)));
        }
    }

    /// Names and values below each other.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn fields(&self, fields: &[(&str, String)]) -> Result<(), Failure> {
        let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            let indented = value.replace('\n', &format!("\n{:width$}  ", ""));
            self.line(format!("{name:width$}  {}", self.coloured(&indented)))?;
        }
        Ok(())
    }

    fn cell(&self, text: String) -> Cell {
        let colour = self.colour.then(|| colour_of(&text)).flatten();
        let cell = Cell::new_owned(text);
        match colour {
            Some(Tone::Good) => cell.fg(Color::Green),
            Some(Tone::Bad) => cell.fg(Color::Red),
            Some(Tone::Underway) => cell.fg(Color::Yellow),
            None => cell,
        }
    }

    fn coloured(&self, text: &str) -> String {
        let code = match self.colour.then(|| colour_of(text)).flatten() {
            Some(Tone::Good) => 32,
            Some(Tone::Bad) => 31,
            Some(Tone::Underway) => 33,
            None => return text.to_owned(),
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

enum Tone {
    Good,
    Bad,
    Underway,
}

/// A status word's colour; every other text has none.
fn colour_of(text: &str) -> Option<Tone> {
    match text {
        "ready" | "healthy" | "running" | "succeeded" | "yes" => Some(Tone::Good),
        "failed" | "unavailable" | "unreachable" | "no" => Some(Tone::Bad),
        "registered" | "scheduling" | "scheduled" | "configuring" | "configured" | "destroying" | "degraded"
        | "pending" | "queued" | "launching" | "stopping" => Some(Tone::Underway),
        _ => None,
    }
}

/// An age for people: the two largest units that say something.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.millis_since(since) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// A time between two of something, in its largest unit that says it exactly.
pub(crate) fn span(millis: u64) -> String {
    for (unit, word) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if millis >= unit && millis.is_multiple_of(unit) {
            return format!("{}{word}", millis / unit);
        }
    }
    format!("{millis}ms")
}

/// A span in seconds with hundredths.
pub(crate) fn seconds(millis: u64) -> String {
    format!("{}.{:02} s", millis / 1000, millis % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_spans_read_well() {
        let start = Timestamp::from_millis(0);
        for (millis, text) in [(900, "0s"), (61_000, "1m01s"), (3_723_000, "1h02m"), (90_000_000, "1d01h")] {
            assert_eq!(age(start, Timestamp::from_millis(millis)), text);
        }
        assert_eq!(seconds(1234), "1.23 s");
        for (millis, text) in [(86_400_000, "1d"), (5_400_000, "90m"), (30_000, "30s"), (1500, "1500ms")] {
            assert_eq!(span(millis), text);
        }
    }
}
