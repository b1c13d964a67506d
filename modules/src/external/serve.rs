//! Streams to an importer: as fast as it takes them, and never more in memory than a few blocks.

use super::error::ExternalError;
use super::import::Work;
use crate::protocol::{MAX_LINE_BYTES, Shape};
use serde::Deserialize;
use serde_json::Value as Json;
use std::io::{BufRead, BufReader, Read};

/// Bytes of one frame.
const BLOCK: usize = 64 << 10;
/// Bytes that may wait to be read by the program.
const WAITING: usize = 4 * BLOCK;
/// Version of stored records and trees.
const VERSION: u64 = 1;

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    records: Option<u64>,
    #[serde(default)]
    tree: Option<u64>,
    #[serde(default)]
    schema: Option<Json>,
}

#[derive(Deserialize)]
struct Trailer {
    count: u64,
}

impl Work<'_> {
    /// Sends bytes.
    pub(super) fn send_bytes(
        &mut self,
        id: Option<u64>,
        head: &Json,
        read: &mut dyn Read,
    ) -> Result<(), ExternalError> {
        let s = self.talker.session.open(id, Shape::Blob, head, None);
        let mut block = vec![0; BLOCK];
        loop {
            let count = match read.read(&mut block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.unreadable(s, &error.to_string())),
            };
            let mut rest = block.get(..count).unwrap_or_default();
            self.talker.stir()?;
            while !rest.is_empty() {
                let room = self.talker.unsaid() < WAITING;
                let sent = if room { self.talker.session.send_bytes(s, rest) } else { 0 };
                rest = rest.get(sent..).unwrap_or_default();
                if sent == 0 && !self.goes_on()? {
                    return Ok(());
                }
            }
        }
        self.talker.session.end(s, false);
        Ok(())
    }

    /// Sends rows of canonical lines: header, rows, trailer.
    pub(super) fn send_rows(
        &mut self,
        id: Option<u64>,
        shape: Shape,
        head: &Json,
        read: &mut dyn Read,
    ) -> Result<(), ExternalError> {
        let mut lines = BufReader::with_capacity(BLOCK, read);
        let mut line = Vec::new();
        let first = next(&mut lines, &mut line).map_err(ExternalError::Data)?;
        let schema = schema(shape, first).map_err(ExternalError::Data)?;
        let s = self.talker.session.open(id, shape, head, schema.as_deref());
        let mut rows = 0;
        loop {
            let text = match next(&mut lines, &mut line) {
                Ok(text) => text,
                Err(why) => return Err(self.unreadable(s, &why)),
            };
            if text.starts_with('{') {
                let told = serde_json::from_str::<Trailer>(text).ok().map(|trailer| trailer.count);
                let is_end = lines.fill_buf().is_ok_and(<[u8]>::is_empty);
                if told != Some(rows) || !is_end {
                    return Err(self.unreadable(s, "the rows are not as many as were stored"));
                }
                break;
            }
            rows += 1;
            while self.talker.unsaid() >= WAITING || !self.talker.session.send_row(s, text) {
                if !self.goes_on()? {
                    return Ok(());
                }
            }
        }
        self.talker.session.end(s, true);
        Ok(())
    }

    /// Waits for the program to take something; returns whether there is any use in going on.
    fn goes_on(&mut self) -> Result<bool, ExternalError> {
        self.step()?;
        if self.ended {
            return Err(ExternalError::Data("the program ended while a stream was sent to it".into()));
        }
        Ok(!self.talker.is_ending())
    }

    fn unreadable(&mut self, s: u64, why: &str) -> ExternalError {
        self.talker.session.break_off(s, "integrity", why);
        ExternalError::Data(format!("what was stored cannot be read: {why}"))
    }
}

fn next<'l>(lines: &mut impl BufRead, line: &'l mut Vec<u8>) -> Result<&'l str, String> {
    line.clear();
    let read = lines.take(MAX_LINE_BYTES as u64).read_until(b'\n', line);
    read.map_err(|error| error.to_string())?;
    let text = line.strip_suffix(b"\n").ok_or("a line is cut off, or too long")?;
    std::str::from_utf8(text).map_err(|_| "a line is not UTF-8".into())
}

/// Returns the schema that stands in a header, as it stands there.
fn schema(shape: Shape, line: &str) -> Result<Option<String>, String> {
    let header: Header = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let version = if shape == Shape::Records { header.records } else { header.tree };
    if version != Some(VERSION) {
        return Err(format!("it is of version {version:?}, and this program reads {VERSION}"));
    }
    if shape == Shape::Tree {
        return Ok(None);
    }
    let text = line.strip_prefix("{\"records\":1,\"schema\":").and_then(|rest| rest.strip_suffix('}'));
    match (text, header.schema) {
        (Some(text), Some(_)) => Ok(Some(text.to_owned())),
        _ => Err("its header is not as it is written".into()),
    }
}
