//! Both pipes: frames, streams, credit. One thread reads, so that a cancellation is heard at once; one says now and then
//! that the module works.

use super::bytes::{Sha256, from_base64, to_base64};
use super::json::{Value, message};
use super::{Answer, Fail};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const MAX_LINE: usize = 1 << 20;
const MAX_FRAME: usize = 1 << 20;
const CREDIT: u64 = 4 << 20;
const BLOCK: usize = 64 << 10;

/// What came: a message, and the bytes that followed it; or why nothing more comes.
type Came = Result<(Value, Vec<u8>, usize), Fail>;

/// A part of a stream.
pub enum Part<'p> {
    Bytes(&'p [u8]),
    Row(&'p [Value]),
}

pub struct Wire {
    /// So that lines of two threads do not mix.
    out: Arc<Mutex<io::Stdout>>,
    inbox: Option<Receiver<Came>>,
    stop: Arc<AtomicBool>,
    raw: bool,
    next_id: u64,
    next_s: u64,
    credit: BTreeMap<u64, u64>,
    /// What belongs to streams that are read later.
    waiting: Vec<(Value, Vec<u8>, usize)>,
}

/// Reads a message, and what follows it.
fn read(from: &mut impl BufRead) -> Came {
    let broken = |why: &str| Fail::Broken(why.to_owned());
    let mut line = Vec::new();
    let count = from.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line);
    count.map_err(|error| Fail::Broken(error.to_string()))?;
    let Some(text) = line.strip_suffix(b"\n") else { return Err(broken("the engine broke off")) };
    let value = std::str::from_utf8(text).ok().and_then(Value::read);
    let value = value.ok_or_else(|| broken("what the engine says makes no sense"))?;
    let mut bytes = Vec::new();
    match value.text("t").ok_or_else(|| broken("a message without its type"))? {
        "raw" => {
            let n = value.number("n").and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= MAX_FRAME);
            bytes.resize(n.ok_or_else(|| broken("a frame without its length"))? + 1, 0);
            from.read_exact(&mut bytes).map_err(|error| Fail::Broken(error.to_string()))?;
            if bytes.pop() != Some(b'\n') {
                return Err(broken("a frame of another length"));
            }
        }
        "chunk" => {
            let decoded = value.text("b64").and_then(from_base64);
            bytes = decoded.ok_or_else(|| broken("a chunk that is no base64"))?;
        }
        "cancel" => return Err(Fail::Cancelled),
        "error" if value.is_true("fatal") => return Err(broken(value.text("msg").unwrap_or_default())),
        _ => {}
    }
    Ok((value, bytes, text.len()))
}

impl Wire {
    pub fn new() -> Self {
        Self {
            out: Arc::new(Mutex::new(io::stdout())),
            inbox: None,
            stop: Arc::default(),
            raw: false,
            next_id: 0,
            next_s: 1,
            credit: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    /// Reads what the engine says first.
    pub fn hello(&mut self) -> Answer<Value> {
        let (to, inbox) = mpsc::channel();
        let first = read(&mut io::stdin().lock());
        let stop = Arc::clone(&self.stop);
        thread::spawn(move || listen(&to, &stop));
        self.inbox = Some(inbox);
        first.map(|(hello, ..)| hello)
    }

    /// From here on the module works.
    pub fn begin(&mut self, raw: bool, every_secs: u64) {
        self.raw = raw;
        let out = Arc::clone(&self.out);
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_secs(every_secs));
                if put(&out, b"{\"t\":\"alive\"}\n").is_err() {
                    return;
                }
            }
        });
    }

    pub fn send(&mut self, line: &str, body: Option<&[u8]>) -> Answer {
        if line.len() >= MAX_LINE {
            return Err(Fail::new("limit", "a message does not fit into a line"));
        }
        let mut frame = Vec::with_capacity(line.len() + body.map_or(0, <[u8]>::len) + 2);
        frame.extend_from_slice(line.as_bytes());
        frame.push(b'\n');
        if let Some(body) = body {
            frame.extend_from_slice(body);
            frame.push(b'\n');
        }
        put(&self.out, &frame).map_err(|error| Fail::Broken(error.to_string()))
    }

    /// Takes the next thing that came.
    fn take(&mut self) -> Answer<(Value, Vec<u8>, usize)> {
        let gone = || Fail::Broken("the engine broke off".into());
        self.inbox.as_ref().ok_or_else(gone)?.recv().map_err(|_| gone())?
    }

    /// Takes what came until `wanted` finds what it looks for.
    fn until(&mut self, wanted: &dyn Fn(&Value) -> bool) -> Answer<(Value, Vec<u8>, usize)> {
        if let Some(at) = self.waiting.iter().position(|(value, ..)| wanted(value)) {
            return Ok(self.waiting.remove(at));
        }
        loop {
            let came = self.take()?;
            if wanted(&came.0) {
                return Ok(came);
            }
            self.keep(came)?;
        }
    }

    fn keep(&mut self, came: (Value, Vec<u8>, usize)) -> Answer {
        let t = came.0.text("t").unwrap_or_default();
        match t {
            "credit" => {
                let (s, n) = (came.0.number("s").unwrap_or(0), came.0.number("n").unwrap_or(0));
                if let Some(credit) = self.credit.get_mut(&s) {
                    *credit += n;
                }
                Ok(())
            }
            "ack" | "blob" | "records" | "tree" | "raw" | "chunk" | "row" | "end" | "error" | "begin"
            | "configs" | "have" => {
                self.waiting.push(came);
                Ok(())
            }
            _ => {
                let must = came.0.is_true("must");
                let keys = [("code", "unsupported".into()), ("msg", t.into()), ("fatal", Value::Bool(must))];
                self.send(&message("error", &keys), None)?;
                if must { Err(Fail::Broken(format!("the engine needs {t}"))) } else { Ok(()) }
            }
        }
    }

    /// Returns the next message of this type that answers nothing.
    pub fn next(&mut self, t: &str) -> Answer<Value> {
        self.until(&|value| value.text("t") == Some(t) && value.get("id").is_none()).map(|(value, ..)| value)
    }

    /// Sends a request and returns its answer.
    pub fn ask(&mut self, t: &str, keys: &[(&str, Value)]) -> Answer<Value> {
        self.next_id += 1;
        let id = self.next_id;
        let mut all = vec![("id", Value::Int(id as i64))];
        all.extend(keys.iter().cloned());
        self.send(&message(t, &all), None)?;
        let (answer, ..) = self.until(&|value| value.number("id") == Some(id))?;
        if answer.text("t") == Some("error") {
            let code = answer.text("code").unwrap_or("internal");
            return Err(Fail::new(code, answer.text("msg").unwrap_or_default()));
        }
        Ok(answer)
    }

    /// Opens a stream; returns its number.
    pub fn open(&mut self, t: &str, keys: &[(&str, Value)]) -> Answer<u64> {
        let s = self.next_s;
        self.next_s += 2;
        self.credit.insert(s, CREDIT);
        let mut all = vec![("s", Value::Int(s as i64))];
        all.extend(keys.iter().cloned());
        self.send(&message(t, &all), None)?;
        Ok(s)
    }

    /// Waits until so much may be sent.
    pub fn spend(&mut self, s: u64, cost: u64) -> Answer {
        while self.stop.load(Ordering::Relaxed) || self.credit.get(&s).is_some_and(|credit| *credit < cost) {
            let came = self.take()?;
            self.keep(came)?;
        }
        if let Some(credit) = self.credit.get_mut(&s) {
            *credit -= cost;
        }
        Ok(())
    }

    pub fn send_bytes(&mut self, s: u64, data: &[u8]) -> Answer {
        for part in data.chunks(BLOCK) {
            self.spend(s, part.len() as u64)?;
            if self.raw {
                self.send(&format!("{{\"t\":\"raw\",\"s\":{s},\"n\":{}}}", part.len()), Some(part))?;
            } else {
                self.send(&format!("{{\"t\":\"chunk\",\"s\":{s},\"b64\":\"{}\"}}", to_base64(part)), None)?;
            }
        }
        Ok(())
    }

    /// Hands out a stream of the engine until its end, which must be right.
    pub fn receive(&mut self, s: u64, each: &mut dyn FnMut(Part<'_>) -> Answer) -> Answer {
        let (mut digest, mut rows) = (Sha256::default(), 0);
        loop {
            let own = |value: &Value| value.number("s") == Some(s) && value.text("t") != Some("credit");
            let (value, bytes, cost) = self.until(&own)?;
            let cost = match value.text("t").unwrap_or_default() {
                "raw" | "chunk" => {
                    digest.update(&bytes);
                    each(Part::Bytes(&bytes))?;
                    bytes.len()
                }
                "row" => {
                    rows += 1;
                    each(Part::Row(value.get("v").map(Value::as_list).unwrap_or_default()))?;
                    cost
                }
                "end" => {
                    let right = match value.number("count") {
                        Some(count) => count == rows,
                        None => {
                            let bytes = digest.bytes;
                            value.number("bytes") == Some(bytes)
                                && value.text("sha256") == Some(digest.finish().as_str())
                        }
                    };
                    let why = "a stream of the engine has another length or digest";
                    return if right { Ok(()) } else { Err(Fail::Broken(why.into())) };
                }
                _ => return Err(Fail::Broken("a stream of the engine broke off".into())),
            };
            self.send(
                &message("credit", &[("s", Value::Int(s as i64)), ("n", Value::Int(cost as i64))]),
                None,
            )?;
        }
    }

    /// Ends the operation.
    pub fn done(&mut self) -> Answer {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Fail::Cancelled);
        }
        self.send(&message("done", &[]), None)
    }
}

fn put(out: &Mutex<io::Stdout>, frame: &[u8]) -> io::Result<()> {
    let out = out.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = out.lock();
    out.write_all(frame)?;
    out.flush()
}

fn listen(to: &Sender<Came>, stop: &AtomicBool) {
    let mut from = io::BufReader::with_capacity(BLOCK, io::stdin());
    loop {
        let came = read(&mut from);
        let over = came.is_err();
        if to.send(came).is_err() {
            return;
        }
        if over {
            stop.store(true, Ordering::Relaxed);
            return;
        }
    }
}
