//! `dedup module show`: what a run would store, stop and start of one module.

use super::list;
use crate::context::Context;
use crate::declared::{self, Checked, ModuleDirs, State};
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::{Table, put_path};
use dedup_engine::error::Kind;
use dedup_modules::catalog::{Catalog, CommandError, Entry, Measured, Presence, measure};
use dedup_modules::id::ModuleId;
use dedup_modules::manifest::items::{Extent, Item};
use dedup_modules::manifest::services::{Operation, start_order};
use dedup_modules::manifest::{Manifest, nearest};
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;

/// Show what would be stored, stopped and run of a module
///
/// Every declared path with its size, or why it has none; databases and other sources; services in the order in which they
/// stop; programs, and whether they may be started; what the module requires and who requires it. Nothing is run and
/// nothing is changed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup module show wordpress
  dedup module show --no-size --json wordpress")]
pub struct ShowArgs {
    /// The module
    #[arg(value_name = "ID", value_parser = ModuleId::parse)]
    id: ModuleId,

    /// Do not look at files; sizes are left out
    #[arg(long)]
    no_size: bool,

    #[command(flatten)]
    dirs: ModuleDirs,
}

pub fn run(ctx: &Context, args: &ShowArgs) -> Result<Exit, Failure> {
    let catalog = declared::catalog(&args.dirs)?;
    declared::tell_faults(ctx, &catalog);
    let entry = catalog.find(&args.id).ok_or_else(|| unknown(&catalog, &args.id))?;
    let manifest = match &entry.what {
        Ok(manifest) => manifest,
        Err(wrong) => {
            let message = format!("module {} cannot be used: {}", entry.id, declared::reason(wrong));
            let failure = Failure::refused(message);
            return Err(match wrong.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            });
        }
    };
    let variables = ctx.config.paths.of(manifest);
    let items = manifest.items(&variables).map_err(|error| Failure::refused(error.to_string()))?;
    let mut sizes = Vec::new();
    for item in items.iter().filter(|_| !args.no_size) {
        // Nothing is changed, so an interruption may end the process where it stands.
        let size = measure(manifest, &items, item, &std::env::temp_dir(), &|| false);
        sizes.push(size.map_err(|error| Failure::refused(error.to_string()))?);
    }
    let shown = Shown {
        ctx,
        catalog: &catalog,
        entry,
        manifest,
        items,
        sizes,
        programs: declared::check_programs(manifest, &variables),
    };
    if ctx.output.json {
        ctx.output.object(&shown.json())?
    } else {
        shown.text()?
    }
    Ok(Exit::Complete)
}

fn unknown(catalog: &Catalog, id: &ModuleId) -> Failure {
    let failure = Failure::new(Kind::Missing, format!("there is no module {id}"));
    match nearest(id.as_str(), catalog.entries.keys().map(ModuleId::as_str)) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint("`dedup module list` shows which there are"),
    }
}

struct Shown<'a> {
    ctx: &'a Context,
    catalog: &'a Catalog,
    entry: &'a Entry<Manifest>,
    manifest: &'a Manifest,
    items: Vec<Item<'a>>,
    /// One for each item; none if nobody asked.
    sizes: Vec<Measured>,
    programs: Vec<Checked>,
}

fn extent_word(item: &Item<'_>) -> &'static str {
    match item.extent {
        Extent::File => "file",
        Extent::Tree => "directory",
        Extent::DirectoryOnly => "directory-only",
        Extent::Pattern => "pattern",
    }
}

fn presence_word(presence: Presence) -> &'static str {
    match presence {
        Presence::Present => "present",
        Presence::Absent => "absent",
        Presence::Unreadable => "unreadable",
        Presence::WrongKind => "wrong-kind",
    }
}

impl Shown<'_> {
    /// Returns the services in the order in which a backup stops them; it starts them in reverse.
    fn stops(&self) -> Vec<(String, String)> {
        let order = start_order([self.manifest], Operation::Backup);
        order.iter().rev().map(|own| (own.service.kind.to_string(), own.service.name.clone())).collect()
    }

    fn json(&self) -> Value {
        let items = self.items.iter().enumerate().map(|(n, item)| {
            let size = self.sizes.get(n);
            let mut object = json!({
                "section": item.section.to_string(),
                "extent": extent_word(item),
                "optional": item.optional,
                "presence": size.map(|size| presence_word(size.presence)),
                "entries": size.map(|size| size.entries),
                "source_bytes": size.map(|size| size.bytes),
                "problems": size.map(|size| size.problems),
                "first_problem": size.and_then(|size| size.first_problem.as_ref()),
            });
            put_path(&mut object, "path", item.path.as_os_str().as_bytes());
            object
        });
        let sources = self.manifest.sources.iter().map(|source| {
            json!({
                "name": source.name,
                "driver": source.driver.to_string(),
                "section": source.section.to_string(),
                "phase": source.phase.to_string(),
                "needs": source.needs,
            })
        });
        let programs = self.programs.iter().map(|(named, result)| {
            json!({
                "at": named.at,
                "command": named.argv,
                "shell": named.shell,
                "user": named.user,
                "container": named.container,
                "program": result.as_ref().ok().and_then(|path| Some(path.as_ref()?.display().to_string())),
                "refused": result.as_ref().err().map(ToString::to_string),
                "hint": result.as_ref().err().and_then(CommandError::hint),
            })
        });
        let requires = &self.manifest.depends.requires;
        let mut object = list::as_json(self.ctx, self.entry);
        object["type"] = "module".into();
        object["items"] = items.collect();
        object["settings"] = json!(self.manifest.settings);
        object["sources"] = sources.collect();
        object["stops"] =
            self.stops().iter().map(|(kind, name)| json!({ "kind": kind, "name": name })).collect();
        object["programs"] = programs.collect();
        object["requires"] = requires.iter().map(|it| Value::from(it.to_string())).collect();
        object["required_by"] =
            self.catalog.required_by(&self.entry.id).map(|id| Value::from(id.as_str())).collect();
        object
    }

    fn text(&self) -> Result<(), Failure> {
        let out = &self.ctx.output;
        let module = &self.manifest.module;
        let state = State::of(self.ctx, self.entry);
        let why = state.why().map(|why| format!(" ({why})")).unwrap_or_default();
        out.line(escape::text(&format!("{}, version {}: {}{why}", module.id, module.version, state.word())))?;
        for text in [&module.name, &module.description].into_iter().filter(|text| !text.is_empty()) {
            out.line(format!("  {}", escape::text(text)))?;
        }
        out.line(format!("  {}", escape::name(self.entry.file.as_os_str().as_bytes())))?;
        self.stored()?;
        let sources = self.manifest.sources.iter().map(|source| {
            let needs = source.needs.join(", ");
            let needs = if needs.is_empty() { needs } else { format!(", while {needs} runs") };
            format!("{}: {} ({}, {}{needs})", source.name, source.driver, source.section, source.phase)
        });
        self.block("asks", sources)?;
        self.block("keeps settings", self.manifest.settings.iter().cloned())?;
        let stops = self.stops();
        self.block(
            "stops, in this order, what runs of",
            stops.iter().map(|(kind, name)| format!("{name} ({kind})")),
        )?;
        self.block("may run", self.programs.iter().map(program_line))?;
        self.block("requires", self.manifest.depends.requires.iter().map(ToString::to_string))?;
        self.block("is required by", self.catalog.required_by(&self.entry.id).map(ToString::to_string))
    }

    fn stored(&self) -> Result<(), Failure> {
        if self.items.is_empty() {
            return Ok(());
        }
        self.ctx.output.line("stores")?;
        let mut table = Table::new(&["", "", "Section", "Entries", "Size", "Path"], &[3, 4]);
        for (n, item) in self.items.iter().enumerate() {
            let path = escape::name(item.path.as_os_str().as_bytes());
            let (entries, bytes, note) = match self.sizes.get(n) {
                None => Default::default(),
                Some(size) => figures(item, size),
            };
            table.row(vec![
                String::new(),
                String::new(),
                item.section.to_string(),
                entries,
                bytes,
                path + &note,
            ]);
        }
        for line in table.lines().iter().skip(1) {
            self.ctx.output.line(line)?;
        }
        let (entries, bytes) = self.sizes.iter().fold((0_u64, 0_u64), |(entries, bytes), size| {
            (entries.saturating_add(size.entries), bytes.saturating_add(size.bytes))
        });
        if !self.sizes.is_empty() {
            let entries = human::counted(entries, "entry", "entries");
            self.ctx.output.line(format!("    together {entries}, {}", human::bytes(bytes)))?;
        }
        Ok(())
    }

    fn block(&self, title: &str, lines: impl Iterator<Item = String>) -> Result<(), Failure> {
        for (n, line) in lines.enumerate() {
            if n == 0 {
                self.ctx.output.line(title)?;
            }
            self.ctx.output.line(format!("    {}", escape::text(&line)))?;
        }
        Ok(())
    }
}

/// Returns entries, size, and what is to be said beside the path.
fn figures(item: &Item<'_>, size: &Measured) -> (String, String, String) {
    let note = match size.presence {
        Presence::Present if size.problems > 0 => {
            let first = size.first_problem.as_deref().unwrap_or_default();
            let count = human::counted(size.problems, "entry", "entries");
            format!("  {count} cannot be read: {}", escape::text(first))
        }
        Presence::Present => String::new(),
        Presence::Absent if item.optional => "  absent, as it may be".into(),
        Presence::Absent => "  absent".into(),
        Presence::Unreadable => "  cannot be read".into(),
        Presence::WrongKind => format!("  is no {}", extent_word(item)),
    };
    if size.presence == Presence::Present {
        return (human::count(size.entries), human::bytes(size.bytes), note);
    }
    ("-".into(), "-".into(), note)
}

fn program_line((named, result): &Checked) -> String {
    let how = match (&named.container, &named.user) {
        (Some(container), _) => format!(" in container {container}"),
        (None, Some(user)) => format!(" as {user}"),
        (None, None) => String::new(),
    };
    let refused = result.as_ref().err().map(|error| {
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("; would not be started: {error}{hint}")
    });
    format!("{}{how}: {}{}", named.at, named.argv.join(" "), refused.unwrap_or_default())
}
