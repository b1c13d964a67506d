//! `dedup dump`: a file, or a directory as a tar stream, on standard output.

use super::records::{RowFormat, spec};
use super::restore::not_there;
use super::{choose, listing};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{complain, outcome_word};
use crate::section::SectionChoice;
use crate::select::{self, Filter, Selection};
use crate::tar_stream::TarStream;
use dedup_engine::browse::{self, BrowseError, Contents};
use dedup_engine::error::Kind;
use dedup_engine::listing::{Body, Node, StoredPath};
use dedup_engine::map::{Class, Root};
use dedup_engine::repo::Repository;
use dedup_engine::snapshot::{Outcome, Snapshot};
use dedup_modules::records::RecordSpec;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

/// Write a file, or a directory as a tar stream, to standard output
///
/// The tar has the form of POSIX.1-2001 (pax), with times to the nanosecond, extended attributes and hard
/// links; names in it begin at the directory that is dumped. Sockets cannot be in a tar and are told.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup dump latest:/etc/fstab
  dedup dump latest:/home/ann/Documents > documents.tar
  dedup dump latest:/srv | tar -x -C /tmp/srv
  dedup dump latest -m wiki source:db > wiki.sql
  dedup dump latest -m wiki source:db:pages --format csv > pages.csv")]
pub struct DumpArgs {
    /// The snapshot: first digits of its id, latest or latest-any; and the path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    snapshot: OsString,
    /// What a source of a module gave, instead of a path: a stream as it was, a tree as a tar stream
    ///
    /// Of records, all tables, or one (source:NAME:TABLE), or rows of one by their keys (`source:NAME:TABLE[KEY]`).
    #[arg(value_name = "source:NAME", value_parser = spec)]
    source: Option<RecordSpec>,
    /// How to write records
    #[arg(long, value_name = "FORMAT", requires = "source")]
    format: Option<RowFormat>,
    /// Write a tar stream even for a single file
    #[arg(long)]
    tar: bool,
    #[command(flatten)]
    section: SectionChoice,
    #[command(flatten)]
    filter: Filter,
}

pub fn run(ctx: &Context, args: &DumpArgs) -> Result<Exit, Failure> {
    let selection = Selection::parse(&args.snapshot)?;
    let base = match (&selection.path, &args.source) {
        (Some(path), None) => path.clone(),
        (None, Some(_)) => StoredPath::root(),
        (Some(_), Some(_)) => return Err(Failure::refused("either a path is dumped or a source, not both")),
        (None, None) => {
            return Err(Failure::refused("no path is named")
                .hint("write SNAPSHOT:PATH; `SNAPSHOT:/` dumps everything as a tar stream"));
        }
    };
    let repo = ctx.open_indexed()?;
    let chosen = choose(ctx, &repo, &selection.wanted, &args.filter)?;
    let (root, base) = match &args.source {
        None => (listing(ctx, &chosen.snapshot, &args.filter, args.section)?, base),
        Some(spec) => match source(args, &chosen.snapshot, spec)? {
            Some(found) => found,
            None => return records(ctx, args, &repo, &chosen.snapshot, spec),
        },
    };
    let node = browse::find_entry(&repo, root, &base)?;
    ctx.progress.finish();
    let mut out = Pipe { inner: ctx.output.listing(), broken: false };
    let result = match &node {
        None if base != StoredPath::root() => return Err(not_there(&base, &chosen)),
        Some(node) if !args.tar && matches!(node.body, Body::File { .. }) => {
            file(&repo, root.class, node, &mut out)
        }
        Some(node) if !args.tar && !node.is_directory() => {
            return Err(Failure::refused("it is neither a file nor a directory")
                .hint("--tar writes it as an entry of a tar stream"));
        }
        _ if ctx.output.to_terminal && io::stdout().is_terminal() => {
            return Err(Failure::refused("a tar stream is nothing for a terminal")
                .hint("send it to a file or a pipe"));
        }
        _ => tar(&repo, root, &base, &mut out),
    };
    if out.broken {
        return Ok(Exit::Complete);
    }
    result
}

/// Writes records.
fn records(
    ctx: &Context,
    args: &DumpArgs,
    repo: &Repository,
    snapshot: &Snapshot,
    spec: &RecordSpec,
) -> Result<Exit, Failure> {
    let format = args.format.ok_or_else(|| {
        Failure::refused(format!("{:?} is a set of records", spec.source))
            .hint("say how to write them: --format csv, jsonl or sql")
    })?;
    let module = args.filter.module.as_deref();
    let (stored, _) = super::records::open(repo, snapshot, module, args.section, &spec.source)?;
    ctx.progress.finish();
    let mut out = Pipe { inner: ctx.output.listing(), broken: false };
    let result = super::records::write(&stored, spec, format, &mut out);
    if out.broken { Ok(Exit::Complete) } else { result.map(|()| Exit::Complete) }
}

/// Finds what a source gave: a stream by the path of its one file, a tree from its root; `None`: records.
fn source<'a>(
    args: &DumpArgs,
    snapshot: &'a Snapshot,
    spec: &RecordSpec,
) -> Result<Option<(&'a Root, StoredPath)>, Failure> {
    let name = &spec.source[..];
    let account = select::account(snapshot, args.filter.module.as_deref())?;
    let dump = args.section.dump(account, name)?;
    if !dump.is_listing() {
        return Ok(None);
    }
    if spec.table.is_some() || args.format.is_some() {
        return Err(Failure::refused(format!("{name:?} is no set of records: it has no tables")));
    }
    // A tree has its root directory as an entry, or several.
    let path = StoredPath::root().join(name.as_bytes()).filter(|_| dump.root.entries == 1);
    Ok(Some((&dump.root, path.unwrap_or_default())))
}

fn file(repo: &Repository, class: Class, node: &Node, out: &mut impl Write) -> Result<Exit, Failure> {
    Contents::new(repo, class)?.write(node, out)?;
    out.flush()?;
    Ok(if node.suspect { Exit::Partial } else { Exit::Complete })
}

fn tar(repo: &Repository, root: &Root, base: &StoredPath, out: &mut impl Write) -> Result<Exit, Failure> {
    let strip = base.parent().unwrap_or_default();
    let mut tar = TarStream::new(out);
    let contents = Contents::new(repo, root.class)?;
    let mut exit = Exit::Complete;
    let mut error = None;
    browse::walk(repo, root, base, &mut |path, node| {
        let name = path.below(&strip).unwrap_or_default();
        match entry(&contents, &mut tar, &name, &node) {
            Ok(true) => {}
            Ok(false) => {
                let path = crate::escape::name(&path.to_slashes());
                complain(&format!("warning: /{path} is left out ({})", outcome_word(Outcome::NotStorable)));
                exit = Exit::Partial;
            }
            Err(failure) => {
                error = Some(failure);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    match error {
        // The stream lacks its end, so that whoever unpacks it notices too.
        Some(failure) => Err(failure),
        None => {
            tar.finish()?;
            Ok(exit)
        }
    }
}

/// Writes one entry; `false` if a tar cannot hold it.
fn entry<W: Write>(
    contents: &Contents<'_>,
    tar: &mut TarStream<W>,
    name: &StoredPath,
    node: &Node,
) -> Result<bool, Failure> {
    let xattrs = contents.xattrs(node)?;
    let mut failure: Option<BrowseError> = None;
    let written = tar.entry(name, node, &xattrs, |out| {
        contents.write(node, out).map_err(|error| {
            let text = io::Error::other(error.to_string());
            failure = Some(error);
            text
        })
    });
    match (failure, written) {
        (Some(failure), _) => Err(failure.into()),
        (None, Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Failure::new(Kind::Integrity, error.to_string()))
        }
        (None, written) => Ok(written?),
    }
}

/// Remembers whether the reader went away, whatever is made of the error on its way through the engine.
struct Pipe<W> {
    inner: W,
    broken: bool,
}

impl<W> Pipe<W> {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.broken |= result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        result
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.note(result)
    }
}
