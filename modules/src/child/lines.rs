//! Lines of bounded length.

use super::MAX_LINE;
use std::fmt::Write;

/// What follows a line that was cut.
const CUT: &str = " …";

/// Makes lines of bytes as they come. Holds at most [`MAX_LINE`] bytes.
pub(super) struct Lines {
    begun: Vec<u8>,
    was_cut: bool,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { begun: Vec::new(), was_cut: false }
    }

    /// Takes bytes; `each` gets every line that is complete with them.
    pub(super) fn take(&mut self, bytes: &[u8], each: &mut dyn FnMut(&str)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = MAX_LINE.saturating_sub(self.begun.len()).min(text.len());
            self.was_cut |= room < text.len();
            self.begun.extend(text.iter().take(room));
            if ends {
                self.tell(each);
            }
        }
    }

    /// Tells what stands after the last end of line, if anything.
    pub(super) fn end(&mut self, each: &mut dyn FnMut(&str)) {
        if !self.begun.is_empty() {
            self.tell(each);
        }
    }

    fn tell(&mut self, each: &mut dyn FnMut(&str)) {
        let mut text = printable(self.begun.trim_ascii_end());
        if self.was_cut {
            text.push_str(CUT);
        }
        each(&text);
        self.begun.clear();
        self.was_cut = false;
    }
}

/// Returns text without anything that a terminal would obey: control characters are written out.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        if c.is_control() && c != '\t' {
            let _ = write!(text, "{}", c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

/// The same for several lines.
pub(super) fn printable_lines(bytes: &[u8]) -> String {
    let lines: Vec<String> =
        bytes.split(|byte| *byte == b'\n').map(|line| printable(line.trim_ascii_end())).collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_wherever_the_bytes_are_cut() {
        let text = b"one\r\n\ntwo \xff\x1b[31mred\n  last";
        for size in 1..text.len() {
            let (mut lines, mut told) = (Lines::new(), Vec::new());
            for part in text.chunks(size) {
                lines.take(part, &mut |line| told.push(line.to_owned()));
            }
            lines.end(&mut |line| told.push(line.to_owned()));
            assert_eq!(told, ["one", "", "two \u{fffd}\\u{1b}[31mred", "  last"], "by {size}");
        }
    }

    #[test]
    fn endless_lines_are_cut() {
        let (mut lines, mut told) = (Lines::new(), Vec::new());
        for _ in 0..100 {
            lines.take(&[b'x'; 1000], &mut |line| told.push(line.to_owned()));
        }
        lines.take(b"\nshort\n", &mut |line| told.push(line.to_owned()));
        assert_eq!((told[0].len(), &told[1][..]), (MAX_LINE + CUT.len(), "short"));
        assert!(lines.begun.capacity() <= 2 * MAX_LINE);
    }
}
