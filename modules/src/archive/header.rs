//! A header of a tar archive: POSIX.1-2001 (ustar), with the long numbers of GNU tar.

/// One block, whose sum was compared.
pub(super) struct Header<'h>(&'h [u8; 512]);

impl<'h> Header<'h> {
    /// Takes a block as a header; `None` for one of zeros, which ends an archive.
    pub fn new(block: &'h [u8; 512]) -> Result<Option<Self>, String> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Self(block);
        let sum = header.number(148..156).ok_or("its sum is no number")?;
        let blank = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) };
        if block.iter().enumerate().map(blank).sum::<u64>() != sum {
            return Err("its sum is another: it is no header of a tar archive, or damaged".into());
        }
        Ok(Some(header))
    }

    /// Returns the letter of its kind.
    pub fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Returns the name, with the part that ustar keeps elsewhere.
    pub fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = if &self.0[257..263] == b"ustar\0" { text(&self.0[345..500]) } else { b"" };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// Returns what it links to.
    pub fn link(&self) -> &[u8] {
        text(&self.0[157..257])
    }

    /// Returns permissions, owner and group.
    pub fn rights(&self) -> Option<(u32, u32, u32)> {
        let mode = self.number(100..108)? & 0o7777;
        let id = |range| self.number(range).and_then(|id| u32::try_from(id).ok());
        Some((mode as u32, id(108..116)?, id(116..124)?))
    }

    /// Returns the length of what follows.
    pub fn size(&self) -> Option<u64> {
        self.number(124..136)
    }

    /// Returns the time of the last change, in seconds.
    pub fn mtime(&self) -> Option<i64> {
        i64::try_from(self.number(136..148)?).ok()
    }

    /// Returns the names of owner and group.
    pub fn names(&self) -> (&[u8], &[u8]) {
        if &self.0[257..262] == b"ustar" {
            (text(&self.0[265..297]), text(&self.0[297..329]))
        } else {
            (b"", b"")
        }
    }

    /// Returns the numbers of a device.
    pub fn device(&self) -> Option<(u32, u32)> {
        let number = |range| self.number(range).and_then(|number| u32::try_from(number).ok());
        Some((number(329..337)?, number(337..345)?))
    }

    /// Reads octal digits, or where the first bit is set the rest as a big-endian number.
    fn number(&self, range: std::ops::Range<usize>) -> Option<u64> {
        let field = &self.0[range];
        if field[0] & 0x80 != 0 {
            if field[0] & 0x40 != 0 {
                return None;
            }
            let first = u64::from(field[0] & 0x3f);
            return field[1..].iter().try_fold(first, |sum, byte| {
                sum.checked_mul(256).and_then(|sum| sum.checked_add(u64::from(*byte)))
            });
        }
        let digits = field.iter().skip_while(|byte| **byte == b' ');
        let digits = digits.take_while(|byte| !matches!(byte, 0 | b' '));
        digits.copied().try_fold(0u64, |sum, digit| match digit {
            b'0'..=b'7' => sum.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        })
    }
}

/// Returns a field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
