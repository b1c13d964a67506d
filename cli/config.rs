//! The configuration file: what would otherwise stand in arguments.
//!
//! ```toml
//! repository = "/mnt/disk/backups"      # relative paths start at the file's own directory
//! key-file = "/etc/dedup/key"           # or passphrase-file, or passphrase-command
//! index-dir = "/var/cache/dedup"
//! max-memory = "256M"
//! threads = 4
//! ```
//!
//! Exactly one file is read: `--config`, or the first that exists of `./dedup.toml`, the user's and
//! `/etc/dedup/dedup.toml`. A file that another user could have written is refused, because it decides
//! where the data go and under which key; `./dedup.toml` never holds commands.

use crate::failure::Failure;
use crate::{find_repo, sizes};
use serde::Deserialize;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Largest configuration file: 1 MiB, far beyond any sensible one.
const MAX_FILE: u64 = 1 << 20;

/// What the configuration file says; everything may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The file; `None` if there is none.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Where the repository is.
    pub repository: Option<PathBuf>,
    /// File with the passphrase.
    pub passphrase_file: Option<PathBuf>,
    /// Command that prints the passphrase.
    pub passphrase_command: Option<String>,
    /// Key file.
    pub key_file: Option<PathBuf>,
    /// Directory of the local indexes.
    pub index_dir: Option<PathBuf>,
    /// Most memory to use, as text with a unit.
    #[serde(default, deserialize_with = "size")]
    pub max_memory: Option<u64>,
    /// Number of threads.
    pub threads: Option<u16>,
}

fn size<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    sizes::size(&text).map(Some).map_err(serde::de::Error::custom)
}

/// Reads the configuration file: the one that is named, or the first one found.
pub fn load(named: Option<&Path>) -> Result<Config, Failure> {
    if let Some(path) = named {
        return read(path, true)?
            .ok_or_else(|| Failure::refused(format!("there is no configuration file {}", path.display())));
    }
    let here = Path::new("dedup.toml");
    if let Some(config) = read(here, false)? {
        return Ok(config);
    }
    let user = find_repo::base_dir("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("dedup/dedup.toml"));
    for path in user.into_iter().chain([PathBuf::from("/etc/dedup/dedup.toml")]) {
        if let Some(config) = read(&path, true)? {
            return Ok(config);
        }
    }
    Ok(Config::default())
}

/// Reads one file; `None` if it is not there.
fn read(path: &Path, commands: bool) -> Result<Option<Config>, Failure> {
    use std::io::Read;
    let failed =
        |error| Failure::io(format!("cannot read the configuration file {}", path.display()), &error);
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    // Asked of the open file, so that nobody can put another one in its place in between.
    let stat = file.metadata().map_err(failed)?;
    if let Some(wrong) = distrust(stat.uid(), stat.mode(), nix::unistd::geteuid().as_raw()) {
        let refused = format!("the configuration file {} is not used: {wrong}", path.display());
        return Err(Failure::refused(refused).hint("own it yourself, and `chmod go-w` it"));
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    parse(path, &text, commands).map(Some)
}

fn parse(path: &Path, text: &str, commands: bool) -> Result<Config, Failure> {
    let mut config: Config = toml::from_str(text).map_err(|error| {
        let place =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        Failure::refused(format!("{}, line {place}: {}", path.display(), error.message()))
    })?;
    if config.passphrase_command.is_some() && !commands {
        let refused = format!("{} must not hold commands (passphrase-command)", path.display());
        return Err(Failure::refused(refused)
            .hint("move it to the user's configuration, or name the file by --config"));
    }
    let ways =
        [config.passphrase_file.is_some(), config.passphrase_command.is_some(), config.key_file.is_some()];
    if ways.iter().filter(|way| **way).count() > 1 {
        let refused = format!("{} holds several ways to unlock the repository", path.display());
        return Err(
            Failure::refused(refused).hint("keep one of passphrase-file, passphrase-command, key-file")
        );
    }
    let dir = path.parent().unwrap_or(Path::new(""));
    let paths =
        [&mut config.repository, &mut config.passphrase_file, &mut config.key_file, &mut config.index_dir];
    for relative in paths.into_iter().flatten() {
        *relative = dir.join(&*relative);
    }
    config.file = Some(path.to_owned());
    Ok(config)
}

/// Says why a file of this owner and mode cannot be trusted by user `me`.
fn distrust(owner: u32, mode: u32, me: u32) -> Option<&'static str> {
    if owner != me && owner != 0 {
        Some("it belongs to another user")
    } else if mode & 0o002 != 0 {
        Some("every user may write it")
    } else if me == 0 && mode & 0o020 != 0 {
        Some("users other than root may write it")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_at_the_file() {
        let text = "repository = \"backups\"\nkey-file = \"/k\"\nmax-memory = \"64M\"\nthreads = 2\n";
        let config = parse(Path::new("/etc/dedup/dedup.toml"), text, true).unwrap();
        assert_eq!(config.repository.as_deref(), Some(Path::new("/etc/dedup/backups")));
        assert_eq!(config.key_file.as_deref(), Some(Path::new("/k")));
        assert_eq!((config.max_memory, config.threads), (Some(64 << 20), Some(2)));
    }

    #[test]
    fn faults_are_named_with_their_line() {
        let message = |text, commands| parse(Path::new("x.toml"), text, commands).unwrap_err().message;
        assert!(message("threads = 1\nrepo = \"a\"\n", true).contains("line 2"));
        assert!(message("max-memory = \"64\"", true).contains("unit"));
        assert!(message("passphrase-command = \"pass\"", false).contains("commands"));
        assert!(message("key-file = \"a\"\npassphrase-file = \"b\"", true).contains("several"));
        assert!(parse(Path::new("x.toml"), "passphrase-command = \"pass\"", true).is_ok());
    }

    #[test]
    fn a_file_that_others_could_write_is_not_trusted() {
        assert_eq!(distrust(1000, 0o644, 1000), None);
        assert_eq!(distrust(0, 0o644, 1000), None);
        assert_eq!(distrust(1000, 0o664, 1000), None);
        assert!(distrust(1001, 0o644, 1000).is_some());
        assert!(distrust(1000, 0o646, 1000).is_some());
        assert!(distrust(0, 0o664, 0).is_some());
        assert!(distrust(1000, 0o644, 0).is_some());
    }
}
