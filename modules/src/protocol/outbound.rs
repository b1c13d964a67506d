//! Streams that go to a module: numbers, credit, frames.

use super::violation::Violation;
use super::{CREDIT_BYTES, MAX_CHUNK_BYTES, MAX_RAW_BYTES};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;

/// Most credit that one message grants.
const MAX_GRANT: u64 = 1 << 40;

/// One of them.
struct Outbound {
    credit: u64,
    digest: Sha256,
    bytes: u64,
    rows: u64,
}

/// All of them.
#[derive(Default)]
pub(super) struct Outbounds {
    open: BTreeMap<u64, Outbound>,
    last: u64,
}

impl Outbounds {
    /// Takes the next number.
    pub fn open(&mut self) -> u64 {
        self.last += 2;
        let stream = Outbound { credit: CREDIT_BYTES, digest: Sha256::new(), bytes: 0, rows: 0 };
        self.open.insert(self.last, stream);
        self.last
    }

    /// Takes credit.
    pub fn grant(&mut self, s: u64, n: u64) -> Result<(), Violation> {
        if !(1..=MAX_GRANT).contains(&n) {
            return Err(Violation::protocol(format!("n is {n}: it must be from 1 to 2^40")));
        }
        match self.open.get_mut(&s) {
            Some(stream) => stream.credit = stream.credit.saturating_add(n),
            None if s > 0 && s.is_multiple_of(2) && s <= self.last => {}
            None => return Err(Violation::protocol(format!("there never was a stream {s}"))),
        }
        Ok(())
    }

    /// Returns how much of a stream may be sent.
    pub fn room(&self, s: u64) -> u64 {
        self.open.get(&s).map_or(0, |stream| stream.credit)
    }

    /// Writes bytes, as many as there is credit for; returns how many.
    pub fn bytes(&mut self, s: u64, bytes: &[u8], raw: bool, out: &mut Vec<u8>) -> usize {
        let Some(stream) = self.open.get_mut(&s) else { return 0 };
        let most = if raw { MAX_RAW_BYTES } else { MAX_CHUNK_BYTES };
        let count = bytes.len().min(most).min(usize::try_from(stream.credit).unwrap_or(usize::MAX));
        let Some(part) = bytes.get(..count).filter(|part| !part.is_empty()) else { return 0 };
        stream.credit -= count as u64;
        stream.bytes += count as u64;
        stream.digest.update(part);
        // Writing into memory does not fail.
        if raw {
            let _ = writeln!(out, "{{\"t\":\"raw\",\"s\":{s},\"n\":{count}}}");
            out.extend_from_slice(part);
            out.push(b'\n');
        } else {
            let _ = writeln!(out, "{{\"t\":\"chunk\",\"s\":{s},\"b64\":\"{}\"}}", STANDARD.encode(part));
        }
        count
    }

    /// Writes a row of canonical text, if there is credit for it; returns whether there was.
    pub fn row(&mut self, s: u64, text: &str, out: &mut Vec<u8>) -> bool {
        let Some(stream) = self.open.get_mut(&s) else { return false };
        let line = format!("{{\"t\":\"row\",\"s\":{s},\"v\":{text}}}\n");
        let cost = line.len() as u64 - 1;
        if cost > stream.credit {
            return false;
        }
        stream.credit -= cost;
        stream.rows += 1;
        out.extend_from_slice(line.as_bytes());
        true
    }

    /// Ends a stream.
    pub fn end(&mut self, s: u64, of_rows: bool, out: &mut Vec<u8>) {
        let Some(stream) = self.open.remove(&s) else { return };
        let _ = if of_rows {
            writeln!(out, "{{\"t\":\"end\",\"s\":{s},\"count\":{}}}", stream.rows)
        } else {
            let digest: String = stream.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            let bytes = stream.bytes;
            writeln!(out, "{{\"t\":\"end\",\"s\":{s},\"bytes\":{bytes},\"sha256\":\"{digest}\"}}")
        };
    }

    /// Forgets a stream that broke off.
    pub fn void(&mut self, s: u64) {
        self.open.remove(&s);
    }

    /// Returns whether any is open.
    pub fn any_open(&self) -> bool {
        !self.open.is_empty()
    }
}
