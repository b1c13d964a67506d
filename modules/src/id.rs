//! The name of a module.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest id in bytes.
pub const MAX_ID: usize = 64;

/// The id of a module: `[a-z0-9][a-z0-9._-]{0,63}`. Compared without case, so kept in lower case.
///
/// It names a module in manifests, jobs, arguments and snapshots, and a directory of a restore: it has neither
/// slash nor blank, and does not begin with a dot.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleId(String);

/// Text that is no id of a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no id of a module: 1 to 64 of a-z, 0-9, `.`, `_` and `-`, beginning with a letter or digit"
)]
pub struct BadId {
    /// The text, cut after 80 characters.
    pub text: String,
}

impl ModuleId {
    /// Reads an id; upper case becomes lower case.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let lower = text.to_ascii_lowercase();
        let ok = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let begins = lower.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins && lower.len() <= MAX_ID && lower.bytes().all(ok) {
            Ok(Self(lower))
        } else {
            Err(BadId { text: text.chars().take(80).collect() })
        }
    }

    /// Returns the id in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModuleId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::parse(text)
    }
}

impl TryFrom<String> for ModuleId {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        Self::parse(&text)
    }
}

impl From<ModuleId> for String {
    fn from(id: ModuleId) -> Self {
        id.0
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_no_case_and_no_surprises() {
        assert_eq!(ModuleId::parse("RingQueue").unwrap(), ModuleId::parse("ringqueue").unwrap());
        let long = "a".repeat(MAX_ID);
        for text in ["a", "0", "word-press_2.x", &long] {
            assert_eq!(ModuleId::parse(text).unwrap().as_str(), text);
        }
        let longer = "a".repeat(MAX_ID + 1);
        for text in ["", ".", "-a", "_a", "a b", "a/b", "ä", "a\0", "a\n", &longer] {
            let error = ModuleId::parse(text).unwrap_err();
            assert!(error.to_string().contains("a-z"), "{error}");
        }
    }
}
