//! Modules with a Redis server: what runs make of it, and of its faults.

use super::app::Machine;
use crate::cli::support::{Run, start, wait};
use crate::support::redis::{PASSWORD, Server};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Users that may do too little, and digests of everything.
const OPTIONS: [&str; 9] =
    ["--enable-debug-command", "yes", "--user", "limited", "on", ">p", "+ping", "+info", "~*"];

fn password(machine: &Machine, password: &str) {
    let file = machine.place.path("password");
    fs::write(&file, format!("{password}\n")).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
}

fn declare(machine: &Machine, server: &Server, user: &str, more: &str) {
    let (socket, file) = (server.socket(), machine.place.path("password"));
    let source = format!(
        "[[source]]\nname = \"cache\"\ndriver = \"redis\"\nendpoint = {{ socket = {socket:?}, password = \"file:{}\"{user} }}\n{more}",
        file.display()
    );
    machine.module("shop", &source);
}

fn told(run: &Run) -> String {
    let told = format!("{}{}", run.out, run.err);
    assert!(!told.contains(PASSWORD), "the password is never told");
    told
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Something that befalls a backup: its name, what the endpoint and the source have more, what is done before it, and
/// while the server writes its file; what is told.
struct Fault {
    name: &'static str,
    user: &'static str,
    more: &'static str,
    before: fn(&Machine, &mut Server),
    during: Option<fn(&mut Server)>,
    after: fn(&mut Server),
    says: &'static [&'static str],
}

const NOTHING: Fault =
    Fault { name: "", user: "", more: "", before: |_, _| {}, during: None, after: |_| {}, says: &[] };
const LOST: &[&str] = &["closed", "reset", "connection is lost", "no whole RDB"];

const FAULTS: [Fault; 12] = [
    Fault {
        name: "wrong password",
        before: |machine, _| password(machine, "wrong"),
        says: &["WRONGPASS"],
        ..NOTHING
    },
    Fault {
        name: "no password file",
        before: |machine, _| fs::remove_file(machine.place.path("password")).unwrap(),
        says: &["No such file"],
        ..NOTHING
    },
    Fault {
        name: "no rights",
        user: ", user = \"limited\"",
        before: |machine, _| password(machine, "p"),
        says: &["NOPERM"],
        ..NOTHING
    },
    Fault { name: "an unknown user", user: ", user = \"nobody\"", says: &["WRONGPASS"], ..NOTHING },
    Fault {
        name: "no server",
        before: |_, server| server.kill(),
        after: Server::restart,
        says: &["cannot connect"],
        ..NOTHING
    },
    Fault {
        name: "stalled",
        more: "timeout = \"4s\"\n",
        before: |_, server| server.signal("-STOP"),
        after: |server| server.signal("-CONT"),
        says: &["time limit"],
        ..NOTHING
    },
    Fault {
        name: "no right to replicate",
        before: |_, server| drop(server.cli(&["ACL", "SETUSER", "default", "-psync", "-sync"])),
        after: |server| drop(server.cli(&["ACL", "SETUSER", "default", "+@all"])),
        says: &["NOPERM"],
        ..NOTHING
    },
    Fault {
        name: "stalled while it is read",
        more: "timeout = \"6s\"\n",
        during: Some(|server| server.signal("-STOP")),
        after: |server| server.signal("-CONT"),
        says: &["time limit"],
        ..NOTHING
    },
    Fault {
        name: "the connection lost",
        during: Some(|server| drop(server.cli(&["CLIENT", "KILL", "TYPE", "replica"]))),
        says: LOST,
        ..NOTHING
    },
    Fault {
        name: "the server's writer killed",
        during: Some(|server| {
            let children =
                |pid: u32| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            for child in children(server.pid()).split_whitespace() {
                let killed = std::process::Command::new("kill").args(["-KILL", child]).status().unwrap();
                assert!(killed.success());
            }
        }),
        says: LOST,
        ..NOTHING
    },
    Fault {
        name: "the server killed",
        during: Some(Server::kill),
        after: Server::restart,
        says: LOST,
        ..NOTHING
    },
    Fault {
        name: "the server restarted",
        during: Some(|server| {
            server.kill();
            server.restart();
        }),
        says: LOST,
        ..NOTHING
    },
];

#[test]
fn twelve_faults_of_a_backup_make_its_module_partial() {
    let (mut server, machine) = (Server::start(&OPTIONS), Machine::new());
    server.fill();
    server.cli(&["SAVE"]);
    for fault in &FAULTS {
        password(&machine, PASSWORD);
        declare(&machine, &server, fault.user, fault.more);
        (fault.before)(&machine, &mut server);
        let run = match fault.during {
            None => machine.dedup(&["backup"]),
            Some(during) => {
                // Each key takes a while.
                server.cli(&["CONFIG", "SET", "rdb-key-save-delay", "5000"]);
                let child = start(machine.command(&["backup"]));
                until(fault.name, || {
                    server.cli(&["INFO", "persistence"]).contains("rdb_bgsave_in_progress:1")
                });
                during(&mut server);
                wait(child, b"")
            }
        };
        (fault.after)(&mut server);
        server.cli(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        until("the server is at rest", || {
            server.cli(&["INFO", "persistence"]).contains("rdb_bgsave_in_progress:0")
        });
        let said = told(&run);
        assert_eq!(run.code, 3, "{}: {said}", fault.name);
        assert!(fault.says.iter().any(|word| said.contains(word)), "{}: {said}", fault.name);
        let account = machine.account("shop");
        assert_eq!(account["state"], "partial", "{}: {account}", fault.name);
        assert_eq!(account["dumps"].as_array().map_or(0, Vec::len), 0, "{}: {account}", fault.name);
        password(&machine, PASSWORD);
        declare(&machine, &server, "", "");
        machine.dedup(&["backup"]).ok();
        assert_eq!(machine.account("shop")["state"], "complete", "{}", fault.name);
    }
    // Back, into what is another now; and not by whom it does not let in.
    let state = server.state();
    server.cli(&["FLUSHALL"]);
    server.cli(&["SET", "mine", "1"]);
    let other = server.state();
    let restore = ["restore", "latest", "--yes", "-m", "shop"];
    password(&machine, "wrong");
    let refused = machine.dedup(&restore);
    assert!(refused.code != 0 && told(&refused).contains("WRONGPASS"), "{}", told(&refused));
    assert_eq!(server.state(), other);
    password(&machine, PASSWORD);
    machine.dedup(&restore).ok();
    assert_eq!(server.state(), state);
    // One that is not there gets nothing, and says so.
    server.kill();
    let gone = machine.dedup(&restore);
    assert!(gone.code != 0 && told(&gone).contains("cannot connect"), "{}", told(&gone));
}
