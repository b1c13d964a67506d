//! The line protocol through real pipes: the engine's side with a program at the other end, which does nothing else.
//!
//! `cargo bench --bench pipes`. MB are 10^6 bytes of content, per second, and per second of the engine's own processor time,
//! which says what one core of its side does whatever else the machine does. The peer `engine` is this program itself, as fast as digests and
//! base64 go; the others are the SDKs, where their language is installed. Content goes nowhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dedup_modules::child::Surroundings;
use dedup_modules::external::{
    Around, ExportHost, ExternalError, ImportData, ImportHost, Job, Reading, Spec, StoreError, StoredStream,
    export, import,
};
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::programs::Severity;
use dedup_modules::manifest::sections::SectionKind;
use dedup_modules::protocol::{Name, Offer, Op, Opened, Shape};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Content of one frame.
const FRAME: usize = 64 << 10;
/// Bytes of a stream.
const BYTES: usize = 512 << 20;
/// Rows of a stream.
const ROWS: usize = 300_000;

const PYTHON: &str = r#"
import sys
from dedup_module import Module, main
class Peer(Module):
    def export(self, out):
        if sys.argv[1] == "bytes":
            block = bytes(range(256)) * 256
            with out.blob("b") as to:
                for _ in range(int(sys.argv[2]) // len(block)):
                    to.write(block)
        else:
            with out.records("b", ["id", "name", "number"]) as rows:
                for n in range(int(sys.argv[2])):
                    rows.row([n, "a row that has some text in it", n % 7])
    def import_(self, source):
        for _ in source.blob("b") if sys.argv[1] == "bytes" else source.records("b"):
            pass
main(Peer)
"#;

const PHP: &str = r#"<?php
require getenv('SDK') . '/dedup/autoload.php';
class Peer extends \Dedup\Module
{
    public function export(\Dedup\Export $out)
    {
        global $argv;
        if ($argv[1] === 'bytes') {
            $block = str_repeat(implode('', array_map('chr', range(0, 255))), 256);
            $to = $out->blob('b');
            for ($n = 0; $n < $argv[2] / strlen($block); $n++) {
                $to->write($block);
            }
            $to->close();
        } else {
            $rows = (static function ($count) {
                for ($n = 0; $n < $count; $n++) {
                    yield [$n, 'a row that has some text in it', $n % 7];
                }
            })($argv[2]);
            $out->records('b', ['id', 'name', 'number'], $rows);
        }
    }

    public function import(\Dedup\Import $source)
    {
        global $argv;
        foreach ($argv[1] === 'bytes' ? $source->blob('b') : $source->records('b') as $part) {
        }
    }
}
\Dedup\Module::main(new Peer());
"#;

const RUST: &str = r#"
mod dedup_module;
use dedup_module::{Answer, Export, Import, Module, Value};
struct Peer(String, usize);
impl Module for Peer {
    const NAME: &'static str = "peer";
    const VERSION: &'static str = "1";
    const OPS: &'static [&'static str] = &["export", "import"];
    fn export(&mut self, out: &mut Export<'_>) -> Answer {
        if self.0 == "bytes" {
            let block: Vec<u8> = (0..65536u32).map(|n| n as u8).collect();
            let mut to = out.blob("b")?;
            (0..self.1 / block.len()).try_for_each(|_| to.write(&block))?;
            return to.finish();
        }
        let mut to = out.records("b", &["id", "name", "number"])?;
        for n in 0..self.1 as i64 {
            to.row(&[Value::Int(n), Value::from("a row that has some text in it"), Value::Int(n % 7)])?;
        }
        to.finish()
    }
    fn import(&mut self, source: &mut Import<'_>) -> Answer {
        if self.0 == "bytes" { source.blob("b", &mut |_| Ok(())) } else { source.records("b", &mut |_| Ok(())) }
    }
}
fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap();
    let count = arguments.next().unwrap().parse().unwrap();
    std::process::exit(dedup_module::serve(&mut Peer(what, count)));
}
"#;

/// Gives or takes everything; no stream is ever checked for more than the engine checks.
struct Sink(Vec<u8>);

impl ExportHost for Sink {
    fn store(&mut self, _opened: &Opened, read: &mut dyn Read) -> Result<(), StoreError> {
        let mut block = vec![0; FRAME];
        while read.read(&mut block).map_err(|error| StoreError::Lost(error.to_string()))? > 0 {}
        Ok(())
    }

    fn dump(&mut self, _name: &Name) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    fn scratch(&mut self) -> Result<PathBuf, String> {
        Err("there is none".into())
    }
}

impl ImportHost for Sink {
    fn dump(&mut self, _name: &str, reading: &mut Reading<'_>) -> Result<(), ExternalError> {
        match &self.0[..] {
            [] => reading(&mut io::repeat(0x5a).take(BYTES as u64)),
            mut rows => reading(&mut rows),
        }
    }

    fn file(&mut self, _path: &Path, _reading: &mut Reading<'_>) -> Result<bool, ExternalError> {
        Ok(false)
    }

    fn scratch(&mut self) -> Result<PathBuf, String> {
        Err("there is none".into())
    }
}

/// Returns rows as they are stored.
fn stored_rows() -> Vec<u8> {
    let mut text = b"{\"records\":1,\"schema\":{\"columns\":[{\"name\":\"id\"},{\"name\":\"name\"},{\"name\":\"number\"}]}}\n".to_vec();
    for n in 0..ROWS {
        writeln!(text, "[{n},\"a row that has some text in it\",{}]", n % 7).expect("memory");
    }
    writeln!(text, "{{\"count\":{ROWS}}}").expect("memory");
    text
}

/// Returns the seconds that this process has had of processors.
fn processor_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // After the name: utime and stime are the 12th and 13th, in hundredths.
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

/// Runs one operation; returns the seconds that it took, and those that the engine's side worked.
fn operate(command: &[String], env: &[(&str, &str)], op: Op, of_rows: bool, raw: bool) -> (f64, f64) {
    let env: Vec<String> = env.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
    let text = format!(
        "schema = 1\n[module]\nid = \"peer\"\n[importer]\ncommand = {command:?}\nenv = {{ {} }}\n",
        env.join(", ")
    );
    let manifest = Manifest::parse("peer.toml", text.as_bytes()).expect("right");
    let spec = Spec::of(manifest.importer.as_ref().expect("one"), &manifest, &manifest.paths).expect("right");
    let around = Surroundings { env: vec![("PATH".into(), "/usr/bin:/bin".into())], ..Default::default() };
    let begun = Instant::now();
    let (log, elapsed) = (|_: Severity, text: &str| eprintln!("{text}"), || begun.elapsed());
    let spaces_dir = std::env::temp_dir().join("dedup-bench-spaces");
    let job = Job {
        spec: &spec,
        run: "bench",
        root: Path::new("/"),
        spaces_dir: &spaces_dir,
        log: &log,
        offer: Offer { raw, ..Offer::default() },
        world: Around { around: &around, cancelled: &|| false, elapsed: &elapsed },
    };
    let mut sink = Sink(if of_rows { stored_rows() } else { Vec::new() });
    let (begun, worked) = (Instant::now(), processor_secs());
    if op == Op::Export {
        export(&job, &[], &mut sink).expect("an export");
    } else {
        let shape = if of_rows { Shape::Records } else { Shape::Blob };
        let stream = StoredStream {
            name: "b".into(),
            section: SectionKind::Data,
            shape,
            label: None,
            bytes: BYTES as u64,
            keyed: false,
        };
        let data = ImportData { begin: json!({}), streams: vec![stream], ..ImportData::default() };
        import(&job, op, &data, &mut sink).expect("an import");
    }
    (begun.elapsed().as_secs_f64(), (processor_secs() - worked).max(0.01))
}

fn say(to: &mut impl Write, line: &str) {
    to.write_all(line.as_bytes())
        .and_then(|()| to.write_all(b"\n"))
        .and_then(|()| to.flush())
        .expect("a pipe");
}

/// The peer that is as fast as can be: says what it must, and sends or takes one stream.
fn peer(of_rows: bool) {
    let (mut from, mut to) = (io::BufReader::with_capacity(FRAME, io::stdin().lock()), io::stdout().lock());
    let mut line = String::new();
    let mut next = move || -> (Value, u64) {
        line.clear();
        from.read_line(&mut line).expect("a line");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        let mut bytes = 0;
        if value["t"] == "raw" {
            bytes = value["n"].as_u64().expect("a number");
            io::copy(&mut (&mut from).take(bytes + 1), &mut io::sink()).expect("bytes");
        } else if value["t"] == "chunk" {
            bytes = STANDARD.decode(value["b64"].as_str().expect("text")).expect("base64").len() as u64;
        } else if value["t"] == "row" {
            bytes = line.len() as u64 - 1;
        }
        (value, bytes)
    };
    let (hello, _) = next();
    let raw = hello["features"].as_array().is_some_and(|features| features.contains(&json!("raw")));
    say(&mut to, &json!({ "t": "hello", "protocol": 1, "features": hello["features"] }).to_string());
    if hello["op"] == "import" {
        (0..3).for_each(|_| drop(next()));
        say(
            &mut to,
            &format!(
                "{{\"t\":\"get\",\"id\":1,\"what\":\"{}\",\"name\":\"b\"}}",
                if of_rows { "records" } else { "blob" }
            ),
        );
        let mut due = 0;
        loop {
            let (value, bytes) = next();
            due += bytes;
            if value["t"] == "end" {
                break;
            }
            if due >= 1 << 20 {
                say(&mut to, &format!("{{\"t\":\"credit\",\"s\":2,\"n\":{due}}}"));
                due = 0;
            }
        }
        return say(&mut to, "{\"t\":\"done\"}");
    }
    let (mut credit, content) = (4u64 << 20, (0..FRAME).map(|n| n as u8).collect::<Vec<_>>());
    let mut spend = |cost: u64| {
        while credit < cost {
            credit += next().0["n"].as_u64().expect("credit");
        }
        credit -= cost;
    };
    if of_rows {
        let columns = json!({ "columns": [{ "name": "id" }, { "name": "name" }, { "name": "number" }] });
        say(&mut to, &json!({ "t": "records", "s": 1, "name": "b", "schema": columns }).to_string());
        for first in (0..ROWS).step_by(1000) {
            let rows: Vec<String> = (first..first + 1000)
                .map(|n| format!("[{n},\"a row that has some text in it\",{}]", n % 7))
                .collect();
            let line = format!("{{\"t\":\"rows\",\"s\":1,\"v\":[{}]}}", rows.join(","));
            spend(line.len() as u64);
            say(&mut to, &line);
        }
        say(&mut to, &format!("{{\"t\":\"end\",\"s\":1,\"count\":{ROWS}}}"));
        return say(&mut to, "{\"t\":\"done\"}");
    }
    say(&mut to, "{\"t\":\"blob\",\"s\":1,\"name\":\"b\"}");
    let mut digest = Sha256::new();
    for _ in 0..BYTES / FRAME {
        digest.update(&content);
        spend(FRAME as u64);
        if raw {
            say(&mut to, &format!("{{\"t\":\"raw\",\"s\":1,\"n\":{FRAME}}}"));
            to.write_all(&content).and_then(|()| to.write_all(b"\n")).expect("a pipe");
        } else {
            say(&mut to, &format!("{{\"t\":\"chunk\",\"s\":1,\"b64\":\"{}\"}}", STANDARD.encode(&content)));
        }
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    say(&mut to, &format!("{{\"t\":\"end\",\"s\":1,\"bytes\":{BYTES},\"sha256\":\"{digest}\"}}"));
    say(&mut to, "{\"t\":\"done\"}");
}

/// Returns how to start a peer of a language, or none if it is not there.
fn peers(dir: &Path, sdk: &Path) -> Vec<(&'static str, Vec<String>)> {
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let own = text(&std::env::current_exe().expect("a path"));
    let mut all = vec![("engine", vec![own, "--peer".to_owned()])];
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    std::fs::write(dir.join("peer.py"), PYTHON).expect("a file");
    std::fs::write(dir.join("peer.php"), PHP).expect("a file");
    std::fs::write(dir.join("peer.rs"), RUST).expect("a file");
    let module = dir.join("dedup_module");
    std::fs::create_dir_all(&module).expect("a directory");
    for entry in std::fs::read_dir(sdk.join("rust/dedup_module")).expect("the SDK") {
        let path = entry.expect("a file").path();
        std::fs::copy(&path, module.join(path.file_name().expect("a name"))).expect("a copy");
    }
    let built = Command::new("rustc")
        .args(["--edition", "2024", "-O", "-o"])
        .args([dir.join("peer"), dir.join("peer.rs")])
        .status();
    if built.is_ok_and(|status| status.success()) {
        all.push(("rust", vec![text(&dir.join("peer"))]));
    }
    for (language, program, file) in [("python", "python3", "peer.py"), ("php", "php", "peer.php")] {
        if is_there(program) {
            all.push((language, vec![program.to_owned(), text(&dir.join(file))]));
        }
    }
    all
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--peer") {
        return peer(arguments[1] == "rows");
    }
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules/sdk");
    let dir = tempfile::tempdir().expect("a directory");
    let (python, php) = (sdk.join("python"), sdk.join("php"));
    let env = [
        ("PYTHONPATH", python.to_str().expect("text")),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("SDK", php.to_str().expect("text")),
    ];
    println!(
        "peer      {:>14}{:>14}{:>14}{:>14}{:>14}{:>14}   (MB/s; 1000 rows/s; second: of the engine's processor)",
        "raw out", "raw in", "base64 out", "base64 in", "rows out", "rows in"
    );
    for (language, command) in peers(dir.path(), &sdk) {
        print!("{language:<8}");
        for (what, count) in [("bytes", BYTES), ("rows", ROWS)] {
            let command = [&command[..], &[what.to_owned(), count.to_string()]].concat();
            for raw in if what == "rows" { &[true][..] } else { &[true, false] } {
                for op in [Op::Export, Op::Import] {
                    // The best of three: others use the processors too.
                    let took = (0..3)
                        .map(|_| operate(&command, &env, op, what == "rows", *raw))
                        .fold((f64::MAX, f64::MAX), |best, took| (best.0.min(took.0), best.1.min(took.1)));
                    let unit = if what == "rows" { 1e3 } else { 1e6 };
                    let [wall, own] = [took.0, took.1].map(|secs| count as f64 / unit / secs);
                    print!("{:>14}", format!("{wall:.0} {own:.0}"));
                    io::stdout().flush().expect("output");
                }
            }
        }
        println!();
    }
}
