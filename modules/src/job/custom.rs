//! Paths of a job's own: stored as a module of their own, whose manifest the job file stands for.
//!
//! So they have an account, an outcome for each path and a parent to be compared with like those of any module, and come
//! back by the manifest in the snapshot, also where the job file is lost.

use crate::manifest::job::{CUSTOM_PREFIX, Job};
use crate::manifest::{Manifest, Problems};
use std::fmt::Write;

/// A manifest that a job file stands for.
#[derive(Clone, Debug)]
pub struct CustomModule {
    /// What it says.
    pub manifest: Manifest,
    /// Its text, which goes into the snapshot.
    pub text: String,
}

impl CustomModule {
    /// Makes the module of a job's own paths; `None` if it has none.
    ///
    /// # Errors
    /// What a manifest must not say, such as what to leave out of a single file.
    pub fn of(job: &Job) -> Result<Option<Self>, Problems> {
        if job.custom.is_empty() {
            return Ok(None);
        }
        let text = text_of(job);
        let manifest = Manifest::parse(&format!("[[custom]] of the job {}", job.id), text.as_bytes())?;
        Ok(Some(Self { manifest, text }))
    }
}

fn text_of(job: &Job) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let id = quoted(&format!("{CUSTOM_PREFIX}{}", job.id));
    let what = quoted(&format!("Paths of the job {}", job.id));
    let mut text = format!("schema = 1\n[module]\nid = {id}\ndescription = {what}\n");
    for custom in &job.custom {
        let exclude: Vec<_> = custom.exclude.iter().map(|pattern| quoted(pattern)).collect();
        let (path, kind) = (quoted(&custom.path.to_string()), quoted(&custom.kind.to_string()));
        // Writing to a text does not fail.
        let _ = write!(text, "[[data.entries]]\npath = {path}\nkind = {kind}\n");
        if !exclude.is_empty() {
            let _ = writeln!(text, "exclude = [{}]", exclude.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::test_job;
    use super::*;
    use crate::manifest::items::Extent;

    #[test]
    fn paths_become_a_module() {
        assert!(CustomModule::of(&test_job("")).unwrap().is_none());
        let job = test_job(
            "[[custom]]\npath = \"/opt/a \\\"b\\\"\\\\c\"\nexclude = [\"*.tmp\", \"/x\"]\n[[custom]]\npath = \"/etc/fstab\"\nkind = \"file\"\n",
        );
        let custom = CustomModule::of(&job).unwrap().unwrap();
        assert_eq!(custom.manifest.module.id.as_str(), "custom-night");
        let items = custom.manifest.items(&custom.manifest.paths).unwrap();
        let seen: Vec<_> = items.iter().map(|item| (item.path.to_str().unwrap(), item.extent)).collect();
        assert_eq!(seen, [("/opt/a \"b\"\\c", Extent::Tree), ("/etc/fstab", Extent::File)]);
        assert_eq!(items[0].entry.unwrap().exclude, ["*.tmp", "/x"]);
        // The text alone means the same: it is all that a restore has.
        assert_eq!(Manifest::parse("x", custom.text.as_bytes()).unwrap(), custom.manifest);
    }
}
