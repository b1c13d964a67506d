//! Another repository that has copies of what is lost here: where it is and what opens it.

use crate::failure::Failure;
use crate::find_repo::{self, Place};
use crate::passphrase::Way;
use dedup_engine::error::Kind;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Arguments that name it.
#[derive(clap::Args, Debug, Clone)]
pub struct OtherArgs {
    /// Take what is lost from a repository that `dedup copy` filled, or that this one was filled from
    #[arg(long, value_name = "PATH")]
    pub from: Option<OsString>,
    /// Ask for its passphrase, or read one line of standard input if that is no terminal
    #[arg(long, group = "unlock_from", requires = "from")]
    from_passphrase: bool,
    /// Read its passphrase from a file
    ///
    /// Without any of these: DEDUP_FROM_PASSPHRASE or DEDUP_FROM_KEY_FILE, then a question on the terminal.
    #[arg(long, group = "unlock_from", value_name = "FILE", requires = "from")]
    from_passphrase_file: Option<PathBuf>,
    /// Run a command by the shell; its passphrase is what it prints
    #[arg(long, group = "unlock_from", value_name = "COMMAND", requires = "from")]
    from_passphrase_command: Option<OsString>,
    /// Open it with a key file
    #[arg(long, group = "unlock_from", value_name = "FILE", requires = "from")]
    from_key_file: Option<PathBuf>,
}

impl OtherArgs {
    /// Returns where it is and what opens it, if one is named.
    pub fn place(&self) -> Result<Option<(Place, Way)>, Failure> {
        let Some(from) = &self.from else { return Ok(None) };
        Ok(Some((find_repo::place(from, "--from".into())?, self.way()?)))
    }

    fn way(&self) -> Result<Way, Failure> {
        let file = self.from_passphrase_file.clone().map(Way::File);
        let command = self.from_passphrase_command.clone().map(Way::Command);
        let given = file.or(command).or(self.from_key_file.clone().map(Way::KeyFile));
        if let Some(way) = given.or(self.from_passphrase.then_some(Way::Ask)) {
            return Ok(way);
        }
        let set = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
        match (set("DEDUP_FROM_PASSPHRASE"), set("DEDUP_FROM_KEY_FILE")) {
            (Some(_), Some(_)) => {
                let both = "DEDUP_FROM_PASSPHRASE and DEDUP_FROM_KEY_FILE are both set";
                Err(Failure::refused(both)
                    .hint("unset one of them, or name the way by an argument such as --from-key-file"))
            }
            (Some(_), None) => Ok(Way::Variable("DEDUP_FROM_PASSPHRASE")),
            (None, Some(file)) => Ok(Way::KeyFile(file.into())),
            (None, None) if std::io::stdin().is_terminal() => Ok(Way::Ask),
            (None, None) => {
                Err(Failure::new(Kind::WrongKey, "nothing is given that opens the other repository").hint(
                    "use --from-passphrase-file FILE, --from-passphrase-command COMMAND, --from-key-file FILE, \
                     DEDUP_FROM_PASSPHRASE, DEDUP_FROM_KEY_FILE, or --from-passphrase with a line on standard input",
                ))
            }
        }
    }
}
