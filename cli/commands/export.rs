//! `dedup export`: a module of a snapshot as a plain tar archive, which needs no `dedup` to read.
//!
//! ```text
//! README.txt                 how to use it by hand
//! dedup-export.json          what it is of, for `dedup import`
//! dumps/0001-NAME/content/…  what a source wrote, as files
//! files/config|data|secrets/…
//! manifest.toml              the module's manifest
//! problems.jsonl             entries that are not in the snapshot, or not as they should be
//! records/0001-NAME/entries  rows, exactly; rows.sql or rows.jsonl the same for people
//! records/0001-NAME/schema   what the source keeps beside them
//! ```

use super::choose;
use super::records::{self, RowFormat};
use crate::context::Context;
use crate::exit::Exit;
use crate::export_tar::{Counted, ExportTar, OutFile, clean};
use crate::failure::Failure;
use crate::human;
use crate::output::outcome_word;
use crate::select::{self, Filter, Selection};
use dedup_engine::browse::{self, Contents};
use dedup_engine::id::ObjectId;
use dedup_engine::listing::StoredPath;
use dedup_engine::map::{BlobReader, Class, Cursor, Root, Value};
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Account, Dump, Section, Snapshot};
use dedup_engine::wire::Put;
use dedup_modules::archive::{About, AboutDump, AboutItem, AboutListing};
use dedup_modules::records::text::Dialect;
use dedup_modules::records::{RecordSpec, StoredSource};
use serde_json::json;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

/// Longest manifest and schema (`FORMAT.md` 12).
const MAX_MANIFEST: u64 = 1 << 20;
const MAX_SCHEMA: u64 = 16 << 20;
/// What an exact copy of rows begins with.
pub const ENTRIES_MAGIC: &[u8; 16] = b"dedup records 1\n";

const README: &str = include_str!("export_readme.txt");

/// Write a module of a snapshot as a plain tar archive
///
/// It has the module's files with their metadata, what its databases gave as SQL, JSON lines or as their programs wrote it, its
/// manifest, and a README that says how to use it by hand. `dedup import` makes a snapshot of it again.
///
/// An archive is not encrypted. Secrets are left out unless --secrets is given.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup export latest -m wiki --output wiki.tar
  dedup export latest -m wiki --secrets | ssh other 'cat > wiki.tar'
  dedup export 1a2b3c4d -m files --output files.tar")]
pub struct ExportArgs {
    /// The snapshot: first digits of its id, latest or latest-any
    #[arg(value_name = "SNAPSHOT")]
    snapshot: OsString,
    /// Write the archive to this file, which must not be there [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also what is secret, in clear
    #[arg(long)]
    secrets: bool,
    #[command(flatten)]
    filter: Filter,
}

pub fn run(ctx: &Context, args: &ExportArgs) -> Result<Exit, Failure> {
    let selection = Selection::parse(&args.snapshot)?;
    if selection.path.is_some() {
        return Err(Failure::refused("a module is exported whole, not a path of it")
            .hint("`dedup dump SNAPSHOT:PATH` writes a directory as a tar stream"));
    }
    let Some(module) = &args.filter.module else {
        return Err(
            Failure::refused("no module is named").hint("name one with -m; plain paths are the module files")
        );
    };
    let repo = ctx.open_indexed()?;
    let chosen = choose(ctx, &repo, &selection.wanted, &args.filter)?;
    let account = select::account(&chosen.snapshot, Some(module))?;
    let mut out = OutFile::create(ctx, args.output.as_deref())?;
    let written = {
        let _operation = ctx.operation();
        let export = Export {
            repo: &repo,
            id: &chosen.id,
            snapshot: &chosen.snapshot,
            account,
            secrets: args.secrets,
        };
        export.write(&mut out)
    };
    ctx.progress.finish();
    let (bytes, left_out) = written?;
    out.keep()?;
    for path in &left_out {
        ctx.output.warning(&format!(
            "{path} is left out: {}",
            outcome_word(dedup_engine::snapshot::Outcome::NotStorable)
        ));
    }
    if Export::has_secrets(account) && !args.secrets {
        ctx.output.note("what is secret is left out; --secrets writes it too, in clear");
    }
    let exit = if left_out.is_empty() { Exit::Complete } else { Exit::Partial };
    if let Some(file) = &args.output {
        if ctx.output.json {
            ctx.output.object(&json!({
                "type": "export",
                "snapshot_id": chosen.id.to_hex(),
                "module": account.module,
                "path": file.display().to_string(),
                "written_bytes": bytes,
                "left_out": left_out,
                "exit_code": exit.code(),
            }))?;
        } else {
            ctx.output.line(format!("{} written to {}", human::bytes(bytes), file.display()))?;
        }
    }
    Ok(exit)
}

/// What is exported.
struct Export<'e> {
    repo: &'e Repository,
    id: &'e ObjectId,
    snapshot: &'e Snapshot,
    account: &'e Account,
    secrets: bool,
}

impl Export<'_> {
    fn has_secrets(account: &Account) -> bool {
        let is_secret = |section: Section| section == Section::Secrets;
        account.listings.iter().any(|listing| is_secret(listing.section))
            || account.dumps.iter().any(|dump| is_secret(dump.section))
    }

    fn takes(&self, section: Section) -> bool {
        section != Section::Secrets || self.secrets
    }

    /// Dumps of the one form or the other, and their directories.
    fn dumps(&self, records: bool) -> impl Iterator<Item = (&Dump, String)> {
        let all = self.account.dumps.iter().filter(|dump| self.takes(dump.section)).enumerate();
        all.filter(move |(_, dump)| dump.is_listing() != records).map(move |(number, dump)| {
            let kind = if records { "records" } else { "dumps" };
            (dump, format!("{kind}/{:04}-{}", number + 1, clean(&dump.name)))
        })
    }

    /// Writes the archive, in the order of names; returns its bytes, and what a tar cannot hold.
    fn write(&self, out: &mut dyn Write) -> Result<(u64, Vec<String>), Failure> {
        let mut tar = ExportTar::new(out, self.snapshot.time);
        tar.text("README.txt", README.replace("MODULE", &self.account.module).as_bytes())?;
        tar.text("dedup-export.json", self.about()?.to_text().as_bytes())?;
        for (dump, place) in self.dumps(false) {
            self.tree(&mut tar, &dump.root, &format!("{place}/content"))?;
            self.schema(&mut tar, dump, &place)?;
        }
        for listing in self.account.listings.iter().filter(|listing| self.takes(listing.section)) {
            self.tree(&mut tar, &listing.root, &format!("files/{}", listing.section.word()))?;
        }
        if self.account.manifest.len > 0 {
            let manifest = browse::blob(self.repo, Class::Open, &self.account.manifest, MAX_MANIFEST)?;
            tar.text("manifest.toml", &manifest)?;
        }
        let problems = self.problems()?;
        if !problems.is_empty() {
            tar.text("problems.jsonl", &problems)?;
        }
        for (dump, place) in self.dumps(true) {
            self.records(&mut tar, dump, &place)?;
            self.schema(&mut tar, dump, &place)?;
        }
        Ok(tar.finish()?)
    }

    fn tree(&self, tar: &mut ExportTar<'_>, root: &Root, below: &str) -> Result<(), Failure> {
        let contents = Contents::new(self.repo, root.class)?;
        let mut failed = None;
        tar.begin_tree();
        browse::walk(self.repo, root, &StoredPath::root(), &mut |path, node| match tar
            .entry(&contents, below, &path, &node)
        {
            Ok(()) => std::ops::ControlFlow::Continue(()),
            Err(failure) => {
                failed = Some(failure);
                std::ops::ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn schema(&self, tar: &mut ExportTar<'_>, dump: &Dump, place: &str) -> Result<(), Failure> {
        if dump.schema.len == 0 {
            return Ok(());
        }
        let schema = browse::blob(self.repo, dump.section.class(), &dump.schema, MAX_SCHEMA)?;
        tar.text(&format!("{place}/schema"), &schema)
    }

    /// Writes rows exactly, and for people. What precedes bytes in a tar is their number: each is made twice.
    fn records(&self, tar: &mut ExportTar<'_>, dump: &Dump, place: &str) -> Result<(), Failure> {
        let mut size = Counted::default();
        self.entries(dump, &mut size, false)?;
        tar.sized(&format!("{place}/entries"), size.bytes, &mut |out| self.entries(dump, out, true))?;
        let stored = StoredSource::open(self.repo, dump)?;
        let (format, name) = match Dialect::of(&stored.schema) {
            Some(_) => (RowFormat::Sql, "rows.sql"),
            None => (RowFormat::Jsonl, "rows.jsonl"),
        };
        let spec = RecordSpec { source: dump.name.clone(), table: None, keys: Vec::new() };
        let mut size = Counted::default();
        records::write(&stored, &spec, format, &mut size)?;
        tar.sized(&format!("{place}/{name}"), size.bytes, &mut |out| {
            records::write(&stored, &spec, format, out)
        })
    }

    /// Writes the entries of a map: key and value as bytes with their lengths. Without values only their number is right.
    fn entries(&self, dump: &Dump, out: &mut dyn Write, with_values: bool) -> Result<(), Failure> {
        let reader = browse::maps(self.repo, dump.section.class())?;
        let mut cursor = Cursor::new(&reader, dump.root, self.repo.leaf_target());
        out.write_all(ENTRIES_MAGIC)?;
        while let Some(entry) = cursor.next()? {
            let (mut head, len) = (Vec::new(), entry.value.size_bytes());
            head.put_bytes(entry.key);
            head.put_varint(len);
            out.write_all(&head)?;
            match entry.value {
                Value::Inline(bytes) => out.write_all(bytes)?,
                Value::Blob(_) if !with_values => {
                    io::copy(&mut io::Read::take(io::repeat(0), len), out).map(drop)?
                }
                Value::Blob(blob) => {
                    let mut pieces = BlobReader::new(&reader, &blob)?;
                    while let Some(piece) = pieces.next()? {
                        out.write_all(&piece)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn problems(&self) -> Result<Vec<u8>, Failure> {
        let mut lines = Vec::new();
        for listing in self.account.listings.iter().filter(|listing| self.takes(listing.section)) {
            browse::problems(self.repo, listing, &mut |key, outcome, message| {
                let path: Vec<u8> = key.iter().map(|byte| if *byte == 0 { b'/' } else { *byte }).collect();
                let line = json!({
                    "section": listing.section.word(),
                    "path": format!("/{}", String::from_utf8_lossy(&path)),
                    "outcome": outcome_word(outcome),
                    "message": message,
                });
                // Bounded: what does not fit is in the snapshot.
                if lines.len() < MAX_SCHEMA as usize {
                    lines.extend_from_slice(format!("{line}\n").as_bytes());
                }
            })?;
        }
        Ok(lines)
    }

    fn has_root(&self, root: &Root) -> Result<bool, Failure> {
        Ok(root.entries > 0 && browse::find_entry(self.repo, root, &StoredPath::root())?.is_some())
    }

    fn about(&self) -> Result<About, Failure> {
        let (snapshot, account) = (self.snapshot, self.account);
        let mut about = About {
            repository: self.repo.id().to_hex(),
            snapshot: self.id.to_hex(),
            time: (snapshot.time.secs, snapshot.time.nanos, snapshot.utc_offset_minutes),
            host: snapshot.host.clone(),
            user: snapshot.user.clone(),
            program: snapshot.program.clone(),
            tags: snapshot.tags.clone(),
            comment: snapshot.comment.clone(),
            module: account.module.clone(),
            module_version: account.version.clone(),
            state: super::snapshots::state_word(account.state).into(),
            reason: account.reason.clone(),
            sources: account.sources.clone(),
            dependencies: account.dependencies.clone(),
            lacks_secrets: Self::has_secrets(account) && !self.secrets,
            has_manifest: account.manifest.len > 0,
            ..About::default()
        };
        about.items = account
            .items
            .iter()
            .map(|item| AboutItem {
                name: item.name.clone(),
                outcome: item.outcome.code(),
                message: item.message.clone(),
            })
            .collect();
        for listing in account.listings.iter().filter(|listing| self.takes(listing.section)) {
            let has_root = self.has_root(&listing.root)?;
            about.listings.push(AboutListing { section: listing.section.word().into(), has_root });
        }
        for (dump, place) in self.dumps(false).chain(self.dumps(true)) {
            about.dumps.push(AboutDump {
                name: dump.name.clone(),
                section: dump.section.word().into(),
                kind: dump.kind.clone(),
                place,
                is_records: !dump.is_listing(),
                has_root: dump.is_listing() && self.has_root(&dump.root)?,
                has_schema: dump.schema.len > 0,
            });
        }
        Ok(about)
    }
}
