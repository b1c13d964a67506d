//! A whole system, backed up and put back: a small one on a btrfs in a file, started in by `chroot`, in mount namespaces of its own.

use crate::cli::support::{PROGRAM, Place, Run, is_root, skip};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk with the subvolumes `@` (the system), `@/home` and a read-only snapshot, and a place for the repository elsewhere.
struct System {
    place: Place,
}

/// What every script begins with: `top` shows the whole disk, `root` the system as it runs.
const MOUNTS: &str = r#"
set -eu
mount --make-rprivate /
cd "$BASE"
loop=$(losetup --find --show disk)
trap 'cd /; umount -R "$BASE/root" 2>/dev/null || true; umount "$BASE/top" 2>/dev/null || true; losetup -d "$loop"' EXIT
mount "$loop" top
"#;
const BOOT: &str = r#"
mount -o subvol="$SUBVOLUME" "$loop" root
mount -t proc proc root/proc
mount --bind /dev root/dev
mount -t tmpfs tmpfs root/tmp
mount --bind repository root/mnt
inside() { chroot root /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root DEDUP_REPO=/mnt/repo DEDUP_KEY_FILE=/mnt/key DEDUP_INDEX_DIR=/mnt/index "$@"; }
"#;

impl System {
    /// Nothing where this machine cannot mount one.
    fn new() -> Option<Self> {
        if !is_root() {
            skip("only root can make and mount a file system");
            return None;
        }
        let system = Self { place: Place::private() };
        for dir in ["top", "root", "repository"] {
            fs::create_dir(system.place.path(dir)).unwrap();
        }
        fs::File::create(system.place.path("disk")).unwrap().set_len(1 << 30).unwrap();
        let made = Command::new("mkfs.btrfs").arg("-q").arg(system.place.path("disk")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let tree = system.place.path("tree");
        system.build(&tree);
        let run = system.script(
            "btrfs -q subvolume create top/@; btrfs -q subvolume create top/@/home; cp -a tree/. top/@/\n\
             mkdir top/@/.snapshots; btrfs -q subvolume snapshot -r top/@/home top/@/.snapshots/1",
        );
        if run.code != 0 {
            skip(&format!("no file system can be mounted here: {}", run.err));
            return None;
        }
        fs::remove_dir_all(tree).unwrap();
        Some(system)
    }

    /// Builds the least that a system needs to run the program.
    fn build(&self, tree: &Path) {
        for dir in ["proc", "dev", "tmp", "mnt", "root", "etc", "home/ann", "usr/bin", "var/lib"] {
            fs::create_dir_all(tree.join(dir)).unwrap();
        }
        fs::set_permissions(tree.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
        for (file, text) in [("etc/hostname", "small\n"), ("etc/setting", "old"), ("home/ann/letter", "dear")]
        {
            fs::write(tree.join(file), text).unwrap();
        }
        let mut libraries = BTreeSet::new();
        for program in [PROGRAM, "/usr/bin/btrfs", "/usr/bin/env"] {
            let name = Path::new(program).file_name().unwrap();
            fs::copy(fs::canonicalize(program).unwrap(), tree.join("usr/bin").join(name)).unwrap();
            let said = Command::new("ldd").arg(program).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            libraries.extend(said.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
        }
        for library in libraries {
            let to = tree.join(library.strip_prefix("/").unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(fs::canonicalize(&library).unwrap(), to).unwrap();
        }
    }

    /// Runs a script with the disk mounted, in a mount namespace that goes with it.
    fn script(&self, text: &str) -> Run {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{MOUNTS}\n{text}")]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("BASE", self.place.path(""));
        command.env("HOME", self.place.path("home")).env("DEDUP_STATE_DIR", self.place.path("state"));
        command
            .env("DEDUP_REPO", self.place.path("repository/repo"))
            .env("DEDUP_KEY_FILE", self.place.path("repository/key"));
        command.env("DEDUP", PROGRAM).env("SUBVOLUME", "@").env("BOOT", BOOT);
        crate::cli::support::finish(command, b"")
    }

    /// Runs a script within the running system.
    fn booted(&self, text: &str) -> Run {
        self.script(&format!("{BOOT}\n{text}"))
    }
}

#[test]
fn a_whole_system_is_stored_and_takes_the_place_of_another() {
    let Some(system) = System::new() else { return };
    system.booted("inside dedup init --key-file /mnt/key /mnt/repo").ok();
    // The repository is on a file system of its own, which is told: it is not in the snapshot.
    let run = system.booted("inside dedup backup --full --comment 'before the upgrade'").ends(3);
    assert!(run.err.contains("/mnt is on a file system of its own"), "{}", run.err);
    let run = system
        .booted(
            "inside dedup backup --full --exclude '/mnt/*' --comment 'before the upgrade' --json; ls -A root",
        )
        .ok();
    let summary =
        run.out.lines().find(|line| line.contains("\"summary\"")).unwrap_or_else(|| panic!("{}", run.out));
    let summary: serde_json::Value = serde_json::from_str(summary).unwrap();
    assert_eq!((&summary["state"], &summary["from_filesystem_snapshot"]), (&"complete".into(), &true.into()));
    assert!(!run.out.contains(".dedup-fs"), "the snapshot is gone: {}", run.out);

    let listed = system.booted("inside dedup ls latest --json; inside dedup snapshots --json").ok();
    for path in ["\"/home/ann/letter\"", "\"/etc/setting\"", "\"/proc\"", "before the upgrade"] {
        assert!(listed.out.contains(path), "{path}: {}", listed.out);
    }
    for path in ["\"/proc/self\"", ".snapshots/1/", "\"/mnt/repo\"", "\"/tmp/passing\"", ".dedup-fs"] {
        assert!(!listed.out.contains(path), "{path}");
    }

    // Somebody works on, and then wants the system of the backup: from a rescue system, the running one not mounted.
    system
        .booted("printf new > root/etc/setting; rm root/home/ann/letter; printf more > root/etc/added")
        .ok();
    let plan = system.script("$DEDUP restore latest --full --into-subvolume top/@ --dry-run").ok();
    for word in ["the whole system", "empty subvolume", "is lost to it"] {
        assert!(plan.out.contains(word), "{word}: {}", plan.out);
    }
    system.script("$DEDUP restore latest --full --into-subvolume top/@").ends(2).says(&["--yes"]);
    let left = system.script("ls -A top").ok();
    assert_eq!(left.out, "@\n");
    let run = system
        .script(
            "$DEDUP restore latest --full --into-subvolume top/@ --yes\n\
             echo; ls -A top; cat top/@/etc/setting top/@/home/ann/letter; echo; ls top/@/etc; stat -c %a top/@/tmp; cat top/@.before-*/etc/setting",
        )
        .ok();
    let after = run.out.split("the old subvolume is").nth(1).unwrap_or_else(|| panic!("{}", run.out));
    let words: Vec<&str> = after.split_whitespace().skip(1).collect();
    assert_eq!(words[0], "@", "{after}");
    assert!(words[1].starts_with("@.before-"), "{after}");
    assert_eq!(words[2..], ["olddear", "hostname", "setting", "1777", "new"][..], "{after}");
    // And it starts.
    let run = system.booted("inside dedup --version; cat root/etc/setting").ok();
    assert!(run.out.contains("dedup") && run.out.ends_with("old"), "{}", run.out);

    // A mounted one is not replaced under whoever uses it: the new one is the default from then on.
    let run = system.script("$DEDUP restore latest --full --into-subvolume top --yes; ls -A top").ok();
    assert!(run.out.contains("which is mounted next"), "{}", run.out);
    let run = system.script("ls top; cat top/etc/setting").ok();
    assert!(run.out.ends_with("old") && !run.out.contains('@'), "{}", run.out);
}

#[test]
fn what_is_no_whole_system_is_refused() {
    let Some(system) = System::new() else { return };
    system.booted("inside dedup init --key-file /mnt/key /mnt/repo; inside dedup backup /etc").ok();
    system
        .script("$DEDUP restore latest --full --into-subvolume top/@ --yes")
        .ends(2)
        .says(&["not of a whole system", "--full"]);
    system.booted("inside dedup backup --full --exclude '/mnt/*'").ok();
    for path in ["top/@/etc", "top/nowhere"] {
        let run = system.script(&format!("$DEDUP restore latest --full --into-subvolume {path} --yes"));
        assert!(run.code != 0 && run.err.contains("stays as it is"), "{path}: {}", run.err);
    }
    // Damage found on the way: nothing is switched, and nothing of it is left.
    let packs = crate::cli::support::packs(&system.place.path("repository/repo"), 3);
    for pack in packs {
        let mut bytes = fs::read(&pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&pack, bytes).unwrap();
    }
    let run = system
        .script("$DEDUP restore latest --full --into-subvolume top/@ --yes || echo ended $?; ls -A top")
        .ok();
    assert!(run.out.contains("ended 6\n@\n"), "{}{}", run.out, run.err);
    assert!(run.err.contains("nothing was switched"), "{}", run.err);
    // A system that is not on btrfs.
    let run = crate::cli::support::finish(
        {
            let mut command = system.place.command(["backup", "--full"]);
            command.env("DEDUP_REPO", system.place.path("repository/repo"));
            command.env("DEDUP_KEY_FILE", system.place.path("repository/key"));
            command
        },
        b"",
    );
    if !fs::read_to_string("/proc/self/mounts").unwrap().lines().any(|line| line.contains(" / btrfs ")) {
        run.ends(2).says(&["only be read from a filesystem snapshot", "not on btrfs"]);
    }
}
