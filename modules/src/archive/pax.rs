//! Extended headers (POSIX.1-2001, "pax"): what does not fit into a header.

use dedup_engine::listing::Time;

/// Extended attributes, as GNU tar, bsdtar and star write them.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// Longest name and value of an attribute, and most attributes (`engine/FORMAT.md` 10).
const MAX_NAME: usize = 255;
const MAX_VALUE: usize = 1 << 20;

/// What an extended header says of the next entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub uname: Option<String>,
    pub gname: Option<String>,
    pub mtime: Option<Time>,
    pub atime: Option<Time>,
    pub devmajor: Option<u32>,
    pub devminor: Option<u32>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Extended {
    /// Reads the records of a header over what is known: `length SPACE keyword = value NEWLINE`.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let space = bytes.iter().take(20).position(|byte| *byte == b' ');
            let space = space.ok_or("a record of an extended header has no length")?;
            let len = std::str::from_utf8(&bytes[..space]).ok().and_then(|len| len.parse::<usize>().ok());
            let len = len.filter(|len| (space + 2..=bytes.len()).contains(len));
            let len = len.ok_or("a record of an extended header has a length that it cannot have")?;
            let (record, rest) = bytes.split_at(len);
            let record = record[space + 1..].strip_suffix(b"\n");
            let equals =
                record.and_then(|record| Some((record, record.iter().position(|byte| *byte == b'=')?)));
            let (record, equals) = equals.ok_or("a record of an extended header has no value or no end")?;
            self.take(&record[..equals], &record[equals + 1..])?;
            bytes = rest;
        }
        Ok(())
    }

    fn take(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), String> {
        let wrong =
            || format!("the value of {:?} in an extended header is none", String::from_utf8_lossy(keyword));
        let text = || std::str::from_utf8(value).map_err(|_| wrong());
        let number = || text()?.parse::<u64>().map_err(|_| wrong());
        let small = || number().and_then(|number| u32::try_from(number).map_err(|_| wrong()));
        match keyword {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(small()?),
            b"gid" => self.gid = Some(small()?),
            b"uname" => self.uname = Some(text()?.to_owned()),
            b"gname" => self.gname = Some(text()?.to_owned()),
            b"mtime" => self.mtime = Some(moment(text()?).ok_or_else(wrong)?),
            b"atime" => self.atime = Some(moment(text()?).ok_or_else(wrong)?),
            b"SCHILY.devmajor" => self.devmajor = Some(small()?),
            b"SCHILY.devminor" => self.devminor = Some(small()?),
            _ => {
                if keyword.starts_with(b"GNU.sparse.") {
                    return Err("it is a sparse file in a form of GNU tar, which is not read".into());
                }
                if let Some(name) = keyword.strip_prefix(XATTR) {
                    if name.is_empty() || name.len() > MAX_NAME || value.len() > MAX_VALUE {
                        return Err("an extended attribute has a name or a value that is too long".into());
                    }
                    self.xattrs.retain(|(known, _)| known != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Reads seconds since 1970 with a decimal fraction, perhaps negative; what is finer than a nanosecond is cut off.
fn moment(text: &str) -> Option<Time> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let secs: i64 = whole.parse().ok()?;
    let nanos: u32 = format!("{:0<9}", fraction.get(..fraction.len().min(9))?).parse().ok()?;
    match (is_negative, nanos) {
        (false, nanos) => Some(Time { secs, nanos }),
        (true, 0) => Some(Time { secs: -secs, nanos: 0 }),
        (true, nanos) => Some(Time { secs: (-secs).checked_sub(1)?, nanos: 1_000_000_000 - nanos }),
    }
}
