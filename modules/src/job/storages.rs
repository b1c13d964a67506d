//! The storages of a job: one is the repository of its runs, the others get copies.

use crate::manifest::job::{Job, JobStorage};
use std::path::{Path, PathBuf};

/// The storages of a job by what they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storages<'j> {
    /// The repository, where no other is named: the first that is required, else the first; `None` if there is none.
    pub repository: Option<&'j JobStorage>,
    /// The others, in their order.
    pub further: Vec<&'j JobStorage>,
}

impl<'j> Storages<'j> {
    /// Tells the storages of a job apart.
    pub fn of(job: &'j Job) -> Self {
        let at = job.storages.iter().position(|storage| storage.require).unwrap_or(0);
        let others = job.storages.iter().enumerate().filter(|(place, _)| *place != at);
        Self { repository: job.storages.get(at), further: others.map(|(_, storage)| storage).collect() }
    }
}

/// Returns the directory that an address names; `None` if it names something else.
pub fn directory(address: &str) -> Option<PathBuf> {
    let path = Path::new(address.strip_prefix("file:").unwrap_or(address));
    path.is_absolute().then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::test_job;
    use super::*;

    fn of(storages: &[(&str, bool)]) -> (Option<String>, Vec<String>) {
        let text: String = storages
            .iter()
            .map(|(address, require)| format!("[[storage]]\naddress = {address:?}\nrequire = {require}\n"))
            .collect();
        let job = test_job(&text);
        let storages = Storages::of(&job);
        let names = storages.further.iter().map(|storage| storage.address.clone()).collect();
        (storages.repository.map(|storage| storage.address.clone()), names)
    }

    #[test]
    fn the_first_required_one_is_the_repository() {
        assert_eq!(of(&[]), (None, vec![]));
        assert_eq!(of(&[("/a", false)]), (Some("/a".into()), vec![]));
        let three = [("/a", false), ("/b", true), ("/c", true)];
        assert_eq!(of(&three), (Some("/b".into()), vec!["/a".into(), "/c".into()]));
        assert_eq!(of(&[("/a", false), ("/b", false)]), (Some("/a".into()), vec!["/b".into()]));
    }

    #[test]
    fn directories_are_whole_paths() {
        assert_eq!(directory("/mnt/x"), Some("/mnt/x".into()));
        assert_eq!(directory("file:/mnt/x"), Some("/mnt/x".into()));
        assert_eq!(["x", "sftp:u@h:/x", "s3://b/x", "file:x", ""].map(directory), [const { None }; 5]);
    }
}
