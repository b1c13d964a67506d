//! `dedup check --source`: is what was stored still what is there?

use super::support::{Place, noise};
use crate::support::mount::Mount;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

fn place() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.path("src/deep/er")).unwrap();
    for n in 0..6 {
        fs::write(place.path("src").join(n.to_string()), noise(n + 1, 5000)).unwrap();
        fs::write(place.path("src/deep/er").join(n.to_string()), noise(n + 9, 100)).unwrap();
    }
    symlink("0", place.path("src/link")).unwrap();
    fs::File::create(place.path("src/hole")).unwrap().set_len(1 << 30).unwrap();
    place.run(["backup", "src"]).ok();
    place
}

#[test]
fn what_changed_since_is_told_and_no_damage() {
    let place = place();
    let same = place.run(["check", "--source"]).ok().quiet();
    assert!(same.out.contains("17 entries compared, 0 not as stored"), "{}", same.out);

    fs::write(place.path("src/1"), noise(77, 5000)).unwrap();
    fs::write(place.path("src/2"), "short").unwrap();
    fs::set_permissions(place.path("src/3"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(place.path("src/link")).unwrap();
    symlink("1", place.path("src/link")).unwrap();
    fs::remove_dir_all(place.path("src/deep")).unwrap();
    fs::remove_file(place.path("src/4")).unwrap();
    fs::create_dir(place.path("src/4")).unwrap();
    fs::write(place.path("src/new"), "that nobody asked for").unwrap();
    let told = place.run(["check", "--source=latest"]).ok().says(&[
        "src/1: content differs\n",
        "src/2: content differs: it has another length",
        "src/3: owner, mode, time or attributes differ",
        "src/4: something of another kind is there",
        "src/deep: missing",
        "src/link: it leads elsewhere",
    ]);
    assert!(!told.err.contains("deep/er") && !told.err.contains("src/5"), "{}", told.err);
    place.run(["check", "--source", "--strict"]).ends(4);
    let below = place.run(["check", &format!("--source=latest:{}", place.path("src/5").display()), "--json"]);
    let summary = below.ok().summary();
    assert_eq!((&summary["entries_compared"], &summary["entries_differ"]), (&1.into(), &0.into()));
    place.run(["check", "--source=latest:/nowhere"]).ends(1).says(&["is not in snapshot"]);
    assert!(place.path("src/4").is_dir() && !place.path("src/deep").exists(), "nothing is written");
}

/// A block of the disk turns into another one: no time tells, and a backup does not read the file again.
#[test]
fn rot_that_no_time_tells_is_found() {
    let place = Place::new();
    let (image, at) = (place.path("image"), place.path("disk"));
    fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status().unwrap();
    assert!(made.success());
    let Some(mount) = Mount::new(&at, &["-o", "loop", image.to_str().unwrap()]) else { return };
    let content = noise(5, 300_000);
    fs::write(at.join("file"), &content).unwrap();
    fs::write(at.join("other"), noise(6, 300_000)).unwrap();
    place.run(["backup", at.to_str().unwrap()]).ok();
    assert!(Command::new("umount").arg(&at).status().unwrap().success());

    let mut disk = fs::read(&image).unwrap();
    let found = disk.windows(64).position(|bytes| bytes == &content[8192..8256]).unwrap();
    disk[found] ^= 0x10;
    fs::write(&image, disk).unwrap();
    drop(mount);
    let _mount = Mount::new(&at, &["-o", "loop", image.to_str().unwrap()]).unwrap();
    let words = ["disk/file: content differs, though size and times are as they were stored"];
    let check = place.run(["check", "--source"]).ends(6).says(&words);
    assert!(!check.err.contains("other"), "{}", check.err);
    assert_eq!(place.run(["check", "--source", "--json"]).ends(6).summary()["files_unnoticed"], 1);
}
