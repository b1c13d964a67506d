//! Little-endian reading and writing with bounds: the only way bytes become structures.
//!
//! A [`Reader`] never allocates before it has checked that so much input is left, and refuses
//! varints that are not in their shortest form, so that each structure has one encoding.

use crate::error::Corrupt;
use crate::format::{MAX_EXTENSION, MAX_EXTENSIONS};
use crate::planted::{Bug, planted};

/// Reads a structure from a slice; every method checks the length first.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    what: &'static str,
    input: &'a [u8],
    pos: usize,
}

impl<'a> Reader<'a> {
    /// Starts reading `input`; errors call it `what`.
    pub fn new(what: &'static str, input: &'a [u8]) -> Self {
        Self { what, input, pos: 0 }
    }

    /// Returns how many bytes are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.input.len() - self.pos
    }

    /// Returns how many bytes were read.
    pub fn position(&self) -> usize {
        self.pos
    }

    /// Makes an error at the present position.
    pub fn corrupt(&self, wrong: impl Into<String>) -> Corrupt {
        Corrupt::new(self.what, wrong).at(self.pos as u64)
    }

    #[cold]
    fn too_short(&self, len: usize) -> Corrupt {
        self.corrupt(format!("{len} bytes are needed, {} are left", self.left()))
    }

    /// Takes the next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Corrupt> {
        if len > self.left() {
            return Err(self.too_short(len));
        }
        let bytes = &self.input[self.pos..self.pos + len];
        self.pos += len;
        Ok(bytes)
    }

    /// Takes the next `N` bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// Reads one byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Corrupt> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Reads a `u16`.
    pub fn u16(&mut self) -> Result<u16, Corrupt> {
        self.array().map(u16::from_le_bytes)
    }

    /// Reads an `i16`.
    pub fn i16(&mut self) -> Result<i16, Corrupt> {
        self.array().map(i16::from_le_bytes)
    }

    /// Reads a `u32`.
    pub fn u32(&mut self) -> Result<u32, Corrupt> {
        self.array().map(u32::from_le_bytes)
    }

    /// Reads a `u64`.
    pub fn u64(&mut self) -> Result<u64, Corrupt> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads an `i64`.
    pub fn i64(&mut self) -> Result<i64, Corrupt> {
        self.array().map(i64::from_le_bytes)
    }

    /// Reads an unsigned LEB128 number in its shortest form.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Corrupt> {
        // Most numbers are of one byte.
        if let Some(byte @ ..0x80) = self.input.get(self.pos) {
            self.pos += 1;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Corrupt> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.corrupt("number exceeds 64 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.corrupt("number is not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(self.corrupt("number exceeds 64 bits"))
    }

    /// Reads a zig-zag coded signed number.
    pub fn zigzag(&mut self) -> Result<i64, Corrupt> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Reads a number that must not exceed `max`.
    #[inline]
    pub fn at_most(&mut self, max: u64, name: &str) -> Result<u64, Corrupt> {
        let value = self.varint()?;
        if value > max {
            return Err(self.corrupt(format!("{name} is {value}, at most {max} is allowed")));
        }
        Ok(value)
    }

    /// Reads the count of a list whose items take at least `item_len` bytes each.
    pub fn count(&mut self, max: usize, item_len: usize, name: &str) -> Result<usize, Corrupt> {
        let count = self.at_most(max as u64, name)? as usize;
        if count.saturating_mul(item_len) > self.left() && !planted(Bug::TrustClaimedLength) {
            return Err(self.corrupt(format!("{count} {name} do not fit the {} bytes left", self.left())));
        }
        Ok(count)
    }

    /// Reads `bytes`: a varint length of at most `max`, then the bytes.
    #[inline]
    pub fn bytes(&mut self, max: usize, name: &str) -> Result<&'a [u8], Corrupt> {
        let len = self.at_most(max as u64, name)? as usize;
        self.take(len)
    }

    /// Reads `text`: bytes that must be UTF-8.
    pub fn text(&mut self, max: usize, name: &str) -> Result<String, Corrupt> {
        let bytes = self.bytes(max, name)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.corrupt(format!("{name} is not UTF-8"))),
        }
    }

    /// Reads `len` bytes that must be zero.
    pub fn zeros(&mut self, len: usize) -> Result<(), Corrupt> {
        if self.take(len)?.iter().any(|byte| *byte != 0) {
            return Err(self.corrupt("reserved bytes are not zero"));
        }
        Ok(())
    }

    /// Reads an extension list: tags rise, unknown even ones are skipped, odd ones refused.
    ///
    /// This version defines none, so every odd tag is unknown.
    pub fn extensions(&mut self) -> Result<(), Corrupt> {
        self.known_extensions(&mut |_, _| Ok(()))
    }

    /// Reads an extension list likewise; `each` gets the even ones, in the order of their tags, and takes those it knows.
    pub fn known_extensions(
        &mut self,
        each: &mut dyn FnMut(u64, &mut Reader<'_>) -> Result<(), Corrupt>,
    ) -> Result<(), Corrupt> {
        let count = self.count(MAX_EXTENSIONS, 2, "extensions")?;
        let mut last = None;
        for _ in 0..count {
            let tag = self.varint()?;
            if last.is_some_and(|last| tag <= last) {
                return Err(self.corrupt("extension tags do not rise"));
            }
            if tag % 2 == 1 {
                return Err(self.corrupt(format!("needs feature {tag}, which this version does not know")));
            }
            let value = self.bytes(MAX_EXTENSION, "extension")?;
            each(tag, &mut Reader::new(self.what, value))?;
            last = Some(tag);
        }
        Ok(())
    }

    /// Ends reading; whatever is left is an error.
    pub fn finish(self) -> Result<(), Corrupt> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.corrupt(format!("{left} bytes too many"))),
        }
    }
}

/// Appends values to a byte vector in the format's encodings.
pub trait Put {
    /// Appends a `u8`.
    fn put_u8(&mut self, value: u8);
    /// Appends a `u16`.
    fn put_u16(&mut self, value: u16);
    /// Appends an `i16`.
    fn put_i16(&mut self, value: i16);
    /// Appends a `u32`.
    fn put_u32(&mut self, value: u32);
    /// Appends a `u64`.
    fn put_u64(&mut self, value: u64);
    /// Appends an `i64`.
    fn put_i64(&mut self, value: i64);
    /// Appends an unsigned LEB128 number.
    fn put_varint(&mut self, value: u64);
    /// Appends a zig-zag coded signed number.
    fn put_zigzag(&mut self, value: i64);
    /// Appends raw bytes without a length.
    fn put(&mut self, bytes: &[u8]);
    /// Appends a varint length and the bytes.
    fn put_bytes(&mut self, bytes: &[u8]);
    /// Appends an empty extension list.
    fn put_no_extensions(&mut self);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_i16(&mut self, value: i16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_zigzag(&mut self, value: i64) {
        self.put_varint((value << 1 ^ value >> 63) as u64);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }

    fn put_no_extensions(&mut self) {
        self.push(0);
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
