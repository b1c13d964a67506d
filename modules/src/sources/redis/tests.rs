//! Dumps and loads of real servers.

#[path = "../../../../tests/support/redis.rs"]
#[allow(dead_code, reason = "some of it is for runs alone")]
mod server;

use super::super::{How, Load, LoadOptions, SourceSpec, WayBack, open_dump, open_load};
use super::*;
use crate::child::Surroundings;
use crate::manifest::secret::Secret;
use crate::sources::World;
use server::{PASSWORD, Server};
use std::io::{Cursor, Read};

trait Spec {
    fn spec(&self) -> RedisSpec;
}

impl Spec for Server {
    fn spec(&self) -> RedisSpec {
        RedisSpec {
            reach: Reach {
                socket: Some(self.socket()),
                password: Some(Secret::Literal(PASSWORD.into())),
                ..Reach::default()
            },
            import: Import::Replace,
            idle_limit: Duration::from_secs(30),
        }
    }
}

fn source(redis: RedisSpec) -> SourceSpec {
    SourceSpec { name: "cache".into(), limit: None, how: How::Redis(Box::new(redis)) }
}

fn dump_with(redis: RedisSpec, after_first: &mut dyn FnMut()) -> Result<Vec<u8>, SourceError> {
    let around = Surroundings::default();
    let mut said = |_: &str| {};
    let world = World { around: &around, cancelled: &|| false };
    let mut dump = open_dump(&source(redis), world, &mut said)?;
    let mut bytes = vec![0; 1000];
    let mut read = dump.read(&mut bytes);
    bytes.truncate(*read.as_ref().unwrap_or(&0));
    after_first();
    if read.is_ok() {
        read = dump.read_to_end(&mut bytes);
    }
    let end = dump.finish();
    assert_eq!(read.is_ok(), end.is_ok());
    end.map(|_| bytes)
}

fn load(redis: RedisSpec, bytes: &[u8]) -> Result<(), SourceError> {
    let around = Surroundings::default();
    let mut said = |_: &str| {};
    let world = World { around: &around, cancelled: &|| false };
    let mut load: Box<dyn Load> = open_load(&source(redis), LoadOptions::default(), world, &mut said)?;
    load.check()?;
    let mut bytes = Cursor::new(bytes);
    assert_eq!(load.prepare(&mut bytes)?, WayBack::DumpFirst);
    load.put(&mut bytes)
}

#[test]
fn everything_comes_back_at_once_and_nothing_else_changes() {
    let (from, to) = (
        Server::start(&["--enable-debug-command", "yes"]),
        Server::start(&["--enable-debug-command", "yes"]),
    );
    from.fill();
    let bytes = dump_with(from.spec(), &mut || {}).unwrap();
    assert!(bytes.starts_with(b"REDIS"));
    to.cli(&["SET", "mine", "gone"]);
    to.cli(&["CONFIG", "SET", "masterauth", "kept"]);
    load(to.spec(), &bytes).unwrap();
    assert_eq!(to.state(), from.state());
    assert!(to.cli(&["INFO", "replication"]).contains("role:master") && to.cli(&["EXISTS", "mine"]) == "0\n");
    assert_eq!(to.cli(&["CONFIG", "GET", "masterauth"]), "masterauth\nkept\n");
    // By network, into what is there, with the server's own file on.
    let mut network = to.spec();
    network.reach = Reach { port: Some(to.port), ..Reach { socket: None, ..network.reach } };
    let again = dump_with(network.clone(), &mut || {}).unwrap();
    to.cli(&["CONFIG", "SET", "appendonly", "yes"]);
    to.cli(&["FLUSHALL"]);
    load(network, &again).unwrap();
    assert_eq!(to.state(), from.state());
}

#[test]
fn faults_are_told_and_what_was_there_stays() {
    let server = Server::start(&[
        "--enable-debug-command",
        "yes",
        "--user",
        "limited",
        "on",
        ">p",
        "+ping",
        "+info",
        "~*",
    ]);
    server.fill();
    let before = server.state();
    let with = |change: &dyn Fn(&mut RedisSpec)| {
        let mut spec = server.spec();
        change(&mut spec);
        dump_with(spec, &mut || {}).unwrap_err().to_string()
    };
    let wrong = with(&|spec| spec.reach.password = Some(Secret::Literal("hunter2".into())));
    assert!(wrong.contains("WRONGPASS") && !wrong.contains("hunter2"), "{wrong}");
    assert!(with(&|spec| spec.reach.password = None).contains("NOAUTH"));
    let limited = with(&|spec| {
        spec.reach.user = Some("limited".into());
        spec.reach.password = Some(Secret::Literal("p".into()));
    });
    assert!(limited.contains("NOPERM"), "{limited}");
    assert!(
        with(&|spec| spec.reach.socket = Some("/no/such".into()))
            .contains("cannot connect to the server at /no/such")
    );
    let whole = dump_with(server.spec(), &mut || {}).unwrap();
    for (bytes, why) in [
        (&whole[..whole.len() / 2], "no whole RDB file"),
        (&whole[..5], "no whole RDB file"),
        (b"", "no whole"),
    ] {
        let error = load(server.spec(), bytes).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(server.state(), before);
        assert!(server.cli(&["INFO", "replication"]).contains("role:master"));
        assert_eq!(server.cli(&["CONFIG", "GET", "masterauth"]), "masterauth\n\n");
    }
    // Whole by its checksum, and of a version that the server does not know.
    let mut newer = whole.clone();
    newer[5..9].copy_from_slice(b"9999");
    let end = newer.len() - 8;
    newer[end..].fill(0);
    let error = load(server.spec(), &newer).unwrap_err().to_string();
    assert!(error.contains("its log says why") || error.contains("closed"), "{error}");
    assert!(server.cli(&["INFO", "replication"]).contains("role:master"));
    let impatient = RedisSpec { idle_limit: Duration::from_secs(1), ..server.spec() };
    server.signal("-STOP");
    let error = dump_with(impatient, &mut || {}).unwrap_err().to_string();
    server.signal("-CONT");
    assert!(error.contains("said nothing for 1"), "{error}");
    let mut other = server.spec();
    other.import = Import::Merge;
    assert!(load(other, &whole).unwrap_err().to_string().contains("import = \"merge\""));
    // More than sockets hold.
    let many = "for i = 1, 200000 do redis.call('SET', 'more' .. i, string.rep(tostring(i), 40)) end";
    server.cli(&["EVAL", many, "0"]);
    let killed = dump_with(server.spec(), &mut || server.signal("-KILL")).map(|bytes| bytes.len());
    let why = killed.expect_err("a dump of a server that was killed is whole").to_string();
    assert!(why.contains("closed") || why.contains("reset"), "{why}");
}
