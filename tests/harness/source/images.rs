//! File systems in files, mounted as long as a value lives.

use crate::support::Scratch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system; unmounted, its loop device and its file gone, when this goes.
pub struct Image {
    place: PathBuf,
    #[expect(dead_code, reason = "removes image and mount point, after the unmounting")]
    scratch: Scratch,
}

/// Runs a command; its error output is why it failed.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let path = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(error) => Err(format!("{program}: {error}")),
    }
}

impl Image {
    /// Makes and mounts one; why not, if that cannot be done here.
    pub fn new(kind: &str) -> Result<Self, String> {
        let scratch = Scratch::new();
        let (file, place) = (scratch.path("image"), scratch.dir("mounted"));
        let (image, at) = (file.to_str().unwrap(), place.to_str().unwrap());
        if kind == "tmpfs" {
            run("mount", &["-t", "tmpfs", "-o", "size=256m", "tmpfs", at])?;
        } else {
            fs::File::create(&file).unwrap().set_len(512 << 20).unwrap();
            let make = format!("mkfs.{kind}");
            let force = if kind == "ext4" { "-F" } else { "-f" };
            run(&make, &["-q", force, image])?;
            run("mount", &["-o", "loop", image, at])?;
        }
        Ok(Self { place, scratch })
    }

    /// Returns where it is mounted.
    pub fn path(&self) -> &Path {
        &self.place
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let at = self.place.to_str().unwrap();
        // Something may still look at it; then it goes when that has ended.
        if run("umount", &[at]).is_err() {
            let _ = run("umount", &["--lazy", at]);
        }
    }
}
