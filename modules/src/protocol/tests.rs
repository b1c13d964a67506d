//! The engine's side against modules that are right, and modules that are not.

use super::*;
use crate::manifest::programs::Severity;
use std::path::PathBuf;
use std::time::Duration;

fn opening(op: Op) -> Opening {
    Opening {
        op,
        engine: "dedup".into(),
        module: "m".into(),
        version: "1".into(),
        run: "r".into(),
        root: PathBuf::from("/"),
        values: vec![("VARLIB".into(), "/var/lib".into())],
        level: Severity::Info,
        idle: Some(Duration::from_secs(600)),
        total: None,
        grace: GRACE,
        memory_bytes: None,
        offer: Offer::default(),
    }
}

const HELLO: &str = "{\"t\":\"hello\",\"protocol\":1,\"features\":[\"raw\"]}\n";

/// Plays lines of a module; returns what came of them, and what the engine sent after its opening.
fn play(op: Op, wire: &[u8]) -> (Result<Vec<Event>, Violation>, Vec<serde_json::Value>) {
    let (mut session, mut events) = (Session::new(&opening(op)), Vec::new());
    let mut played = Ok(());
    'all: for block in wire.chunks(7) {
        session.push(block);
        loop {
            match session.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(violation) => {
                    played = Err(violation);
                    break 'all;
                }
            }
        }
    }
    let sent = std::mem::take(session.out());
    let lines = sent.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let sent = lines.skip(1).map(|line| serde_json::from_slice(line).unwrap()).collect();
    (played.map(|()| events), sent)
}

fn violation(op: Op, wire: &str) -> String {
    let (played, sent) = play(op, format!("{HELLO}{wire}").as_bytes());
    let violation = played.expect_err(wire);
    let last = sent.last().unwrap();
    assert_eq!((last["t"].as_str(), last["fatal"].as_bool()), (Some("error"), Some(true)), "{wire}");
    assert_eq!(last["code"], violation.code);
    violation.message
}

#[test]
fn an_export_is_heard_to_its_end() {
    let wire = format!(
        "{HELLO}{}",
        concat!(
            "{\"t\":\"config\",\"key\":\"a\",\"value\":{\"b\":[1,2.0,null]}}\n",
            "{\"t\":\"file\",\"path\":\"/x\"}\n",
            "{\"t\":\"blob\",\"s\":1,\"name\":\"state\"}\n",
            "{\"t\":\"raw\",\"s\":1,\"n\":6}\nhello \n",
            "{\"t\":\"chunk\",\"s\":1,\"b64\":\"d29ybGQ=\"}\n",
            "{\"t\":\"end\",\"s\":1,\"bytes\":11,\"sha256\":\"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9\"}\n",
            "{\"t\":\"done\"}\n{\"t\":\"log\",\"msg\":\"bye\"}\n",
        )
    );
    let (events, sent) = play(Op::Export, wire.as_bytes());
    let events = events.unwrap();
    assert_eq!(events.len(), 6, "{events:?}");
    let Event::Message(None, Message::Config(_, key, Some(value))) = &events[1] else { panic!("{events:?}") };
    assert_eq!((key.as_str(), value.as_text()), ("a", "{\"b\":[1,2.0,null]}"));
    assert!(matches!(&events[4], Event::Done));
    assert!(sent.is_empty(), "{sent:?}");
}

#[test]
fn every_violation_is_told_and_ends_it() {
    let cases: [(&str, &str); 34] = [
        ("\n", "no JSON object"),
        ("[\"done\"]\n", "no JSON object"),
        (" {\"t\":\"done\"}\n", "no JSON object"),
        ("{\"t\":\"done\"}\r\n", "no JSON object"),
        ("{\"t\":\"done\"}}\n", "trailing"),
        ("{\"t\":7}\n", "invalid type"),
        ("{\"t\":\"done\",\"t\":\"done\"}\n", "duplicate"),
        ("{\"t\":\"done\",\"id\":0}\n", "2^53"),
        ("{\"t\":\"hello\",\"protocol\":1}\n", "twice"),
        ("{\"t\":\"what\",\"must\":true}\n", "no such type"),
        ("{\"t\":\"cancelled\"}\n", "nobody"),
        ("{\"t\":\"get\",\"id\":1,\"what\":\"files\"}\n", "not in export"),
        ("{\"t\":\"dump\",\"name\":\"x\"}\n", "id is missing"),
        ("{\"t\":\"config\",\"key\":\"a\"}\n", "value"),
        ("{\"t\":\"config\",\"key\":\"a\",\"value\":9007199254740992}\n", "2^53"),
        ("{\"t\":\"config\",\"key\":\"a\",\"value\":1e300}\n", "2^53"),
        ("{\"t\":\"config\",\"key\":\"a\",\"value\":{\"x\":1,\"x\":2}}\n", "twice"),
        ("{\"t\":\"config\",\"key\":\"a\",\"value\":{\"$x\":1}}\n", "$x"),
        ("{\"t\":\"config\",\"key\":\"a\",\"value\":{\"$i\":\"5\"}}\n", "shorter"),
        ("{\"t\":\"config\",\"key\":\"a\",\"section\":\"data\",\"value\":1}\n", "config or secrets"),
        ("{\"t\":\"file\",\"path\":\"x\"}\n", "absolute"),
        ("{\"t\":\"file\",\"path\":\"/a/../b\"}\n", "absolute"),
        ("{\"t\":\"file\",\"path\":{\"$b\":\"L2E=\"}}\n", "as text"),
        ("{\"t\":\"blob\",\"s\":2,\"name\":\"a\"}\n", "odd"),
        ("{\"t\":\"blob\",\"s\":1,\"name\":\".a\"}\n", "dot"),
        ("{\"t\":\"blob\",\"s\":1,\"name\":\"a/b\"}\n", "slash"),
        ("{\"t\":\"chunk\",\"s\":1,\"b64\":\"QQ==\"}\n", "not open"),
        ("{\"t\":\"records\",\"s\":1,\"name\":\"r\",\"schema\":{}}\n", "columns"),
        ("{\"t\":\"blob\",\"s\":1,\"name\":\"a\"}\n{\"t\":\"done\"}\n", "open"),
        ("{\"t\":\"blob\",\"s\":1,\"name\":\"a\"}\n{\"t\":\"raw\",\"s\":1,\"n\":1048577}\n", "1048576"),
        ("{\"t\":\"blob\",\"s\":1,\"name\":\"a\"}\n{\"t\":\"raw\",\"s\":1,\"n\":1}\nab\n", "end of line"),
        ("{\"t\":\"blob\",\"s\":1,\"name\":\"a\"}\n{\"t\":\"row\",\"s\":1,\"v\":[]}\n", "shape"),
        ("{\"t\":\"credit\",\"s\":2,\"n\":1}\n", "never was"),
        ("{\"t\":\"done\"}\n{\"t\":\"config\",\"key\":\"a\",\"value\":1}\n", "done"),
    ];
    for (wire, word) in cases {
        let message = violation(Op::Export, wire);
        assert!(message.contains(word), "{wire:?}: {message}");
    }
    let (early, _) = play(Op::Export, b"{\"t\":\"done\"}\n");
    assert!(early.unwrap_err().message.contains("begin with hello"));
}

#[test]
fn an_end_that_lies_is_a_violation() {
    let open = "{\"t\":\"blob\",\"s\":1,\"name\":\"a\"}\n{\"t\":\"chunk\",\"s\":1,\"b64\":\"QQ==\"}\n";
    let digest = "559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd";
    for (end, word) in [
        (format!("\"bytes\":2,\"sha256\":\"{digest}\""), "had 1 bytes"),
        (format!("\"bytes\":1,\"sha256\":\"{}\"", digest.replace('5', "6")), "digest"),
        ("\"bytes\":1".into(), "either"),
        ("\"count\":1".into(), "shape"),
    ] {
        let message = violation(Op::Export, &format!("{open}{{\"t\":\"end\",\"s\":1,{end}}}\n"));
        assert!(message.contains(word), "{message}");
    }
    let rows = "{\"t\":\"tree\",\"s\":1,\"name\":\"t\"}\n{\"t\":\"row\",\"s\":1,\"v\":[[\"a\"],1]}\n";
    let message = violation(Op::Export, &format!("{rows}{{\"t\":\"end\",\"s\":1,\"count\":2}}\n"));
    assert!(message.contains("had 1 rows"), "{message}");
}

#[test]
fn credit_is_kept_and_granted_to_the_oldest() {
    let mut session = Session::new(&opening(Op::Export));
    session.push(HELLO.as_bytes());
    session.next().unwrap();
    session.out().clear();
    session.push(b"{\"t\":\"blob\",\"s\":1,\"name\":\"a\"}\n{\"t\":\"blob\",\"s\":3,\"name\":\"b\"}\n");
    while session.next().unwrap().is_some() {}
    let full = [
        format!("{{\"t\":\"raw\",\"s\":3,\"n\":{MAX_RAW_BYTES}}}\n").into_bytes(),
        vec![b'x'; MAX_RAW_BYTES],
        b"\n".to_vec(),
    ]
    .concat();
    for _ in 0..4 {
        for block in full.chunks(65_536) {
            session.push(block);
            assert_eq!(session.next().unwrap(), None);
        }
    }
    let mut buffer = vec![0; 8 << 20];
    assert_eq!(session.take(3, &mut buffer), Taken::Bytes(4 << 20));
    assert!(session.out().is_empty(), "the oldest comes first");
    session.push(b"{\"t\":\"end\",\"s\":1,\"bytes\":0,\"sha256\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}\n");
    assert_eq!(session.next().unwrap(), None);
    assert_eq!(session.take(1, &mut buffer), Taken::End);
    assert_eq!(session.take(3, &mut buffer), Taken::Wait);
    assert_eq!(session.out().as_slice(), b"{\"n\":4194304,\"s\":3,\"t\":\"credit\"}\n");
    for _ in 0..4 {
        for block in full.chunks(65_536) {
            session.push(block);
            assert_eq!(session.next().unwrap(), None);
        }
    }
    session.push(b"{\"t\":\"raw\",\"s\":3,\"n\":1}\n");
    let violation = session.next().unwrap_err();
    assert!(violation.message.contains("credit"), "{violation}");
    assert!(session.is_over());
}

#[test]
fn records_become_canonical_lines() {
    let mut session = Session::new(&opening(Op::Export));
    session.push(HELLO.as_bytes());
    session.next().unwrap();
    session.push(
        concat!(
            "{\"t\":\"records\",\"s\":1,\"name\":\"r\",\"schema\":{\"columns\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}\n",
            "{\"t\":\"rows\",\"s\":1,\"v\":[[1,\"\\u00e4\\u0001\"],[{\"$b\":\"AA==\"},{\"$m\":[[\"$\",1E2]]}]]}\n",
            "{\"t\":\"end\",\"s\":1,\"count\":2}\n",
        )
        .as_bytes(),
    );
    assert!(matches!(session.next().unwrap(), Some(Event::Opened(_))));
    assert_eq!(session.next().unwrap(), None);
    let (mut text, mut buffer) = (Vec::new(), [0; 10]);
    while let Taken::Bytes(count) = session.take(1, &mut buffer) {
        text.extend_from_slice(&buffer[..count]);
    }
    let wanted = concat!(
        "{\"records\":1,\"schema\":{\"columns\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}\n",
        "[1,\"ä\\u0001\"]\n[{\"$b\":\"AA==\"},{\"$m\":[[\"$\",100.0]]}]\n{\"count\":2}\n",
    );
    assert_eq!(String::from_utf8(text).unwrap(), wanted);
}

#[test]
fn more_than_eight_streams_from_the_oldest_open_one_are_too_many() {
    let mut wire = String::new();
    for s in 0..9 {
        wire.push_str(&format!("{{\"t\":\"tree\",\"s\":{},\"name\":\"n{s}\"}}\n", 2 * s + 1));
        if s > 0 {
            wire.push_str(&format!("{{\"t\":\"end\",\"s\":{},\"count\":0}}\n", 2 * s + 1));
        }
    }
    assert!(violation(Op::Export, &wire).contains("8 streams"));
}

#[test]
fn whoever_is_cancelled_may_end_what_it_began() {
    let mut session = Session::new(&opening(Op::Export));
    session.push(
        format!("{HELLO}{{\"t\":\"blob\",\"s\":1,\"name\":\"a\"}}\n{{\"t\":\"raw\",\"s\":1,\"n\":4}}\nab")
            .as_bytes(),
    );
    while session.next().unwrap().is_some() {}
    session.cancel("user");
    session.cancel("user");
    session
        .push(b"cd\n{\"t\":\"raw\",\"s\":1,\"n\":1}\nx\n{\"t\":\"config\"}\n{\"t\":\"cancelled\"}\nrubbish");
    assert_eq!(session.next().unwrap(), Some(Event::Cancelled));
    assert!(session.is_over());
    let sent = String::from_utf8(session.out().clone()).unwrap();
    assert_eq!(sent.matches("\"cancel\"").count(), 1);
}

#[test]
fn floods_of_messages_end() {
    let mut session = Session::new(&opening(Op::Export));
    session.push(HELLO.as_bytes());
    session.next().unwrap();
    let line = b"{\"t\":\"log\",\"level\":\"error\",\"msg\":\"x\"}\n".repeat(1000);
    let (mut kept, mut ended) = (0, None);
    for _ in 0..=MAX_NOTICES / 1000 {
        session.push(&line);
        loop {
            match session.next() {
                Ok(Some(_)) => kept += 1,
                Ok(None) => break,
                Err(violation) => {
                    ended = Some(violation);
                    break;
                }
            }
        }
    }
    assert_eq!((kept, ended.map(|violation| violation.code)), (MAX_KEPT, Some("limit")));
    assert_eq!(session.left_out(), (MAX_NOTICES - MAX_KEPT, Some(Severity::Error)));
}

#[test]
fn the_opening_says_what_holds() {
    let mut session = Session::new(&opening(Op::Check));
    let line: serde_json::Value = serde_json::from_slice(session.out()).unwrap();
    assert_eq!(line["op"], "check");
    assert_eq!(line["limits"]["credit"], CREDIT_BYTES);
    assert_eq!(line["values"]["VARLIB"], "/var/lib");
}
