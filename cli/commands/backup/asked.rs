//! What was typed, checked and brought into the form in which it is stored.

use super::BackupArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use dedup_engine::error::Kind;
use dedup_modules::files::Excludes;
use std::path::{Path, PathBuf};

/// Returns the path as it is stored: absolute, without `..`, its parents free of symbolic links. The last
/// component may be a link, which is then stored as such.
pub fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::io(format!("{} is no usable path", path.display()), &error);
    let whole = std::path::absolute(path).map_err(failed)?;
    let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else {
        return match path.canonicalize() {
            Ok(path) => Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(whole),
            Err(error) => Err(failed(error)),
        };
    };
    match parent.canonicalize() {
        Ok(parent) => Ok(parent.join(name)),
        // Nothing is there at all; it is told as missing.
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            Ok(whole)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Refuses right away what a snapshot has no room for (`FORMAT.md` 12).
pub fn fits_a_snapshot(args: &BackupArgs, tags: &[String], comment: &str) -> Result<(), Failure> {
    let limits = [
        ("--host", args.host.iter().map(String::len).max(), 255, "bytes"),
        ("--tag", tags.iter().map(String::len).max(), 255, "bytes"),
        ("--tag", Some(tags.len()), 64, "tags"),
        ("--comment", Some(comment.len()), 4096, "bytes"),
        ("PATH", Some(args.paths.len()), 4096, "paths"),
    ];
    match limits.iter().find(|(_, found, most, _)| found.is_some_and(|found| found > *most)) {
        Some((option, _, most, unit)) => {
            Err(Failure::refused(format!("{option} takes at most {} {unit}", human::count(*most as u64))))
        }
        None => Ok(()),
    }
}

pub fn excludes(args: &BackupArgs) -> Result<Excludes, Failure> {
    let mut texts = Vec::new();
    for file in &args.exclude_file {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| Failure {
            exit: Exit::Refused,
            ..Failure::io(format!("cannot read {name}"), &error)
        })?;
        texts.push((name, text));
    }
    texts.extend(args.exclude.iter().map(|pattern| ("--exclude".to_owned(), pattern.clone())));
    Excludes::parse(texts.iter().map(|(place, text)| (&place[..], &text[..])))
        .map_err(|error| Failure::of(Kind::Refused, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_a_link_stays_a_link_only_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("real/sub")).unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        assert_eq!(absolute(&base.join("link/sub")).unwrap(), base.join("real/sub"));
        assert_eq!(absolute(&base.join("link")).unwrap(), base.join("link"));
        assert_eq!(absolute(&base.join("real/sub/..")).unwrap(), base.join("real"));
        assert_eq!(absolute(&base.join("real/gone")).unwrap(), base.join("real/gone"));
        assert_eq!(absolute(&base.join("gone/x")).unwrap(), base.join("gone/x"));
        assert_eq!(absolute("/".as_ref()).unwrap(), Path::new("/"));
    }
}
