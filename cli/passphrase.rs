//! Where the passphrase or the key file comes from. Secrets are wiped when dropped, never stand in
//! arguments, and never in messages.

use crate::args::Global;
use crate::config::Config;
use crate::failure::Failure;
use dedup_engine::crypto::paper::MAX_TEXT;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use zeroize::{Zeroize, Zeroizing};

/// Longest passphrase in bytes (`FORMAT.md` 4).
const MAX_PASSPHRASE: usize = 4096;

/// A way to get at what opens the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Ask on the terminal, or read a line of standard input.
    Ask,
    /// Read a file.
    File(PathBuf),
    /// Run a command by the shell.
    Command(std::ffi::OsString),
    /// An environment variable that holds the passphrase.
    Variable(&'static str),
    /// Read a key file.
    KeyFile(PathBuf),
}

impl Way {
    /// Chooses the way: arguments, environment, configuration file, systemd credential, terminal.
    pub fn choose(global: &Global, config: &Config) -> Result<Self, Failure> {
        if let Some(way) = Self::of_arguments(global) {
            return Ok(way);
        }
        match (set("DEDUP_PASSPHRASE"), set("DEDUP_KEY_FILE")) {
            (true, true) => {
                return Err(Failure::refused("DEDUP_PASSPHRASE and DEDUP_KEY_FILE are both set")
                    .hint("unset one of them, or name the way by an argument such as --key-file"));
            }
            (true, false) => return Ok(Self::Variable("DEDUP_PASSPHRASE")),
            (false, true) => {
                return Ok(Self::KeyFile(std::env::var_os("DEDUP_KEY_FILE").unwrap_or_default().into()));
            }
            (false, false) => {}
        }
        if let Some(way) = Self::of_config(config).or_else(credential) {
            return Ok(way);
        }
        if std::io::stdin().is_terminal() { Ok(Self::Ask) } else { Err(none_given()) }
    }

    fn of_arguments(global: &Global) -> Option<Self> {
        if global.passphrase {
            return Some(Self::Ask);
        }
        let file = global.passphrase_file.clone().map(Self::File);
        let command = global.passphrase_command.clone().map(Self::Command);
        file.or(command).or(global.key_file.clone().map(Self::KeyFile))
    }

    fn of_config(config: &Config) -> Option<Self> {
        let file = config.passphrase_file.clone().map(Self::File);
        let command = config.passphrase_command.as_ref().map(|command| Self::Command(command.into()));
        file.or(command).or(config.key_file.clone().map(Self::KeyFile))
    }

    /// Gets what opens the repository. `prompt` is shown if a person is asked.
    pub fn unlock(&self, prompt: &str) -> Result<Unlock, Failure> {
        match self {
            Self::Ask => ask(prompt).map(Unlock::Passphrase),
            Self::File(path) => read_passphrase_file(path).map(Unlock::Passphrase),
            Self::Command(command) => run(command).map(Unlock::Passphrase),
            Self::Variable(variable) => {
                let value =
                    Zeroizing::new(std::env::var_os(variable).unwrap_or_default().into_encoded_bytes());
                checked(&value, variable).map(Unlock::Passphrase)
            }
            Self::KeyFile(path) => read_key_file(path),
        }
    }

    /// Gets a new secret: like [`Way::unlock`], but a person at a terminal types it twice.
    pub fn new_secret(&self, prompt: &str) -> Result<Unlock, Failure> {
        let first = self.unlock(prompt)?;
        if let (Self::Ask, Unlock::Passphrase(first), true) = (self, &first, std::io::stdin().is_terminal())
            && *first != ask("The same again: ")?
        {
            return Err(Failure::refused("the two passphrases differ"));
        }
        Ok(first)
    }

    /// Returns whether a wrong answer may be put right at once.
    pub fn may_ask_again(&self) -> bool {
        *self == Self::Ask && std::io::stdin().is_terminal()
    }
}

fn set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Looks for a credential that systemd passed to the service (systemd.exec(5), `LoadCredential=`).
fn credential() -> Option<Way> {
    let dir = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?);
    let (passphrase, key) = (dir.join("dedup-passphrase"), dir.join("dedup-key-file"));
    if passphrase.exists() { Some(Way::File(passphrase)) } else { key.exists().then_some(Way::KeyFile(key)) }
}

fn none_given() -> Failure {
    Failure::new(Kind::WrongKey, "no passphrase is given, and there is no terminal to ask on").hint(
        "use --passphrase-file FILE, --passphrase-command COMMAND, --key-file FILE, DEDUP_PASSPHRASE, DEDUP_KEY_FILE, \
         a systemd credential dedup-passphrase, or --passphrase with a line on standard input",
    )
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |error| Failure::io("cannot read the passphrase", &error);
    if std::io::stdin().is_terminal() {
        let typed = rpassword::prompt_password(prompt).map_err(failed).map(Zeroizing::new)?;
        return checked(typed.as_bytes(), "the answer");
    }
    // Past the buffer of the standard library, which nobody wipes, and byte by byte, so that the rest
    // stays for whoever reads next: a second passphrase, or a command.
    let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    read_line(&mut File::from(input)).map_err(failed).and_then(|line| checked(&line, "standard input"))
}

fn read_line(input: &mut dyn Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE + 2));
    let mut byte = Zeroizing::new([0]);
    while line.len() < MAX_PASSPHRASE + 2 && input.read(&mut byte[..])? == 1 {
        line.push(byte[0]);
        if byte[0] == b'\n' {
            break;
        }
    }
    Ok(line)
}

/// Reads the passphrase of a file.
pub fn read_passphrase_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    checked(&read_small(path, "passphrase file", MAX_PASSPHRASE)?, &path.display().to_string())
}

/// Reads a key file.
pub fn read_key_file(path: &Path) -> Result<Unlock, Failure> {
    let makers =
        "key files are made by `dedup init --key-file FILE PATH` and `dedup key add --new-key-file FILE`";
    let bytes = read_small(path, "key file", MAX_TEXT)
        .map_err(|failure| if path.exists() { failure } else { failure.hint(makers) })?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    Unlock::read_key_file(text.trim_end_matches(['\r', '\n'])).map_err(|error| {
        Failure::refused(format!("{} is no key file: {error}", path.display()))
            .hint("a key file holds one line that `dedup init --key-file` or `dedup key add` wrote, or the lines of `dedup key export`")
    })
}

fn read_small(path: &Path, what: &str, most: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error| {
        let failure = Failure::io(format!("cannot read the {what} {}", path.display()), &error);
        Failure { exit: crate::exit::Exit::WrongKey, ..failure }
    };
    File::open(path).and_then(|file| read_bounded(file, most)).map_err(failed)
}

/// Reads all there is, up to one byte more than `most` with a line end; the buffer
/// never grows, so no copy is left behind.
fn read_bounded(mut input: impl Read, most: usize) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; most + 3]);
    let mut filled = 0;
    while filled < bytes.len() {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Runs a command for a passphrase.
pub fn run(command: &OsStr) -> Result<Zeroizing<String>, Failure> {
    let failed = |error| Failure::io("cannot run the passphrase command", &error);
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .env_remove("DEDUP_PASSPHRASE")
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let output = child.stdout.take();
    let output =
        output.map_or_else(|| Ok(Zeroizing::default()), |output| read_bounded(output, MAX_PASSPHRASE));
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(Failure::new(Kind::WrongKey, format!("the passphrase command failed ({status})")));
    }
    checked(&output.map_err(failed)?, "the output of the passphrase command")
}

/// Checks a passphrase: one line of UTF-8, not empty, not too long; its line end is left out.
fn checked(bytes: &[u8], source: &str) -> Result<Zeroizing<String>, Failure> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let wrong = match std::str::from_utf8(line) {
        Err(_) => "is not UTF-8",
        Ok("") => "holds no passphrase",
        Ok(text) if text.contains('\n') => "has more than one line",
        Ok(text) if text.len() > MAX_PASSPHRASE => "is longer than 4,096 bytes",
        Ok(text) => {
            let mut passphrase = Zeroizing::new(String::with_capacity(text.len()));
            passphrase.push_str(text);
            return Ok(passphrase);
        }
    };
    Err(Failure::new(Kind::WrongKey, format!("{source} {wrong}"))
        .hint("a passphrase is one line of 1 to 4,096 bytes"))
}

/// Makes a new key file that only this user can read; one that is there already is left alone.
///
/// It may become the only thing that opens a repository. So it has its name only when it is whole, and survives
/// a power cut once this returns.
pub fn create_key_file(path: &Path) -> Result<Unlock, Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error| Failure::io(format!("cannot create the key file {}", path.display()), &error);
    let (unlock, mut text) = Unlock::new_key_file()?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let write = || {
        // Left by a run that was killed and had this number; it opens nothing.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.trim_end().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        give_name(&beside, path)?;
        sync_parent(path)
    };
    let written = write();
    text.zeroize();
    written.map_err(|error| {
        // Half a key file opens nothing; failing to remove it changes nothing.
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })?;
    Ok(unlock)
}

/// Renames a file, but not over one that is there.
fn give_name(beside: &Path, path: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags};
    use rustix::io::Errno;
    match rustix::fs::renameat_with(CWD, beside, CWD, path, RenameFlags::NOREPLACE) {
        // Old kernels and some file systems know no such flag; a link is never made over a name that is taken.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            std::fs::hard_link(beside, path)?;
            std::fs::remove_file(beside)
        }
        result => Ok(result?),
    }
}

/// Makes the names in a file's directory durable.
fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(parent) {
        Ok(parent) => parent.sync_all(),
        // One can make files in a directory that one may not read; then there is nothing to sync it by.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_one_line_without_its_end() {
        for bytes in [&b"secret words"[..], b"secret words\n", b"secret words\r\n"] {
            assert_eq!(*checked(bytes, "x").unwrap(), "secret words");
        }
        assert_eq!(*checked(b" spaces count ", "x").unwrap(), " spaces count ");
        for bytes in [&b""[..], b"\n", b"a\nb", b"a\n\n", b"\xff", &[b'a'; MAX_PASSPHRASE + 1]] {
            let failure = checked(bytes, "x").unwrap_err();
            assert_eq!(failure.exit.code(), 12);
        }
    }

    #[test]
    fn one_line_is_taken_and_the_rest_is_left() {
        let mut input = &b"first\nsecond"[..];
        assert_eq!(*read_line(&mut input).unwrap(), b"first\n");
        assert_eq!(*read_line(&mut input).unwrap(), b"second");
        let mut endless = std::io::repeat(b'x');
        assert!(checked(&read_line(&mut endless).unwrap(), "x").is_err());
    }

    #[test]
    fn arguments_win_over_the_configuration() {
        let config = Config { key_file: Some("/k".into()), ..Config::default() };
        let global = Global { passphrase: true, ..Global::default() };
        assert_eq!(Way::choose(&global, &config).unwrap(), Way::Ask);
        assert_eq!(Way::of_config(&config), Some(Way::KeyFile("/k".into())));
    }

    #[test]
    fn a_command_that_fails_gives_no_passphrase() {
        assert_eq!(*run("echo secret".as_ref()).unwrap(), "secret");
        assert!(run("echo secret; exit 3".as_ref()).is_err());
    }

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let Unlock::KeyFile(made) = create_key_file(&path).unwrap() else { panic!("no key file") };
        let Unlock::KeyFile(read) = read_key_file(&path).unwrap() else { panic!("no key file") };
        assert_eq!(made, read);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(create_key_file(&path).is_err());
        std::fs::write(&path, "dedup-key-1:00").unwrap();
        assert!(read_key_file(&path).is_err());
    }
}
