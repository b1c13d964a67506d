//! Snapshots on a real btrfs, mounted from a file; copies anywhere.

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

fn env() -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())]
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A btrfs in a file, mounted; unmounted when dropped.
struct Image(tempfile::TempDir, PathBuf);

impl Image {
    /// Nothing where this machine cannot mount one.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can mount a file system");
            return None;
        }
        let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
        let (file, at) = (scratch.path().join("image"), scratch.path().canonicalize().unwrap().join("at"));
        fs::File::create(&file).unwrap().set_len(256 << 20).unwrap();
        fs::create_dir(&at).unwrap();
        run("mkfs.btrfs", &["-q", file.to_str().unwrap()]);
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(&file).arg(&at).output().unwrap();
        if !mounted.status.success() {
            eprintln!("SKIPPED: {}", String::from_utf8_lossy(&mounted.stderr));
            return None;
        }
        Some(Self(scratch, at))
    }

    fn path(&self, below: &str) -> PathBuf {
        self.1.join(below)
    }

    fn write(&self, below: &str, content: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn subvolume(&self, below: &str) {
        run("btrfs", &["subvolume", "create", self.path(below).to_str().unwrap()]);
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        run("umount", &["-R", self.1.to_str().unwrap()]);
        let _ = &self.0;
    }
}

#[test]
fn a_snapshot_of_btrfs_is_of_one_moment_and_goes_without_a_trace() {
    let Some(image) = Image::new() else { return };
    image.subvolume("srv");
    image.subvolume("srv/nested");
    image.write("srv/app/file", "before");
    image.write("srv/nested/deep/file", "before");
    image.write("top/file", "before");
    fs::set_permissions(&image.1, fs::Permissions::from_mode(0o711)).unwrap();
    let provider = Btrfs { env: env() };
    let elsewhere = image.0.path().join("on-another-file-system");
    let paths = [image.path("srv"), image.path("srv/missing/too"), image.path("top/file"), elsewhere];
    let plan = provider.plan(&paths, "run-1").unwrap();
    assert_eq!(plan.coverage, Coverage::Some(paths[..3].to_vec()));
    assert_eq!(provider.plan(&paths[..3], "run-1").unwrap().coverage, Coverage::All);
    assert_eq!(
        provider.plan(&paths[3..], "run-1").unwrap(),
        Plan { coverage: Coverage::None, reference: None }
    );
    let reference = plan.reference.unwrap();
    assert_eq!(reference.parts, [image.1.clone(), image.path("srv"), image.path("srv/nested")]);
    let kept: FsSnapshotRef = serde_json::from_str(&serde_json::to_string(&reference).unwrap()).unwrap();
    assert_eq!(kept, reference);

    let before = [&image.1, &paths[0]].map(|at| fs::metadata(at).unwrap().modified().unwrap());
    provider.take(&reference).unwrap();
    for file in ["srv/app/file", "srv/nested/deep/file", "top/file"] {
        image.write(file, "after");
        let at = reference.base.join(image.path(file).strip_prefix("/").unwrap());
        assert_eq!(fs::read_to_string(&at).unwrap(), "before", "{file}");
        assert_eq!(fs::write(&at, "").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem, "{file}");
    }
    let top = reference.base.join(image.1.strip_prefix("/").unwrap());
    assert!(!top.join(".dedup-fs-run-1").exists(), "the snapshot holds no trace of itself");
    let above = top.parent().unwrap();
    let real = fs::metadata(image.1.parent().unwrap()).unwrap();
    assert_eq!(fs::metadata(above).unwrap().mode(), real.mode());
    // Taking the snapshot changed these directories; on a slow machine they had the time of that.
    let time = |at: &Path| fs::metadata(at).unwrap().modified().unwrap();
    assert_eq!(time(above), real.modified().unwrap());
    assert_eq!((time(&top), time(&top.join("srv"))), (before[0], before[1]));

    // Found again by a run that knows nothing, and removed by what was found.
    let left: Vec<_> =
        provider.leftovers().unwrap().into_iter().filter(|left| left.place == reference.place).collect();
    assert_eq!(left, std::slice::from_ref(&reference));
    provider.delete(&left[0]).unwrap();
    assert!(!reference.place.exists());
    provider.delete(&reference).unwrap();
    let listed = Command::new("btrfs").args(["subvolume", "list"]).arg(&image.1).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 2, "{listed:?}");
}

/// Where a subvolume is mounted, and not the root of the file system, `btrfs` lists the paths below it from there. They were taken
/// for paths from the root, so nested subvolumes were empty directories in the snapshot.
#[test]
fn subvolumes_below_a_mounted_one_are_covered() {
    let Some(image) = Image::new() else { return };
    for below in ["@", "@/home", "@/home/deep", "other"] {
        image.subvolume(below);
    }
    image.write("@/home/deep/file", "in it");
    let (point, file) = (image.1.to_str().unwrap(), image.0.path().join("image"));
    run("umount", &[point]);
    run("mount", &["-o", "loop,subvol=@", file.to_str().unwrap(), point]);
    let provider = Btrfs { env: env() };
    let plan = provider.plan(std::slice::from_ref(&image.1), "sub").unwrap();
    assert_eq!(plan.coverage, Coverage::All);
    let reference = plan.reference.unwrap();
    assert_eq!(reference.parts, [image.1.clone(), image.path("home"), image.path("home/deep")]);
    provider.take(&reference).unwrap();
    let at = reference.base.join(image.path("home/deep/file").strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(at).unwrap(), "in it");
    let left: Vec<_> = provider.leftovers().unwrap().into_iter().filter(|left| left.run == "sub").collect();
    assert_eq!(left, std::slice::from_ref(&reference));
    provider.delete(&left[0]).unwrap();
    assert!(!reference.place.exists());
}

#[test]
fn a_half_made_snapshot_is_removed_too() {
    let Some(image) = Image::new() else { return };
    image.subvolume("a");
    image.subvolume("a/b");
    image.write("a/b/file", "x");
    let provider = Btrfs { env: env() };
    let reference = provider.plan(&[image.path("a")], "half").unwrap().reference.unwrap();
    // The second part is gone when its turn comes.
    let mut broken = reference.clone();
    broken.parts.push(image.path("a/gone"));
    assert!(provider.take(&broken).is_err());
    assert!(reference.base.join(image.path("a/b/file").strip_prefix("/").unwrap()).exists());
    provider.delete(&broken).unwrap();
    assert!(!reference.place.exists());
}

#[test]
fn what_is_mounted_below_is_not_covered() {
    let Some(image) = Image::new() else { return };
    fs::create_dir_all(image.path("srv/mounted")).unwrap();
    run("mount", &["-t", "tmpfs", "none", image.path("srv/mounted").to_str().unwrap()]);
    let provider = Btrfs { env: env() };
    let plan = provider.plan(&[image.path("srv"), image.path("other")], "r").unwrap();
    assert_eq!(plan.coverage, Coverage::Some(vec![image.path("other")]));
}

#[test]
fn a_copy_stands_for_a_snapshot() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = scratch.path().canonicalize().unwrap();
    fs::create_dir_all(at.join("srv/app")).unwrap();
    fs::create_dir(at.join("copies")).unwrap();
    fs::write(at.join("srv/app/file"), "before").unwrap();
    fs::hard_link(at.join("srv/app/file"), at.join("srv/app/other")).unwrap();
    fs::set_permissions(at.join("srv/app"), fs::Permissions::from_mode(0o710)).unwrap();
    let provider = DirectoryCopy { directory: at.join("copies"), env: env() };
    let paths = [at.join("srv/app"), at.join("missing"), at.clone()];
    let plan = provider.plan(&paths, "r").unwrap();
    assert_eq!(plan.coverage, Coverage::Some(paths[..2].to_vec()));
    let reference = plan.reference.unwrap();
    provider.take(&reference).unwrap();
    fs::write(at.join("srv/app/file"), "after").unwrap();
    let copy = reference.base.join(at.strip_prefix("/").unwrap()).join("srv/app");
    assert_eq!(fs::read_to_string(copy.join("file")).unwrap(), "before");
    assert_eq!(fs::metadata(copy.join("other")).unwrap().nlink(), 2);
    assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o7777, 0o710);
    let left = provider.leftovers().unwrap();
    assert_eq!(left.iter().map(|left| &left.place).collect::<Vec<_>>(), [&reference.place]);
    provider.delete(&left[0]).unwrap();
    provider.delete(&reference).unwrap();
    assert_eq!(fs::read_dir(at.join("copies")).unwrap().count(), 0);
}

#[test]
fn a_reference_that_names_something_else_removes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let provider = DirectoryCopy { directory: scratch.path().to_owned(), env: env() };
    let reference = |place: PathBuf, run: &str| FsSnapshotRef {
        provider: "copy".into(),
        run: run.into(),
        base: place.join("root"),
        place,
        parts: vec![],
    };
    for (place, run) in [("precious", "r"), (".dedup-fs-r", "../r"), (".dedup-fs-r", "other")] {
        let place = scratch.path().join(place);
        fs::create_dir_all(&place).unwrap();
        assert!(provider.delete(&reference(place.clone(), run)).is_err());
        assert!(Btrfs { env: env() }.delete(&reference(place.clone(), run)).is_err());
        assert!(place.exists());
    }
}

#[test]
fn a_subvolume_takes_the_place_of_another_and_the_old_one_stays() {
    let Some(image) = Image::new() else { return };
    image.subvolume("system");
    image.write("system/etc/file", "old");
    let provider = Btrfs { env: env() };
    let at = image.path("system");
    for (run, empty) in [("w1", true), ("w2", false)] {
        let before = fs::read_to_string(at.join("etc/file")).unwrap();
        let target = provider.plan_writable(&at, run).unwrap();
        provider.make_writable(&target, &at, empty).unwrap();
        assert_eq!(target.base.join("etc/file").exists(), !empty);
        // Half made, it can be removed, by whoever finds it too.
        let left: Vec<_> = provider.leftovers().unwrap().into_iter().filter(|left| left.run == run).collect();
        assert_eq!(left, std::slice::from_ref(&target));
        provider.delete(&target).unwrap();
        assert!(!target.place.exists());
        provider.make_writable(&target, &at, empty).unwrap();
        fs::create_dir_all(target.base.join("etc")).unwrap();
        fs::write(target.base.join("etc/file"), format!("restored by {run}")).unwrap();
        let lasting = provider.finish_writable(&target, &at).unwrap();
        assert_eq!(lasting, image.path(&format!("system.restored-{run}")));
        // From here on nothing that removes leftovers finds it.
        provider.delete(&target).unwrap();
        assert!(provider.leftovers().unwrap().iter().all(|left| left.run != run));
        assert_eq!(
            fs::read_to_string(at.join("etc/file")).unwrap(),
            before,
            "nothing is seen before the switch"
        );
        let switched = provider.switch(&lasting, &at, run).unwrap();
        let old = image.path(&format!("system.before-{run}"));
        assert_eq!(switched, Switched { effect: SwitchEffect::Now, new: at.clone(), old: old.clone() });
        assert_eq!(fs::read_to_string(at.join("etc/file")).unwrap(), format!("restored by {run}"));
        assert_eq!(fs::read_to_string(old.join("etc/file")).unwrap(), before);
        assert!(!lasting.exists());
    }
    // The root of what is mounted.
    let target = provider.plan_writable(&image.1, "w").unwrap();
    provider.make_writable(&target, &image.1, true).unwrap();
    fs::write(target.base.join("new"), "").unwrap();
    let lasting = provider.finish_writable(&target, &image.1).unwrap();
    let switched = provider.switch(&lasting, &image.1, "w").unwrap();
    assert_eq!((switched.effect, switched.old), (SwitchEffect::AtNextMount, image.1.clone()));
    let point = image.1.to_str().unwrap();
    run("umount", &[point]);
    run("mount", &["-o", "loop", image.0.path().join("image").to_str().unwrap(), point]);
    assert!(image.path("new").exists() && !at.exists());
    assert!(provider.plan_writable(&image.path("new"), "w").is_err());
}

/// What made a snapshot removes it, whichever it was.
#[test]
fn each_is_removed_by_its_kind() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = scratch.path().canonicalize().unwrap();
    fs::create_dir_all(at.join("srv")).unwrap();
    fs::create_dir(at.join("copies")).unwrap();
    let around = crate::child::Surroundings { env: env(), ..Default::default() };
    let copy = DirectoryCopy::of(&around, &at.join("copies"));
    let reference = copy.plan(&[at.join("srv")], "r").unwrap().reference.unwrap();
    copy.take(&reference).unwrap();
    let left: Vec<_> = leftovers(&around, Some(&at.join("copies")))
        .into_iter()
        .filter(|left| left.place == reference.place)
        .collect();
    assert_eq!(left.len(), 1);
    delete(&around, &left[0]).unwrap();
    assert!(!reference.place.exists());
    let foreign = FsSnapshotRef { provider: "zfs".into(), ..reference };
    assert!(delete(&around, &foreign).is_err(), "a kind that is not known");
}
