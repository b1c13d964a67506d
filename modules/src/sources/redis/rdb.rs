//! Is it a whole RDB file?
//!
//! `REDIS`, four digits of its version, opcodes, the opcode 0xFF, and since version 5 eight bytes of CRC-64 (Jones) of all
//! before, in little-endian order, 0 where the server has checksums turned off. Source: `rdb.c` and `crc64.c` of Redis 7.

/// The polynomial of Jones, its bits reversed.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
/// The opcode of the end, and the checksum.
const END_BYTES: usize = 9;
/// Magic and version.
const HEAD_BYTES: usize = 9;
/// The first version with a checksum.
const CHECKED_SINCE: u32 = 5;

const TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

fn crc(mut crc: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        let [low, ..] = crc.to_le_bytes();
        crc = TABLE[usize::from(low ^ byte)] ^ (crc >> 8);
    }
    crc
}

/// Looks at a file as it passes by.
#[derive(Clone, Debug, Default)]
pub(super) struct Checker {
    head: Vec<u8>,
    crc: u64,
    /// The last bytes: the end, if no more come.
    end: Vec<u8>,
}

impl Checker {
    /// Takes the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        self.end.extend_from_slice(bytes);
        let passed = self.end.len().saturating_sub(END_BYTES);
        self.crc = crc(self.crc, &self.end[..passed]);
        self.end.drain(..passed);
    }

    /// Says what is wrong with the file if this was its end.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        let version = match self.head.strip_prefix(b"REDIS").map(str::from_utf8) {
            Some(Ok(digits)) => digits.parse::<u32>().ok(),
            _ => None,
        };
        let Some(version) = version.filter(|_| self.head.len() == HEAD_BYTES) else {
            return Some("it does not begin as an RDB file does");
        };
        if version < CHECKED_SINCE {
            return (self.end.last() != Some(&0xff)).then_some("it ends in the middle");
        }
        let (Some(0xff), Some(sum)) = (self.end.first(), self.end.get(1..)) else {
            return Some("it ends in the middle");
        };
        let Ok(sum) = <[u8; 8]>::try_from(sum) else { return Some("it ends in the middle") };
        let sum = u64::from_le_bytes(sum);
        (sum != 0 && sum != crc(self.crc, &[0xff])).then_some("its checksum is wrong")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(bytes: &[u8], step: usize) -> Option<&'static str> {
        let mut checker = Checker::default();
        bytes.chunks(step).for_each(|part| checker.take(part));
        checker.wrong()
    }

    #[test]
    fn only_a_whole_file_is_one() {
        // The check value of `crc64.c`.
        assert_eq!(crc(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        let mut file = b"REDIS0011\xfe\x00something".to_vec();
        file.push(0xff);
        file.extend_from_slice(&crc(0, &file).to_le_bytes());
        for step in 1..=file.len() {
            assert_eq!(checked(&file, step), None);
        }
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut flipped = file.clone();
                flipped[at] ^= 1 << bit;
                // The version's own digits are not looked at further.
                assert!(checked(&flipped, 7).is_some(), "byte {at}, bit {bit}");
            }
            assert!(checked(&file[..at], 7).is_some(), "cut at {at}");
        }
        let unchecked = [&file[..file.len() - 8], &[0; 8]].concat();
        assert_eq!(checked(&unchecked, 3), None);
        assert_eq!(checked(b"REDIS0003\xfe\x00\xff", 4), None);
    }
}
