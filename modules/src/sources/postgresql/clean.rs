//! What a dump says of removing what is there, without what a server refuses.
//!
//! `pg_dump` has each key and index of a table removed before the table itself. Those of a part of a partitioned table belong
//! to the whole one's, and the server removes them with that alone: the statement ends the load. So of an archive those
//! statements are left out, and in text they may fail for this one reason; the tables, which are removed a little later,
//! take their keys and indexes along. What else needs a key keeps its table from being removed, as before.
//!
//! An archive begins with its contents: `PGDMP`, its version (1.12 to 1.16 are known), lengths of numbers and places, then
//! entries of numbers and texts (`pg_backup_archiver.c`, `ReadHead` and `ReadToc`). A statement keeps its length: it
//! becomes a comment. What is not understood stays as it is, and is the program's to judge.

use super::ready::Ready;
use std::io::{self, Read};
use std::ops::Range;

/// What an archive begins with.
const MAGIC: &[u8] = b"PGDMP";
/// Longest entry of the contents that is looked at.
const MAX_ENTRY: usize = 16 << 20;
/// Longest line of text that is looked at.
const MAX_LINE: usize = 8 << 10;
/// What is asked at once when there is nothing more to look at.
const BLOCK: usize = 64 << 10;

/// A dump whose statements of removal are mended. Its memory is bounded by the longest entry or line that is looked at.
pub(super) struct Cleaned<R> {
    inner: R,
    ready: Ready,
    looking: Looking,
}

enum Looking {
    /// At the first bytes of an archive.
    Head,
    /// At so many more entries.
    Entries(Widths, u64),
    /// At the statements of removal in text; a line that is not at its end, and whether its beginning is gone already.
    Text(Vec<u8>, bool),
    /// No more.
    Done,
}

/// How an archive writes.
#[derive(Clone, Copy)]
struct Widths {
    version: u8,
    number: usize,
    place: usize,
}

impl<R: Read> Cleaned<R> {
    /// An archive.
    pub(super) fn archive(inner: R) -> Self {
        Self { inner, ready: Ready::default(), looking: Looking::Head }
    }

    /// Text, as `pg_dump --clean --if-exists` writes it.
    pub(super) fn text(inner: R) -> Self {
        Self { inner, ready: Ready::default(), looking: Looking::Text(Vec::new(), false) }
    }

    /// Looks at what comes next, and makes it ready.
    fn go_on(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.looking, Looking::Done) {
            Looking::Head => {
                if let Some((widths, entries)) = self.head()? {
                    self.looking = Looking::Entries(widths, entries);
                }
            }
            Looking::Entries(_, 0) | Looking::Done => {}
            Looking::Entries(widths, left) => {
                if self.entry(widths)?.is_some() {
                    self.looking = Looking::Entries(widths, left - 1);
                }
            }
            Looking::Text(line, is_rest) => self.lines(line, is_rest)?,
        }
        Ok(())
    }

    /// Takes so many bytes; none if there are fewer, or too many for an entry.
    fn take(&mut self, count: usize) -> io::Result<Option<Range<usize>>> {
        let begin = self.ready.bytes.len();
        if count > MAX_ENTRY.saturating_sub(begin) {
            return Ok(None);
        }
        let came = self.inner.by_ref().take(count as u64).read_to_end(&mut self.ready.bytes)?;
        Ok((came == count).then_some(begin..self.ready.bytes.len()))
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        Ok(self.take(1)?.and_then(|range| self.ready.bytes.get(range.start).copied()))
    }

    /// A number: its sign, then its bytes, the least first.
    fn number(&mut self, widths: Widths) -> io::Result<Option<i64>> {
        let Some(range) = self.take(1 + widths.number)? else { return Ok(None) };
        let bytes = self.ready.bytes.get(range).unwrap_or_default();
        let Some((sign, digits)) = bytes.split_first() else { return Ok(None) };
        let number = digits.iter().rev().fold(0i64, |number, byte| number << 8 | i64::from(*byte));
        Ok(Some(if *sign == 0 { number } else { -number }))
    }

    /// A text: where it is; nowhere if it is none.
    fn text_at(&mut self, widths: Widths) -> io::Result<Option<Option<Range<usize>>>> {
        match self.number(widths)? {
            None => Ok(None),
            Some(len) if len < 0 => Ok(Some(None)),
            Some(len) => Ok(self.take(usize::try_from(len).unwrap_or(usize::MAX))?.map(Some)),
        }
    }

    /// Reads what stands before the entries; returns how many there are.
    fn head(&mut self) -> io::Result<Option<(Widths, u64)>> {
        let Some(range) = self.take(MAGIC.len() + 6)? else { return Ok(None) };
        let known = match self.ready.bytes.get(range).and_then(|bytes| bytes.strip_prefix(MAGIC)) {
            Some([1, version @ 12..=16, _, number @ 1..=7, place @ 1..=8, 1]) => {
                Widths { version: *version, number: usize::from(*number), place: usize::from(*place) }
            }
            _ => return Ok(None),
        };
        let compression = match known.version {
            15.. => self.byte()?.map(i64::from),
            _ => self.number(known)?,
        };
        if compression.is_none() {
            return Ok(None);
        }
        // When it was made.
        for _ in 0..7 {
            if self.number(known)?.is_none() {
                return Ok(None);
            }
        }
        // The database, and two versions.
        for _ in 0..3 {
            if self.text_at(known)?.is_none() {
                return Ok(None);
            }
        }
        Ok(self.number(known)?.and_then(|count| u64::try_from(count).ok()).map(|count| (known, count)))
    }

    /// Reads an entry; none if it is not understood.
    fn entry(&mut self, widths: Widths) -> io::Result<Option<()>> {
        // Its number, whether it has data.
        for _ in 0..2 {
            if self.number(widths)?.is_none() {
                return Ok(None);
            }
        }
        // Ids of the catalogue, name, kind.
        let mut kind = None;
        for _ in 0..4 {
            let Some(text) = self.text_at(widths)? else { return Ok(None) };
            kind = text;
        }
        // Its section, what makes it, what removes it.
        let section = self.number(widths)?.is_some();
        let Some((_, removes)) = (match section {
            true => self.text_at(widths)?.zip(self.text_at(widths)?),
            false => None,
        }) else {
            return Ok(None);
        };
        let of_table = kind
            .and_then(|kind| self.ready.bytes.get(kind))
            .is_some_and(|kind| matches!(kind, b"CONSTRAINT" | b"INDEX"));
        if let (true, Some(statement)) = (of_table, removes) {
            as_comment(self.ready.bytes.get_mut(statement).unwrap_or_default());
        }
        // How rows come, schema, tablespace; access method, kind of relation, owner, and one that says nothing any more.
        let texts = 3 + usize::from(widths.version >= 14);
        for _ in 0..texts {
            if self.text_at(widths)?.is_none() {
                return Ok(None);
            }
        }
        if widths.version >= 16 && self.number(widths)?.is_none() {
            return Ok(None);
        }
        for _ in 0..2 {
            if self.text_at(widths)?.is_none() {
                return Ok(None);
            }
        }
        // What it needs, up to a text that is none.
        while let Some(needed) = self.text_at(widths)? {
            if needed.is_none() {
                // Where its data are.
                return Ok(self.take(1 + widths.place)?.map(drop));
            }
        }
        Ok(None)
    }

    /// Takes a part of the text, up to the first thing that is made.
    fn lines(&mut self, mut line: Vec<u8>, mut is_rest: bool) -> io::Result<()> {
        let begin = line.len();
        if self.inner.by_ref().take(BLOCK as u64).read_to_end(&mut line)? == 0 {
            self.ready.bytes.append(&mut line);
            return Ok(());
        }
        let mut rest = &line[..];
        let mut searched = begin;
        while let Some(at) = memchr::memchr(b'\n', rest.get(searched..).unwrap_or_default()) {
            let (one, after) = rest.split_at(searched + at + 1);
            (rest, searched) = (after, 0);
            match forgiving(one).filter(|_| !is_rest) {
                Some(statement) => self.ready.bytes.extend_from_slice(&statement),
                None => self.ready.bytes.extend_from_slice(one),
            }
            if !std::mem::take(&mut is_rest) && one.starts_with(b"-- Name: ") {
                self.ready.bytes.extend_from_slice(rest);
                return Ok(());
            }
        }
        if rest.len() > MAX_LINE {
            // No statement of these is as long.
            self.ready.bytes.extend_from_slice(rest);
            (rest, is_rest) = (b"", true);
        }
        self.looking = Looking::Text(rest.to_vec(), is_rest);
        Ok(())
    }
}

/// Makes a comment of a statement, as long as it was.
fn as_comment(statement: &mut [u8]) {
    let len = statement.len() - usize::from(statement.ends_with(b"\n"));
    if let Some(text) = statement.get_mut(..len).filter(|text| text.len() >= 2) {
        text.fill(b' ');
        text[..2].fill(b'-');
    }
}

/// Returns a line that removes a key or an index so that it may be refused because a whole table has it.
fn forgiving(line: &[u8]) -> Option<Vec<u8>> {
    let holds = |words: &[u8]| line.windows(words.len()).any(|part| part == words);
    let is_key = line.starts_with(b"ALTER TABLE IF EXISTS ONLY ") && holds(b" DROP CONSTRAINT IF EXISTS ");
    let is_whole = line.ends_with(b";\n")
        && line.len() <= MAX_LINE
        && line.iter().filter(|byte| **byte == b'"').count().is_multiple_of(2)
        && !line.contains(&b'$');
    if !is_whole || !is_key && !line.starts_with(b"DROP INDEX IF EXISTS ") {
        return None;
    }
    let statement = line.strip_suffix(b"\n").unwrap_or(line);
    let end =
        b" EXCEPTION WHEN invalid_table_definition OR dependent_objects_still_exist THEN NULL; END$clean$;\n";
    Some([b"DO $clean$BEGIN ", statement, end].concat())
}

impl<R: Read> Read for Cleaned<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.is_out() {
            if matches!(self.looking, Looking::Done) {
                return self.inner.read(buffer);
            }
            self.go_on()?;
        }
        Ok(self.ready.hand_out(buffer))
    }
}

#[cfg(test)]
#[path = "clean_tests.rs"]
mod tests;
