//! Text without transactions of its own: `psql -1` makes one around all of it.
//!
//! `pg_dump` writes `BEGIN` and `COMMIT` around large objects. Within the load's own transaction the first does nothing, and
//! the second ends it: whatever failed after that left what came before. So statements that are nothing but one of these
//! two words are left out. What only looks like one, in a text, a name, the body of a function, a comment or a row of COPY,
//! stays; these are told apart as `psql` does. Memory: one block, one tag of a quotation.

use super::ready::Ready;
use memchr::{memchr, memchr2};
use std::io::{self, Read};

/// The statements that go.
const WORDS: [&[u8]; 2] = [b"BEGIN", b"COMMIT"];
/// Bytes of a statement that are looked at: its first, and its last.
const MAX_HEAD: usize = 64;
const MAX_TAIL: usize = 16;
/// Longest tag of a quotation by dollars. Names have 63 bytes.
const MAX_TAG: usize = 1024;

/// A text that neither begins nor ends a transaction.
pub(super) struct OneTransaction<R> {
    text: R,
    block: Box<[u8]>,
    ready: Ready,
    place: Place,
    /// How the statement begins, without what is quoted in it, and how it ended so far.
    head: Vec<u8>,
    tail: Vec<u8>,
    /// What is not handed out yet: it may be one of the two words.
    held: Vec<u8>,
    /// The last two bytes of code.
    last: [u8; 2],
    /// What ends a quotation by dollars: `$tag$`.
    delimiter: Vec<u8>,
    /// Whether a backslash means something in every text (`standard_conforming_strings = off`).
    has_escapes: bool,
}

/// What a byte belongs to.
#[derive(Clone, Copy)]
enum Place {
    Code,
    /// A text; whether a backslash means something in it.
    Text(bool),
    /// After a backslash in such a text.
    Escape,
    /// After what ends it, unless the same follows.
    TextEnd(bool),
    Name,
    /// The tag of a quotation, the quotation, and so many bytes of what ends it.
    Tag,
    Quoted,
    Closing(usize),
    /// Up to the end of the line: a comment, a command of `psql`.
    Line,
    /// A comment of this depth, and its last byte.
    Comment(u32, u8),
    /// The line of a COPY, and its rows.
    BeforeRows,
    Rows(Row),
}

/// How far a row may be the end of rows.
#[derive(Clone, Copy)]
enum Row {
    Start,
    Backslash,
    Dot,
    Other,
}

impl<R: Read> OneTransaction<R> {
    pub(super) fn new(text: R) -> Self {
        let (ready, head, tail, held, delimiter) = Default::default();
        Self {
            text,
            block: vec![0; 64 << 10].into(),
            ready,
            place: Place::Code,
            head,
            tail,
            held,
            last: [b' '; 2],
            delimiter,
            has_escapes: false,
        }
    }

    /// Takes a part of the text.
    fn push(&mut self, mut bytes: &[u8]) {
        while let Some((byte, after)) = bytes.split_first() {
            // What certainly changes nothing goes at once.
            let same = match self.place {
                Place::Text(true) => memchr2(b'\'', b'\\', bytes),
                Place::Text(false) => memchr(b'\'', bytes),
                Place::Name => memchr(b'"', bytes),
                Place::Quoted => memchr(b'$', bytes),
                Place::Line | Place::BeforeRows | Place::Rows(Row::Other) => memchr(b'\n', bytes),
                Place::Comment(_, b' ') => memchr2(b'*', b'/', bytes),
                _ => Some(0),
            };
            let same = same.unwrap_or(bytes.len());
            if same > 0 {
                let (now, later) = bytes.split_at(same);
                self.ready.bytes.extend_from_slice(now);
                bytes = later;
                continue;
            }
            if self.step(*byte) {
                bytes = after;
            }
        }
    }

    /// Takes a byte; `false` if it is to be looked at again, as code.
    fn step(&mut self, byte: u8) -> bool {
        self.place = match (self.place, byte) {
            (Place::Code, _) => {
                self.code(byte);
                return true;
            }
            (Place::Text(escapes), b'\'') => Place::TextEnd(escapes),
            (Place::Text(true), b'\\') => Place::Escape,
            (Place::Text(escapes), _) => Place::Text(escapes),
            (Place::Escape, _) => Place::Text(true),
            (Place::TextEnd(escapes), b'\'') => Place::Text(escapes),
            (Place::TextEnd(_), _) => return self.again(),
            (Place::Name, b'"') => self.end_quoted(),
            (Place::Name, _) => Place::Name,
            (Place::Tag, b'$') => {
                self.delimiter.push(b'$');
                Place::Quoted
            }
            (Place::Tag, _) if self.is_of_tag(byte) => {
                self.delimiter.push(byte);
                Place::Tag
            }
            (Place::Tag, _) => return self.again(),
            (Place::Quoted, b'$') => Place::Closing(1),
            (Place::Quoted, _) => Place::Quoted,
            (Place::Closing(count), _) if self.delimiter.get(count) == Some(&byte) => {
                match count + 1 == self.delimiter.len() {
                    true => self.end_quoted(),
                    false => Place::Closing(count + 1),
                }
            }
            (Place::Closing(_), b'$') => Place::Closing(1),
            (Place::Closing(_), _) => Place::Quoted,
            (Place::Line, b'\n') => self.end_quoted(),
            (Place::Line, _) => Place::Line,
            (Place::Comment(1, b'*'), b'/') => self.end_quoted(),
            (Place::Comment(depth, b'*'), b'/') => Place::Comment(depth - 1, b' '),
            (Place::Comment(depth, b'/'), b'*') => Place::Comment(depth.saturating_add(1), b' '),
            (Place::Comment(depth, _), b'*' | b'/') => Place::Comment(depth, byte),
            (Place::Comment(depth, _), _) => Place::Comment(depth, b' '),
            (Place::BeforeRows, b'\n') => Place::Rows(Row::Start),
            (Place::BeforeRows, _) => Place::BeforeRows,
            (Place::Rows(Row::Dot), b'\n') => self.end_quoted(),
            (Place::Rows(Row::Dot), b'\r') => Place::Rows(Row::Dot),
            (Place::Rows(_), b'\n') => Place::Rows(Row::Start),
            (Place::Rows(Row::Start), b'\\') => Place::Rows(Row::Backslash),
            (Place::Rows(Row::Backslash), b'.') => Place::Rows(Row::Dot),
            (Place::Rows(_), _) => Place::Rows(Row::Other),
        };
        self.ready.bytes.push(byte);
        true
    }

    /// Has the byte looked at again, as code.
    fn again(&mut self) -> bool {
        self.place = self.end_quoted();
        false
    }

    /// Goes back to code, of which what ended here is no part.
    fn end_quoted(&mut self) -> Place {
        self.last = [b' '; 2];
        Place::Code
    }

    fn is_of_tag(&self, byte: u8) -> bool {
        let may = byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80;
        (may || byte.is_ascii_digit() && self.delimiter.len() > 1) && self.delimiter.len() < MAX_TAG
    }

    /// Takes a byte of code.
    fn code(&mut self, byte: u8) {
        let [before, last] = self.last;
        self.last = [last, byte];
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
        match byte {
            b';' => {
                self.end_statement();
                return;
            }
            b'\\' => self.place = Place::Line,
            b'-' if last == b'-' => self.begin_comment(Place::Line),
            b'*' if last == b'/' => self.begin_comment(Place::Comment(1, b' ')),
            _ => {
                match byte {
                    b'\'' => {
                        let is_marked = matches!(last, b'e' | b'E') && !is_word(before);
                        self.place = Place::Text(is_marked || self.has_escapes);
                    }
                    b'"' => self.place = Place::Name,
                    b'$' if !is_word(last) => {
                        self.delimiter.clear();
                        self.delimiter.push(b'$');
                        self.place = Place::Tag;
                    }
                    _ => {}
                }
                self.note(byte);
                return;
            }
        }
        self.ready.bytes.append(&mut self.held);
        self.ready.bytes.push(byte);
    }

    /// Begins a comment, whose first byte was taken for code.
    fn begin_comment(&mut self, place: Place) {
        if self.head.len() < MAX_HEAD {
            self.head.pop();
        }
        self.tail.pop();
        self.place = place;
    }

    /// Notes a byte of a statement, and hands it out or holds it.
    fn note(&mut self, byte: u8) {
        if self.head.is_empty() && byte.is_ascii_whitespace() {
            self.ready.bytes.push(byte);
            return;
        }
        let is_first = self.head.is_empty();
        if self.head.len() < MAX_HEAD {
            self.head.push(byte);
        }
        if self.tail.len() == MAX_TAIL {
            self.tail.remove(0);
        }
        self.tail.push(byte);
        if is_first || !self.held.is_empty() {
            self.held.push(byte);
            if !WORDS.iter().any(|word| word.starts_with(&self.held)) {
                self.ready.bytes.append(&mut self.held);
            }
            return;
        }
        self.ready.bytes.push(byte);
    }

    fn end_statement(&mut self) {
        match WORDS.contains(&&self.held[..]) {
            true => self.held.clear(),
            false => {
                self.ready.bytes.append(&mut self.held);
                self.ready.bytes.push(b';');
            }
        }
        match &self.head[..] {
            b"SET standard_conforming_strings = off" => self.has_escapes = true,
            b"SET standard_conforming_strings = on" => self.has_escapes = false,
            head if head.starts_with(b"COPY ") && self.tail.ends_with(b" FROM stdin") => {
                self.place = Place::BeforeRows;
            }
            _ => {}
        }
        self.head.clear();
        self.tail.clear();
    }
}

impl<R: Read> Read for OneTransaction<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_out() {
            let part = self.text.read(&mut self.block)?;
            if part == 0 {
                if self.held.is_empty() {
                    return Ok(0);
                }
                self.ready.bytes.append(&mut self.held);
                continue;
            }
            let block = std::mem::take(&mut self.block);
            self.push(block.get(..part).unwrap_or_default());
            self.block = block;
        }
        Ok(self.ready.hand_out(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ready::Bits;
    use super::*;

    fn passed(text: &str) -> String {
        let (mut some, mut all) = (String::new(), String::new());
        OneTransaction::new(Bits::new(text.as_bytes(), 5)).read_to_string(&mut some).unwrap();
        OneTransaction::new(text.as_bytes()).read_to_string(&mut all).unwrap();
        assert_eq!(some, all);
        all
    }

    #[test]
    fn statements_of_one_word_go() {
        let objects = |begin: &str, commit: &str| {
            format!(
                "SELECT pg_catalog.lo_create('4711');\n\n--\n-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: -\n--\n\n{begin}\n\n\
                 SELECT pg_catalog.lo_open('4711', 131072);\nSELECT pg_catalog.lowrite(0, '\\x00');\nSELECT pg_catalog.lo_close(0);\n\n{commit}\n\n"
            )
        };
        assert_eq!(passed(&objects("BEGIN;", "COMMIT;")), objects("", ""));
        assert_eq!(
            passed("BEGIN;COMMIT; /* x */ COMMIT;\n\\restrict a'b\nCOMMIT;"),
            " /* x */ \n\\restrict a'b\n"
        );
        for other in [
            "BEGINS;\nBEGIN TRANSACTION;\nROLLBACK;\nCOMMIT",
            "CREATE FUNCTION f() RETURNS int\n    LANGUAGE sql\n    BEGIN ATOMIC\n SELECT 1;\nEND;\n",
            "\"COMMIT\";\nCOMMIT\"\";\n'COMMIT';\n-BEGIN;\nCOMMIT--\n;",
            "",
        ] {
            assert_eq!(passed(other), other);
        }
    }

    #[test]
    fn what_only_looks_like_one_stays() {
        for all in [
            "COMMENT ON TABLE a IS 'x;\nCOMMIT;\n''\nBEGIN;\n''';\n",
            "CREATE VIEW a AS SELECT E'\\';\nCOMMIT;\n\\\\', 'a\\';\n",
            "SELECT \"a;\nCOMMIT;\n\"\"\nCOMMIT;\n\";\n",
            "AS $$\nBEGIN;\nCOMMIT;\n$a$;\nCOMMIT;\n$$;\nAS $_$\nCOMMIT;\n$$ $a_$ $_ $_$;\nAS $\u{fc}1$;COMMIT;$\u{fc}1$;\n",
            "SELECT $1, a$b$ FROM x;\n",
            "/* a;\nCOMMIT; /* b */;\nCOMMIT;\n*/ -- x;COMMIT;\n",
            "COPY public.\"a b\" (line) FROM stdin;\nCOMMIT;\nit's\nBEGIN;\n\\\\.\n\\.x\n\"\n$$\n\\.\n",
            "COPY a (b) FROM stdin;\n\\.\n",
            "SET standard_conforming_strings = off;\nSELECT 'a\\';\nCOMMIT;\n';\nSET standard_conforming_strings = on;\n",
        ] {
            assert_eq!(passed(all), all);
            // It is over where it ends.
            assert_eq!(passed(&format!("{all}COMMIT;\n")), format!("{all}\n"));
        }
        // No COPY of rows: nothing of it is one.
        assert_eq!(passed("COPY a TO stdout;\nCOMMIT;\n"), "COPY a TO stdout;\n\n");
        assert_eq!(passed("SELECT 1 - /* */ -1, 2 / -- x\n 3;COMMIT;"), "SELECT 1 - /* */ -1, 2 / -- x\n 3;");
        let tag = "x".repeat(2 * MAX_TAG);
        assert_eq!(passed(&format!("SELECT ${tag}$;COMMIT;")), format!("SELECT ${tag}$;"));
    }
}
