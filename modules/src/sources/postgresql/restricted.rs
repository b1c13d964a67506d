//! Text for `psql`, which can do nothing but SQL with it.
//!
//! `psql` starts programs of this machine wherever its input says so (`\!`, `\copy … from program`, `\o |…`), in the middle
//! of a line too, and what a snapshot holds may come from a client that somebody else owns. `\restrict WORD` forbids all such
//! commands until `\unrestrict` with the same word (PostgreSQL 13.22, 14.19, 15.14, 16.10, 17.6 and later, CVE-2025-8714).
//! `pg_dump` writes both around its text with a word of its own, which a forged text would know: so its two lines are left
//! out here, and a word that nobody knows goes before everything.

use super::ready::Ready;
use dedup_engine::crypto::random;
use std::io::{self, Read};

/// Longest line that is looked at: a command with its word. Words are 63 characters.
const MAX_LINE: usize = 128;
const RESTRICT: &[u8] = b"\\restrict ";
const UNRESTRICT: &[u8] = b"\\unrestrict ";

/// A text whose commands `psql` refuses. Its memory is bounded by a constant.
pub(super) struct Restricted<R> {
    text: R,
    block: Box<[u8]>,
    ready: Ready,
    /// The beginning of a line that may have to be left out.
    line: Vec<u8>,
    /// Whether the line is certain to stay.
    is_kept: bool,
    /// The word of the text's own `\restrict`.
    word: Option<Vec<u8>>,
}

impl<R: Read> Restricted<R> {
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn new(text: R) -> io::Result<Self> {
        let bytes: [u8; 20] = random().map_err(io::Error::other)?;
        let word: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // Whoever does not know the command must stop at it, also where errors are otherwise passed over.
        let head = format!(
            "\\set ON_ERROR_STOP_BEFORE :ON_ERROR_STOP\n\\set ON_ERROR_STOP on\n\\restrict {word}\n\\unrestrict {word}\n\
             \\set ON_ERROR_STOP :ON_ERROR_STOP_BEFORE\n\\restrict {word}\n"
        );
        let mut ready = Ready::default();
        ready.bytes.extend_from_slice(head.as_bytes());
        let (block, line) = (vec![0; 64 << 10].into(), Vec::with_capacity(MAX_LINE));
        Ok(Self { text, block, ready, line, is_kept: false, word: None })
    }

    /// Takes a part of the text.
    fn push(&mut self, part: usize) {
        for at in 0..part {
            let byte = self.block[at];
            if self.is_kept {
                self.ready.bytes.push(byte);
            } else {
                self.line.push(byte);
                let may_go = self.line.len() < MAX_LINE && may_be_command(&self.line);
                if byte == b'\n' {
                    self.end_line();
                } else if !may_go {
                    self.ready.bytes.append(&mut self.line);
                    self.is_kept = true;
                }
            }
            if byte == b'\n' {
                self.is_kept = false;
            }
        }
    }

    /// Ends a line that may have to be left out.
    fn end_line(&mut self) {
        let text = self.line.trim_ascii_end();
        let goes = match (text.strip_prefix(RESTRICT), &self.word) {
            (Some(word), None) => {
                self.word = Some(word.to_vec());
                true
            }
            _ => self.word.as_deref().is_some_and(|word| text.strip_prefix(UNRESTRICT) == Some(word)),
        };
        match goes {
            true => self.line.clear(),
            false => self.ready.bytes.append(&mut self.line),
        }
    }
}

/// Says whether a line that begins like this may be one of the two commands.
fn may_be_command(line: &[u8]) -> bool {
    [RESTRICT, UNRESTRICT].iter().any(|command| line.starts_with(command) || command.starts_with(line))
}

impl<R: Read> Read for Restricted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_out() {
            let part = self.text.read(&mut self.block)?;
            if part == 0 {
                if self.line.is_empty() {
                    return Ok(0);
                }
                self.end_line();
                continue;
            }
            self.push(part);
        }
        Ok(self.ready.hand_out(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ready::Bits;
    use super::*;

    fn passed(text: &str) -> String {
        let mut all = String::new();
        Restricted::new(Bits::new(text.as_bytes(), 7)).unwrap().read_to_string(&mut all).unwrap();
        let (head, body) = all.split_at(all.match_indices('\n').nth(5).unwrap().0 + 1);
        assert!(
            head.starts_with("\\set ") && head.trim_end().lines().last().unwrap().starts_with("\\restrict ")
        );
        let word = head.trim_end().rsplit(' ').next().unwrap();
        assert_eq!(word.len(), 40);
        assert!(!body.contains(word));
        body.to_owned()
    }

    #[test]
    fn the_texts_own_pair_goes_and_all_else_stays() {
        let own = "--\n-- a dump\n\n\\restrict abc\n\nSELECT 1;\nCOPY t FROM stdin;\n\\\\unrestrict abc\n\\.\n\\unrestrict abc\n\n";
        assert_eq!(
            passed(own),
            own.replace("\n\\restrict abc\n", "\n").replace("\n\\unrestrict abc\n", "\n")
        );
        let plain = "SELECT 1;\n\\.\n\\r\nno end";
        assert_eq!(passed(plain), plain);
        assert_eq!(passed(""), "");
        // Other words, and a second beginning, are left to psql, which refuses them.
        let other = "\\restrict a\n\\unrestrict b\n\\restrict c\n\\! touch x\n";
        assert_eq!(passed(other), "\\unrestrict b\n\\restrict c\n\\! touch x\n");
        let long = format!("\\restrict {}\n\\unrestrict x", "y".repeat(3 * MAX_LINE));
        assert_eq!(passed(&long), long);
    }
}
