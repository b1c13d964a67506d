//! A place that is no good for an index: full, read-only, closed, or taken away by SIGKILL. Runs may fail there and
//! say why; as soon as the place is good again the next one succeeds.

use super::history::History;
use crate::support::budget::Budget;
use crate::support::mount::Mount;
use crate::support::{Scratch, copy_dir};
use dedup_engine::error::Kind;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_full_disk_or_a_read_only_one_heals_when_there_is_room() {
    let history = History::new(46);
    let budget = Budget::of("R12 index on a full or read-only disk", 8, 200);
    let (mut failed, mut cases) = (0, 0);
    budget.each(|_, random| {
        let scratch = Scratch::in_memory();
        let limit = match random.below(3) {
            0 => format!("nr_inodes={}", 2 + random.below(40)),
            _ => format!("size={}k", 4 << random.below(11)),
        };
        let Some(disk) = Mount::tmpfs(&scratch.path("disk"), &format!("{limit},mode=700")) else { return };
        let case = history.case(2, &history.images[0].1);
        let folder = disk.path().join("index");
        if random.below(2) == 0 {
            disk.remount("size=64m,nr_inodes=10000");
            copy_dir(&history.images[random.below(history.images.len() as u64) as usize].1, &folder);
            // Just as much as there is, or a little more; or nothing at all may be written.
            if random.below(3) == 0 {
                disk.remount("ro");
            } else {
                let used = rustix::fs::statvfs(disk.path()).unwrap();
                let used_kib = (used.f_blocks - used.f_bfree) * used.f_frsize / 1024;
                disk.remount(&format!("size={}k", used_kib + 4 * random.below(64)));
            }
        }
        failed += u64::from(case.work(&folder).is_err());
        disk.remount("rw,size=64m,nr_inodes=10000");
        let mut told = Vec::new();
        while let Err(error) = case.work(&folder) {
            told.push(error);
            assert!(told.len() < 2, "{limit}: there is room again, and it does not heal: {told:#?}");
        }
        case.assert_nothing_dangles(&limit);
        cases += 1;
    });
    budget.tell(&format!("{cases} disks, {failed} runs failed for want of room, all healed"));
    assert!(cases == 0 || failed > 0, "no disk was ever full");
}

/// Runs `work` in a thread without any of root's rights.
fn without_privilege<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let unprivileged = scope.spawn(|| {
            let nobody = 65_534;
            // These change the calling thread only, being bare system calls.
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(nobody)).unwrap();
            rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(nobody)).unwrap();
            work()
        });
        unprivileged.join().unwrap()
    })
}

/// Somebody ran the program as root once, and the folder is root's since.
#[test]
fn a_folder_of_somebody_else_is_named_and_left_alone() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can make a folder somebody else's");
        return;
    }
    let history = History::new(47);
    let case = history.case(2, &history.images[1].1);
    let folder = case.world.index();
    fs::set_permissions(folder.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    for mode in [0o700, 0o755, 0o000] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        let error =
            without_privilege(|| case.world.open().err().map(|error| (error.kind(), error.to_string())));
        let (kind, text) = error.unwrap_or_else(|| panic!("mode {mode:o}: it can be opened"));
        assert_eq!(kind, Kind::Permission, "{text}");
        assert!(text.contains(folder.to_str().unwrap()), "{text}");
        // For its owner nothing has changed.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        case.work(&folder).unwrap();
    }
    case.assert_nothing_dangles("another owner's");
}

/// The program dies at any moment of a backup that fills or changes the index.
#[test]
fn a_killed_run_leaves_an_index_that_heals() {
    let scratch = Scratch::in_memory();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dedup"));
        command.args(arguments).current_dir(scratch.path("")).env_clear();
        if let Some(bug) = std::env::var_os(crate::support::planted::VARIABLE) {
            command.env(crate::support::planted::VARIABLE, bug);
        }
        let here = |name: &str| scratch.path(name).into_os_string();
        command.env("HOME", here("")).env("DEDUP_KEY_FILE", here("key")).env("DEDUP_REPO", here("repo"));
        command.env("DEDUP_STATE_DIR", here("state"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
        command
    };
    let succeeds = |arguments: &[&str]| {
        let done = run(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{arguments:?}: {said}");
    };
    let init = Command::new(env!("CARGO_BIN_EXE_dedup"))
        .args(["init", "--key-file", "key", "repo"])
        .current_dir(scratch.path(""))
        .env("HOME", scratch.path(""))
        .output()
        .unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let budget = Budget::of("R12 index of a killed run", 5, 150);
    let mut killed = 0;
    budget.each(|number, random| {
        for file in 0..20 {
            let len = random.below(40_000) as usize;
            let content = random.bytes(len);
            fs::create_dir_all(scratch.path("tree")).unwrap();
            fs::write(scratch.path(format!("tree/{file}")), content).unwrap();
        }
        // A new index now and then: making one takes the longest.
        if number % 3 == 0 {
            let _ = fs::remove_dir_all(scratch.path("index"));
        }
        let mut child = run(&["backup", "--index-dir", "index", "tree"]).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(120_000)));
        child.kill().unwrap();
        killed += u64::from(child.wait().unwrap().code().is_none());
        succeeds(&["backup", "--index-dir", "index", "tree"]);
        succeeds(&["check", "--read-data", "--index-dir", "fresh"]);
        succeeds(&["restore", "latest", "--index-dir", "fresh", "--target", "back"]);
        let back = scratch.path("back").join(scratch.path("tree").strip_prefix("/").unwrap());
        for file in 0..20 {
            let file = format!("{file}");
            assert!(
                fs::read(back.join(&file)).unwrap() == fs::read(scratch.path("tree").join(&file)).unwrap()
            );
        }
        fs::remove_dir_all(scratch.path("back")).unwrap();
        fs::remove_dir_all(scratch.path("fresh")).unwrap();
    });
    budget.tell(&format!("{} runs, {killed} killed in the middle, all healed", budget.cases()));
}
