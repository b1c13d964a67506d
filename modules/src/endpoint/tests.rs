//! Passwords from everywhere, and who gets to see them.

use super::*;
use crate::child::{Limits, Withheld};
use crate::manifest::Manifest;
use std::fs;
use std::io::{Cursor, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

fn around(withheld: Withheld) -> Surroundings {
    Surroundings { env: vec![("PATH".into(), PATH.into())], withheld }
}

fn secret(text: &str) -> Secret {
    let manifest = format!(
        "schema = 1\n[module]\nid = \"a\"\n[[source]]\nname = \"a\"\ndriver = \"mariadb\"\nliteral_secrets = true\nselect = {{ databases = [\"a\"] }}\nendpoint = {{ password = {text:?} }}\n"
    );
    match Manifest::parse("a.toml", manifest.as_bytes()) {
        Ok(manifest) => manifest.sources[0].endpoint.clone().unwrap().password.unwrap(),
        Err(problems) => panic!("{problems}"),
    }
}

fn read(text: &str, around: &Surroundings) -> Result<String, EndpointError> {
    let asking = Asking { around, cancelled: &|| false };
    Password::read(&secret(text), None, asking)
        .map(|password| String::from_utf8(password.as_bytes().to_vec()).unwrap())
}

fn write(path: &Path, text: &str, mode: u32) -> String {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

#[test]
fn passwords_are_found_where_the_manifest_says() {
    // Root uses nothing below a directory that everybody may write.
    let scratch = tempfile::tempdir_in(std::env::var("HOME").unwrap()).unwrap();
    let at = |name: &str| scratch.path().join(name);
    let file = write(&at("file"), "s3cret\r\n", 0o600);
    fs::create_dir(at("store")).unwrap();
    write(&at("store/db"), " two words \n", 0o600);
    write(&at("store/open"), "x", 0o644);
    fs::create_dir(at("systemd")).unwrap();
    write(&at("systemd/db"), "credential", 0o400);
    let env = vec![
        ("APP_PASSWORD".into(), "by variable".into()),
        ("CREDENTIALS_DIRECTORY".into(), at("systemd").into_os_string()),
    ];
    let here = around(Withheld::new(env, Some(at("store"))));
    let program = write(&at("program"), "#!/bin/sh\necho \"of $1\"; echo hint >&2\n", 0o755);
    for (reference, password) in [
        (format!("file:{file}"), "s3cret"),
        ("env:APP_PASSWORD".into(), "by variable"),
        ("systemd:db".into(), "credential"),
        ("store:db".into(), " two words "),
        (format!("exec:{program} db"), "of db"),
        ("p@ss:word".into(), "p@ss:word"),
    ] {
        assert_eq!(read(&reference, &here).unwrap(), password, "{reference}");
    }
    let torn = write(&at("torn"), "first\nsecond\n", 0o600);
    let failing = write(&at("failing"), "#!/bin/sh\necho s3cret; echo locked >&2; exit 2\n", 0o755);
    let long = write(&at("long"), &"x".repeat(MAX_SECRET_BYTES + 1), 0o600);
    for (reference, why) in [
        ("file:/no/such/file".to_owned(), "No such file"),
        (format!("file:{}", scratch.path().display()), "no regular file"),
        (format!("file:{torn}"), "several lines"),
        (format!("file:{long}"), "longer than"),
        ("env:NOT_THERE".into(), "no such variable"),
        ("systemd:other".into(), "No such file"),
        ("store:other".into(), "put it into"),
        ("store:open".into(), "chmod 600"),
        (format!("exec:{failing}"), "status 2: locked"),
        ("container:db".into(), "names no `container`"),
    ] {
        let error = read(&reference, &here).unwrap_err();
        assert!(error.to_string().contains(why) && error.to_string().contains(&reference), "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    }
    let nothing = around(Withheld::default());
    for reference in ["systemd:db", "store:db", "env:APP_PASSWORD"] {
        assert!(read(reference, &nothing).is_err());
    }
    let shown = format!(
        "{here:?} {:?} {:?}",
        secret("hunter2"),
        Password::read(&secret("hunter2"), None, Asking { around: &here, cancelled: &|| false })
    );
    assert!(!shown.contains("hunter2") && !shown.contains("by variable"), "{shown}");
}

#[test]
fn only_the_client_sees_what_it_is_confided() {
    let here = around(Withheld::new(vec![("HIDDEN".into(), "s3cret".into())], None));
    let look = "cat \"$FILE\"; echo \"<$(cat)>\"; stat -L -c %a:%F \"$FILE\"; tr '\\0' ' ' < /proc/self/cmdline; env";
    let call = |argv: &[&str], by| Call {
        argv: argv.iter().map(Into::into).collect(),
        env: vec![],
        confidence: Some(Confidence { content: Zeroizing::new(b"s3cret\n".to_vec()), by }),
    };
    let never = || false;
    let client = Place::Here.client(call(&["sh", "-c", look], By::Variable("FILE"))).unwrap();
    let captured = client.output(&here, Limits::default(), &never, 10_000).unwrap();
    let text = String::from_utf8(captured.stdout).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    assert!(first == "s3cret" && rest.starts_with("<>\n600:regular"), "{text}");
    assert!(!rest.contains("s3cret") && rest.contains("FILE=/proc/"), "{rest}");
    // By an argument that stands first, and with something else at standard input.
    let client = Place::Here.client(call(&["cat", "-"], By::Argument(""))).unwrap();
    let (mut lines, mut input) = (vec![], Cursor::new(b"input\n"));
    let (finished, fed) = client
        .feed(&here, Limits::default(), &never, &mut input, &mut |_, line| lines.push(line.to_owned()))
        .unwrap();
    assert!(finished.is_success() && fed && lines == ["s3cret", "input"], "{lines:?}");
    // It ends with its owner.
    let confided = confide::Confided::new("x", b"s3cret").unwrap();
    let path = confided.path();
    assert_eq!(fs::read(&path).unwrap(), b"s3cret");
    assert!(
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"x"))
            .is_err()
    );
    drop(confided);
    assert!(fs::read(&path).map_or(true, |other| other != b"s3cret"));
}

/// As in a container: an engine that only runs what it is told.
#[test]
fn a_client_in_a_container_reads_it_from_its_standard_input() {
    let scratch = tempfile::tempdir().unwrap();
    let inspected = r#"[{"Name":"/db","State":{"Status":"running"},"NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}}}]"#;
    let engine = format!(
        "#!/bin/sh\nlog={}/log\necho \"$*\" >> $log\ncase \"$1 $2\" in\n'container inspect') [ \"$4\" = db ] || {{ echo 'no such container' >&2; exit 1; }}; echo '{inspected}';;\n'exec --interactive') shift 3; exec \"$@\";;\nexec*) shift 2; exec \"$@\";;\n*) exit 1;;\nesac\n",
        scratch.path().display()
    );
    write(&scratch.path().join("docker"), &engine, 0o755);
    let mut here = around(Withheld::default());
    here.env = vec![("PATH".into(), format!("{}:/usr/bin:/bin", scratch.path().display()).into())];
    let never = || false;
    let asking = Asking { around: &here, cancelled: &never };
    let reach = |name: &str| Reach { container: Some(ContainerName::Name(name.into())), ..Reach::default() };
    let error = reach("other").container(asking).unwrap_err();
    assert!(error.to_string().contains("no running container other: no such container"), "{error}");
    let container = reach("db").container(asking).unwrap().unwrap();
    assert_eq!((container.name(), container.address().unwrap()), ("db", "172.17.0.2"));
    let place = Place::In(container);
    assert!(place.has("sh", asking).unwrap() && !place.has("no-such-program", asking).unwrap());
    let call = |argv: &[&str]| Call {
        argv: argv.iter().map(Into::into).collect(),
        env: vec![],
        confidence: Some(Confidence {
            content: Zeroizing::new(b"[client]\npassword=\"s3cret\"\n".to_vec()),
            by: By::Argument(""),
        }),
    };
    let mut said = |_: &str| {};
    let client = place.client(call(&["cat"])).unwrap();
    let mut text = String::new();
    client.stream(&here, Limits::default(), &never, &mut said).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "[client]\npassword=\"s3cret\"\n");
    // What follows at standard input is the program's, to the byte.
    let client = place.client(call(&["cat", "-"])).unwrap();
    let mut lines = vec![];
    let mut input = Cursor::new(b"one\ntwo\n");
    client
        .feed(&here, Limits::default(), &never, &mut input, &mut |_, line| lines.push(line.to_owned()))
        .unwrap();
    assert_eq!(lines, ["[client]", "password=\"s3cret\"", "one", "two"]);
    assert!(!fs::read_to_string(scratch.path().join("log")).unwrap().contains("s3cret"));
}

#[test]
fn a_restore_goes_where_its_own_keys_say() {
    let text = r#"
schema = 1
[module]
id = "a"
[paths]
RUN = "/run"
[[source]]
name = "a"
driver = "mariadb"
select = { databases = ["app"] }
endpoint = { socket = "${RUN}/my.sock", user = "app", password = "store:a", database = "app" }
restore_endpoint = { host = "db2", port = 3307, password = "store:b" }
[[source]]
name = "b"
driver = "mariadb"
select = { databases = ["app"] }
endpoint = { host = "db1", port = 3307, user = "app" }
restore_endpoint = { port = 3308, database = "copy" }
"#;
    let manifest = match Manifest::parse("a.toml", text.as_bytes()) {
        Ok(manifest) => manifest,
        Err(problems) => panic!("{problems}"),
    };
    let of = |at: usize| {
        let source = &manifest.sources[at];
        Reach::of(source.endpoint.as_ref(), source.restore_endpoint.as_ref(), &manifest.paths).unwrap()
    };
    let first = of(0);
    assert_eq!(first.shown(), "db2:3307");
    assert_eq!(
        (first.socket, first.user.as_deref(), first.database.as_deref()),
        (None, Some("app"), Some("app"))
    );
    assert_eq!(format!("{:?}", first.password.unwrap()), "store:b");
    let second = of(1);
    assert_eq!((second.shown().as_str(), second.database.as_deref()), ("db1:3308", Some("copy")));
    let only = Reach::of(manifest.sources[0].endpoint.as_ref(), None, &manifest.paths).unwrap();
    assert_eq!(only.shown(), "/run/my.sock");
    assert_eq!(Reach::default().shown(), "the usual place");
}
