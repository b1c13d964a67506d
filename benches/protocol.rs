//! The line protocol of modules: how fast the engine's side takes and sends streams, one thread.
//!
//! `cargo bench --bench protocol`. MB are 10^6 bytes of content. What comes is cut as pipes cut it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, Throughput};
use dedup_modules::manifest::programs::Severity;
use dedup_modules::protocol::{GRACE, Offer, Op, Opening, Session, Shape, Taken};
use std::hint::black_box;
use std::time::Duration;

/// What a pipe gives at a time.
const PIPE: usize = 64 << 10;
/// Content of one frame.
const FRAME: usize = 64 << 10;
const FRAMES: usize = 256;

fn session(op: Op) -> Session {
    let mut session = Session::new(&Opening {
        op,
        engine: "dedup".into(),
        module: "m".into(),
        version: "1".into(),
        run: "r".into(),
        root: "/".into(),
        values: Vec::new(),
        level: Severity::Info,
        idle: None,
        total: None,
        grace: GRACE,
        memory_bytes: None,
        offer: Offer::default(),
    });
    session.push(b"{\"t\":\"hello\",\"protocol\":1,\"features\":[\"raw\"]}\n");
    while session.next().expect("right").is_some() {}
    session
}

/// Takes a stream to its last byte; returns how many there were.
fn take(wire: &[u8]) -> u64 {
    let (mut session, mut buffer, mut bytes) = (session(Op::Export), vec![0; PIPE], 0);
    for block in wire.chunks(PIPE) {
        session.push(block);
        while session.next().expect("right").is_some() {}
        while let Taken::Bytes(count) = session.take(1, &mut buffer) {
            bytes += count as u64;
        }
        session.out().clear();
    }
    bytes
}

/// Makes the wire of a stream whose frames are made by `frame`.
fn wire(frame: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let content: Vec<u8> = (0..FRAME).map(|n| (n * 7919 % 251) as u8).collect();
    let mut wire = b"{\"t\":\"blob\",\"s\":1,\"name\":\"a\"}\n".to_vec();
    (0..FRAMES).for_each(|_| wire.extend(frame(&content)));
    wire
}

fn main() {
    let mut criterion =
        Criterion::default().measurement_time(Duration::from_secs(5)).sample_size(20).configure_from_args();
    let mut group = criterion.benchmark_group("protocol");
    group.throughput(Throughput::BytesDecimal((FRAME * FRAMES) as u64));
    let raw = wire(|content| {
        [format!("{{\"t\":\"raw\",\"s\":1,\"n\":{FRAME}}}\n").as_bytes(), content, b"\n"].concat()
    });
    let base64 = wire(|content| {
        format!("{{\"t\":\"chunk\",\"s\":1,\"b64\":\"{}\"}}\n", STANDARD.encode(content)).into_bytes()
    });
    for (name, wire) in [("take raw", &raw), ("take base64", &base64)] {
        assert_eq!(take(wire), (FRAME * FRAMES) as u64);
        group.bench_function(name, |bencher| bencher.iter(|| take(black_box(wire))));
    }
    let content = vec![0x5a; FRAME];
    group.bench_function("send raw", |bencher| {
        bencher.iter(|| {
            let mut session = session(Op::Import);
            let s = session.open(None, Shape::Blob, &serde_json::json!({}), None);
            for _ in 0..FRAMES {
                session.push(format!("{{\"t\":\"credit\",\"s\":{s},\"n\":{FRAME}}}\n").as_bytes());
                while session.next().expect("right").is_some() {}
                assert_eq!(session.send_bytes(s, black_box(&content)), FRAME);
                session.out().clear();
            }
        });
    });
    group.finish();
    criterion.final_summary();
}
