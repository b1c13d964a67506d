//! Real programs, of the shell mostly.

use super::*;
use std::fs;
use std::io::{self, Cursor};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

fn around() -> Surroundings {
    let path = ("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    Surroundings::of(vec![path, ("LANG".into(), "C.UTF-8".into()), ("HOME".into(), "/root".into())])
}

fn never() -> bool {
    false
}

/// Runs a script; returns how it ended, its lines and its time.
fn sh(text: &str, limits: Limits) -> (Finished, Vec<(Channel, String)>, Duration) {
    let (begun, mut lines) = (Instant::now(), Vec::new());
    let mut line = |channel, text: &str| lines.push((channel, text.to_owned()));
    let finished = run(&Program::shell(text), &around(), limits, &never, &mut line).unwrap();
    (finished, lines, begun.elapsed())
}

fn secs(secs: u64) -> Limits {
    Some(Duration::from_secs(secs)).into()
}

/// Returns the numbers of the live processes whose arguments hold a text.
fn processes_with(mark: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let holds = |path: &std::path::PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit())
            && String::from_utf8_lossy(&line).contains(mark)
    };
    entries.filter(holds).map(|path| path.display().to_string()).collect()
}

/// A number of seconds to sleep that nobody else sleeps.
fn mark(line: u32) -> String {
    format!("10{line}.{}", std::process::id())
}

#[test]
fn status_lines_and_the_last_of_its_messages_are_told() {
    let (finished, lines, _) = sh("echo one; echo two >&2; printf three; exit 7", secs(20));
    assert_eq!((finished.ended, finished.stderr.as_str()), (Ended::Exit(7), "two"));
    let of = |wanted| {
        lines.iter().filter(|(from, _)| *from == wanted).map(|(_, text)| text.as_str()).collect::<Vec<_>>()
    };
    assert_eq!((of(Channel::Out), of(Channel::Err)), (vec!["one", "three"], vec!["two"]));
    let error = finished.success(&Program::shell("")).unwrap_err().to_string();
    assert_eq!(error, "/bin/sh failed with status 7: two");
    let (finished, ..) = sh("kill -9 $$", secs(20));
    assert_eq!(finished.ended, Ended::Signal(9));
    let (finished, lines, _) = sh("seq 1 200000 >&2", secs(60));
    assert!(lines.len() == 200_000 && (TAIL - 9..=TAIL).contains(&finished.stderr.len()), "nothing hangs");
    assert!(finished.stderr.ends_with("\n200000"));
    for (status, text) in [(126, "not executable"), (127, "not there")] {
        let (finished, ..) = sh(&format!("exit {status}"), secs(20));
        assert!(finished.into_error(&Program::shell("")).to_string().contains(text));
    }
}

#[test]
fn the_environment_is_exactly_what_was_given() {
    let own = vec![("OWN".into(), "1".into()), ("LANG".into(), "C".into())];
    let program = Program { env: own, cwd: Some("/usr".into()), ..Program::new(["env"]) };
    let captured = output(&program, &around(), secs(20), &never, 10_000).unwrap();
    let text = String::from_utf8(captured.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!((lines.len(), &lines[..2], lines[2]), (4, &["HOME=/root", "LANG=C"][..], "OWN=1"));
    assert!(lines[3].starts_with("PATH="), "and nothing of the test's own: {lines:?}");
    for (cwd, shown) in [(None, "/\n"), (Some("/usr".into()), "/usr\n")] {
        let program = Program { cwd, ..Program::new(["pwd"]) };
        assert_eq!(output(&program, &around(), secs(20), &never, 99).unwrap().stdout, shown.as_bytes());
    }
    let (finished, lines, _) = sh("cat; echo end", secs(20));
    assert!(finished.is_success() && lines == [(Channel::Out, "end".into())], "nothing to read from");
    let cut = output(&Program::new(["seq", "9"]), &around(), secs(20), &never, 5).unwrap();
    assert!(cut.was_cut && cut.stdout == b"1\n2\n3" && cut.finished.is_success());
}

/// What is in the way is told before anything starts, in words that lead to what to do.
#[test]
fn what_cannot_be_run_says_why() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str, mode: u32| {
        let path = scratch.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let plain = at("plain", "#!/bin/sh\n", 0o644);
    let lost = at("lost", "#!/no/such/sh\n", 0o755);
    let text = at("text", "echo hello\n", 0o755);
    let absent = scratch.path().join("absent").display().to_string();
    for (program, part) in [
        (Program::new([absent.as_str()]), "there is no program /"),
        (Program::new(["no-such-program-of-ours"]), "in PATH (/usr/local/sbin:"),
        (Program::new(["./plain"]), "say which by `cwd`"),
        (Program::new([plain.as_str()]), "chmod +x"),
        (Program::new([lost.as_str()]), "interpreter"),
        (Program::new([text.as_str()]), "#!/bin/sh"),
        (Program::new(["/usr"]), "is not executable"),
        (Program::default(), "no program"),
        (Program { cwd: Some(absent.into()), ..Program::new(["true"]) }, "cannot run in /"),
        (Program { cwd: Some(plain.into()), ..Program::new(["true"]) }, "not a directory"),
        (Program { user: Some("no-such-user".into()), ..Program::new(["true"]) }, "no such user"),
    ] {
        let error = run(&program, &around(), secs(20), &never, &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(Program::new([scratch.path().join("absent")]).is_missing(&around()));
    assert!(!Program::new([lost]).is_missing(&around()), "it is there, only broken");
    let relative = Program { cwd: Some(scratch.path().into()), ..Program::new(["./relative"]) };
    assert!(relative.is_missing(&around()));
    at("relative", "#!/bin/sh\npwd\n", 0o755);
    let captured = output(&relative, &around(), secs(20), &never, 4096).unwrap();
    assert_eq!(captured.stdout.trim_ascii(), scratch.path().as_os_str().as_encoded_bytes());
}

#[test]
fn a_relative_place_in_path_is_never_looked_at() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("trap");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let path = Surroundings::of(vec![("PATH".into(), "::.:usr:/bin".into())]);
    let program = Program { cwd: Some(scratch.path().into()), ..Program::new(["trap"]) };
    let error = run(&program, &path, secs(20), &never, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, ChildError::NotInPath { .. }), "{error}");
}

#[test]
fn whoever_takes_too_long_is_ended_with_all_it_started() {
    let mark = mark(line!());
    let (finished, _, took) = sh(&format!("sleep {mark} & sleep {mark}"), secs(1));
    assert_eq!(finished.ended, Ended::TimedOut(Duration::from_secs(1)));
    assert!(took < Duration::from_secs(4), "TERM is enough: {took:?}");
    assert!(processes_with(&mark).is_empty());
    assert!(finished.into_error(&Program::shell("")).to_string().contains("longer than 1s"));
}

#[test]
fn whoever_ignores_term_is_killed() {
    let mark = mark(line!());
    let text = format!("trap '' TERM; sleep {mark} & while true; do sleep {mark}; done");
    let (finished, _, took) = sh(&text, secs(1));
    assert_eq!(finished.ended, Ended::TimedOut(Duration::from_secs(1)));
    assert!(took >= GRACE && took < GRACE + Duration::from_secs(5), "{took:?}");
    assert!(processes_with(&mark).is_empty());
}

#[test]
fn whoever_is_asked_to_end_may_say_something_last() {
    let text = "trap 'echo saved; exit 3' TERM; echo ready; while true; do sleep 0.1; done";
    let (finished, lines, _) = sh(text, secs(1));
    assert_eq!(finished.ended, Ended::TimedOut(Duration::from_secs(1)), "its status is not what ended it");
    assert!(lines.contains(&(Channel::Out, "saved".into())), "{lines:?}");
}

/// Returns the processes with a mark, once there are any: a shell goes on before what it started has begun.
fn appearing_with(mark: &str) -> Vec<String> {
    for _ in 0..500 {
        let found = processes_with(mark);
        if !found.is_empty() {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
    Vec::new()
}

/// A daemon that a script left behind, with its output still open, once hung programs that waited for the end of output.
#[test]
fn a_grandchild_that_holds_the_output_hangs_nobody() {
    let mark = mark(line!());
    let (finished, lines, took) = sh(&format!("sleep {mark} & echo done"), secs(60));
    assert!(finished.is_success() && lines == [(Channel::Out, "done".into())]);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(processes_with(&mark).is_empty(), "it was of the group");
    let (finished, ..) = sh(&format!("sleep {mark} >/dev/null 2>&1 & echo done"), secs(60));
    assert!(finished.is_success() && processes_with(&mark).is_empty(), "with closed output too");
    // One that left the group, as daemons do, goes on, and nobody waits for it.
    let (finished, _, took) = sh(&format!("setsid sleep {mark} & echo done"), secs(60));
    assert!(finished.is_success() && took < Duration::from_secs(10), "{took:?}");
    let left = appearing_with(&mark);
    assert_eq!(left.len(), 1);
    sh(&format!("kill {}", left[0].trim_start_matches("/proc/")), secs(20));
}

#[test]
fn what_is_launched_goes_on() {
    let mark = mark(line!());
    let program = Program::shell(format!("nohup sleep {mark} >/dev/null 2>&1 & echo $!"));
    let mut told = String::new();
    let finished =
        launch(&program, &around(), secs(20), &never, &mut |_, text| told = text.to_owned()).unwrap();
    assert!(finished.is_success());
    assert_eq!(appearing_with(&mark), [format!("/proc/{told}")]);
    sh(&format!("kill {told}"), secs(20));
}

#[test]
fn a_cancelled_run_ends_its_programs() {
    let (mark, cancelled) = (mark(line!()), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            cancelled.store(true, Ordering::SeqCst);
        });
        let program = Program::shell(format!("sleep {mark}"));
        let cancelled = || cancelled.load(Ordering::SeqCst);
        let finished = run(&program, &around(), Limits::default(), &cancelled, &mut |_, _| {}).unwrap();
        assert_eq!(finished.ended, Ended::Cancelled);
    });
    assert!(processes_with(&mark).is_empty());
}

#[test]
fn another_user_is_another_user() {
    let script = "id -un; id -gn; id -Gn; echo $HOME $USER $OWN; umask";
    let program = Program {
        user: Some("nobody".into()),
        env: vec![("OWN".into(), "own".into())],
        ..Program::shell(script)
    };
    let captured = output(&program, &around(), secs(20), &never, 4096).unwrap();
    let text = String::from_utf8(captured.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..4],
        ["nobody", "nogroup", "nogroup", "/nonexistent nobody own"],
        "{captured:?}",
        captured = captured.finished
    );
    let program = Program { user: Some("root".into()), ..Program::new(["id", "-un"]) };
    assert_eq!(output(&program, &around(), secs(20), &never, 99).unwrap().stdout, b"root\n");
}

#[test]
fn a_stream_is_whole_only_if_the_program_succeeds() {
    let read = |text: &str, limits: Limits| -> (Vec<u8>, io::Result<()>, Vec<String>) {
        let mut told = Vec::new();
        let mut line = |text: &str| told.push(text.to_owned());
        let mut stream = stream(&Program::shell(text), &around(), limits, &never, &mut line).unwrap();
        let mut bytes = Vec::new();
        let result = stream.read_to_end(&mut bytes).map(drop);
        drop(stream);
        (bytes, result, told)
    };
    let (bytes, result, told) = read("echo note >&2; seq 1 100000", secs(60));
    assert!(result.is_ok() && told == ["note"]);
    assert_eq!((bytes.len(), &bytes[bytes.len() - 7..]), (588_895, &b"100000\n"[..]));
    let (bytes, result, _) = read("echo half; echo broken >&2; exit 2", secs(60));
    let error = result.unwrap_err();
    assert_eq!(
        (&bytes[..], error.to_string().as_str()),
        (&b"half\n"[..], "/bin/sh failed with status 2: broken")
    );
    assert!(error.get_ref().unwrap().downcast_ref::<ChildError>().is_some());
    // Its output is closed, but it goes on and fails then.
    let (bytes, result, _) = read("echo all; exec >&-; sleep 0.3; exit 1", secs(60));
    assert!(bytes == b"all\n" && result.is_err());
    let silent = Limits { total: None, idle: Some(Duration::from_millis(500)) };
    let (_, result, _) = read("echo a; sleep 60", silent);
    assert!(result.unwrap_err().to_string().contains("said nothing"));
    let (bytes, result, _) = read("for n in 1 2 3 4 5 6 7 8; do echo $n; sleep 0.2; done", silent);
    assert!(bytes.len() == 16 && result.is_ok(), "every word counts");
}

#[test]
fn a_stream_that_nobody_reads_on_is_ended() {
    let mark = mark(line!());
    let program = Program::shell(format!("echo x; sleep {mark}"));
    let mut line = |_: &str| {};
    let mut stream = stream(&program, &around(), Limits::default(), &never, &mut line).unwrap();
    let mut byte = [0];
    assert_eq!((stream.read(&mut byte).unwrap(), byte), (1, *b"x"));
    // A reader that takes its time is not the program's silence.
    assert!(stream.finished().is_none());
    drop(stream);
    assert!(processes_with(&mark).is_empty());
}

#[test]
fn a_program_is_fed_everything_or_told_of() {
    let data: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut told = Vec::new();
    let mut line = |_, text: &str| told.push(text.to_owned());
    let (finished, whole) =
        feed(&Program::new(["md5sum"]), &around(), secs(60), &never, &mut Cursor::new(&data), &mut line)
            .unwrap();
    assert!(finished.is_success() && whole);
    let again = Program::shell("cat > /dev/null; echo nothing; exit 4");
    let (finished, whole) =
        feed(&again, &around(), secs(60), &never, &mut io::empty(), &mut |_, _| {}).unwrap();
    assert_eq!((finished.ended, whole), (Ended::Exit(4), true));
    let (finished, whole) =
        feed(&Program::new(["true"]), &around(), secs(60), &never, &mut Cursor::new(&data), &mut |_, _| {})
            .unwrap();
    assert!(finished.is_success() && !whole, "it read nothing");
    let broken = io::Read::chain(&data[..1000], Broken);
    let mut broken = broken;
    let error =
        feed(&Program::new(["cat"]), &around(), secs(60), &never, &mut broken, &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("what it was to read failed: the disk"), "{error}");
    assert_eq!(told.len(), 1);
}

struct Broken;

impl io::Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk"))
    }
}
