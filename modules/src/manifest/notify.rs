//! `[notify]` of a job: who is told of its runs, and how.

use super::form::{ARGV, Parsed, Word, list};
use super::reader::Table;
use super::words::words;

words! {
    /// When somebody is told.
    pub enum NotifyOn {
        /// After a run that is complete.
        Success = "success",
        /// After one that is not.
        Failure = "failure",
        /// After every run.
        Both = "both",
    }
}

words! {
    /// How the log goes with a notification.
    pub enum NotifyLog {
        /// In the text.
        Inline = "inline",
        /// As an attachment.
        Attach = "attach",
    }
}

/// Who is told of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// After which runs.
    pub on: NotifyOn,
    /// Addresses of mail, or names of users of this machine.
    pub to: Vec<String>,
    /// A program that is given the text, and its arguments.
    pub command: Vec<String>,
    /// How the log goes with a mail.
    pub log: NotifyLog,
}

/// Longest address (RFC 5321, 4.5.3.1.3: a path of 256 bytes with its brackets).
const MAX_ADDRESS: usize = 254;

/// An address as it can stand in the head of a mail and among the arguments of a program: no blank, no comma, no bracket,
/// no `-` at its beginning.
const ADDRESS: Parsed<String> = Parsed {
    what: "a mail address, or the name of a user of this machine",
    pattern: "^[A-Za-z0-9_.+/%=~][A-Za-z0-9_.+/%=~-]*(@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)?$",
    read: read_address,
    show: Clone::clone,
};

fn read_address(text: &str) -> Result<String, String> {
    let (local, host) = text.split_once('@').map_or((text, None), |(local, host)| (local, Some(host)));
    let of_local = |c: char| c.is_ascii_alphanumeric() || "_.+/%=~-".contains(c);
    let of_host = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let is_local = !local.is_empty() && !local.starts_with('-') && local.chars().all(of_local);
    let ends = |host: &str| {
        [host.chars().next(), host.chars().last()].map(|c| c.is_some_and(|c| c.is_ascii_alphanumeric()))
    };
    let is_host = host.is_none_or(|host| host.chars().all(of_host) && ends(host) == [true, true]);
    if is_local && is_host && text.len() <= MAX_ADDRESS {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(80).collect();
    Err(format!("{shown:?} is neither a mail address such as ann@example.org nor the name of a user"))
}

/// Reads `[notify]`.
pub fn read_notify(t: &mut Table<'_, '_>) -> Notify {
    let notify = Notify {
        on: t.or("on", Word::new(), NotifyOn::Failure, "After which runs: success, failure (default), both."),
        to: t.or(
            "to",
            list(ADDRESS),
            vec![],
            "Mail addresses, or users of this machine; `sendmail` delivers.",
        ),
        command: t
            .optional("command", ARGV, "A program that is given the text on its standard input.")
            .unwrap_or_default(),
        log: t.or("log", Word::new(), NotifyLog::Inline, "How the log goes with a mail: inline, attach."),
    };
    if notify.to.is_empty() && notify.command.is_empty() {
        t.wrong("", "nobody is told: this table lacks `to` and `command`", "name an address, or a program");
    }
    notify
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_can_do_nothing_else() {
        for right in ["root", "ann@example.org", "a.b+c@mail-1.example.org", "root@localhost", "www-data"] {
            assert_eq!(read_address(right).as_deref(), Ok(right));
        }
        let long = format!("{}@example.org", "a".repeat(250));
        for wrong in [
            "",
            "@",
            "a@",
            "@b",
            "-oQ/tmp",
            "a b",
            "a,b",
            "a@b@c",
            "<a@b>",
            "a\nBcc: x",
            "|sh",
            "a@-b",
            "ä@b",
            &long,
        ] {
            assert!(read_address(wrong).is_err(), "{wrong:?}");
        }
    }
}
