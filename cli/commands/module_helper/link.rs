//! The module's side of the protocol, shared by several short processes one after the other.
//!
//! Each reads exactly what it takes and not a byte more: the next one reads on. What they must remember lies in a directory.

use crate::failure::Failure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dedup_engine::error::Kind;
use dedup_modules::protocol::{CREDIT_BYTES, MAX_LINE_BYTES, MAX_RAW_BYTES};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Bytes of one frame.
const BLOCK: usize = 64 << 10;

/// What one process leaves for the next.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    next_id: u64,
    next_s: u64,
    /// Whether raw frames were agreed on.
    pub raw: bool,
}

/// Why a helper ends.
pub enum End {
    /// The operation is cancelled, and that has been answered.
    Cancelled,
    /// Something went wrong.
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failed(Failure::io("the other side of the protocol cannot be reached", &error))
    }
}

fn wrong(message: impl Into<String>) -> End {
    End::Failed(Failure::new(Kind::Io, message))
}

/// Both pipes and the state.
pub struct Link {
    /// What is remembered.
    pub state: State,
    /// Where.
    pub dir: PathBuf,
    input: File,
    output: File,
}

impl Link {
    /// Takes over standard input and output.
    pub fn open() -> Result<Self, Failure> {
        let dir = std::env::var_os("DEDUP_HELPER_STATE").map(PathBuf::from).ok_or_else(|| {
            Failure::refused("DEDUP_HELPER_STATE names no directory")
                .hint("this is for modules in shell: source dedup-module.sh, and call its functions")
        })?;
        let failed = |error: io::Error| Failure::io("cannot use standard input and output", &error);
        let input = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
        let output = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
        let state = match std::fs::read(dir.join("state")) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| Failure::refused(error.to_string()))?,
            Err(_) => State { next_id: 1, next_s: 1, raw: false },
        };
        Ok(Self { state, dir, input: input.into(), output: output.into() })
    }

    /// Writes down what the next process must know.
    pub fn save(&self) -> Result<(), End> {
        let text = serde_json::to_vec(&self.state).map_err(|error| wrong(error.to_string()))?;
        Ok(std::fs::write(self.dir.join("state"), text)?)
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Value) -> Result<(), End> {
        let line = format!("{message}\n");
        if line.len() > MAX_LINE_BYTES {
            return Err(wrong(format!(
                "a message has {} bytes, and {MAX_LINE_BYTES} are allowed",
                line.len()
            )));
        }
        Ok(self.output.write_all(line.as_bytes())?)
    }

    /// Reads a message, with the bytes that follow it.
    pub fn read(&mut self) -> Result<(Value, Vec<u8>), End> {
        let (mut line, mut byte) = (Vec::new(), [0]);
        loop {
            self.input.read_exact(&mut byte).map_err(|_| wrong("the engine has gone"))?;
            if byte == *b"\n" {
                break;
            }
            line.extend_from_slice(&byte);
            if line.len() >= MAX_LINE_BYTES {
                return Err(wrong("the engine sent a line that is too long"));
            }
        }
        let message: Value = serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?;
        let mut bytes = Vec::new();
        match message["t"].as_str() {
            Some("cancel") => {
                self.send(&json!({ "t": "cancelled" }))?;
                return Err(End::Cancelled);
            }
            Some("error") if message["fatal"] == true => {
                return Err(wrong(format!("the engine says: {}", message["msg"])));
            }
            Some("chunk") => {
                let text = message["b64"].as_str().unwrap_or_default();
                bytes = STANDARD.decode(text).map_err(|error| wrong(error.to_string()))?;
            }
            Some("raw") => {
                let n = message["n"].as_u64().and_then(|n| usize::try_from(n).ok());
                let n = n.filter(|n| *n <= MAX_RAW_BYTES).ok_or_else(|| wrong("a raw frame is too long"))?;
                bytes.resize(n + 1, 0);
                self.input.read_exact(&mut bytes)?;
                bytes.pop();
            }
            _ => {}
        }
        Ok((message, bytes))
    }

    /// Asks and returns the answer.
    pub fn ask(&mut self, mut message: Value) -> Result<Value, End> {
        let id = self.state.next_id;
        self.state.next_id += 1;
        message["id"] = id.into();
        self.save()?;
        self.send(&message)?;
        loop {
            let (answer, _) = self.read()?;
            if answer["id"] != id {
                continue;
            }
            if answer["t"] == "error" {
                return Err(wrong(format!("{} ({})", text(&answer["msg"]), text(&answer["code"]))));
            }
            return Ok(answer);
        }
    }

    /// Opens a stream.
    pub fn begin(&mut self, mut message: Value) -> Result<Outgoing, End> {
        let s = self.state.next_s;
        self.state.next_s += 2;
        message["s"] = s.into();
        self.save()?;
        self.send(&message)?;
        Ok(Outgoing { s, credit: CREDIT_BYTES })
    }

    fn spend(&mut self, stream: &mut Outgoing, cost: usize) -> Result<(), End> {
        while stream.credit < cost as u64 {
            let (message, _) = self.read()?;
            if message["t"] == "credit" && message["s"] == stream.s {
                stream.credit = stream.credit.saturating_add(message["n"].as_u64().unwrap_or(0));
            }
        }
        stream.credit -= cost as u64;
        Ok(())
    }

    /// Sends all bytes of `from`, and the end.
    pub fn send_bytes(&mut self, stream: &mut Outgoing, from: &mut dyn Read) -> Result<(), End> {
        let (mut block, mut digest, mut bytes) = (vec![0; BLOCK], Sha256::new(), 0);
        loop {
            let count = match from.read(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let Some(part) = block.get(..count).filter(|part| !part.is_empty()) else { break };
            self.spend(stream, count)?;
            digest.update(part);
            bytes += count as u64;
            if self.state.raw {
                self.send(&json!({ "t": "raw", "s": stream.s, "n": count }))?;
                self.output.write_all(part)?;
                self.output.write_all(b"\n")?;
            } else {
                self.send(&json!({ "t": "chunk", "s": stream.s, "b64": STANDARD.encode(part) }))?;
            }
        }
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.send(&json!({ "t": "end", "s": stream.s, "bytes": bytes, "sha256": digest }))
    }

    /// Sends a row of JSON.
    pub fn send_row(&mut self, stream: &mut Outgoing, row: &str) -> Result<(), End> {
        let line = format!("{{\"t\":\"row\",\"s\":{},\"v\":{row}}}\n", stream.s);
        if line.len() > MAX_LINE_BYTES {
            return Err(wrong("a row is too long"));
        }
        self.spend(stream, line.len() - 1)?;
        Ok(self.output.write_all(line.as_bytes())?)
    }

    /// Writes a stream of the engine to `to`: bytes as they are, rows one a line.
    pub fn receive(&mut self, s: &Value, to: &mut dyn Write) -> Result<(), End> {
        let (mut digest, mut bytes, mut rows) = (Sha256::new(), 0, 0);
        loop {
            let (message, part) = self.read()?;
            if message["s"] != *s {
                continue;
            }
            let cost = match message["t"].as_str() {
                Some("raw" | "chunk") => {
                    digest.update(&part);
                    bytes += part.len() as u64;
                    to.write_all(&part)?;
                    part.len()
                }
                Some("row") => {
                    rows += 1;
                    let row = message["v"].to_string();
                    writeln!(to, "{row}")?;
                    // At least what it counts for: the engine writes no longer text than this.
                    row.len() * 2 + 64
                }
                Some("end") => {
                    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                    let right = match message["count"].as_u64() {
                        Some(count) => count == rows,
                        None => message["bytes"] == bytes && message["sha256"] == digest[..],
                    };
                    to.flush()?;
                    return if right { Ok(()) } else { Err(wrong("the stream is not whole")) };
                }
                _ => return Err(wrong(format!("the stream broke off: {}", text(&message["msg"])))),
            };
            self.send(&json!({ "t": "credit", "s": s, "n": cost }))?;
        }
    }
}

/// A stream that is being sent.
pub struct Outgoing {
    /// Its number.
    pub s: u64,
    credit: u64,
}

/// Returns text as it is, and anything else as JSON.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
