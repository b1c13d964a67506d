//! Bytes into frames: lines of bounded length, and the bytes that follow a `raw` message.

use super::violation::Violation;
use super::{MAX_LINE_BYTES, MAX_RAW_BYTES};

/// What stands next in what came.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'d> {
    /// A line, without its end.
    Line(&'d [u8]),
    /// Bytes of a raw frame; never empty.
    Raw(&'d [u8]),
    /// The end of a raw frame.
    RawEnd,
}

/// Finds frames in bytes as they come. Holds at most a line and what was pushed last.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    /// Where what was not taken begins.
    at: usize,
    /// Where the search for an end of line goes on.
    searched: usize,
    raw: Raw,
}

/// Where in a raw frame the decoder is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Raw {
    /// In none.
    #[default]
    Not,
    /// Before this many bytes.
    Bytes(usize),
    /// Before the end of line that follows them.
    End,
}

impl Decoder {
    /// Takes bytes. Push only when [`next`](Self::next) has nothing more, and not more than a block: that bounds what is held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..self.at);
        self.searched = self.searched.saturating_sub(self.at);
        self.at = 0;
        self.held.extend_from_slice(bytes);
    }

    /// Says that `n` bytes of a raw frame follow the line that was returned last.
    pub fn expect_raw(&mut self, n: usize) {
        debug_assert!((1..=MAX_RAW_BYTES).contains(&n) && self.raw == Raw::Not);
        self.raw = Raw::Bytes(n);
    }

    /// Returns whether what came ends between two frames.
    pub fn is_between(&self) -> bool {
        self.raw == Raw::Not && self.at == self.held.len()
    }

    /// Returns the next frame, if it is there.
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows from it")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, Violation> {
        let there = self.held.get(self.at..).unwrap_or_default();
        match self.raw {
            Raw::Not => self.line(),
            _ if there.is_empty() => Ok(None),
            Raw::Bytes(left) => {
                let count = left.min(there.len());
                let begin = self.at;
                self.at += count;
                self.searched = self.at;
                self.raw = if count == left { Raw::End } else { Raw::Bytes(left - count) };
                Ok(Some(Frame::Raw(self.held.get(begin..self.at).unwrap_or_default())))
            }
            Raw::End => {
                if there.first() != Some(&b'\n') {
                    return Err(Violation::protocol(
                        "the bytes of a raw frame are not followed by an end of line",
                    ));
                }
                self.at += 1;
                self.searched = self.at;
                self.raw = Raw::Not;
                Ok(Some(Frame::RawEnd))
            }
        }
    }

    fn line(&mut self) -> Result<Option<Frame<'_>>, Violation> {
        let from = self.searched.max(self.at);
        let fresh = self.held.get(from..).unwrap_or_default();
        let end = memchr::memchr(b'\n', fresh).map(|found| from + found);
        let len = end.map_or(self.held.len() - self.at, |end| end + 1 - self.at);
        if len > MAX_LINE_BYTES || end.is_none() && len == MAX_LINE_BYTES {
            return Err(Violation::limit(format!("a line is longer than {MAX_LINE_BYTES} bytes")));
        }
        let Some(end) = end else {
            self.searched = self.held.len();
            return Ok(None);
        };
        let begin = self.at;
        self.at = end + 1;
        self.searched = self.at;
        Ok(Some(Frame::Line(self.held.get(begin..end).unwrap_or_default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let wire = b"{\"t\":\"a\"}\nRAW5\n\n\n{\n}\n\nlast\n";
        for size in 1..=wire.len() {
            let (mut decoder, mut told) = (Decoder::default(), Vec::new());
            for part in wire.chunks(size) {
                decoder.push(part);
                while let Some(frame) = decoder.next().unwrap() {
                    let is_raw = match frame {
                        Frame::Line(line) => {
                            told.push(format!("line {}", String::from_utf8_lossy(line)));
                            line == b"RAW5"
                        }
                        Frame::Raw(bytes) => {
                            told.extend(bytes.iter().map(|byte| format!("byte {byte}")));
                            false
                        }
                        Frame::RawEnd => {
                            told.push("end".into());
                            false
                        }
                    };
                    if is_raw {
                        decoder.expect_raw(5);
                    }
                }
            }
            assert!(decoder.is_between());
            let wanted =
                ["line {\"t\":\"a\"}", "line RAW5", "byte 10", "byte 10", "byte 123", "byte 10", "byte 125"];
            assert_eq!(told[..7], wanted, "by {size}");
            assert_eq!(told[7..], ["end", "line ", "line last"], "by {size}");
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        for (len, fits) in [(MAX_LINE_BYTES - 1, true), (MAX_LINE_BYTES, false), (MAX_LINE_BYTES + 9, false)]
        {
            let mut decoder = Decoder::default();
            let mut found = Ok(false);
            for block in vec![b'x'; len].chunks(65_536).chain([&b"\n"[..]]) {
                decoder.push(block);
                found = decoder.next().map(|frame| frame.is_some());
                if found.is_err() {
                    break;
                }
            }
            assert_eq!(found.is_ok(), fits, "{len}");
            assert!(!fits || found == Ok(true));
            assert!(decoder.held.len() <= MAX_LINE_BYTES + 65_536);
        }
    }

    #[test]
    fn a_raw_frame_that_lies_about_its_length_is_a_violation() {
        let mut decoder = Decoder::default();
        decoder.push(b"r\nabcdef\n");
        assert_eq!(decoder.next().unwrap(), Some(Frame::Line(b"r")));
        decoder.expect_raw(3);
        assert_eq!(decoder.next().unwrap(), Some(Frame::Raw(b"abc")));
        assert!(decoder.next().is_err());
    }
}
