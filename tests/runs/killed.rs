//! Runs that are killed at any point: services are as they began, nothing is locked, no half export is published.

use super::app::Machine;
use crate::cli::support::{finish, start};
use crate::support::budget::Budget;
use crate::support::random::Random;
use std::fs;
use std::time::{Duration, Instant};

/// A machine with three applications that depend on one another, with services, lockdowns and hooks.
fn machine() -> (Machine, Vec<String>) {
    let machine = Machine::new();
    let mut faults = Vec::new();
    for (id, requires) in [("one", ""), ("two", "one"), ("three", "two")] {
        let mut more = String::new();
        for service in ["a", "b"] {
            let name = format!("{id}-{service}");
            more.push_str(&machine.service(&name));
            faults.extend([format!("stop-{name}")]);
        }
        more.push_str(&machine.lockdown(id));
        faults.push(format!("lock-{id}"));
        more.push_str("[hooks]\n");
        for (point, phases) in
            [("backup_pre", vec!["live", "stopped"]), ("backup_post", vec!["stopped", "live", "published"])]
        {
            let hooks = phases.iter().map(|phase| {
                let name = format!("{id}-{point}-{phase}");
                faults.push(name.clone());
                format!("{{ run = {}, phase = {phase:?}, timeout = \"2s\" }}", machine.act(&name))
            });
            let hooks = hooks.collect::<Vec<_>>().join(", ");
            more.push_str(&format!("{point} = [{hooks}]\n"));
        }
        if !requires.is_empty() {
            more.push_str(&format!("[depends]\nrequires = [{requires:?}]\n"));
        }
        machine.module(id, &more);
    }
    machine.events();
    (machine, faults)
}

/// Waits until everything is as it was, without another command.
fn comes_back(machine: &Machine, up: &[String]) -> Result<Duration, String> {
    let begun = Instant::now();
    loop {
        if machine.up() == up && machine.locked().is_empty() {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("up: {:?}, locked: {:?}", machine.up(), machine.locked()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The figure of the issue: any step fails or the process is killed at any point.
#[test]
fn any_step_fails_or_the_run_is_killed_and_everything_comes_back() {
    let budget = Budget::of("module runs, faults and kills at random", 25, 2000);
    let (machine, faults) = machine();
    let up = machine.up();
    let (mut killed, mut failed, mut slowest) = (0, 0, Duration::ZERO);
    budget.each(|number, random| {
        let before = machine.snapshots();
        fs::write(machine.data("one").join("file"), format!("version {number}")).unwrap();
        let fault = (random.below(3) > 0).then(|| draw(random, &machine, &faults));
        let kill = fault.is_none() || random.below(4) == 0;
        let command = machine.command(&["backup"]);
        let (code, said) = if kill {
            kill_worker(random, command)
        } else {
            let run = finish(command, b"");
            (Some(run.code), run.err)
        };
        killed += u64::from(kill);
        failed += u64::from(code != Some(0));
        match comes_back(&machine, &up) {
            Ok(time) => slowest = slowest.max(time),
            Err(wrong) => panic!("fault {fault:?}, kill {kill}, ended {code:?}: {wrong}\n{said}"),
        }
        if let Some(name) = &fault {
            machine.heal(name);
        }
        machine.dedup(&["recover"]).ok();
        assert_eq!(machine.journals(), Vec::<String>::new());
        // What is published is whole, or says that it is not.
        let list = machine.dedup(&["snapshots", "--json"]).ok().json();
        let list = list["snapshots"].as_array().unwrap().clone();
        assert!(list.len() <= before + 1);
        if list.len() > before && code == Some(0) {
            assert_eq!(list.last().unwrap()["state"], "complete");
        }
        machine.events();
    });
    budget.tell(&format!(
        "{} runs, {killed} killed, {failed} not complete, all came back, the slowest {slowest:?} after its end",
        budget.cases()
    ));
    machine.place.assert_sound();
}

/// Makes one program of the machine fail, and returns which.
fn draw(random: &mut Random, machine: &Machine, faults: &[String]) -> String {
    let name = &faults[random.below(faults.len() as u64) as usize];
    let how = ["1", "75", "kill", "hang", "126"][random.below(5) as usize];
    // What hangs has a limit of time only as a hook.
    let how = if how == "hang" && !name.contains("backup_") { "1" } else { how };
    machine.fail(name, how);
    name.clone()
}

/// Starts the program and kills the process that does the run, not its guard, after a while.
fn kill_worker(random: &mut Random, command: std::process::Command) -> (Option<i32>, String) {
    let guard = start(command);
    std::thread::sleep(Duration::from_millis(20 + random.below(600)));
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", guard.id())).unwrap_or_default();
    for child in children.split_whitespace() {
        let pid = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    let output = guard.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}
