//! `dedup module-helper`: what modules in shell call to speak the line protocol.

mod link;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use dedup_modules::protocol::VERSION;
use link::{End, Link, text};
use serde_json::{Map, Value, json};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};

/// The status by which the functions in shell know that the operation was cancelled, which has been answered.
const CANCELLED: u8 = 99;
/// The status of a module that speaks no version which is offered.
const NO_VERSION: u8 = 78;

/// Speak the line protocol for a module in shell
///
/// Called by the functions of dedup-module.sh, which `dedup module new NAME --lang sh` writes; never by people. Standard input
/// and output are the protocol's; content comes by descriptor 5 and goes to descriptor 6.
#[derive(clap::Args, Debug)]
#[command(hide = true, after_help = "Examples:\n  dedup module-helper log notice 'half of it is done'")]
pub struct HelperArgs {
    /// What to say
    verb: String,
    /// With what
    words: Vec<String>,
    /// When it can be exported
    #[arg(long)]
    needs: Option<String>,
    /// Where it belongs
    #[arg(long)]
    section: Option<String>,
    /// Its label
    #[arg(long)]
    kind: Option<String>,
    /// The path variable it moves with
    #[arg(long)]
    base: Option<String>,
    /// It need not be there
    #[arg(long)]
    optional: bool,
    /// The value is JSON, not text
    #[arg(long)]
    typed: bool,
    /// It belongs to the secrets
    #[arg(long)]
    secret: bool,
    /// The space stays
    #[arg(long)]
    persistent: bool,
}

pub fn run(_: &Context, args: &HelperArgs) -> Result<Exit, Failure> {
    let mut link = Link::open()?;
    let done = speak(&mut link, args).and_then(|exit| link.save().map(|()| exit));
    match done {
        Ok(exit) => Ok(exit),
        Err(End::Cancelled) => Ok(Exit::Command(CANCELLED)),
        Err(End::Failed(failure)) => Err(failure),
    }
}

impl HelperArgs {
    fn word(&self, at: usize, what: &str) -> Result<&str, Failure> {
        let word = self.words.get(at).map(String::as_str);
        word.ok_or_else(|| Failure::refused(format!("{}: {what} is missing", self.verb)))
    }

    /// Makes a message of a type and what was given of these keys.
    fn message(&self, kind: &str, keys: &[(&str, Option<Value>)]) -> Value {
        let mut message = Map::from_iter([("t".to_owned(), kind.into())]);
        let section = if self.secret { Some("secrets".into()) } else { self.section.clone() };
        let own = [("section", section), ("kind", self.kind.clone()), ("base", self.base.clone())];
        let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into())));
        message.extend(own);
        message.extend(keys.iter().filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?))));
        message.into()
    }
}

fn speak(link: &mut Link, args: &HelperArgs) -> Result<Exit, End> {
    let word = |at, what| args.word(at, what);
    let some = |text: &str| Some(Value::from(text));
    match &args.verb[..] {
        "hello" => return hello(link, args),
        "done" => link.send(&json!({ "t": "done" }))?,
        "alive" => link.send(&json!({ "t": "alive" }))?,
        "skip-reset" => link.send(&json!({ "t": "skip_reset" }))?,
        "log" => {
            link.send(&json!({ "t": "log", "level": word(0, "LEVEL")?, "msg": args.words.get(1..).unwrap_or_default().join(" ") }))?;
        }
        "fail" => {
            let message = args.words.get(1..).unwrap_or_default().join(" ");
            link.send(&json!({ "t": "error", "code": word(0, "CODE")?, "msg": message, "fatal": true }))?;
        }
        "config" => {
            let value = word(1, "VALUE")?;
            let value = if args.typed { parsed(value)? } else { value.into() };
            link.send(&args.message("config", &[("key", some(word(0, "KEY")?)), ("value", Some(value))]))?;
        }
        "absent" => {
            link.send(
                &args.message("config", &[("key", some(word(0, "KEY")?)), ("absent", Some(true.into()))]),
            )?;
        }
        "depend" => {
            let version = args.words.get(1).map(|version| version.as_str().into());
            link.send(
                &args.message("depend", &[("module", some(word(0, "MODULE")?)), ("version", version)]),
            )?;
        }
        verb @ ("file" | "dir") => {
            let optional = args.optional.then(|| true.into());
            link.send(&args.message(verb, &[("path", some(word(0, "PATH")?)), ("optional", optional)]))?;
        }
        "blob" => {
            let message = args.message("blob", &[("name", some(word(0, "NAME")?))]);
            let mut stream = link.begin(message)?;
            link.send_bytes(&mut stream, &mut from()?)?;
        }
        verb @ ("records" | "tree") => rows(link, args, verb)?,
        "dump" => {
            let answer = link.ask(json!({ "t": "dump", "name": word(0, "SOURCE")? }))?;
            tell(&text(&answer["outcome"]))?;
        }
        "scratch" => tell(&text(&link.ask(json!({ "t": "scratch" }))?["path"]))?,
        "resolve" => {
            let answer = link.ask(json!({ "t": "resolve", "variable": word(0, "VARIABLE")? }))?;
            tell(&text(&answer["path"]))?;
        }
        "take" => {
            let name = args.words.get(1).map(|name| name.as_str().into());
            link.send(&args.message("take", &[("what", some(word(0, "WHAT")?)), ("name", name)]))?;
        }
        "value" => {
            let key = word(0, "KEY")?;
            let configs = std::fs::read(link.dir.join("configs"))?;
            let configs: Value = parsed(&String::from_utf8_lossy(&configs))?;
            let Some(value) = configs.get(key) else {
                return Err(Failure::refused(format!("the configuration has no {key:?}")).into());
            };
            tell(&text(value))?;
            link.send(&json!({ "t": "take", "what": "config", "name": key }))?;
        }
        "get" => {
            let what = word(0, "WHAT")?;
            let mut message = json!({ "t": "get", "what": what });
            if let Some(name) = args.words.get(1) {
                message[if what == "file" { "path" } else { "name" }] = name.as_str().into();
            }
            let answer = link.ask(message)?;
            link.receive(&answer["s"], &mut to()?)?;
        }
        "space" => space(link, args)?,
        verb => return Err(Failure::refused(format!("there is nothing to say by {verb:?}")).into()),
    }
    Ok(Exit::Complete)
}

/// Opens the conversation, and for those that pull hears what there is; tells the operation.
fn hello(link: &mut Link, args: &HelperArgs) -> Result<Exit, End> {
    let (hello, _) = link.read()?;
    let speaks =
        hello["protocols"].as_array().is_some_and(|all| all.iter().any(|version| *version == VERSION));
    if !speaks {
        link.send(&json!({ "t": "error", "code": "version", "supported": [VERSION], "fatal": true }))?;
        return Ok(Exit::Command(NO_VERSION));
    }
    let op = text(&hello["op"]);
    if op != "describe" && !args.words.contains(&op) {
        let message = format!("there is no operation {op}");
        link.send(&json!({ "t": "error", "code": "unsupported", "msg": message, "fatal": true }))?;
        return Ok(Exit::Complete);
    }
    link.state.raw =
        hello["features"].as_array().is_some_and(|all| all.iter().any(|feature| feature == "raw"));
    let features: &[&str] = if link.state.raw { &["raw"] } else { &[] };
    link.send(&json!({
        "t": "hello", "protocol": VERSION, "features": features, "name": hello["module"], "needs": args.needs,
        "ops": args.words,
    }))?;
    let last = match &op[..] {
        "import" | "check" | "legacy" => "have",
        "revert" | "run" => "begin",
        _ => "",
    };
    let mut configs = Map::new();
    while !last.is_empty() {
        let (message, _) = link.read()?;
        if let Some(map) = message["map"].as_object().filter(|_| message["t"] == "configs") {
            configs.extend(map.clone());
        }
        if message["t"] == last && message["more"] != true {
            break;
        }
    }
    std::fs::write(link.dir.join("configs"), Value::from(configs).to_string())?;
    tell(&op)?;
    Ok(Exit::Complete)
}

fn rows(link: &mut Link, args: &HelperArgs, verb: &str) -> Result<(), End> {
    let schema = match verb {
        "records" => {
            let names = args.word(1, "COLUMNS")?.split(',');
            Some(json!({ "columns": names.map(|name| json!({ "name": name })).collect::<Vec<_>>() }))
        }
        _ => None,
    };
    let name = args.word(0, "NAME")?;
    let mut stream = link.begin(args.message(verb, &[("name", Some(name.into())), ("schema", schema)]))?;
    let mut count = 0_u64;
    for line in BufReader::new(from()?).lines() {
        let line = line?;
        if !line.trim().is_empty() {
            link.send_row(&mut stream, line.trim())?;
            count += 1;
        }
    }
    link.send(&json!({ "t": "end", "s": stream.s, "count": count }))
}

fn space(link: &mut Link, args: &HelperArgs) -> Result<(), End> {
    let act = args.word(0, "what to do")?;
    let (first, second) = (args.words.get(1).cloned(), args.words.get(2).cloned());
    let value = |text: Option<String>| -> Result<Option<Value>, End> {
        text.map(|text| if args.typed { parsed(&text) } else { Ok(text.into()) }).transpose()
    };
    let some = |text: Option<String>| text.map(Value::from);
    let (kind, keys) = match act {
        "open" => ("space.open", vec![("persistent", Some(args.persistent.into()))]),
        "put-path" => ("space.put_path", vec![("path", some(first)), ("name", some(second))]),
        "put-value" => ("space.put_value", vec![("name", some(first)), ("value", value(second)?)]),
        "value" => ("space.value", vec![("name", some(first))]),
        "restore" => ("space.restore_name", vec![("name", some(first)), ("to", some(second))]),
        "exists" => ("space.exists", vec![("name", some(first))]),
        "delete" => ("space.delete", vec![("name", some(first))]),
        "list" => ("space.list", vec![]),
        _ => return Err(Failure::refused(format!("a space has nothing like {act:?}")).into()),
    };
    let answer = link.ask(args.message(kind, &keys))?;
    match act {
        "value" => tell(&text(&answer["value"])),
        "exists" => tell(&text(&answer["exists"])),
        "list" => answer["names"].as_array().into_iter().flatten().try_for_each(|name| tell(&text(name))),
        _ => Ok(()),
    }
}

fn parsed(text: &str) -> Result<Value, End> {
    serde_json::from_str(text)
        .map_err(|error| Failure::refused(format!("{text:?} is no JSON: {error}")).into())
}

/// Opens what content comes from.
fn from() -> Result<File, End> {
    Ok(File::open("/dev/fd/5")?)
}

/// Opens what content goes to; what is there already stays.
fn to() -> Result<File, End> {
    Ok(OpenOptions::new().append(true).open("/dev/fd/6")?)
}

fn tell(text: &str) -> Result<(), End> {
    Ok(writeln!(to()?, "{text}")?)
}
