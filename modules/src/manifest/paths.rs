//! Paths with variables.
//!
//! A path is absolute, or begins with a variable: `${VARLIB}/sounds` or, as FreePBX writes it, `__VARLIB__/sounds`.
//! `[paths]` gives each variable an absolute default; another machine may have another value, and files that were
//! stored below a variable move with it. Variables stand only at the beginning and hold no other variables, so what a
//! path means never depends on an order.

use super::form::{Form, Parsed, plain_text};
use super::near::nearest;
use super::reader::At;
use super::shape::Shape;
use crate::files::Excludes;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Longest name of a variable.
const MAX_NAME: usize = 64;

/// A path of a manifest, not yet of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestPath {
    /// The variable it begins with.
    pub variable: Option<String>,
    /// What follows: empty, or a slash and more. Without doubled slashes, `.`, or a slash at the end.
    pub rest: String,
}

/// A variable that has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path variable {0} has no value; give it one in [paths]")]
pub struct UnknownVariable(pub String);

impl ManifestPath {
    /// Reads a path; says what is wrong in a clause.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (variable, rest) = split_variable(text)?;
        let whole = rest.is_empty() && variable.is_some();
        if !whole && !rest.starts_with('/') {
            let shown: String = text.chars().take(80).collect();
            return Err(format!(
                "{shown:?} is not absolute; begin with / or a variable of [paths], such as ${{NAME}}/"
            ));
        }
        if rest.contains("${") {
            return Err("a variable may stand only at the beginning of a path".into());
        }
        let mut clean = String::with_capacity(rest.len());
        for component in rest.split('/').filter(|component| !matches!(*component, "" | ".")) {
            if component == ".." {
                return Err("a path must not go up by `..`".into());
            }
            clean.push('/');
            clean.push_str(component);
        }
        if clean.is_empty() && variable.is_none() {
            return Err("the root directory itself cannot be stored; name the directories below it".into());
        }
        Ok(Self { variable, rest: clean })
    }

    /// Returns the path on a machine where the variables have these values.
    pub fn resolve(&self, variables: &Variables) -> Result<PathBuf, UnknownVariable> {
        let Some(name) = &self.variable else { return Ok(PathBuf::from(&self.rest)) };
        let base = variables.get(name).ok_or_else(|| UnknownVariable(name.clone()))?;
        Ok(match self.rest.strip_prefix('/') {
            Some(below) => base.join(below),
            None => base.to_owned(),
        })
    }
}

/// Shows the path as it may stand in a manifest.
impl fmt::Display for ManifestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.variable {
            write!(f, "${{{name}}}")?;
        }
        f.write_str(&self.rest)
    }
}

/// Splits the variable from the beginning of a text.
fn split_variable(text: &str) -> Result<(Option<String>, &str), String> {
    let (name, rest) = if let Some(after) = text.strip_prefix("${") {
        after.split_once('}').ok_or("`${` has no `}`")?
    } else if let Some((name, rest)) = text.strip_prefix("__").and_then(|after| after.split_once("__")) {
        (name, rest)
    } else {
        return Ok((None, text));
    };
    check_name(name)?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err(format!("after the variable {name} comes a slash, or nothing"));
    }
    Ok((Some(name.to_owned()), rest))
}

/// Checks the name of a variable: `[A-Z][A-Z0-9_]*`.
pub fn check_name(name: &str) -> Result<(), String> {
    let ok = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase());
    if begins && name.len() <= MAX_NAME && name.bytes().all(ok) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(format!("{shown:?} is no name of a variable: capital letters, digits and `_`, a letter first"))
}

/// The values of path variables on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, PathBuf>);

impl Variables {
    /// Gives a variable a value, which replaces the one it had.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<PathBuf>) {
        self.0.insert(name.into(), value.into());
    }

    /// Returns the value of a variable.
    pub fn get(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(PathBuf::as_path)
    }

    /// Returns the names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns every variable with its value, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_path()))
    }
}

/// A path, whose variable must be one of `[paths]`.
pub struct PathForm;

impl Form for PathForm {
    type Out = ManifestPath;

    fn shape(&self) -> Shape {
        Shape::Text { what: "an absolute path", pattern: "^(/|\\$\\{|__)", max: super::form::MAX_TEXT }
    }

    fn read(&self, at: &At<'_, '_>) -> Option<ManifestPath> {
        let text = plain_text(at, &self.shape())?;
        let path = match ManifestPath::parse(text) {
            Ok(path) => path,
            Err(wrong) => return at.wrong(wrong, ""),
        };
        let Some(name) = &path.variable else { return Some(path) };
        let (known, near) = at.reader.variables(|names| {
            (names.contains(name), nearest(name, names.iter().map(String::as_str)).map(ToOwned::to_owned))
        });
        if known {
            return Some(path);
        }
        let help = near.map_or_else(
            || format!("add {name} = \"/its/usual/path\" to [paths]"),
            |near| format!("did you mean ${{{near}}}?"),
        );
        at.wrong(format!("there is no path variable {name}"), help)
    }

    fn show(&self, value: &ManifestPath) -> Option<serde_json::Value> {
        Some(value.to_string().into())
    }
}

/// A path with wildcards, as `.gitignore` has them; `*` does not cross a slash.
pub struct PatternForm;

impl Form for PatternForm {
    type Out = ManifestPath;

    fn shape(&self) -> Shape {
        Shape::Text {
            what: "an absolute path, perhaps with wildcards",
            pattern: "^(/|\\$\\{|__)",
            max: super::form::MAX_TEXT,
        }
    }

    fn read(&self, at: &At<'_, '_>) -> Option<ManifestPath> {
        let path = PathForm.read(at)?;
        check_pattern(&path.rest).map_or_else(|wrong| at.wrong(wrong, ""), |()| Some(path))
    }
}

/// A pattern of what is left out, as a line of `.gitignore`.
pub const EXCLUDE: Parsed<String> = Parsed {
    what: "a pattern as in .gitignore",
    pattern: "^[^\\r\\n]+$",
    read: read_exclude,
    show: Clone::clone,
};

fn read_exclude(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.contains(['\n', '\r']) {
        return Err("a pattern is one line and not empty".into());
    }
    if text.starts_with('#') {
        return Err("a pattern that begins with `#` means nothing; write `\\#`".into());
    }
    check_pattern(text).map(|()| text.to_owned())
}

fn check_pattern(pattern: &str) -> Result<(), String> {
    Excludes::parse([("", pattern)])
        .map(drop)
        .map_err(|error| format!("the pattern is not valid: {}", error.wrong))
}

/// The value of a variable: an absolute path without variables.
pub const VARIABLE: Parsed<PathBuf> = Parsed {
    what: "an absolute path without variables",
    pattern: "^/",
    read: |text| {
        let path = ManifestPath::parse(text)?;
        if path.variable.is_some() {
            Err("a variable holds no other variable".into())
        } else {
            Ok(path.rest.into())
        }
    },
    show: |path| path.display().to_string(),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_written_in_two_ways_and_replaced() {
        let mut variables = Variables::default();
        variables.set("VARLIB", "/var/lib/asterisk");
        for (text, shown, resolved) in [
            ("${VARLIB}/sounds//custom/", "${VARLIB}/sounds/custom", "/var/lib/asterisk/sounds/custom"),
            ("__VARLIB__/sounds", "${VARLIB}/sounds", "/var/lib/asterisk/sounds"),
            ("${VARLIB}", "${VARLIB}", "/var/lib/asterisk"),
            ("/etc/./x/", "/etc/x", "/etc/x"),
            ("/usr/lib/__pycache__", "/usr/lib/__pycache__", "/usr/lib/__pycache__"),
        ] {
            let path = ManifestPath::parse(text).unwrap();
            assert_eq!(path.to_string(), shown);
            assert_eq!(path.resolve(&variables).unwrap(), Path::new(resolved));
        }
        let other = ManifestPath::parse("${SPOOL}/x").unwrap();
        assert_eq!(other.resolve(&variables), Err(UnknownVariable("SPOOL".into())));
    }

    #[test]
    fn paths_that_could_lead_elsewhere_are_refused() {
        for text in [
            "", "etc", "/", "//", "/.", "/a/../b", "..", "${X", "${x}/a", "${}/a", "${A}b", "/a/${B}",
            "__A__b", "~/x", "____/a", "${A}/..",
        ] {
            assert!(ManifestPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_are_understood_before_they_are_needed() {
        for (pattern, ok) in [
            ("*.log", true),
            ("/cache/", true),
            ("!keep", true),
            ("{a,b", false),
            ("", false),
            ("#x", false),
            ("a\nb", false),
        ] {
            assert_eq!(read_exclude(pattern).is_ok(), ok, "{pattern}");
        }
    }
}
