//! Where a secret is to be found; the secret itself does not stand in a manifest.

use super::form::Parsed;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A reference to a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Secret {
    /// `file:PATH`: the content of a file, without the end of its line.
    File(String),
    /// `env:NAME`: a variable of the environment.
    Environment(String),
    /// `systemd:NAME`: a credential that systemd hands over.
    Systemd(String),
    /// `container:NAME`: a secret of the container, `/run/secrets/NAME` there.
    Container(String),
    /// `exec:PROGRAM ARGUMENT…`: what a program prints. Cut at blanks, no shell reads it.
    Exec(Vec<String>),
    /// `store:NAME`: of the store of secrets of this program.
    Store(String),
    /// The secret itself; only where `literal_secrets = true` allows it.
    Literal(String),
}

/// Shows the reference, never a literal secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{path}"),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
            Self::Container(name) => write!(f, "container:{name}"),
            Self::Exec(argv) => write!(f, "exec:{}", argv.join(" ")),
            Self::Store(name) => write!(f, "store:{name}"),
            Self::Literal(_) => f.write_str("(literal)"),
        }
    }
}

impl Secret {
    /// Reads a reference; what is none is a literal.
    fn parse(text: &str) -> Result<Self, String> {
        let Some((kind, rest)) = text.split_once(':') else { return Ok(Self::Literal(text.to_owned())) };
        let whole = || rest.to_owned();
        let secret = match kind {
            "file" if !rest.starts_with('/') => return Err("file: needs an absolute path".into()),
            "file" => Self::File(whole()),
            "env" => Self::Environment(whole()),
            "systemd" => Self::Systemd(whole()),
            "container" => Self::Container(whole()),
            "store" => Self::Store(whole()),
            "exec" => Self::Exec(rest.split_ascii_whitespace().map(ToOwned::to_owned).collect()),
            _ => return Ok(Self::Literal(text.to_owned())),
        };
        let name = matches!(kind, "env" | "systemd" | "container" | "store");
        let simple = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        let right = !name || (rest.bytes().all(simple) && !rest.starts_with('.'));
        if rest.trim().is_empty() || !right {
            return Err(format!("{kind}: needs a {} after it", if name { "name" } else { "program" }));
        }
        Ok(secret)
    }
}

/// A reference to a secret, or a literal that the table must allow.
pub const SECRET: Parsed<Secret> = Parsed {
    what: "a reference to a secret: file:, env:, systemd:, container:, exec: or store:",
    pattern: "",
    read: Secret::parse,
    show: |_| String::new(),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_secrets() {
        let debug = |text| format!("{:?}", Secret::parse(text).unwrap());
        for text in [
            "file:/etc/x",
            "env:PGPASSWORD",
            "systemd:db",
            "container:db_pass",
            "store:db",
            "exec:pass show db",
        ] {
            assert_eq!(debug(text), text);
        }
        for text in ["hunter2", "a:b", "FILE:/etc/x", ""] {
            assert_eq!(debug(text), "(literal)");
        }
        for text in ["file:etc/x", "env:", "store:../x", "systemd:a/b", "exec: ", "store:.."] {
            assert!(Secret::parse(text).is_err(), "{text}");
        }
    }
}
