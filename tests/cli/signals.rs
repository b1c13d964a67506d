//! Runs that end in the middle: killed, or interrupted by a person. The next one goes on from there.

use super::support::{Place, Run, noise, packs, start, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Bytes of the source: about ten packs.
const SOURCE_BYTES: usize = 160 << 20;
/// Bytes of each file.
const FILE_BYTES: usize = 8 << 20;

fn large_place() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("src")).unwrap();
    for n in 0..SOURCE_BYTES / FILE_BYTES {
        fs::write(place.path(format!("src/{n}")), noise(n as u64, FILE_BYTES)).unwrap();
    }
    place
}

/// Starts a backup and waits until two of its packs are durable.
fn half_a_backup(place: &Place) -> Child {
    half_done(place, place.command(["backup", "src", "--threads", "1"]))
}

fn half_done(place: &Place, backup: Command) -> Child {
    let mut child = start(backup);
    let begun = Instant::now();
    while packs(&place.path("repo"), 3).len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(120), "no pack appears");
        if let Some(status) = child.try_wait().unwrap() {
            panic!("it ended too early to be stopped: {status}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Asserts that nothing is to be seen of the run that ended, and that the next one stores only the rest.
fn goes_on(place: &Place) {
    assert_eq!(place.run(["snapshots", "-q"]).ok().out, "", "half a backup is no snapshot");
    place.run(["check"]).ok();
    let there: u64 = packs(&place.path("repo"), 3).iter().map(|pack| fs::metadata(pack).unwrap().len()).sum();
    assert!(there > 16 << 20, "{there} bytes");
    let next: Run = place.run(["backup", "src", "--json"]).ok();
    let summary = next.summary();
    let (source, new) = (summary["source_bytes"].as_u64().unwrap(), summary["new_bytes"].as_u64().unwrap());
    assert_eq!(source, SOURCE_BYTES as u64);
    // Packs have a header, a directory and padding besides their chunks: less than an eighth.
    assert!(new <= source - there / 8 * 7, "{new} bytes new, {there} were there of {source}");
    place.assert_sound();
    place.assert_restores();
}

#[test]
fn a_killed_backup_leaves_a_sound_repository_and_the_next_goes_on() {
    let place = large_place();
    let mut child = half_a_backup(&place);
    send(&child, Signal::KILL);
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9));
    goes_on(&place);
}

#[test]
fn an_interrupted_backup_is_130_and_the_next_goes_on() {
    let place = large_place();
    let child = half_a_backup(&place);
    send(&child, Signal::INT);
    let run = wait(child, b"").ends(130);
    assert!(!run.out.contains("saved"), "{}", run.out);
    goes_on(&place);
}

/// Once it was interrupted, though somebody had asked that it outlive the terminal.
#[test]
fn under_nohup_a_backup_goes_on_when_the_terminal_is_gone() {
    let place = large_place();
    let plain = place.command(["backup", "src", "--threads", "1"]);
    let mut command = Command::new("nohup");
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(place.path("")).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let child = half_done(&place, command);
    send(&child, Signal::HUP);
    assert!(wait(child, b"").ok().out.contains("saved"));
}
