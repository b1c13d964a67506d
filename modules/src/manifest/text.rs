//! The text of a file before it means anything: limits, places, TOML.

use super::problem::{MAX_PROBLEMS, Place, Problem, Problems};
use std::collections::BTreeSet;
use toml::de::DeTable;
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// Largest manifest or job file: 256 KiB, a hundred times the largest known one.
pub const MAX_FILE_BYTES: usize = 256 << 10;
/// Deepest nesting, of brackets and of dotted keys each. The schema needs five; what is deeper costs the parser stack.
pub const MAX_DEPTH: usize = 16;

/// A text that is within the limits, and where its lines begin.
pub struct Text<'a> {
    file: &'a str,
    text: &'a str,
    /// Byte offset of every line.
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    /// Takes bytes that were read from `file`, which is a name for messages.
    pub fn new(file: &'a str, bytes: &'a [u8]) -> Result<Self, Problems> {
        let refused = |place, message: String, help: &str| {
            let problem = Problem { place, key: String::new(), message, help: Some(help.to_owned()) };
            Problems { file: file.to_owned(), list: vec![problem], more: 0 }
        };
        let top = Place { line: 1, column: 1 };
        if bytes.len() > MAX_FILE_BYTES {
            let message = format!("the file is larger than {} KiB", MAX_FILE_BYTES >> 10);
            return Err(refused(top, message, "a manifest names things, it does not hold them"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let valid = std::str::from_utf8(valid).unwrap_or_default();
            refused(
                Self::of(file, valid).place(valid.len()),
                "the text is not UTF-8".into(),
                "save it as UTF-8",
            )
        })?;
        let this = Self::of(file, text);
        match this.too_deep() {
            None => Ok(this),
            Some(at) => {
                let message = format!("more than {MAX_DEPTH} levels lie inside one another here");
                Err(refused(this.place(at), message, "nothing in a manifest is that deep"))
            }
        }
    }

    fn of(file: &'a str, text: &'a str) -> Self {
        let begins = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { file, text, lines: std::iter::once(0).chain(begins).collect() }
    }

    /// Returns the whole text.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Returns the place of a byte; of the end where it lies behind it.
    pub fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.lines.partition_point(|begin| *begin <= offset).max(1);
        let begin = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self.text.as_bytes().get(begin..offset).unwrap_or_default();
        // Bytes that continue a character of UTF-8 are not counted.
        let columns = before.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { line: number(line), column: number(columns + 1) }
    }

    /// Reads the TOML: the table, as far as it can be understood, and what is wrong with it, in order.
    pub fn parse(&self) -> (DeTable<'a>, Vec<Problem>) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let problems = errors.iter().map(|error| Problem {
            place: self.place(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            message: format!("this is not TOML: {}", error.message()),
            help: None,
        });
        (table.into_inner(), problems.collect())
    }

    /// Makes the error of a file from what is wrong with its TOML and with its meaning, together at least one thing.
    ///
    /// After an error of TOML the rest of its line is guesswork: one problem is told of such a line.
    pub fn refused(&self, broken: Vec<Problem>, mut list: Vec<Problem>) -> Problems {
        let mut lines = BTreeSet::new();
        let broken: Vec<Problem> =
            broken.into_iter().filter(|problem| lines.insert(problem.place.line)).collect();
        list.retain(|problem| !lines.contains(&problem.place.line));
        list.extend(broken);
        list.sort_by_key(|problem| problem.place);
        list.dedup();
        let more = list.len().saturating_sub(MAX_PROBLEMS);
        list.truncate(MAX_PROBLEMS);
        Problems { file: self.file.to_owned(), list, more }
    }

    /// Returns where brackets or dotted keys lie too deep inside one another, seen from the tokens alone.
    ///
    /// Where brackets do not match, the parser's own limit (80) holds, and the file is refused anyway.
    fn too_deep(&self) -> Option<usize> {
        let (mut brackets, mut dots) = (0_usize, 0_usize);
        for token in Source::new(self.text).lex() {
            match token.kind() {
                TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => brackets += 1,
                TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                    brackets = brackets.saturating_sub(1)
                }
                TokenKind::Dot => dots += 1,
                TokenKind::Equals | TokenKind::Comma | TokenKind::Newline => dots = 0,
                _ => {}
            }
            if brackets > MAX_DEPTH || dots > MAX_DEPTH {
                return Some(token.span().start());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> Problems {
        Text::new("x.toml", bytes).err().unwrap()
    }

    #[test]
    fn places_are_counted_as_editors_do() {
        let text = Text::new("x.toml", "a = 1\nä = \"ö\" # end\n".as_bytes()).unwrap();
        let place = |offset| text.place(offset).to_string();
        assert_eq!([0, 4, 6, 8, 11].map(place), ["1:1", "1:5", "2:1", "2:2", "2:5"]);
        assert_eq!(
            (text.place(23).to_string(), text.place(usize::MAX).to_string()),
            ("3:1".into(), "3:1".into())
        );
        assert_eq!(Text::new("x.toml", b"").unwrap().place(0).to_string(), "1:1");
    }

    #[test]
    fn large_deep_and_foreign_files_are_refused_before_anything_is_read() {
        let large = vec![b'#'; MAX_FILE_BYTES + 1];
        assert!(refusal(&large).list[0].message.contains("256 KiB"));
        assert!(Text::new("x.toml", &large[1..]).is_ok());
        let foreign = refusal(b"a = 1\nb = \"\xff\"");
        assert!(foreign.list[0].message.contains("UTF-8") && foreign.list[0].place.to_string() == "2:6");
        let dotted = "a.".repeat(MAX_FILE_BYTES / 2 - 4) + "a = 1";
        assert!(refusal(dotted.as_bytes()).list[0].message.contains("16 levels"));
        for (open, close) in [("[", "]"), ("{a=", "}")] {
            let nested = |n: usize| format!("a = {}1{}", open.repeat(n), close.repeat(n));
            assert!(Text::new("x.toml", nested(MAX_DEPTH).as_bytes()).is_ok());
            assert!(refusal(nested(MAX_DEPTH + 1).as_bytes()).list[0].message.contains("16 levels"));
        }
        // Text is text, however many dots and brackets it has.
        let quoted = format!("a = \"{}\"\n# {}\n", "[.".repeat(100), "[.".repeat(100));
        assert!(Text::new("x.toml", quoted.as_bytes()).is_ok());
    }

    /// What matches nothing must not become deep either.
    #[test]
    fn broken_brackets_stay_within_the_stack() {
        for piece in ["[ } ", "{ ] ", "[a\n", "{a.b.c=[", "a=[}\n"] {
            let text = format!("k = {}", piece.repeat(MAX_FILE_BYTES / piece.len() - 4));
            if let Ok(text) = Text::new("x.toml", text.as_bytes()) {
                assert!(!text.refused(text.parse().1, vec![]).list.is_empty());
            }
        }
    }
}
