//! Versions of modules and products, and conditions on them.
//!
//! A version is cut into numbers and words; what stands between them (`.`, `-`, `_`, `+`, blanks) means nothing.
//! Two versions are compared part by part, and the shorter one goes on with zeros, so that `1.0` = `1.0.0`:
//!
//! ```text
//! any other word < dev < alpha = a < beta = b < rc < number, or nothing < p = pl
//! ```
//!
//! So `14.0.1alpha24` < `14.0.1rc1` < `14.0.1` < `14.0.1p1`. Numbers may have any length. This is the order of the
//! PBX platform whose dependencies we take over, but for the zeros (there `13.0` is above `13`).

use crate::id::ModuleId;
use std::cmp::Ordering;
use std::fmt;

/// Longest version in bytes.
pub const MAX_VERSION: usize = 64;

/// A version, as it was written. Equal are those that are compared as equal: `1.0` and `1.0.0`.
#[derive(Clone, Debug)]
pub struct Version(String);

/// What a part of a version is; the order of the variants is theirs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    Word(String),
    Dev,
    Alpha,
    Beta,
    Candidate,
    /// Number of digits without leading zeros, then the digits.
    Number(usize, &'a str),
    Patch,
}

impl Version {
    /// Reads a version: 1 to 64 printable characters of ASCII with a letter or digit among them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !printable || text.len() > MAX_VERSION || !text.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
            let text: String = text.chars().take(80).collect();
            return Err(format!("{text:?} is no version, such as 4, 16.0.27 or 2.1-rc3"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the version as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
            let digits = rest.bytes().next()?.is_ascii_digit();
            let same = |c: char| c.is_ascii_alphanumeric() && c.is_ascii_digit() == digits;
            let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            rest = after;
            Some(if digits { number(part) } else { word(part) })
        })
    }
}

fn number(digits: &str) -> Part<'_> {
    let digits = digits.trim_start_matches('0');
    Part::Number(digits.len(), digits)
}

fn word(letters: &str) -> Part<'static> {
    let lower = letters.to_ascii_lowercase();
    match lower.as_str() {
        "dev" => Part::Dev,
        "alpha" | "a" => Part::Alpha,
        "beta" | "b" => Part::Beta,
        "rc" => Part::Candidate,
        "p" | "pl" => Part::Patch,
        _ => Part::Word(lower),
    }
}

impl Default for Version {
    /// Returns `0`, the version of a module that says none.
    fn default() -> Self {
        Self("0".to_owned())
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut ours, mut theirs) = (self.parts(), other.parts());
        loop {
            let (left, right) = (ours.next(), theirs.next());
            if left.is_none() && right.is_none() {
                return Ordering::Equal;
            }
            let nothing = || number("");
            let order = left.unwrap_or_else(nothing).cmp(&right.unwrap_or_else(nothing));
            if order.is_ne() {
                return order;
            }
        }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a version is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Operator {
    /// Every operator: as manifests write it, and the word that FreePBX uses for it. Longer signs first.
    const ALL: [(&'static str, &'static str, Self); 6] = [
        ("!=", "ne", Self::NotEqual),
        ("<=", "le", Self::AtMost),
        (">=", "ge", Self::AtLeast),
        ("=", "eq", Self::Equal),
        ("<", "lt", Self::Less),
        (">", "gt", Self::Greater),
    ];
}

/// A condition on a version: an operator and a version, `>= 13.0.22`. The blank between is optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// How.
    pub operator: Operator,
    /// With what.
    pub version: Version,
}

impl Condition {
    /// Reads an operator (`= != < <= > >=`) and a version.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let found = Operator::ALL
            .into_iter()
            .find_map(|(sign, _, operator)| Some((operator, text.strip_prefix(sign)?)));
        let Some((operator, version)) = found else {
            return Err(format!("{:?} begins with none of = != < <= > >=", cut(text)));
        };
        if version.starts_with(['=', '<', '>', '!']) {
            return Err(format!("{:?}: there are = != < <= > >=", cut(text)));
        }
        Ok(Self { operator, version: Version::parse(version)? })
    }

    /// Returns whether the version fulfils it.
    pub fn holds_for(&self, version: &Version) -> bool {
        let order = version.cmp(&self.version);
        match self.operator {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::AtMost => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::AtLeast => order.is_ge(),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = Operator::ALL.into_iter().find(|(_, _, operator)| *operator == self.operator);
        write!(f, "{} {}", sign.map_or("", |(sign, ..)| sign), self.version)
    }
}

/// What a module needs: another module, and perhaps a condition on its version: `core >= 13.0.22`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The other module.
    pub module: ModuleId,
    /// What its version must be.
    pub condition: Option<Condition>,
}

impl Requirement {
    /// Reads an id and perhaps a condition.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let end = text.find(|c: char| c.is_ascii_whitespace() || "=!<>".contains(c)).unwrap_or(text.len());
        let (id, rest) = text.split_at(end);
        let module = ModuleId::parse(id).map_err(|error| error.to_string())?;
        let rest = rest.trim_start();
        let condition = if rest.is_empty() { None } else { Some(Condition::parse(rest)?) };
        Ok(Self { module, condition })
    }

    /// Reads a requirement as FreePBX's modules write it: `core ge 13.0.22`, `core 13.0.22` (at least), `core`.
    pub fn parse_freepbx(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let Some((id, rest)) = text.split_once(|c: char| c.is_ascii_whitespace()) else {
            return Self::parse(text);
        };
        let rest = rest.trim_start();
        let word = Operator::ALL.into_iter().find_map(|(sign, word, _)| {
            let begins = rest.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
            let version = rest
                .get(word.len()..)
                .filter(|after| begins && !after.starts_with(|c: char| c.is_ascii_alphabetic()));
            version.map(|version| format!("{id} {sign} {version}"))
        });
        match word {
            Some(text) => Self::parse(&text),
            None if rest.starts_with(|c: char| c.is_ascii_digit()) => Self::parse(&format!("{id} >= {rest}")),
            None => Self::parse(text),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.module)?;
        self.condition.as_ref().map_or(Ok(()), |condition| write!(f, " {condition}"))
    }
}

/// Returns the beginning of a text, for messages.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn words_stand_around_releases_in_the_given_order() {
        let rising = [
            "13.0.22",
            "14.0.1x",
            "14.0.1dev",
            "14.0.1alpha1",
            "14.0.1alpha24",
            "14.0.1b2",
            "14.0.1rc1",
            "14.0.1",
            "14.0.1.1",
            "14.0.1p1",
            "14.0.2",
            "14.0.10",
            "99999999999999999999999",
        ];
        for (n, low) in rising.iter().enumerate() {
            for high in &rising[n + 1..] {
                assert!(version(low) < version(high), "{low} < {high}");
            }
        }
        for (one, other) in
            [("1.0", "1"), ("1.0", "1-0-0"), ("1.0A2", "1.0.alpha.2"), ("007", "7"), ("2pl1", "2p1")]
        {
            assert_eq!(version(one), version(other));
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        let long = "1".repeat(MAX_VERSION + 1);
        for text in ["", " ", "...", "1.ä", "1\n", "1\u{0}2", &long] {
            assert_eq!(Version::parse(text).is_err(), text != "1\n", "{text:?}");
        }
    }

    #[test]
    fn conditions_hold_or_not() {
        for (condition, text, holds) in [
            (">= 13.0.22", "13.0.22", true),
            (">=13.0.22", "13.0.9", false),
            ("> 1", "1.0.0", false),
            ("< 2", "2rc1", true),
            ("<=2", "2p1", false),
            ("= 1.0", "1", true),
            ("!= 1.0", "1", false),
        ] {
            assert_eq!(
                Condition::parse(condition).unwrap().holds_for(&version(text)),
                holds,
                "{text} {condition}"
            );
        }
        for text in ["", "13", "=> 3", "== 3", ">=", "ge 3", "~ 3", ">= 3 or so\u{7}"] {
            assert!(Condition::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn requirements_are_read_with_and_without_condition() {
        for (text, shown) in [
            ("Core >= 13.0.22", "core >= 13.0.22"),
            ("core>=13", "core >= 13"),
            (" recordings ", "recordings"),
            ("a.b-c != 2", "a.b-c != 2"),
        ] {
            assert_eq!(Requirement::parse(text).unwrap().to_string(), shown);
        }
        for text in ["", ">= 3", "core 13", "core ge 13", "core >=", "two words"] {
            assert!(Requirement::parse(text).is_err(), "{text}");
        }
        for (text, shown) in [
            ("core ge 13.0.22", "core >= 13.0.22"),
            ("core LT13", "core < 13"),
            ("core 13.0", "core >= 13.0"),
            ("core >= 2", "core >= 2"),
            ("framework", "framework"),
        ] {
            assert_eq!(Requirement::parse_freepbx(text).unwrap().to_string(), shown);
        }
        for text in ["", "core gen 3", "core ge", "core foo"] {
            assert!(Requirement::parse_freepbx(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// An order that is none would sort differently on each run.
        #[test]
        fn the_order_is_one(texts in prop::collection::vec("[0-2]{1,2}([.]?([0-2]|dev|a|rc|p|x)){0,3}", 3)) {
            let [a, b, c] = [0, 1, 2].map(|n| version(&texts[n]));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c, "{} {} {}", a, b, c);
            }
        }
    }
}
