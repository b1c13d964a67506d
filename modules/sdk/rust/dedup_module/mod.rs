//! Modules of `dedup` in Rust: implement [`Module`], and call [`serve`]. The protocol is told in `modules/PROTOCOL.md`;
//! nothing beyond the standard library is needed. Standard output belongs to the protocol: print to standard error.
#![allow(dead_code, reason = "a module uses what it needs")]

mod bytes;
mod json;
mod wire;

pub use json::Value;
use json::message;
use std::collections::BTreeMap;
use wire::Wire;

/// Why an operation ends before it is done.
#[derive(Debug)]
pub enum Fail {
    /// It has failed: a word for programs, and what happened.
    Failed(String, String),
    /// Leave this module out; only before anything was sent.
    Skip,
    /// The engine wants it to stop.
    Cancelled,
    /// The engine broke off, or speaks wrongly.
    Broken(String),
}

impl Fail {
    /// Makes a failure: `Fail::new("connect", "the database is down")`.
    pub fn new(code: &str, text: &str) -> Self {
        Self::Failed(code.to_owned(), text.to_owned())
    }
}

impl From<std::io::Error> for Fail {
    fn from(error: std::io::Error) -> Self {
        Self::new("unreadable", &error.to_string())
    }
}

/// What comes of a step.
pub type Answer<T = ()> = Result<T, Fail>;

/// A module.
pub trait Module {
    const NAME: &'static str;
    const VERSION: &'static str;
    /// When it can be exported: live, stopped, either.
    const NEEDS: &'static str = "either";
    /// The operations that it has, of export, import, check, reset, legacy, revert, run.
    const OPS: &'static [&'static str];

    fn export(&mut self, _out: &mut Export<'_>) -> Answer {
        Ok(())
    }

    fn import(&mut self, _source: &mut Import<'_>) -> Answer {
        Ok(())
    }

    fn check(&mut self, _source: &mut Import<'_>) -> Answer {
        Ok(())
    }

    fn reset(&mut self, _source: &mut Import<'_>) -> Answer {
        Ok(())
    }

    fn legacy(&mut self, _source: &mut Import<'_>) -> Answer {
        Ok(())
    }

    fn revert(&mut self, _source: &mut Import<'_>) -> Answer {
        Ok(())
    }

    fn run(&mut self, _source: &mut Import<'_>) -> Answer {
        Ok(())
    }
}

/// What an export can send.
pub struct Export<'w> {
    wire: &'w mut Wire,
    /// What the engine said first.
    pub hello: &'w Value,
}

impl Export<'_> {
    pub fn config(&mut self, key: &str, value: &Value) -> Answer {
        self.send("config", &[("key", key.into()), ("value", value.clone())])
    }

    pub fn secret(&mut self, key: &str, value: &Value) -> Answer {
        self.send("config", &[("key", key.into()), ("value", value.clone()), ("section", "secrets".into())])
    }

    pub fn depend(&mut self, module: &str) -> Answer {
        self.send("depend", &[("module", module.into())])
    }

    pub fn file(&mut self, path: &str) -> Answer {
        self.send("file", &[("path", path.into())])
    }

    pub fn dir(&mut self, path: &str) -> Answer {
        self.send("dir", &[("path", path.into())])
    }

    /// Opens a stream of bytes.
    pub fn blob(&mut self, name: &str) -> Answer<Blob<'_>> {
        let s = self.wire.open("blob", &[("name", name.into())])?;
        Ok(Blob { wire: self.wire, s, digest: bytes::Sha256::default() })
    }

    /// Opens a stream of rows.
    pub fn records(&mut self, name: &str, columns: &[&str]) -> Answer<Rows<'_>> {
        let column = |name: &&str| Value::Map(vec![("name".into(), (*name).into())]);
        let columns = Value::List(columns.iter().map(column).collect());
        let schema = Value::Map(vec![("columns".into(), columns)]);
        let s = self.wire.open("records", &[("name", name.into()), ("schema", schema)])?;
        Ok(Rows { wire: self.wire, s, count: 0 })
    }

    /// Opens a tree: rows of a list of keys, and a value.
    pub fn tree(&mut self, name: &str) -> Answer<Rows<'_>> {
        let s = self.wire.open("tree", &[("name", name.into())])?;
        Ok(Rows { wire: self.wire, s, count: 0 })
    }

    pub fn log(&mut self, level: &str, text: &str) -> Answer {
        self.send("log", &[("level", level.into()), ("msg", text.into())])
    }

    /// Sends any other message of the protocol.
    pub fn send(&mut self, t: &str, keys: &[(&str, Value)]) -> Answer {
        self.wire.send(&message(t, keys), None)
    }

    /// Sends a request, such as `dump` or `scratch`, and returns its answer.
    pub fn ask(&mut self, t: &str, keys: &[(&str, Value)]) -> Answer<Value> {
        self.wire.ask(t, keys)
    }
}

/// Bytes that are being sent.
pub struct Blob<'w> {
    wire: &'w mut Wire,
    s: u64,
    digest: bytes::Sha256,
}

impl Blob<'_> {
    pub fn write(&mut self, data: &[u8]) -> Answer {
        self.digest.update(data);
        self.wire.send_bytes(self.s, data)
    }

    pub fn finish(self) -> Answer {
        let count = i64::try_from(self.digest.bytes).unwrap_or(i64::MAX);
        let digest = Value::Text(self.digest.finish());
        let end = [("s", Value::Int(self.s as i64)), ("bytes", Value::Int(count)), ("sha256", digest)];
        self.wire.send(&message("end", &end), None)
    }
}

/// Rows that are being sent.
pub struct Rows<'w> {
    wire: &'w mut Wire,
    s: u64,
    count: i64,
}

impl Rows<'_> {
    pub fn row(&mut self, values: &[Value]) -> Answer {
        self.count += 1;
        let row = [("s", Value::Int(self.s as i64)), ("v", Value::List(values.to_vec()))];
        let line = message("row", &row);
        self.wire.spend(self.s, line.len() as u64)?;
        self.wire.send(&line, None)
    }

    pub fn finish(self) -> Answer {
        let end = [("s", Value::Int(self.s as i64)), ("count", Value::Int(self.count))];
        self.wire.send(&message("end", &end), None)
    }
}

/// What an import can get; also what check, reset, legacy, revert and run are given.
pub struct Import<'w> {
    wire: &'w mut Wire,
    /// What the engine said first.
    pub hello: &'w Value,
    /// Versions, dependencies and so on.
    pub begin: Value,
    pub configs: BTreeMap<String, Value>,
}

impl Import<'_> {
    fn listen(&mut self, op: &str) -> Answer {
        if op == "reset" {
            return Ok(());
        }
        self.begin = self.wire.next("begin")?;
        if matches!(op, "revert" | "run") {
            return Ok(());
        }
        loop {
            let message = self.wire.next("configs")?;
            if let Some(Value::Map(pairs)) = message.get("map") {
                self.configs.extend(pairs.iter().cloned());
            }
            if !message.is_true("more") {
                break;
            }
        }
        while self.wire.next("have")?.is_true("more") {}
        Ok(())
    }

    /// Hands out the bytes of a blob.
    pub fn blob(&mut self, name: &str, each: &mut dyn FnMut(&[u8]) -> Answer) -> Answer {
        let s = self.get("blob", name)?;
        self.wire
            .receive(s, &mut |part| if let wire::Part::Bytes(bytes) = part { each(bytes) } else { Ok(()) })
    }

    /// Hands out the rows of records: values in the order of their columns.
    pub fn records(&mut self, name: &str, each: &mut dyn FnMut(&[Value]) -> Answer) -> Answer {
        let s = self.get("records", name)?;
        self.wire.receive(s, &mut |part| if let wire::Part::Row(row) = part { each(row) } else { Ok(()) })
    }

    /// Hands out the rows of a tree.
    pub fn tree(&mut self, name: &str, each: &mut dyn FnMut(&[Value]) -> Answer) -> Answer {
        let s = self.get("tree", name)?;
        self.wire.receive(s, &mut |part| if let wire::Part::Row(row) = part { each(row) } else { Ok(()) })
    }

    fn get(&mut self, what: &str, name: &str) -> Answer<u64> {
        let answer = self.wire.ask("get", &[("what", what.into()), ("name", name.into())])?;
        answer.number("s").ok_or_else(|| Fail::Broken("a stream without its number".into()))
    }

    /// Marks all of a kind as taken.
    pub fn take(&mut self, what: &str) -> Answer {
        self.send("take", &[("what", what.into())])
    }

    pub fn log(&mut self, level: &str, text: &str) -> Answer {
        self.send("log", &[("level", level.into()), ("msg", text.into())])
    }

    /// Sends any other message of the protocol.
    pub fn send(&mut self, t: &str, keys: &[(&str, Value)]) -> Answer {
        self.wire.send(&message(t, keys), None)
    }

    /// Sends a request, such as `resolve` or `space.put_path`, and returns its answer.
    pub fn ask(&mut self, t: &str, keys: &[(&str, Value)]) -> Answer<Value> {
        self.wire.ask(t, keys)
    }
}

/// Speaks the protocol for a module; returns the exit status.
pub fn serve<M: Module>(module: &mut M) -> i32 {
    let mut wire = Wire::new();
    match speak(module, &mut wire) {
        Ok(status) => status,
        Err(Fail::Skip) => 75,
        Err(Fail::Cancelled) => wire.send(&message("cancelled", &[]), None).map_or(76, |()| 0),
        Err(Fail::Broken(why)) => {
            eprintln!("stopped: {why}");
            76
        }
        Err(Fail::Failed(code, text)) => {
            let keys =
                [("code", Value::Text(code)), ("msg", Value::Text(text)), ("fatal", Value::Bool(true))];
            wire.send(&message("error", &keys), None).map_or(76, |()| 1)
        }
    }
}

fn speak<M: Module>(module: &mut M, wire: &mut Wire) -> Answer<i32> {
    let hello = wire.hello()?;
    let list = |list: &[&str]| Value::List(list.iter().map(|item| (*item).into()).collect());
    if !hello.get("protocols").is_some_and(|protocols| protocols.as_list().contains(&Value::Int(1))) {
        let keys = [
            ("code", "version".into()),
            ("supported", Value::List(vec![Value::Int(1)])),
            ("fatal", Value::Bool(true)),
        ];
        wire.send(&message("error", &keys), None)?;
        return Ok(78);
    }
    let op = hello.text("op").unwrap_or_default();
    if op != "describe" && !M::OPS.contains(&op) {
        let keys = [("code", "unsupported".into()), ("msg", op.into()), ("fatal", Value::Bool(true))];
        wire.send(&message("error", &keys), None)?;
        return Ok(0);
    }
    let offered = hello.get("features").map(Value::as_list).unwrap_or_default();
    let features: &[&str] = if offered.contains(&"raw".into()) { &["raw"] } else { &[] };
    let ops: Vec<&str> = std::iter::once("describe").chain(M::OPS.iter().copied()).collect();
    let keys = [
        ("protocol", Value::Int(1)),
        ("features", list(features)),
        ("name", M::NAME.into()),
        ("version", M::VERSION.into()),
        ("needs", M::NEEDS.into()),
        ("ops", list(&ops)),
    ];
    wire.send(&message("hello", &keys), None)?;
    let idle = hello.get("limits").and_then(|limits| limits.number("idle")).unwrap_or(600);
    wire.begin(!features.is_empty(), (idle / 10).max(1));
    if op == "export" {
        module.export(&mut Export { wire, hello: &hello })?;
    } else if op != "describe" {
        let (begin, configs) = (Value::Null, BTreeMap::new());
        let mut source = Import { wire, hello: &hello, begin, configs };
        source.listen(op)?;
        let operation = match op {
            "import" => M::import,
            "check" => M::check,
            "reset" => M::reset,
            "legacy" => M::legacy,
            "revert" => M::revert,
            _ => M::run,
        };
        operation(module, &mut source)?;
    }
    wire.done()?;
    Ok(0)
}
