//! What a server can send that it should not: a server of lies answers, and every answer ends in a typed error.

use super::*;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

/// A packet with its head.
fn packet(turn: u8, bytes: &[u8]) -> Vec<u8> {
    let [a, b, c, ..] = bytes.len().to_le_bytes();
    [&[a, b, c, turn], bytes].concat()
}

fn greeting(plugin: &str) -> Vec<u8> {
    let mut bytes = b"\x0a10.11.0-MariaDB\0\x01\0\0\0abcdefgh\0\xff\xf7\x2d\x02\0\xff\x81\x15".to_vec();
    bytes.extend_from_slice(&[0; 10]);
    bytes.extend_from_slice(b"ijklmnopqrst\0");
    bytes.extend_from_slice(plugin.as_bytes());
    bytes.push(0);
    packet(0, &bytes)
}

fn ok(turn: u8) -> Vec<u8> {
    packet(turn, &[0, 0, 0, 2, 0, 0, 0])
}

/// A column of type `BIGINT`, or of another type.
fn column(turn: u8, kind: u8) -> Vec<u8> {
    let mut bytes = b"\x03def\0\0\0\x01a\x01a\x0c\x3f\0\x14\0\0\0".to_vec();
    bytes.extend_from_slice(&[kind, 0, 0, 0, 0, 0]);
    packet(turn, &bytes)
}

fn end(turn: u8) -> Vec<u8> {
    packet(turn, &[0xfe, 0, 0, 2, 0])
}

/// Reads a packet of the client.
fn taken(stream: &mut UnixStream) -> bool {
    let mut head = [0; 4];
    if stream.read_exact(&mut head).is_err() {
        return false;
    }
    let len = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    stream.read_exact(&mut vec![0; len]).is_ok()
}

/// Answers with `first` at once, then with one of `answers` to each packet, then says nothing and waits, or closes.
fn with_server<T>(
    first: &[u8],
    answers: &[Vec<u8>],
    closes: bool,
    ask: impl FnOnce(Result<Client<'_>, ClientError>) -> T,
) -> T {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let (first, answers) = (first.to_vec(), answers.to_vec());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(&first);
        for answer in answers {
            if !taken(&mut stream) {
                return;
            }
            let _ = stream.write_all(&answer);
        }
        while !closes && taken(&mut stream) {}
    });
    let patience = Patience { idle_limit: Duration::from_millis(100), cancelled: &|| false };
    let asked = ask(Client::connect(&Address::Socket(path), "u", b"secret", &Tls::default(), patience));
    server.join().unwrap();
    asked
}

/// Asks for rows; returns how many there were.
fn count(client: Result<Client<'_>, ClientError>) -> Result<usize, ClientError> {
    let (mut client, mut count) = (client?, 0);
    client.execute("SELECT a FROM t")?;
    while let Some(mut row) = client.row()? {
        row.next()?;
        row.finish()?;
        count += 1;
    }
    Ok(count)
}

#[test]
fn a_server_that_keeps_to_the_protocol_is_understood() {
    let prepared = [packet(1, &[0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), column(2, 8), end(3)].concat();
    let row = packet(4, &[0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    let null = packet(5, &[0, 4]);
    let rows = [packet(1, &[1]), column(2, 8), end(3), row, null, end(6)].concat();
    let counted = with_server(&greeting("mysql_native_password"), &[ok(2), prepared, rows], false, count);
    assert_eq!(counted.unwrap(), 2);
    // The way in is changed, and changed again.
    let switch =
        |turn, name: &str| packet(turn, &[&[0xfe], name.as_bytes(), b"\0abcdefghijklmnopqrst\0"].concat());
    let clear = [switch(2, "caching_sha2_password"), packet(4, &[1, 4]), ok(6)];
    with_server(&greeting("mysql_native_password"), &clear, false, |client| client.map(drop)).unwrap();
    let other = with_server(&greeting("x"), &[switch(2, "client_ed25519")], false, |client| client.map(drop));
    assert!(matches!(other, Err(ClientError::Plugin(name)) if name == "client_ed25519"));
}

#[test]
fn lies_before_the_login_are_errors() {
    let whole = greeting("mysql_native_password");
    let said = packet(0, b"\xff\x10\x04Too many connections");
    let far = greeting("mysql_native_password").into_iter().skip(4).collect::<Vec<u8>>();
    for (name, first, closes, wanted) in [
        ("nothing", Vec::new(), false, "said nothing for"),
        ("closed", Vec::new(), true, "the connection is lost"),
        ("an empty packet", packet(0, b""), true, "an empty packet"),
        ("half a greeting", packet(0, &whole[4..30]), true, "a packet cut short"),
        ("a greeting that breaks off", whole[..30].to_vec(), true, "the connection is lost"),
        ("a length without bytes", vec![0xfe, 0xff, 0xff, 0, 1], true, "the connection is lost"),
        ("another protocol", packet(0, b"SSH-2.0-x"), true, "speaks protocol 83"),
        (
            "an old server",
            packet(0, b"\x0a4.0\0\x01\0\0\0abcdefgh\0\x0c\0\x08\x02\0\0\0\0"),
            true,
            "protocol 9",
        ),
        ("refused", said, true, "error 1040: Too many connections"),
        ("out of turn", packet(3, &far), true, "out of its turn"),
        ("garbage", (0..255).rev().cycle().take(9000).collect(), true, "the connection is lost"),
    ] {
        let error = with_server(&first, &[], closes, |client| client.map(drop)).expect_err(name).to_string();
        assert!(error.contains(wanted), "{name}: {error}");
    }
}

#[test]
fn lies_after_the_login_are_errors() {
    let prepared = [packet(1, &[0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), column(2, 8), end(3)].concat();
    let rows = |rest: &[Vec<u8>]| [&[packet(1, &[1]), column(2, 8), end(3)], rest].concat().concat();
    let row = packet(4, &[0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    let head = |bytes: &[u8]| packet(1, bytes);
    for (name, answers, wanted) in [
        ("empty after the login", vec![packet(2, b"")], "an empty packet"),
        ("a login without an end", vec![packet(2, &[1, 3])], "a login of an unknown form"),
        ("nothing prepared", vec![ok(2), head(b"")], "an empty packet"),
        ("half prepared", vec![ok(2), head(&[0, 7, 0])], "a packet cut short"),
        ("no columns", vec![ok(2), head(&[0, 7, 0, 0, 0, 0, 0, 0, 0])], "no rows"),
        (
            "an empty column",
            vec![ok(2), prepared.clone(), [head(&[1]), packet(2, b"")].concat()],
            "an empty packet",
        ),
        (
            "half a column",
            vec![ok(2), prepared.clone(), [head(&[1]), packet(2, b"\x03de")].concat()],
            "cut short",
        ),
        (
            "an unknown type",
            vec![ok(2), prepared.clone(), [head(&[1]), column(2, 99)].concat()],
            "an unknown type",
        ),
        ("a file of ours", vec![ok(2), prepared.clone(), head(b"\xfb/etc/shadow")], "an answer that is none"),
        (
            "many columns",
            vec![ok(2), prepared.clone(), head(&[0xfe, 255, 255, 255, 255, 255, 255, 255, 255])],
            "none",
        ),
        ("an empty row", vec![ok(2), prepared.clone(), rows(&[packet(4, b"")])], "an empty packet"),
        ("half a row", vec![ok(2), prepared.clone(), rows(&[packet(4, &[0, 0, 1])])], "cut short"),
        ("too long a row", vec![ok(2), prepared.clone(), rows(&[packet(4, &[0; 20])])], "another form"),
        ("no row", vec![ok(2), prepared.clone(), rows(&[packet(4, &[9, 0])])], "a row that is none"),
        (
            "fewer rows",
            vec![ok(2), prepared.clone(), rows(std::slice::from_ref(&row))],
            "the connection is lost",
        ),
        (
            "an error among rows",
            vec![ok(2), prepared.clone(), rows(&[row.clone(), packet(5, b"\xff\x25\x05#HY000gone")])],
            "error 1317: gone",
        ),
        (
            "more answers",
            vec![ok(2), prepared.clone(), rows(&[packet(4, &[0xfe, 0, 0, 8, 0])])],
            "more answers than",
        ),
    ] {
        let error = with_server(&greeting("mysql_native_password"), &answers, true, count);
        let error = error.map_err(|error| error.to_string()).expect_err(name);
        assert!(error.contains(wanted), "{name}: {error}");
    }
}

/// Each prefix of a whole conversation, and the conversation with each of its bytes changed: an error or rows, never
/// a panic, never a wait without an end.
#[test]
fn no_conversation_ends_the_process() {
    let prepared = [packet(1, &[0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), column(2, 253), end(3)].concat();
    let row = packet(4, &[0, 0, 3, b'a', b'b', b'c']);
    let answers = [ok(2), prepared, [packet(1, &[1]), column(2, 253), end(3), row, end(5)].concat()];
    let (mut wrong, mut right) = (0, 0);
    for (at, whole) in answers.iter().enumerate() {
        for place in 0..whole.len() {
            for change in [None, Some(0x00), Some(0xff), Some(0xfb)] {
                let mut answers = answers.to_vec();
                match change {
                    None => answers[at].truncate(place),
                    Some(byte) => answers[at][place] = byte,
                }
                match with_server(&greeting("mysql_native_password"), &answers, true, count) {
                    Ok(_) => right += 1,
                    Err(_) => wrong += 1,
                }
            }
        }
    }
    assert!(right > 20 && wrong > 200, "{right} {wrong}");
}

#[test]
fn long_packets_come_in_parts_and_torn_sessions_answer_nothing_more() {
    let long = vec![b'x'; 0xff_ffff];
    let mut value = vec![0xfe];
    value.extend_from_slice(&(long.len() as u64 + 100).to_le_bytes());
    value.extend_from_slice(&long[..long.len() - value.len()]);
    // A part of the longest length, then the rest.
    let rest = long.len() + 109 - value.len();
    let rows = [packet(1, &[1]), column(2, 253), end(3), packet(4, &value), packet(5, &long[..rest]), end(6)]
        .concat();
    let answers = [ok(2), rows];
    with_server(&greeting("mysql_native_password"), &answers, false, |client| {
        let rows = client.unwrap().ask("SELECT a").unwrap();
        assert_eq!(rows[0][0].as_ref().unwrap().len(), long.len() + 100);
    });
    let cut = [ok(2), [packet(1, &[1]), column(2, 253), end(3), packet(4, &[9, 9])].concat()];
    with_server(&greeting("mysql_native_password"), &cut, false, |client| {
        let mut client = client.unwrap();
        assert!(client.ask("SELECT a").unwrap_err().to_string().contains("cut short"));
        let error = client.run("COMMIT").unwrap_err().to_string();
        assert!(error.contains("half of an earlier answer"), "{error}");
    });
}
