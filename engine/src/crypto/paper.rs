//! Keys as text that a person types or scans back. Normative: `FORMAT.md` 4.3.
//!
//! ```text
//! key 1/2: 5 letters, eight times, in base 32
//! ```
//!
//! Each line holds 22 bytes and a check of 3, so a line that was misread is named. What has no such form is for people.

use super::slot::Unlock;
use super::{CryptoError, Secret};
use crate::format::MAX_SLOT;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Crockford's: without I, L, O and U.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LINE_BYTES: usize = 22;
const CHECK_BYTES: usize = 3;
const GROUP: usize = 5;
/// Most lines of one thing: those of the longest slot.
const MAX_LINES: usize = (MAX_SLOT as usize).div_ceil(LINE_BYTES);
/// Longest text that is read, in bytes.
pub const MAX_TEXT: usize = 128 << 10;

/// What stands on a sheet of paper.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Paper {
    /// The secret of a key file.
    pub key: Option<Secret>,
    /// A slot as it is stored, which needs its passphrase or key file.
    pub slot: Option<Vec<u8>>,
}

impl std::fmt::Debug for Paper {
    /// Shows what there is, never the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paper").field("key", &self.key.is_some()).field("slot", &self.slot).finish()
    }
}

impl Paper {
    /// Returns the lines.
    pub fn text(&self) -> Zeroizing<String> {
        let key = self.key.as_ref().map(|key| &key[..]);
        let things = [("key", key), ("slot", self.slot.as_deref())];
        // Sized at once: a text that grows leaves copies of secrets behind.
        let lines: usize = things.iter().filter_map(|(_, bytes)| *bytes).map(count).sum();
        let mut text = Zeroizing::new(String::with_capacity(lines * 64));
        for (what, bytes) in things {
            let Some(bytes) = bytes else { continue };
            let lines = count(bytes);
            for (at, data) in bytes.chunks(LINE_BYTES).enumerate() {
                text.push_str(&format!("{what} {}/{lines}:", at + 1));
                let line = Zeroizing::new([data, &check(what, at + 1, lines, data)].concat());
                letters(&line, &mut text);
                text.push('\n');
            }
        }
        text
    }

    /// Reads text in which there are such lines; case, blanks and dashes do not matter.
    ///
    /// # Errors
    /// [`CryptoError::Refused`] names every line that is missing or not what was written.
    pub fn read(text: &str) -> Result<Self, CryptoError> {
        if text.len() > MAX_TEXT {
            return Err(CryptoError::Refused("the text is too long for a key on paper".into()));
        }
        let (mut wrong, mut paper) = (Vec::new(), Self::default());
        for what in ["key", "slot"] {
            let before = wrong.len();
            let Some(bytes) = thing(what, text, &mut wrong) else { continue };
            if wrong.len() > before {
                continue;
            }
            match what {
                "slot" => paper.slot = Some(bytes.to_vec()),
                _ => match <[u8; 32]>::try_from(&bytes[..]) {
                    Ok(secret) => paper.key = Some(Zeroizing::new(secret)),
                    Err(_) => wrong.push("key (it is not 32 bytes long)".to_owned()),
                },
            }
        }
        if !wrong.is_empty() {
            let lines = wrong.join(", ");
            return Err(CryptoError::Refused(format!(
                "not as they were written: {lines}; look at each letter again"
            )));
        }
        Ok(paper)
    }

    /// Returns what opens a slot, if it is on the sheet.
    pub fn unlock(&self) -> Option<Unlock> {
        self.key.clone().map(Unlock::KeyFile)
    }
}

fn count(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(LINE_BYTES)
}

/// Reads all lines of one thing; names those that are missing or wrong. Nothing, if there is none.
fn thing(what: &str, text: &str, wrong: &mut Vec<String>) -> Option<Zeroizing<Vec<u8>>> {
    let lines: Vec<_> = text.lines().filter_map(|line| labelled(what, line)).collect();
    // What most lines say: one that was mistyped must not hide the others.
    let mut said = BTreeMap::new();
    lines.iter().for_each(|(_, all, _)| *said.entry(*all).or_insert(0usize) += 1);
    let (all, _) = said.into_iter().max_by_key(|(all, lines)| (*lines, *all))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(all * LINE_BYTES));
    for number in 1..=all {
        let mut read = lines.iter().filter(|(at, of, _)| (*at, *of) == (number, all));
        let data = read.find_map(|(_, _, letters)| {
            let line = Zeroizing::new(values(letters)?);
            let (data, sum) = line.split_at_checked(line.len().checked_sub(CHECK_BYTES)?)?;
            let fits = data.len() == LINE_BYTES || number == all && (1..LINE_BYTES).contains(&data.len());
            (fits && check(what, number, all, data) == sum).then(|| data.to_vec())
        });
        match data {
            Some(data) => bytes.extend_from_slice(&Zeroizing::new(data)),
            None => wrong.push(format!("{what} {number}/{all}")),
        }
    }
    Some(bytes)
}

/// Splits a line `what 3/17: letters`.
fn labelled<'t>(what: &str, line: &'t str) -> Option<(usize, usize, &'t str)> {
    let line = line.trim_start();
    let (name, rest) = line.split_at_checked(what.len())?;
    let (label, letters) = rest.split_once(':')?;
    let (number, all) = label.split_once('/')?;
    let (number, all): (usize, usize) = (number.trim().parse().ok()?, all.trim().parse().ok()?);
    let is_one =
        name.eq_ignore_ascii_case(what) && (1..=MAX_LINES).contains(&all) && (1..=all).contains(&number);
    is_one.then_some((number, all, letters))
}

fn check(what: &str, number: usize, all: usize, data: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key("dedup 2026-11-21 paper line");
    hasher.update(what.as_bytes()).update(&(number as u16).to_le_bytes()).update(&(all as u16).to_le_bytes());
    let hash = *hasher.update(data).finalize().as_bytes();
    [hash[0], hash[1], hash[2]]
}

/// Writes bytes in base 32, the highest bits first, in groups.
fn letters(bytes: &[u8], text: &mut String) {
    let (mut bits, mut held) = (0u32, 0);
    let mut written = 0;
    let mut put = |value: u32| {
        if written % GROUP == 0 {
            text.push(' ');
        }
        written += 1;
        text.push(char::from(LETTERS[(value & 31) as usize]));
    };
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            put(bits >> held);
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        put(bits << (5 - held));
    }
}

/// Reads base 32; `None` for a letter that is none, and for bits that no writer leaves.
fn values(letters: &str) -> Option<Vec<u8>> {
    let (mut bits, mut held) = (0u32, 0);
    let mut bytes = Vec::with_capacity(LINE_BYTES + CHECK_BYTES);
    for letter in letters.bytes().filter(|letter| !matches!(letter, b' ' | b'-' | b'\t' | b'\r')) {
        let letter = match letter.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            letter => letter,
        };
        let value = LETTERS.iter().position(|known| *known == letter)?;
        bits = bits << 5 | value as u32;
        held += 5;
        if held >= 8 {
            held -= 8;
            if bytes.len() == LINE_BYTES + CHECK_BYTES {
                return None;
            }
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (held < 5 && bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper() -> Paper {
        let slot = (0..700u32).map(|n| (n * 37 % 251) as u8).collect();
        Paper { key: Some(Zeroizing::new([0xA5; 32])), slot: Some(slot) }
    }

    #[test]
    fn what_is_written_is_read_however_it_was_typed() {
        let paper = paper();
        let text = paper.text();
        assert_eq!(Paper::read(&text).unwrap(), paper);
        assert!(text.lines().all(|line| line.len() <= 64), "{}", &text[..100]);
        let typed = text.to_lowercase().replace(' ', "  ").replace('0', "o").replace('1', "l");
        // Numbers of lines are numbers.
        let typed: Vec<String> = typed
            .lines()
            .zip(text.lines())
            .map(|(typed, line)| {
                let label = line.split_once(':').unwrap().0;
                format!(
                    "  {}:{}\r",
                    label.to_uppercase(),
                    typed.split_once(':').unwrap().1.replace("  ", "-")
                )
            })
            .collect();
        let reversed: Vec<String> = typed.into_iter().rev().collect();
        assert_eq!(
            Paper::read(&format!("keep this safe\n{}\nkey: none\n", reversed.join("\n"))).unwrap(),
            paper
        );
        for part in [Paper { slot: None, ..paper.clone() }, Paper { key: None, ..paper }, Paper::default()] {
            assert_eq!(Paper::read(&part.text()).unwrap(), part);
        }
    }

    /// Golden: a sheet that was printed once is read for ever.
    #[test]
    fn the_letters_are_fixed() {
        let paper = Paper { key: Some(Zeroizing::new(std::array::from_fn(|at| at as u8))), slot: None };
        assert_eq!(paper.text().as_str(), GOLDEN);
    }

    /// Made by another program from the text of the format.
    const GOLDEN: &str = "\
key 1/2: 000G4 0R40M 30E20 9185G R38E1 W8124 GK2GA JV4JK
key 2/2: 2RBHG 68T3C E1T7G ZBSC7 R
";

    #[test]
    fn one_wrong_letter_names_its_line() {
        let paper = paper();
        let text = paper.text();
        for (number, line) in text.lines().enumerate() {
            let (label, letters) = line.split_once(": ").unwrap();
            for at in 0..letters.len() {
                let old = letters.as_bytes()[at];
                if old == b' ' {
                    continue;
                }
                let other =
                    LETTERS[(LETTERS.iter().position(|known| *known == old).unwrap() + 1 + at % 30) % 32];
                let mut bad = letters.to_owned().into_bytes();
                bad[at] = other;
                let bad = String::from_utf8(bad).unwrap();
                let lines = text.lines().enumerate();
                let lines: Vec<String> = lines
                    .map(|(n, line)| if n == number { format!("{label}: {bad}") } else { line.to_owned() })
                    .collect();
                let refused = Paper::read(&lines.join("\n")).unwrap_err().to_string();
                assert!(refused.contains(&format!(": {label};")), "{refused}");
            }
        }
    }

    #[test]
    fn lines_that_are_missing_or_of_another_sheet_are_named() {
        let text = paper().text();
        let lines: Vec<&str> = text.lines().collect();
        let without = |gone: usize| {
            let left = lines.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, line)| *line);
            left.collect::<Vec<_>>().join("\n")
        };
        for (gone, line) in lines.iter().enumerate() {
            let label = line.split_once(':').unwrap().0;
            assert!(Paper::read(&without(gone)).unwrap_err().to_string().contains(label));
        }
        // Two lines that changed places carry each other's number.
        let swapped =
            text.replace("slot 3/", "slot x/").replace("slot 4/", "slot 3/").replace("slot x/", "slot 4/");
        let refused = Paper::read(&swapped).unwrap_err().to_string();
        assert!(refused.contains("slot 3/") && refused.contains("slot 4/"), "{refused}");
        assert!(
            Paper::read("key 1/99999999999: AAAAA\nkey 0/0: A\nslot 2/1: A")
                .is_ok_and(|none| none == Paper::default())
        );
        assert!(Paper::read(&"x".repeat(MAX_TEXT + 1)).is_err());
    }
}
