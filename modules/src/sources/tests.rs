//! Programs as sources, and how sources come from manifests.

use super::*;
use crate::manifest::Manifest;
use dedup_engine::error::Kind;
use std::io::{Cursor, Write};

fn around() -> Surroundings {
    Surroundings::of(vec![("PATH".into(), "/usr/bin:/bin".into())])
}

fn shell(dump: &str, load: &str) -> SourceSpec {
    let argv = |text: &str| match text {
        "" => vec![],
        text => ["/bin/sh", "-c", text].map(String::from).to_vec(),
    };
    SourceSpec {
        name: "x".into(),
        limit: None,
        how: How::Command { dump: argv(dump), load: argv(load), idle_limit: Duration::from_secs(20) },
    }
}

/// Dumps everything; returns what was read before an error of `read`, and the verdict.
fn dump(spec: &SourceSpec, cancelled: &dyn Fn() -> bool) -> (Vec<u8>, bool, Result<u64, SourceError>) {
    let around = around();
    let mut said = |_: &str| {};
    let mut bytes = Vec::new();
    let mut dump = open_dump(spec, World { around: &around, cancelled }, &mut said).unwrap();
    let read = dump.read_to_end(&mut bytes).is_ok();
    (bytes, read, dump.finish())
}

fn load(spec: &SourceSpec, bytes: &mut dyn Read) -> Result<(), SourceError> {
    let around = around();
    let mut said = |_: &str| {};
    let world = World { around: &around, cancelled: &|| false };
    let mut load = open_load(spec, LoadOptions::default(), world, &mut said)?;
    load.check()?;
    assert_eq!(load.prepare(bytes)?, WayBack::DumpFirst);
    load.put(bytes)
}

#[test]
fn a_stream_is_whole_only_if_its_program_says_so() {
    let never = || false;
    let (bytes, read, end) = dump(&shell("printf abc; exit 0", ""), &never);
    assert_eq!((&bytes[..], read, end.unwrap()), (&b"abc"[..], true, 3));
    // All bytes came, and yet it is void: for the reader at the end, and by the verdict.
    let (bytes, read, end) = dump(&shell("printf abc; echo 'no such table' >&2; exit 3", ""), &never);
    let error = end.unwrap_err();
    assert_eq!((&bytes[..], read), (&b"abc"[..], false));
    assert!(error.to_string().contains("status 3") && error.to_string().contains("no such table"), "{error}");
    let (_, read, end) = dump(&shell("printf abc; kill -9 $$", ""), &never);
    assert!(!read && end.unwrap_err().to_string().contains("signal 9"));
    let (bytes, read, end) = dump(&shell("exit 0", ""), &never);
    assert!(bytes.is_empty() && read && end.unwrap() == 0);
}

#[test]
fn a_dump_that_was_not_read_to_its_end_is_void() {
    let (around, mut said) = (around(), |_: &str| {});
    let world = World { around: &around, cancelled: &|| false };
    let spec = shell("head -c 3000000 /dev/zero", "");
    let mut dump = open_dump(&spec, world, &mut said).unwrap();
    let mut some = [0; 1000];
    dump.read_exact(&mut some).unwrap();
    assert!(matches!(dump.finish(), Err(SourceError::Unfinished)));
}

#[test]
fn a_silent_or_slow_program_is_ended() {
    let mut spec = shell("printf abc; sleep 60", "");
    spec.how = match spec.how {
        How::Command { dump, load, .. } => {
            How::Command { dump, load, idle_limit: Duration::from_millis(300) }
        }
        other => other,
    };
    let (_, read, end) = dump(&spec, &|| false);
    let error = end.unwrap_err();
    assert!(!read && error.to_string().contains("said nothing"), "{error}");
    let mut spec = shell("while :; do echo x; sleep 0.05; done", "");
    spec.limit = Some(Duration::from_millis(400));
    let (_, read, end) = dump(&spec, &|| false);
    assert!(!read && end.unwrap_err().to_string().contains("took longer"));
    let (_, read, end) = dump(&shell("sleep 60", ""), &|| true);
    assert!(!read && end.unwrap_err().kind() == Kind::Cancelled);
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let (around, mut said) = (around(), |_: &str| {});
    let world = World { around: &around, cancelled: &|| false };
    let mut spec = shell("x", "");
    spec.how = How::Command {
        dump: vec!["no-such-program".into()],
        load: vec!["no-such-program".into()],
        idle_limit: IDLE_LIMIT,
    };
    assert!(open_dump(&spec, world, &mut said).is_err());
    let mut load = open_load(&spec, LoadOptions::default(), world, &mut said).unwrap();
    let error = load.check().unwrap_err();
    assert_eq!(error.kind(), Kind::Missing);
    assert!(error.to_string().contains("no-such-program"), "{error}");
    drop(load);
    assert!(matches!(load_nothing(world), SourceError::NoLoad));
}

fn load_nothing(world: World<'_>) -> SourceError {
    let mut said = |_: &str| {};
    open_load(&shell("x", ""), LoadOptions::default(), world, &mut said).err().unwrap()
}

#[test]
fn a_load_is_what_its_program_says() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("got");
    let to = format!("cat > {}", file.display());
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    load(&shell("x", &to), &mut Cursor::new(&bytes)).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    let error =
        load(&shell("x", "cat > /dev/null; echo refused >&2; exit 4"), &mut Cursor::new(&bytes)).unwrap_err();
    assert!(error.to_string().contains("status 4") && error.to_string().contains("refused"), "{error}");
    // It stops reading, and says that all is well.
    let error = load(&shell("x", "head -c 10 > /dev/null; exit 0"), &mut Cursor::new(&bytes)).unwrap_err();
    assert!(matches!(error, SourceError::NotAllRead { .. }), "{error}");
    // The stream itself fails: the program must not take its beginning for the whole.
    struct Torn(bool);
    impl Read for Torn {
        fn read(&mut self, mut out: &mut [u8]) -> std::io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(std::io::Error::other("pack is gone"));
            }
            out.write(b"begin")
        }
    }
    let done = scratch.path().join("done");
    let error = load(&shell("x", &format!("cat > /dev/null; touch {}", done.display())), &mut Torn(false))
        .unwrap_err();
    assert!(matches!(&error, SourceError::Stream(cause) if cause.to_string() == "pack is gone"), "{error}");
    assert!(!done.exists(), "it was ended instead of being told that the stream is over");
}

#[test]
fn sources_of_a_manifest_are_resolved() {
    let text = r#"
schema = 1
[module]
id = "app"
[paths]
LIB = "/var/lib/app"
[[source]]
name = "db"
driver = "sqlite"
path = "${LIB}/app.db"
timeout = "5m"
[[source]]
name = "list"
driver = "command"
dump = ["app", "dump"]
load = ["app", "load"]
[[source]]
name = "sql"
driver = "postgresql"
select = { databases = ["app"] }
endpoint = { socket = "/run/a", user = "app" }
restore_endpoint = { host = "b" }
[[source]]
name = "series"
driver = "influxdb"
"#;
    let manifest = match Manifest::parse("app.toml", text.as_bytes()) {
        Ok(manifest) => manifest,
        Err(problems) => panic!("{problems}"),
    };
    let mut variables = Variables::default();
    let of = |variables: &Variables, n: usize| SourceSpec::of(&manifest.sources[n], variables);
    assert!(matches!(of(&variables, 0), Err(SourceError::Variable(_))));
    variables.set("LIB", "/srv/app");
    let spec = of(&variables, 0).unwrap();
    let path = PathBuf::from("/srv/app/app.db");
    assert_eq!(spec.how, How::Sqlite { path, busy_limit: BUSY_LIMIT });
    assert_eq!(spec.limit, Some(Duration::from_secs(300)));
    let How::Command { dump, load, .. } = of(&variables, 1).unwrap().how else { panic!() };
    assert_eq!((dump, load), (vec!["app".into(), "dump".into()], vec!["app".into(), "load".into()]));
    let reach = |spec: SourceSpec| match spec.how {
        How::Postgresql(spec) => spec.reach,
        other => panic!("{other:?}"),
    };
    let there = reach(SourceSpec::to_load(&manifest.sources[2], &variables).unwrap());
    assert_eq!(reach(of(&variables, 2).unwrap()).socket, Some(PathBuf::from("/run/a")));
    assert_eq!((there.socket, there.host.as_deref(), there.user.as_deref()), (None, Some("b"), Some("app")));
    assert!(matches!(of(&variables, 3), Err(SourceError::Unsupported { .. })));
}

/// What a source had comes back from its own dump, as often as it is asked for, and leaves nothing.
#[test]
fn what_was_there_is_dumped_first_and_loaded_again() {
    let scratch = tempfile::tempdir().unwrap();
    let (live, store) = (scratch.path().join("live"), scratch.path().join("spaces"));
    let at = live.display();
    let spec = shell(&format!("cat {at}"), &format!("cat > {at}.new && mv {at}.new {at}"));
    assert_eq!(spec.keeps(), Keeps::Dump);
    assert_eq!(shell("", "cat").keeps(), Keeps::Nothing);
    let (around, never) = (around(), || false);
    let world = World { around: &around, cancelled: &never };
    let mut said = |_: &str| {};
    let old: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    for kept_whole in [true, false] {
        std::fs::write(&live, &old).unwrap();
        let kept = KeptDump::new(&store, "20261121-120000-1", "app", &spec);
        let way = WayBack::Kept(Box::new(kept.clone()));
        let written: WayBack = serde_json::from_str(&serde_json::to_string(&way).unwrap()).unwrap();
        assert_eq!(written, way, "another process must be able to do it");
        if kept_whole {
            kept.fill(world, &mut said).unwrap();
        }
        std::fs::write(&live, "half of the new").unwrap();
        written.put_back(world).unwrap();
        let found = std::fs::read(&live).unwrap();
        // Where nothing was kept, nothing was loaded: what is there is not ours to change.
        assert_eq!(found == old, kept_whole);
        written.put_back(world).unwrap();
        assert_eq!(std::fs::read(&live).unwrap(), found, "once more does no harm");
        assert_eq!(crate::spaces::Spaces::open(&store).unwrap().list().unwrap().len(), 0);
    }
    let stored = |at: &std::path::Path| std::fs::read_dir(at).unwrap().count();
    assert_eq!(stored(&store), 1, "nothing but the key");
    // The content is sealed.
    std::fs::write(&live, "in the clear").unwrap();
    let kept = KeptDump::new(&store, "20261121-120000-1", "app", &spec);
    kept.fill(world, &mut said).unwrap();
    let space = store.join("undo-20261121-120000-1");
    let clear = |path: std::path::PathBuf| {
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains("in the clear")
    };
    assert!(!std::fs::read_dir(&space).unwrap().any(|entry| clear(entry.unwrap().path())));
    WayBack::Kept(Box::new(kept)).discard().unwrap();
    assert!(!space.exists());
}

#[test]
fn a_dump_that_breaks_off_is_not_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let store = scratch.path().join("spaces");
    let (around, never) = (around(), || false);
    let world = World { around: &around, cancelled: &never };
    let kept = KeptDump::new(&store, "r1", "app", &shell("printf half; exit 3", "cat > /dev/null; exit 9"));
    let error = kept.fill(world, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("status 3"), "{error}");
    WayBack::Kept(Box::new(kept)).put_back(world).unwrap();
    assert!(!store.join("undo-r1").exists());
}
