//! Archives that `dedup export` wrote, also if they were unpacked, changed and packed again.

use super::ImportArgs;
use crate::commands::export::ENTRIES_MAGIC;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use dedup_engine::backup::{
    BackupError, Entries, Parent, PartRequest, Parts, RunReport, RunRequest, StreamRequest, run_parts,
};
use dedup_engine::listing::{StoredPath, Time};
use dedup_engine::snapshot::{Account, Item, Outcome, Section, State};
use dedup_modules::archive::{About, AboutDump, ArchiveError, MemberKind, Members, ReadAt, TarSource};
use serde_json::json;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

/// Longest description and manifest; longest schema; longest key and value of a record that is taken whole.
const MAX_ABOUT: u64 = 64 << 20;
const MAX_MANIFEST: u64 = 1 << 20;
const MAX_SCHEMA: u64 = 16 << 20;
const MAX_KEY: u64 = 65_536;
const MAX_VALUE: u64 = dedup_modules::records::MAX_LONG;

impl std::convert::From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::of(error.kind(), &error)
    }
}

/// An archive and what it says of itself.
struct Archive {
    file: Arc<File>,
    len: u64,
    about: About,
}

pub fn run(ctx: &Context, args: &ImportArgs) -> Result<Exit, Failure> {
    let archive = Archive::open(&args.file)?;
    let about = &archive.about;
    // Looked through before anything is stored.
    let trees = archive.trees()?;
    let repo = ctx.open_indexed()?;
    let mut tags = [&about.tags[..], &args.tag[..]].concat();
    tags.sort();
    tags.dedup();
    let request = RunRequest {
        time: Time { secs: about.time.0, nanos: about.time.1 },
        utc_offset_minutes: about.time.2,
        host: about.host.clone(),
        user: about.user.clone(),
        program: about.program.clone(),
        tags,
        comment: about.comment.clone(),
        level: args.compression,
        threads: ctx.threads(),
        dry_run: false,
        elapsed: &|| ctx.elapsed(),
    };
    let report: RunReport = {
        let _operation = ctx.operation();
        run_parts(&repo, &request, ctx.events(), |parts| {
            Ok::<_, Failure>(vec![archive.store(parts, &trees)?])
        })?
    };
    ctx.progress.finish();
    let exit = if report.state <= State::Complete { Exit::Complete } else { Exit::Partial };
    let account = report.accounts.first();
    let Some(id) = report.snapshot else { return Err(Failure::refused("nothing was stored")) };
    if ctx.output.json {
        ctx.output.object(&json!({
            "type": "import",
            "snapshot_id": id.to_hex(),
            "module": about.module,
            "state": crate::commands::snapshots::state_word(report.state),
            "entries": report.totals.entries,
            "source_bytes": report.totals.bytes,
            "new_bytes": report.totals.bytes_new,
            "stored_bytes": report.totals.bytes_stored,
            "exit_code": exit.code(),
        }))?;
    } else {
        if let Some(account) = account.filter(|account| account.state != State::Complete) {
            ctx.output.warning(&format!(
                "module {} is {}: {}",
                account.module,
                crate::commands::snapshots::state_word(account.state),
                account.reason
            ));
        }
        let entries = human::counted(report.totals.entries, "entry", "entries");
        ctx.output.summary_line(format!(
            "Module {}: {} in {entries}",
            about.module,
            human::bytes(report.totals.bytes)
        ))?;
        ctx.output.line(format!("snapshot {} saved", id.short()))?;
    }
    Ok(exit)
}

/// Trees of an archive, looked through: of sections, and of dumps in their order.
struct Trees {
    sections: Vec<(Section, TarSource<File>)>,
    dumps: Vec<(usize, TarSource<File>)>,
}

impl Archive {
    fn open(path: &std::path::Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io(format!("cannot read {}", path.display()), &error);
        let file = Arc::new(File::open(path).map_err(failed)?);
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(Failure::refused(format!("{} is no file", path.display()))
                .hint("an archive is read where it lies, not from a pipe: write it to a file first"));
        }
        let mut archive = Self { file, len: meta.len(), about: About::default() };
        let text = archive.small("dedup-export.json", MAX_ABOUT)?.ok_or_else(|| {
            Failure::refused(format!(
                "{} is no archive that `dedup export` wrote: it lacks dedup-export.json",
                path.display()
            ))
        })?;
        archive.about = About::parse(&text)
            .map_err(|wrong| Failure::refused(format!("dedup-export.json in {}: {wrong}", path.display())))?;
        Ok(archive)
    }

    /// Finds a file of the archive: where its bytes are, and how many.
    fn find(&self, name: &str) -> Result<Option<(u64, u64)>, Failure> {
        let wanted = StoredPath::from_slashes(name.as_bytes());
        let mut members = Members::new(&*self.file, self.len);
        while let Some(member) = members.next()? {
            if Some(&member.path) == wanted.as_ref() && member.kind == MemberKind::File {
                return Ok(Some((member.at, member.size)));
            }
        }
        Ok(None)
    }

    fn small(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Failure> {
        let Some((at, size)) = self.find(name)? else { return Ok(None) };
        if size > most {
            return Err(Failure::refused(format!(
                "{name} in the archive has {size} bytes; at most {most} are taken"
            )));
        }
        let mut bytes = vec![0; size as usize];
        ReadAt::read_exact_at(&*self.file, &mut bytes, at)
            .map_err(|error| Failure::io(format!("cannot read {name}"), &error))?;
        Ok(Some(bytes))
    }

    fn trees(&self) -> Result<Trees, Failure> {
        let (mut sections, mut dumps) = (Vec::new(), Vec::new());
        let tree = |below: &str, has_root| TarSource::new(&self.file, self.len, below.as_bytes(), has_root);
        for listing in &self.about.listings {
            let section = section(&listing.section)?;
            sections.push((section, tree(&format!("files/{}", section.word()), listing.has_root)?));
        }
        for (number, dump) in self.about.dumps.iter().enumerate().filter(|(_, dump)| !dump.is_records) {
            section(&dump.section)?;
            dumps.push((number, tree(&format!("{}/content", dump.place), dump.has_root)?));
        }
        Ok(Trees { sections, dumps })
    }

    /// Stores everything as one account.
    fn store(&self, parts: &mut Parts<'_>, trees: &Trees) -> Result<Account, Failure> {
        let about = &self.about;
        let module = &about.module;
        let mut account = Account::new(module);
        account.version.clone_from(&about.module_version);
        account.sources.clone_from(&about.sources);
        account.dependencies.clone_from(&about.dependencies);
        (account.state, account.reason) = (state(&about.state)?, about.reason.clone());
        for item in &about.items {
            let outcome = Outcome::from_code(item.outcome);
            let outcome =
                outcome.ok_or_else(|| Failure::refused(format!("outcome {} is unknown", item.outcome)))?;
            account.items.push(Item { name: item.name.clone(), outcome, message: item.message.clone() });
        }
        let mut problems = 0;
        let mut part = |parts: &mut Parts<'_>, section, source: &TarSource<File>| {
            let request = PartRequest { module, section, parent: Parent::None, sources: None };
            let report = parts.store(source, &request)?;
            problems += report.totals.problems;
            Ok::<_, BackupError>(report)
        };
        for (section, source) in &trees.sections {
            part(parts, *section, source)?.enter(&mut account);
        }
        for (number, source) in &trees.dumps {
            let dump = &about.dumps[*number];
            let section = section(&dump.section)?;
            let report = part(parts, section, source)?;
            let mut made = report.as_dump(&dump.name, &dump.kind);
            made.schema = parts.blob(module, section, &self.schema(dump)?)?;
            account.totals.add(&report.totals);
            account.dumps.push(made);
        }
        for dump in about.dumps.iter().filter(|dump| dump.is_records) {
            self.records(parts, dump, &mut account)?;
        }
        if about.has_manifest {
            let manifest = self.small("manifest.toml", MAX_MANIFEST)?;
            let manifest = manifest.ok_or_else(|| Failure::refused("the archive lacks manifest.toml"))?;
            account.manifest = parts.blob(module, Section::Config, &manifest)?;
        }
        let worse = match (problems, about.lacks_secrets) {
            (0, false) => None,
            (0, true) => Some((State::Partial, "secrets were left out of the export".to_owned())),
            (n, _) => Some((State::Partial, format!("{n} entries of the archive could not be stored"))),
        };
        if let Some((state, why)) = worse {
            account.state = account.state.max(state);
            let before = std::mem::take(&mut account.reason);
            account.reason = if before.is_empty() { why } else { format!("{before}; {why}") };
        }
        Ok(account)
    }

    fn schema(&self, dump: &AboutDump) -> Result<Vec<u8>, Failure> {
        if !dump.has_schema {
            return Ok(Vec::new());
        }
        let name = format!("{}/schema", dump.place);
        self.small(&name, MAX_SCHEMA)?.ok_or_else(|| Failure::refused(format!("the archive lacks {name}")))
    }

    fn records(&self, parts: &mut Parts<'_>, dump: &AboutDump, account: &mut Account) -> Result<(), Failure> {
        let name = format!("{}/entries", dump.place);
        let section = section(&dump.section)?;
        let (at, size) =
            self.find(&name)?.ok_or_else(|| Failure::refused(format!("the archive lacks {name}")))?;
        let request = StreamRequest {
            module: &self.about.module,
            section,
            name: &dump.name,
            kind: &dump.kind,
            mtime: None,
        };
        let mut rows = BufReader::with_capacity(1 << 16, Slice { file: &self.file, at, left: size });
        let mut report = parts.records(&request, |entries| read_entries(&mut rows, entries, &name))?;
        report.dump.schema = parts.blob(&self.about.module, section, &self.schema(dump)?)?;
        report.enter(account);
        Ok(())
    }
}

/// A part of the archive.
struct Slice<'s> {
    file: &'s File,
    at: u64,
    left: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = ReadAt::read_at(self.file, &mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Reads keys and values; the map refuses those that do not rise.
fn read_entries(rows: &mut dyn Read, entries: &mut Entries<'_>, name: &str) -> Result<(), Failure> {
    let wrong = |what: &str| Failure::refused(format!("{name} in the archive {what}"));
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => wrong("breaks off"),
        _ => Failure::io(format!("cannot read {name}"), &error),
    };
    let mut magic = [0; ENTRIES_MAGIC.len()];
    rows.read_exact(&mut magic).map_err(failed)?;
    if magic != *ENTRIES_MAGIC {
        return Err(wrong("is of another form"));
    }
    let (mut key, mut value) = (Vec::new(), Vec::new());
    loop {
        let Some(len) = varint(rows).map_err(failed)? else { return Ok(()) };
        take(rows, len, MAX_KEY, &mut key)
            .map_err(failed)?
            .ok_or_else(|| wrong("has a key that is too long"))?;
        let len = varint(rows).map_err(failed)?.ok_or_else(|| wrong("breaks off"))?;
        take(rows, len, MAX_VALUE, &mut value)
            .map_err(failed)?
            .ok_or_else(|| wrong("has a value that is too long"))?;
        entries.push(&key, &value)?;
    }
}

/// Reads an unsigned LEB128 number; `None` at the end.
fn varint(rows: &mut dyn Read) -> io::Result<Option<u64>> {
    let mut number = 0u64;
    for at in 0..10 {
        let mut byte = [0];
        match rows.read_exact(&mut byte) {
            Err(error) if at == 0 && error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let part = u64::from(byte[0] & 0x7f);
        if at == 9 && part > 1 {
            break;
        }
        number |= part << (7 * at);
        if byte[0] & 0x80 == 0 {
            return Ok(Some(number));
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a length that is none"))
}

/// Reads so many bytes, as they come; `None` if that is more than is taken.
fn take(rows: &mut dyn Read, len: u64, most: u64, into: &mut Vec<u8>) -> io::Result<Option<()>> {
    if len > most {
        return Ok(None);
    }
    into.clear();
    rows.take(len).read_to_end(into)?;
    if into.len() as u64 == len { Ok(Some(())) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn section(word: &str) -> Result<Section, Failure> {
    let found = Section::ALL.into_iter().find(|section| section.word() == word);
    found.ok_or_else(|| Failure::refused(format!("{word:?} is no section")))
}

fn state(word: &str) -> Result<State, Failure> {
    let all = [State::Complete, State::Warned, State::Partial, State::Failed, State::Skipped];
    let found = all.into_iter().find(|state| crate::commands::snapshots::state_word(*state) == word);
    found.ok_or_else(|| Failure::refused(format!("{word:?} is no state of a module")))
}
