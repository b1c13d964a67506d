//! Kinds of services that need nothing but programs; containers by a stub that answers as docker does, which tests how
//! answers and errors are read. Units, the web server and real containers: `tests/modules/services.rs`.

use super::*;
use crate::manifest::Manifest;
use crate::tests::TestMachine;
use std::fs;
use std::process::{Child, Command as Run, Stdio};

/// Returns the spec of a service as a manifest has it.
fn spec(text: &str) -> Result<ServiceSpec, ServiceError> {
    let text = format!(
        "schema = 1\n[module]\nid = \"m\"\n[data]\ndirectories = [\"/srv/m\"]\n[[service]]\n{text}\n"
    );
    let manifest = Manifest::parse("test", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
    ServiceSpec::of(&manifest.services[0], &manifest.paths)
}

fn ran(parts: &[&str]) -> Noted {
    Noted::parts(parts.iter().map(|part| (*part).to_owned()).collect())
}

#[test]
fn a_command_service_is_asked_stopped_and_started() {
    let test = TestMachine::new();
    let flag = test.path("runs").display().to_string();
    let status = test.script("status", &format!("test -e {flag}"));
    let start = test.script("start", &format!("touch {flag}; sleep 60 & echo $! > {flag}.pid"));
    let stop = test.script("stop", &format!("kill $(cat {flag}.pid); rm {flag}"));
    let service = format!(
        "name = \"x\"\nkind = \"command\"\nstatus = [\"{status}\"]\nstop = [\"{stop}\"]\nstart = [\"{start}\"]"
    );
    let spec = spec(&service).unwrap();
    let stored: ServiceSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
    assert_eq!(stored, spec, "it comes back from a journal as it was");
    test.with(|machine| {
        let services = Services::new(machine);
        let noted = services.note(&spec).unwrap();
        assert!(!noted.running);
        services.start(&spec, &noted).unwrap();
        assert!(!services.note(&spec).unwrap().running, "what did not run is not started");
        services.start(&spec, &Noted { running: true, parts: vec![] }).unwrap();
        let noted = services.note(&spec).unwrap();
        assert!(noted.running);
        let pid = fs::read_to_string(format!("{flag}.pid")).unwrap();
        let alive = || fs::exists(format!("/proc/{}/exe", pid.trim())).unwrap();
        assert!(alive(), "what a start leaves running goes on");
        services.start(&spec, &noted).unwrap();
        services.stop(&spec, &noted).unwrap();
        assert!(!services.note(&spec).unwrap().running && !fs::exists(&flag).unwrap());
        test.script("stop", "true");
        services.start(&spec, &noted).unwrap();
        let error = services.stop(&spec, &noted).unwrap_err();
        assert!(error.to_string().contains("x is running although it was told to stop"), "{error}");
        test.script("stop", &format!("kill $(cat {flag}.pid); rm {flag}"));
        services.stop(&spec, &noted).unwrap();
        test.script("start", "echo no room >&2; exit 1");
        assert!(services.start(&spec, &noted).unwrap_err().to_string().contains("no room"));
        test.script("start", "true");
        assert!(matches!(services.start(&spec, &noted), Err(ServiceError::NotStarted { .. })));
        fs::remove_file(test.path("status")).unwrap();
        assert!(
            matches!(services.note(&spec), Err(ServiceError::Program(_))),
            "no answer is not \"it does not run\""
        );
    });
}

#[test]
fn a_command_that_takes_too_long_is_told() {
    let test = TestMachine::new();
    let slow = test.script("slow", "sleep 60");
    let service = format!(
        "name = \"x\"\nkind = \"command\"\nstatus = [\"true\"]\nstop = [\"{slow}\"]\nstart = [\"true\"]\nstop_timeout = \"1s\""
    );
    let spec = spec(&service).unwrap();
    test.with(|machine| {
        let error = Services::new(machine).stop(&spec, &Noted { running: true, parts: vec![] }).unwrap_err();
        assert!(matches!(error, ServiceError::StopTimeout { .. }), "{error}");
    });
}

/// Starts a process with a name of its own, which is buried when it ends; on TERM it does what `on_term` says.
///
/// It waits without any program: a shell's copy of itself that is to become one has the same name until it does, and
/// was once taken for a second process. Its file is copied by another process: one that this one has open to write
/// is handed to whatever another test starts just then, and cannot be run meanwhile.
fn process(test: &TestMachine, name: &str, on_term: &str) -> Child {
    assert!(Run::new("cp").arg("/bin/bash").arg(test.path(name)).status().unwrap().success());
    // It ends with this test: then there is nobody at the other end of its input.
    let script =
        format!("trap '{on_term}' TERM; while true; do read -t 0.1 line || [ $? -gt 128 ] || exit; done");
    Run::new(test.path(name)).args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_process_is_ended_and_waited_for_and_cannot_be_started() {
    let test = TestMachine::new();
    let spec = spec("name = \"dedup-one-proc\"\nkind = \"process\"").unwrap();
    test.with(|machine| {
        let services = Services::new(machine);
        assert_eq!(services.note(&spec).unwrap(), Noted::default());
        let mut child = process(&test, "dedup-one-proc", "sleep 0.3; exit 0");
        let noted = services.note(&spec).unwrap();
        assert_eq!(noted, ran(&[&child.id().to_string()]));
        let other = super::tests::spec("name = \"dedup-one-pro\"\nkind = \"process\"").unwrap();
        assert!(!services.note(&other).unwrap().running, "names are whole");
        std::thread::sleep(Duration::from_millis(300));
        services.stop(&spec, &noted).unwrap();
        assert!(child.try_wait().unwrap().is_some(), "it has ended when stop returns");
        let error = services.start(&spec, &noted).unwrap_err();
        assert!(matches!(error, ServiceError::CannotStart(_)), "{error}");
    });
}

#[test]
fn a_process_that_does_not_end_is_not_killed() {
    let test = TestMachine::new();
    let spec = spec("name = \"dedup-two-proc\"\nkind = \"process\"\nstop_timeout = \"1s\"").unwrap();
    let mut child = process(&test, "dedup-two-proc", "");
    std::thread::sleep(Duration::from_millis(300));
    test.with(|machine| {
        let services = Services::new(machine);
        let noted = services.note(&spec).unwrap();
        let error = services.stop(&spec, &noted).unwrap_err();
        assert!(error.to_string().contains("did not stop within 1s"), "{error}");
        assert!(child.try_wait().unwrap().is_none());
        services.start(&spec, &noted).unwrap();
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn names_of_units_are_of_one_unit() {
    for name in ["a*", "a?.service", "[ab]", "a b", "/etc/x"] {
        let error = spec(&format!("name = \"{name}\"\nkind = \"system\"")).unwrap_err();
        assert!(matches!(error, ServiceError::BadName { .. }), "{error}");
    }
    let of = |name: &str| spec(&format!("name = \"{name}\"\nkind = \"system\"")).unwrap();
    assert!(of("a").is_same_service(&of("a.service")) && !of("a").is_same_service(&of("a.timer")));
    assert!(of("a.b").is_same_service(&of("a.b.service")), "a dot alone is no type");
}

/// What `systemctl show` of systemd 252 prints for two units, cut to what is read.
#[test]
fn answers_of_systemctl_are_read() {
    let text = "Id=x.service\nRequiredBy=y.service z.service\nBoundBy=\nTriggeredBy=x.socket\nLoadState=loaded\n\
                ActiveState=deactivating\nSubState=stop-sigterm\nTransient=no\nResult=success\nControlGroup=/system.slice/x.service\n\n\
                Id=no.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n";
    let units = units::parse(text);
    assert_eq!(units.iter().map(|unit| &unit.id[..]).collect::<Vec<_>>(), ["x.service", "no.service"]);
    assert!(!units[0].runs() && units[0].is_busy() && !units[1].is_busy());
    assert_eq!(units[0].state(), "deactivating (stop-sigterm)");
}

/// A docker of one script: containers are files `NAME` that hold their state.
fn docker(test: &TestMachine) {
    let home = test.path("containers").display().to_string();
    fs::create_dir(&home).unwrap();
    let script = format!(
        r#"PATH=/usr/bin:/bin
echo "$*" >> {home}.log
test -e {home}.down && {{ echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock." >&2; exit 1; }}
verb=$2; shift 2
case $verb in
ls) ls {home} ;;
inspect) shift; first=1; status=0; printf '['
  for name; do
    if test -e {home}/$name; then
      test $first = 1 || printf ,
      first=0
      depends=; test $name = web && depends=db:service_started:false; test $name = db && depends=
      printf '{{"Id":"%s","Name":"/%s","State":{{"Status":"%s"}},"HostConfig":{{"AutoRemove":%s}},"Config":{{"Labels":{{' $name $name $(cat {home}/$name) $(test $name = brief && echo true || echo false)
      printf '"com.docker.compose.project":"shop","com.docker.compose.service":"%s","com.docker.compose.depends_on":"%s",' $name $depends
      printf '"com.docker.compose.project.config_files":"{home}.yml"}}}}}}'
    else echo "Error response from daemon: No such container: $name" >&2; status=1; fi
  done
  echo ']'; exit $status ;;
stop|pause) for name; do :; done; test $name = stubborn && {{ echo "cannot stop container: $name: tried to kill container, but did not receive an exit event" >&2; exit 1; }}
  test $verb = stop && echo exited > {home}/$name || echo paused > {home}/$name ;;
start|unpause) for name; do :; done; echo running > {home}/$name ;;
esac"#
    );
    test.script("bin/docker", &script);
}

fn container(test: &TestMachine, name: &str, state: &str) {
    fs::write(test.path("containers").join(name), state).unwrap();
}

/// Returns the calls that changed something since the last time.
fn calls(test: &TestMachine) -> Vec<String> {
    let log = test.path("containers.log");
    let text = fs::read_to_string(&log).unwrap_or_default();
    let _ = fs::remove_file(log);
    let asks = |line: &&str| !line.starts_with("container inspect") && !line.starts_with("container ls");
    text.lines().filter(asks).map(ToOwned::to_owned).collect()
}

#[test]
fn a_container_is_stopped_or_paused_by_the_engine_that_has_it() {
    let test = TestMachine::new().without_system();
    let plain = spec("name = \"db\"\nkind = \"container\"\nstop_timeout = \"30s\"").unwrap();
    let paused = spec("name = \"db\"\nkind = \"container\"\nmethod = \"pause\"").unwrap();
    test.with(|machine| {
        let services = Services::new(machine);
        assert!(matches!(services.note(&plain), Err(ServiceError::NoEngine(_))));
        docker(&test);
        assert!(matches!(services.note(&plain), Err(ServiceError::Unknown(_))));
        container(&test, "db", "running");
        let noted = services.note(&plain).unwrap();
        assert_eq!(noted, ran(&["db"]));
        services.stop(&plain, &noted).unwrap();
        services.start(&plain, &noted).unwrap();
        services.stop(&paused, &noted).unwrap();
        assert!(!services.note(&paused).unwrap().running, "what somebody paused stays so");
        services.start(&paused, &noted).unwrap();
        services.start(&paused, &noted).unwrap();
        let expected = [
            "container stop --time 30 -- db",
            "container start -- db",
            "container pause -- db",
            "container unpause -- db",
        ];
        assert_eq!(calls(&test), expected);
        container(&test, "brief", "running");
        let brief = spec("name = \"brief\"\nkind = \"container\"").unwrap();
        assert!(matches!(services.note(&brief), Err(ServiceError::Fleeting(_))), "its stop would remove it");
        container(&test, "stubborn", "running");
        let stubborn = spec("name = \"stubborn\"\nkind = \"container\"").unwrap();
        let error = services.stop(&stubborn, &ran(&["stubborn"])).unwrap_err();
        assert!(error.to_string().contains("did not receive an exit event"), "{error}");
        fs::write(test.path("containers.down"), "").unwrap();
        assert!(matches!(services.note(&plain), Err(ServiceError::NoManager { .. })));
    });
}

#[test]
fn of_a_stack_exactly_what_ran_is_started_in_the_order_of_its_needs() {
    let test = TestMachine::new().without_system();
    let file = test.path("containers.yml").display().to_string();
    let stack = spec(&format!("name = \"stack\"\nkind = \"compose\"\nfile = \"{file}\"")).unwrap();
    docker(&test);
    test.with(|machine| {
        let services = Services::new(machine);
        let error = services.note(&stack).unwrap_err();
        assert!(matches!(error, ServiceError::Unknown(_)), "neither containers nor its file: {error}");
        fs::write(&file, "services: {}").unwrap();
        assert_eq!(services.note(&stack).unwrap(), Noted::default(), "it was never started");
        for (name, state) in [("web", "running"), ("db", "running"), ("jobs", "exited"), ("proxy", "paused")]
        {
            container(&test, name, state);
        }
        let noted = services.note(&stack).unwrap();
        assert_eq!(noted, ran(&["db", "web"]));
        services.stop(&stack, &noted).unwrap();
        fs::remove_file(&file).unwrap();
        services.start(&stack, &noted).unwrap();
        let expected = ["stop -- web", "stop -- db", "start -- db", "start -- web"];
        assert_eq!(calls(&test), expected.map(|call| format!("container {call}")));
        let one = spec("name = \"shop\"\nkind = \"compose\"\nservice = \"db\"").unwrap();
        assert_eq!(services.note(&one).unwrap(), ran(&["db"]));
        let other = spec("name = \"s\"\nkind = \"compose\"\nproject = \"shopping\"").unwrap();
        assert!(matches!(services.note(&other), Err(ServiceError::Unknown(_))));
    });
}

#[test]
fn processes_that_outlive_their_unit_are_seen() {
    let test = TestMachine::new();
    let places = [test.path("none"), test.path("unified")];
    let group = test.path("unified/system.slice/x.service");
    fs::create_dir_all(&group).unwrap();
    let seen = |name: &str| systemd::has_processes(&places, name);
    assert!(!seen("/system.slice/x.service"), "no file");
    for (text, left) in [("", false), ("\n", false), ("12\n13\n", true)] {
        fs::write(group.join("cgroup.procs"), text).unwrap();
        assert_eq!(seen("/system.slice/x.service"), left);
    }
    fs::write(test.path("unified/cgroup.procs"), "1\n").unwrap();
    assert!(!seen(""), "a unit without a group is not the root");
}
