//! Units of systemd.

use super::{Rig, spec, unit};
use dedup_modules::services::{Noted, ServiceError};
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SLEEP: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n";

fn needs(other: &str, how: &str) -> String {
    format!("[Unit]\n{how}={other}\nAfter={other}\n{SLEEP}")
}

/// Waits until something is true: what follows from a start may take a moment.
fn soon(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_unit_is_stopped_and_started_only_if_it_ran() {
    let rig = Rig::new(&[("a.service", SLEEP), ("b.service", SLEEP)]);
    let spec = unit("a");
    let nothing = rig.note(&spec).unwrap();
    assert_eq!(nothing, Noted::default());
    rig.stop(&spec, &nothing).unwrap();
    rig.start(&spec, &nothing).unwrap();
    assert_eq!(rig.states(&["a.service"]), ["inactive"], "what did not run is not started");
    rig.systemd.systemctl(&["start", "a", "b"]);
    let noted = rig.note(&spec).unwrap();
    assert_eq!((noted.running, &noted.parts[..]), (true, &["a.service".to_owned()][..]));
    let before = rig.systemd.processes("a.service");
    assert_eq!(before.len(), 1);
    rig.stop(&spec, &noted).unwrap();
    assert_eq!(rig.states(&["a.service", "b.service"]), ["inactive", "active"]);
    assert!(rig.systemd.processes("a.service").is_empty(), "the kernel agrees");
    for _ in 0..2 {
        rig.start(&spec, &noted).unwrap();
        assert_eq!(rig.states(&["a.service"]), ["active"]);
    }
    assert_ne!(rig.systemd.processes("a.service"), before);
    assert_eq!(rig.warnings(), [] as [String; 0]);
    // Asked for in any case, whether it ran or not.
    rig.systemd.systemctl(&["stop", "a"]);
    rig.start(&spec, &Noted { running: true, parts: vec![] }).unwrap();
    assert_eq!(rig.states(&["a.service"]), ["active"]);
}

/// Units that need the stopped one stop with it, and once were not started again: a web shop without its web server.
#[test]
fn what_stops_with_a_unit_is_started_with_it() {
    let rig = Rig::new(&[
        ("db.service", SLEEP),
        ("app.service", &needs("db.service", "Requires")),
        ("web.service", &needs("app.service", "BindsTo")),
        ("side.service", &needs("db.service", "PartOf")),
        // Would stop too, but does not run: it must not run afterwards.
        ("idle.service", &needs("db.service", "Requires")),
        // Stops along a chain whose link does not run.
        ("link.service", &needs("db.service", "PartOf")),
        ("far.service", &needs("link.service", "PartOf")),
        // Only wants it: it goes on.
        ("wish.service", &needs("db.service", "Wants")),
        ("all.target", "[Unit]\nRequires=db.service\nWants=never.service\n"),
        ("never.service", SLEEP),
    ]);
    let running = ["db.service", "app.service", "web.service", "side.service", "far.service", "wish.service"];
    rig.systemd.systemctl(&["start", "web", "side", "far", "wish"]);
    rig.systemd.systemctl(&["start", "all.target"]);
    rig.systemd.systemctl(&["stop", "never"]);
    assert_eq!(rig.states(&running), ["active"; 6]);
    let spec = unit("db.service");
    let noted = rig.note(&spec).unwrap();
    let mut parts = noted.parts.clone();
    parts.sort();
    assert_eq!(
        parts,
        ["all.target", "app.service", "db.service", "far.service", "side.service", "web.service"]
    );
    rig.stop(&spec, &noted).unwrap();
    let all = ["db.service", "app.service", "web.service", "side.service", "far.service", "all.target"];
    assert_eq!(rig.states(&all), ["inactive"; 6]);
    assert_eq!(rig.states(&["wish.service"]), ["active"]);
    rig.start(&spec, &noted).unwrap();
    assert_eq!(rig.states(&all), ["active"; 6]);
    assert_eq!(
        rig.states(&["idle.service", "link.service", "never.service"]),
        ["inactive"; 3],
        "exactly what ran"
    );
}

/// A service that its socket starts came back in the middle of a backup as soon as anybody knocked.
#[test]
fn nobody_wakes_a_stopped_service_by_its_socket() {
    let answer = "[Service]\nExecStart=/usr/bin/sleep infinity\n";
    let rig = Rig::new(&[
        ("door.socket", "[Socket]\nListenStream=/test/door\n"),
        ("door.service", answer),
        ("door-tick.timer", "[Timer]\nOnActiveSec=1h\nUnit=door.service\n"),
        ("door-file.path", "[Path]\nPathExists=/test/no-such\nUnit=door.service\n"),
        ("other.timer", "[Timer]\nOnActiveSec=1h\nUnit=never.service\n"),
        ("never.service", answer),
    ]);
    let triggers = ["door.socket", "door-tick.timer", "door-file.path"];
    rig.systemd.systemctl(&["start", "door.socket", "door-tick.timer", "other.timer"]);
    let spec = unit("door");
    let knock = || UnixStream::connect(rig.systemd.path("door"));
    for service_runs in [false, true] {
        if service_runs {
            knock().unwrap();
            soon("the socket starts its service", || rig.systemd.state("door.service") == "active");
        }
        let noted = rig.note(&spec).unwrap();
        assert!(noted.running && noted.parts.contains(&"door.socket".to_owned()));
        assert_eq!(noted.parts.contains(&"door.service".to_owned()), service_runs);
        assert!(!noted.parts.contains(&"door-file.path".to_owned()), "it did not wait for anything");
        rig.stop(&spec, &noted).unwrap();
        assert_eq!(rig.states(&triggers), ["inactive"; 3]);
        assert!(knock().is_err(), "nobody listens");
        assert_eq!(rig.states(&["door.service", "other.timer"]), ["inactive", "active"]);
        rig.start(&spec, &noted).unwrap();
        assert_eq!(rig.states(&triggers), ["active", "active", "inactive"]);
        assert_eq!(rig.systemd.state("door.service") == "active", service_runs);
    }
}

#[test]
fn the_timer_of_a_job_is_stopped_and_goes_on() {
    let rig = Rig::new(&[
        ("job.timer", "[Timer]\nOnActiveSec=1h\n"),
        ("job.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >> /test/ran'\n"),
    ]);
    rig.systemd.systemctl(&["start", "job.timer"]);
    for name in ["job.timer", "job.service"] {
        let spec = unit(name);
        let noted = rig.note(&spec).unwrap();
        assert_eq!(noted.parts, ["job.timer"]);
        rig.stop(&spec, &noted).unwrap();
        assert_eq!(rig.states(&["job.timer"]), ["inactive"]);
        rig.start(&spec, &noted).unwrap();
        assert_eq!(rig.states(&["job.timer"]), ["active"]);
    }
    assert!(!rig.systemd.path("ran").exists(), "the job itself did not run, so it was not started");
}

#[test]
fn a_unit_that_refuses_to_stop_is_told() {
    let rig = Rig::new(&[("no.service", &format!("[Unit]\nRefuseManualStop=yes\n{SLEEP}"))]);
    rig.systemd.systemctl(&["start", "no"]);
    let spec = unit("no");
    let noted = rig.note(&spec).unwrap();
    let error = rig.stop(&spec, &noted).unwrap_err();
    assert!(matches!(error, ServiceError::NotStopped { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "in systemd's words: {error}");
    assert_eq!(rig.states(&["no.service"]), ["active"]);
    rig.start(&spec, &noted).unwrap();
}

#[test]
fn a_unit_that_hangs_is_killed_by_its_own_limit_and_not_by_ours() {
    let hangs = "ExecStart=/bin/sh -c 'trap \"\" TERM; while true; do sleep 1; done'\n";
    let rig = Rig::new(&[
        ("short.service", &format!("[Service]\nTimeoutStopSec=1s\n{hangs}")),
        ("long.service", &format!("[Service]\nTimeoutStopSec=infinity\n{hangs}")),
    ]);
    rig.systemd.systemctl(&["start", "short", "long"]);
    // The shell must have set its trap.
    sleep(Duration::from_millis(500));
    let spec_short = unit("short");
    let noted = rig.note(&spec_short).unwrap();
    rig.stop(&spec_short, &noted).unwrap();
    assert!(rig.systemd.processes("short.service").is_empty());
    assert_eq!(rig.warnings(), ["short.service did not stop by itself and was killed by systemd"]);
    rig.start(&spec_short, &noted).unwrap();
    assert_eq!(rig.states(&["short.service"]), ["active"]);

    let spec_long = spec("name = \"long\"\nkind = \"system\"\nstop_timeout = \"1s\"\nstart_timeout = \"1s\"");
    let noted = rig.note(&spec_long).unwrap();
    let error = rig.stop(&spec_long, &noted).unwrap_err();
    assert!(matches!(error, ServiceError::StopTimeout { .. }), "{error}");
    assert!(error.to_string().contains("did not stop within 1s"), "{error}");
    assert!(
        !rig.systemd.processes("long.service").is_empty(),
        "a database is not killed because we are impatient"
    );
    assert_eq!(rig.states(&["long.service"]), ["deactivating"]);
    let error = rig.start(&spec_long, &noted).unwrap_err();
    assert!(matches!(error, ServiceError::StartTimeout { .. }), "{error}");
}

#[test]
fn a_unit_that_does_not_start_is_told_and_the_others_start() {
    let rig = Rig::new(&[
        ("base.service", SLEEP),
        (
            "weak.service",
            "[Unit]\nPartOf=base.service\nAfter=base.service\n[Service]\nExecStartPre=/bin/sh -c 'test -e /test/ok'\nExecStart=/usr/bin/sleep infinity\n",
        ),
        (
            "crash.service",
            "[Service]\nExecStart=/bin/sh -c 'test -e /test/ok && exec sleep infinity; exit 3'\n",
        ),
    ]);
    fs::write(rig.systemd.path("ok"), "").unwrap();
    rig.systemd.systemctl(&["start", "base", "weak", "crash"]);
    let (base, crash) = (unit("base"), unit("crash"));
    let (noted, noted_crash) = (rig.note(&base).unwrap(), rig.note(&crash).unwrap());
    assert_eq!(noted.parts, ["base.service", "weak.service"]);
    rig.stop(&base, &noted).unwrap();
    rig.stop(&crash, &noted_crash).unwrap();
    fs::remove_file(rig.systemd.path("ok")).unwrap();
    let error = rig.start(&base, &noted).unwrap_err();
    let ServiceError::NotStarted { name, said } = &error else { panic!("{error}") };
    assert!(name == "weak.service" && said.contains("weak.service failed"), "{error}");
    assert_eq!(rig.states(&["base.service"]), ["active"]);
    // One that is up by systemd's word and dead a moment later.
    let error = rig.start(&crash, &noted_crash).unwrap_err();
    assert!(matches!(error, ServiceError::NotStarted { .. }), "{error}");
    fs::write(rig.systemd.path("ok"), "").unwrap();
    for (spec, noted) in [(&base, &noted), (&crash, &noted_crash)] {
        // More often than systemd allows in ten seconds: what we stopped must come back all the same.
        for _ in 0..7 {
            rig.stop(spec, noted).unwrap();
            rig.start(spec, noted).unwrap();
        }
    }
    assert_eq!(rig.states(&["base.service", "weak.service", "crash.service"]), ["active"; 3]);
}

#[test]
fn what_could_not_be_started_again_is_not_stopped() {
    let rig = Rig::new(&[("here.service", SLEEP), ("bad.service", "[Service]\nType=nonsense\n")]);
    let error = rig.note(&unit("not-there")).unwrap_err();
    assert!(matches!(&error, ServiceError::Unknown(name) if name == "not-there.service"), "{error}");
    rig.systemd.systemctl(&["start", "here"]);
    // As `systemctl mask` does it.
    fs::remove_file(rig.systemd.path("units/here.service")).unwrap();
    symlink("/dev/null", rig.systemd.path("units/here.service")).unwrap();
    rig.systemd.units(&[]);
    let spec = unit("here");
    let error = rig.note(&spec).unwrap_err();
    assert!(
        matches!(error, ServiceError::Masked(_)) && error.to_string().contains("unmask here.service"),
        "{error}"
    );
    assert_eq!(rig.states(&["here.service"]), ["active"]);
    rig.systemd.systemctl(&["stop", "here"]);
    assert_eq!(
        rig.note(&spec).unwrap(),
        Noted::default(),
        "a masked unit that does not run is in nobody's way"
    );
    let ran = Noted { running: true, parts: vec!["here.service".into()] };
    assert!(matches!(rig.start(&spec, &ran), Err(ServiceError::Masked(_))));
    // One that systemd knows only as long as it runs.
    fs::write(rig.systemd.path("units/gone.service"), SLEEP).unwrap();
    rig.systemd.units(&[]);
    rig.systemd.systemctl(&["start", "gone"]);
    fs::remove_file(rig.systemd.path("units/gone.service")).unwrap();
    rig.systemd.units(&[]);
    assert_eq!(rig.states(&["gone.service"]), ["active"]);
    assert!(matches!(rig.note(&unit("gone")), Err(ServiceError::Unknown(_))));
    let vital = rig.note(&unit("ready.target")).unwrap();
    assert_eq!(vital.parts, ["ready.target"]);
}

#[test]
fn a_unit_on_which_everything_rests_is_not_stopped() {
    let rig = Rig::new(&[
        ("root.service", &format!("[Unit]\nDefaultDependencies=no\n{SLEEP}")),
        ("sysinit.target", "[Unit]\nDefaultDependencies=no\nRequires=root.service\n"),
    ]);
    rig.systemd.systemctl(&["start", "sysinit.target"]);
    let error = rig.note(&unit("root")).unwrap_err();
    assert!(error.to_string().contains("sysinit.target would stop with it"), "{error}");
    assert_eq!(rig.states(&["root.service"]), ["active"]);
}

/// Without a service manager nothing runs by it, but nobody may believe so: the question must fail.
#[test]
fn a_machine_without_systemd_says_so() {
    let rig = Rig::new(&[("a.service", SLEEP)]);
    let path = rig.systemd.path("bin/systemctl");
    fs::write(&path, "#!/bin/sh\necho 'System has not been booted with systemd as init system (PID 1). Can'\"'\"'t operate.' >&2\nexit 1\n").unwrap();
    let error = rig.note(&unit("a")).unwrap_err();
    assert!(
        matches!(error, ServiceError::NoManager { .. }) && error.to_string().contains("not been booted"),
        "{error}"
    );
}
