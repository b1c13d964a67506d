//! What is printed: results to standard output, everything else to standard error; text or JSON.
//!
//! `JSON.md` documents every object. Commands that run for long print a stream of objects, one a line;
//! listings are one document, and what must be said beside it goes to standard error.

use crate::escape;
use crate::failure::Failure;
use dedup_engine::id::to_hex;
use dedup_engine::snapshot::Outcome;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON instead of text.
    pub json: bool,
    /// Only results and what went wrong.
    pub quiet: bool,
    /// How often `-v` was given.
    pub verbose: u8,
    /// Whether this command prints a stream of JSON objects; else one document.
    pub stream: bool,
    /// Whether standard output is a terminal.
    pub to_terminal: bool,
}

impl Output {
    /// Makes the output that the arguments ask for.
    pub fn new(json: bool, quiet: bool, verbose: u8, stream: bool) -> Self {
        Self { json, quiet, verbose, stream, to_terminal: io::stdout().is_terminal() }
    }

    /// Prints a line of result. That nobody reads it any more is no failure: a command goes on, and ends as it ends.
    pub fn line(&self, text: impl AsRef<str>) -> io::Result<()> {
        though_unread(writeln!(io::stdout().lock(), "{}", text.as_ref()))
    }

    /// Prints a line of the summary at the end of a long command; `-q` does without it.
    pub fn summary_line(&self, text: impl AsRef<str>) -> io::Result<()> {
        if self.quiet { Ok(()) } else { self.line(text) }
    }

    /// Prints one JSON object, or one document, on one line; as [`Self::line`].
    pub fn object(&self, object: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_string(object)?;
        text.push('\n');
        though_unread(io::stdout().lock().write_all(text.as_bytes()))
    }

    /// Returns a buffered standard output for long listings; flush it at the end, errors count.
    pub fn listing(&self) -> BufWriter<StdoutLock<'static>> {
        BufWriter::with_capacity(64 << 10, io::stdout().lock())
    }

    /// Returns a name as standard output may have it: escaped for a terminal, else as it is.
    pub fn name(&self, bytes: &[u8]) -> Vec<u8> {
        if self.to_terminal { escape::name(bytes).into_bytes() } else { bytes.to_vec() }
    }

    /// Says something that is good to know.
    pub fn note(&self, message: &str) {
        if !self.quiet {
            self.aside("note", message);
        }
    }

    /// Says something more, for `-v`.
    pub fn detail(&self, message: &str) {
        if self.verbose > 0 {
            self.aside("note", message);
        }
    }

    /// Says that something is not as it should be, though the command goes on.
    pub fn warning(&self, message: &str) {
        self.aside("warning", message);
    }

    fn aside(&self, kind: &str, message: &str) {
        if self.json {
            let object = json!({ "type": kind, "message": message });
            if self.stream { self.event(&object) } else { complain(&object.to_string()) }
        } else {
            complain(&format!("{kind}: {}", escape::text(message)));
        }
    }

    /// Prints one JSON object of a stream whose loss does not matter: progress, notes, warnings.
    pub fn event(&self, object: &Value) {
        // If the reader is gone, the summary will find out.
        let _ = self.object(object);
    }

    /// Reports why the command ended early.
    pub fn failure(&self, failure: &Failure) {
        if self.json {
            let object = json!({
                "type": "error",
                "kind": failure.kind,
                "message": failure.message,
                "hint": failure.hint,
                "causes": failure.causes,
                "exit_code": failure.exit.code(),
            });
            return complain(&object.to_string());
        }
        let mut message = failure.message.clone();
        // Without -v the root of the matter is told at least.
        if self.verbose == 0
            && let Some(root) = failure.causes.last()
        {
            message = format!("{message}: {root}");
        }
        complain(&format!("error: {}", escape::text(&message)));
        if self.verbose > 0 {
            failure.causes.iter().for_each(|cause| complain(&format!("  because: {}", escape::text(cause))));
        }
        if let Some(hint) = &failure.hint {
            complain(&format!("hint: {}", escape::text(hint)));
        }
    }
}

fn though_unread(written: io::Result<()>) -> io::Result<()> {
    written.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

/// Writes a line to standard error. If that is gone, there is nobody left to tell.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Adds a path to a JSON object: as text, and where it is not UTF-8, its bytes in hexadecimal too.
pub fn put_path(object: &mut Value, field: &str, path: &[u8]) {
    object[field] = String::from_utf8_lossy(path).into();
    if std::str::from_utf8(path).is_err() {
        object[format!("{field}_hex")] = to_hex(path).into();
    }
}

/// Names an outcome for people and programs.
pub fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Stored => "stored",
        Outcome::Empty => "empty",
        Outcome::Absent => "absent",
        Outcome::Unreadable => "unreadable",
        Outcome::Excluded => "excluded",
        Outcome::SkippedByChoice => "skipped",
        Outcome::Failed => "failed",
        Outcome::Vanished => "vanished",
        Outcome::ChangedWhileRead => "changed while read",
        Outcome::NotStorable => "not storable",
        Outcome::Damaged => "damaged",
    }
}

/// A table: a head, rows of cells that are escaped already, columns as wide as they must be.
pub struct Table {
    rows: Vec<Vec<String>>,
    right: &'static [usize],
}

impl Table {
    /// Begins a table; the columns numbered in `right` hold figures and are aligned to the right.
    pub fn new(head: &[&str], right: &'static [usize]) -> Self {
        Self { rows: vec![head.iter().map(ToString::to_string).collect()], right }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Returns the lines.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = " ".repeat(width - cell.chars().count());
                let parts = if self.right.contains(&column) { [&gap[..], cell] } else { [cell, &gap[..]] };
                line.extend(parts);
                line.push_str("  ");
            }
            line.truncate(line.trim_end().len());
            line
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let mut table = Table::new(&["ID", "Size", "Paths"], &[1]);
        table.row(vec!["1a".into(), "12 B".into(), "/ä".into()]);
        table.row(vec!["2b3c".into(), "7 B".into(), String::new()]);
        assert_eq!(table.lines(), ["ID    Size  Paths", "1a    12 B  /ä", "2b3c   7 B"]);
    }

    #[test]
    fn paths_that_are_no_text_keep_their_bytes() {
        let mut object = json!({});
        put_path(&mut object, "path", b"a/\xff");
        assert_eq!(object, json!({ "path": "a/\u{fffd}", "path_hex": "612fff" }));
        let mut object = json!({});
        put_path(&mut object, "path", "ä".as_bytes());
        assert_eq!(object, json!({ "path": "ä" }));
    }

    proptest::proptest! {
        /// Any name there can be, written as one line of JSON and read again.
        #[test]
        fn paths_come_back_from_json(path in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            let mut object = json!({});
            put_path(&mut object, "path", &path);
            let line = object.to_string();
            proptest::prop_assert!(!line.contains('\n'));
            let read: Value = serde_json::from_str(&line).unwrap();
            let back = match read["path_hex"].as_str() {
                Some(hex) => hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect(),
                None => read["path"].as_str().unwrap().as_bytes().to_vec(),
            };
            proptest::prop_assert_eq!(back, path);
        }
    }

    #[test]
    fn names_are_escaped_for_a_terminal_only() {
        let mut output = Output { json: false, quiet: false, verbose: 0, stream: false, to_terminal: true };
        assert_eq!(output.name(b"a\x1bb"), b"a\\x1bb");
        output.to_terminal = false;
        assert_eq!(output.name(b"a\x1bb"), b"a\x1bb");
    }
}
