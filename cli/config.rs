//! The configuration file: what would otherwise stand in arguments.
//!
//! ```toml
//! repository = "/mnt/disk/backups"      # relative paths start at the file's own directory
//! key-file = "/etc/dedup/key"           # or passphrase-file, or passphrase-command
//! index-dir = "/var/cache/dedup"
//! snapshot-copies = "/srv/.copies"      # where paths are copied to that no filesystem snapshot covers
//! max-memory = "256M"
//! threads = 4
//!
//! [paths]                               # path variables of manifests that have another value on this machine
//! VARLIB = "/srv/asterisk"              # in every module
//! wiki = { DATA = "/srv/wiki" }         # in one
//! ```
//!
//! Exactly one file is read: `--config`, or the first that exists of `./dedup.toml`, the user's and
//! `/etc/dedup/dedup.toml`. A file that another user could have written, or put there, is refused (`trust`),
//! because it decides where the data go and under which key; it is never passed over in silence, since the run
//! would then use another repository than the one in sight. `./dedup.toml` never holds commands, nor does any
//! configuration name directories of manifests.

use crate::failure::Failure;
use crate::{find_repo, sizes};
use dedup_modules::catalog::MachinePaths;
use dedup_modules::id::ModuleId;
use dedup_modules::manifest::paths::{Variables, check_name};
use dedup_modules::trust::{Trust, TrustError};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Largest configuration file: 1 MiB, far beyond any sensible one.
const MAX_FILE: usize = 1 << 20;

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
    /// Directory for copies of what modules declare, where no filesystem snapshot covers it; without, none are made.
    pub snapshot_copies: Option<PathBuf>,
    /// Most memory to use, as text with a unit.
    #[serde(default, deserialize_with = "size")]
    pub max_memory: Option<u64>,
    /// Number of threads.
    pub threads: Option<u16>,
    /// Path variables of this machine.
    #[serde(default, deserialize_with = "paths")]
    pub paths: MachinePaths,
}

fn size<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    sizes::size(&text).map(Some).map_err(serde::de::Error::custom)
}

fn paths<'de, D: serde::Deserializer<'de>>(from: D) -> Result<MachinePaths, D::Error> {
    use serde::de::Error;
    let mut paths = MachinePaths::default();
    for (key, value) in toml::Table::deserialize(from)? {
        match value {
            toml::Value::Table(of_module) => {
                let id = ModuleId::parse(&key).map_err(D::Error::custom)?;
                let own = paths.of_module.entry(id).or_default();
                for (name, value) in of_module {
                    variable(own, name, &value).map_err(D::Error::custom)?;
                }
            }
            value => variable(&mut paths.of_all, key, &value).map_err(D::Error::custom)?,
        }
    }
    Ok(paths)
}

fn variable(of: &mut Variables, name: String, value: &toml::Value) -> Result<(), String> {
    check_name(&name)?;
    match value.as_str().map(Path::new) {
        Some(path) if path.is_absolute() => of.set(name, path),
        _ => return Err(format!("the path variable {name} is no absolute path")),
    }
    Ok(())
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
    let failed =
        |error| Failure::io(format!("cannot read the configuration file {}", path.display()), &error);
    // Most directories have none: then nothing is asked of where it would be.
    match path.symlink_metadata() {
        Err(error) if is_gone(&error) => return Ok(None),
        _ => {}
    }
    let whole = std::path::absolute(path).map_err(failed)?;
    let bytes = match Trust::of(nix::unistd::geteuid().as_raw()).read(&whole, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Ok(None),
        Err(TrustError::Io { source, .. }) => return Err(failed(source)),
        Err(error) => {
            let mut failure = Failure::from(error);
            if !commands {
                let more = "or go elsewhere, or name another file by --config";
                failure.hint = Some(failure.hint.map_or(more.into(), |hint| format!("{hint}; {more}")));
            }
            return Err(failure);
        }
    };
    if bytes.len() > MAX_FILE {
        return Err(Failure::refused(format!("the configuration file {} is too large", path.display())));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::refused(format!("the configuration file {} is not UTF-8", path.display())))?;
    parse(path, &text, commands).map(Some)
}

fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
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
    let paths = [
        &mut config.repository,
        &mut config.passphrase_file,
        &mut config.key_file,
        &mut config.index_dir,
        &mut config.snapshot_copies,
    ];
    for relative in paths.into_iter().flatten() {
        *relative = dir.join(&*relative);
    }
    config.file = Some(path.to_owned());
    Ok(config)
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
    fn paths_of_this_machine_are_taken() {
        let text = "[paths]\nVARLIB = \"/srv/a\"\n[paths.Wiki]\nDATA = \"/srv/w\"\n";
        let paths = parse(Path::new("x.toml"), text, false).unwrap().paths;
        assert_eq!(paths.of_all.get("VARLIB"), Some(Path::new("/srv/a")));
        assert_eq!(paths.of_module[&ModuleId::parse("wiki").unwrap()].get("DATA"), Some(Path::new("/srv/w")));
        for (wrong, word) in [
            ("varlib = \"/x\"", "capital"),
            ("V = \"x\"", "absolute"),
            ("V = 5", "absolute"),
            ("wiki = { data = \"/x\" }", "capital"),
            ("\"a b\" = { DATA = \"/x\" }", "no id"),
        ] {
            let failure = parse(Path::new("x.toml"), &format!("[paths]\n{wrong}\n"), true).unwrap_err();
            assert!(failure.message.contains(word), "{}", failure.message);
        }
    }
}
