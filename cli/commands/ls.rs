//! `dedup ls`: lists what a snapshot holds.

use super::records::spec;
use super::restore::not_there;
use super::{choose, kind_word, listing, ls_parts};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, put_path};
use crate::section::SectionChoice;
use crate::select::{self, Filter, Selection};
use dedup_engine::browse;
use dedup_engine::listing::{Body, Node, StoredPath};
use dedup_modules::records::RecordSpec;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, Write};
use std::ops::ControlFlow;

/// List what a snapshot holds
///
/// Everything below PATH is listed, or the whole snapshot, in the order of the bytes of the names.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup ls latest
  dedup ls -l latest:/etc
  dedup ls --no-recursive 1a2b3c4d:/home/ann
  dedup ls --parts latest                        what each module stored: sections, sources, items
  dedup ls latest -m wiki source:db              the tables of a source, or what it gave")]
pub struct LsArgs {
    /// The snapshot: first digits of its id, latest or latest-any; and perhaps a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    snapshot: OsString,
    /// What a source of a module gave, instead of files: the tables of records, with their rows; else its streams
    #[arg(value_name = "source:NAME", value_parser = spec)]
    source: Option<RecordSpec>,
    /// List what each module stored beside files as well: sections, sources, and what became of what is declared
    #[arg(long, conflicts_with_all = ["source", "long", "recursive", "no_recursive"])]
    parts: bool,
    /// Show mode, owner, size and time as well
    #[arg(long, short)]
    long: bool,
    /// List everything below, which is the default
    #[arg(long, short = 'R', overrides_with = "no_recursive")]
    recursive: bool,
    /// List only what is in the directory itself
    #[arg(long, overrides_with = "recursive")]
    no_recursive: bool,
    #[command(flatten)]
    section: SectionChoice,
    #[command(flatten)]
    filter: Filter,
}

pub fn run(ctx: &Context, args: &LsArgs) -> Result<Exit, Failure> {
    let selection = Selection::parse(&args.snapshot)?;
    let repo = ctx.open_indexed()?;
    let chosen = choose(ctx, &repo, &selection.wanted, &args.filter)?;
    let module = args.filter.module.as_deref();
    if selection.path.is_some() && (args.parts || args.source.is_some()) {
        return Err(Failure::refused("either a path is listed or a part of a module, not both"));
    }
    if args.parts {
        return ls_parts::parts(ctx, &chosen, module, args.section);
    }
    let root = match &args.source {
        Some(spec) => match ls_parts::source(ctx, &repo, &chosen, module, args.section, spec)? {
            Some(root) => root,
            None => return Ok(Exit::Complete),
        },
        None => {
            let root = listing(ctx, &chosen.snapshot, &args.filter, args.section)?;
            if selection.path.is_none() && args.section.section.is_none() {
                ls_parts::tell_sources(ctx, select::account(&chosen.snapshot, module)?);
            }
            root
        }
    };
    let base = selection.path.unwrap_or_default();
    let at = browse::find_entry(&repo, root, &base)?;
    if at.is_none() && base != StoredPath::root() {
        return Err(not_there(&base, &chosen));
    }
    ctx.progress.finish();

    let mut list =
        Entries::new(ctx.output, json!({ "type": "ls", "snapshot_id": chosen.id.to_hex() }), "entries")?;
    let long = args.long;
    let mut each = |path: StoredPath, node: Node| {
        let line = |out: &mut dyn Write| {
            if long {
                write!(out, "{} ", long_columns(&node))?;
            }
            out.write_all(&ctx.output.name(&shown_path(&path)))?;
            if let (true, Body::Symlink(target)) = (long, &node.body) {
                out.write_all(b" -> ")?;
                out.write_all(&ctx.output.name(target))?;
            }
            out.write_all(b"\n")
        };
        list.entry(|| object(&path, &node), line)
    };
    let is_directory = at.as_ref().is_none_or(Node::is_directory);
    if args.no_recursive && is_directory {
        browse::children(&repo, root, &base, &mut each)?;
    } else {
        browse::walk(&repo, root, &base, &mut each)?;
    }
    list.end()?;
    Ok(Exit::Complete)
}

/// Returns a stored path as people know it: from the root of the machine it came from.
pub fn shown_path(path: &StoredPath) -> Vec<u8> {
    [b"/", &path.to_slashes()[..]].concat()
}

/// Describes an entry in JSON.
pub fn object(path: &StoredPath, node: &Node) -> Value {
    let mut object = json!({
        "kind": kind_word(node),
        "mode": format!("{:04o}", node.mode),
        "uid": node.uid,
        "gid": node.gid,
        "mtime": human::rfc3339(node.mtime),
    });
    put_path(&mut object, "path", &shown_path(path));
    if let Some((user, group)) = &node.names {
        object["user"] = user.as_str().into();
        object["group"] = group.as_str().into();
    }
    match &node.body {
        Body::File { size, .. } => object["size_bytes"] = (*size).into(),
        Body::Symlink(target) => put_path(&mut object, "target", target),
        Body::CharDevice { major, minor } | Body::BlockDevice { major, minor } => {
            object["major"] = (*major).into();
            object["minor"] = (*minor).into();
        }
        Body::Directory | Body::Fifo | Body::Socket => {}
    }
    if node.suspect {
        object["changed_while_read"] = true.into();
    }
    object
}

fn long_columns(node: &Node) -> String {
    let owner = |name: Option<&str>, id: u32| match name {
        Some(name) if !name.is_empty() => crate::escape::name(name.as_bytes()),
        _ => id.to_string(),
    };
    let names = node.names.as_ref();
    let user = owner(names.map(|(user, _)| &user[..]), node.uid);
    let group = owner(names.map(|(_, group)| &group[..]), node.gid);
    let size = match node.body {
        Body::CharDevice { major, minor } | Body::BlockDevice { major, minor } => format!("{major}, {minor}"),
        _ => node.size().to_string(),
    };
    format!("{} {user:8} {group:8} {size:>12} {}", mode_text(node), human::local_time(node.mtime))
}

/// Shows kind and mode in ten letters, as `ls -l` does (POSIX, "ls", STDOUT).
fn mode_text(node: &Node) -> String {
    let kind = match node.body {
        Body::File { .. } => '-',
        Body::Directory => 'd',
        Body::Symlink(_) => 'l',
        Body::Fifo => 'p',
        Body::Socket => 's',
        Body::CharDevice { .. } => 'c',
        Body::BlockDevice { .. } => 'b',
    };
    let mut text = String::from(kind);
    // Of each class: its shift, the special bit that shows in place of `x`, and its letter.
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = node.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, node.mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A long listing that is written as it comes: lines of text, or one JSON document.
pub struct Entries {
    output: Output,
    out: io::BufWriter<io::StdoutLock<'static>>,
    written: u64,
    error: Option<io::Error>,
}

impl Entries {
    /// Begins it; `head` is a JSON object, whose last field `list` will hold the entries.
    pub fn new(output: Output, head: Value, list: &str) -> io::Result<Self> {
        let mut out = output.listing();
        if output.json {
            let head = head.to_string();
            write!(out, "{},\"{list}\":[", head.strip_suffix('}').unwrap_or(&head))?;
        }
        Ok(Self { output, out, written: 0, error: None })
    }

    /// Writes one entry, in the form that is asked for. Breaks when that fails; [`Entries::end`] says why.
    pub fn entry(
        &mut self,
        object: impl FnOnce() -> Value,
        line: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> ControlFlow<()> {
        let comma = if self.written > 0 { "," } else { "" };
        let result =
            if self.output.json { write!(self.out, "{comma}\n{}", object()) } else { line(&mut self.out) };
        self.written += 1;
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Ends it; in JSON, `tail` holds further fields of the document.
    pub fn end_with(mut self, tail: &Value) -> io::Result<()> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.output.json {
            write!(self.out, "\n]")?;
            for (field, value) in tail.as_object().into_iter().flatten() {
                write!(self.out, ",{}:{value}", Value::from(field.as_str()))?;
            }
            writeln!(self.out, "}}")?;
        }
        self.out.flush()
    }

    /// Ends it.
    pub fn end(self) -> io::Result<()> {
        self.end_with(&Value::Null)
    }

    /// Returns whether writing failed already.
    pub fn has_failed(&self) -> bool {
        self.error.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_node::test_node;

    fn node(body: Body, mode: u32) -> Node {
        Node { mode, gid: 0, names: Some(("ann".into(), String::new())), ..test_node(body) }
    }

    #[test]
    fn modes_look_as_in_ls() {
        assert_eq!(mode_text(&node(Body::Directory, 0o1777)), "drwxrwxrwt");
        assert_eq!(mode_text(&node(Body::Directory, 0o3750)), "drwxr-s--T");
        assert_eq!(mode_text(&node(Body::Fifo, 0o4611)), "prwS--x--x");
        assert_eq!(mode_text(&node(Body::Symlink(Vec::new()), 0o777)), "lrwxrwxrwx");
    }

    #[test]
    fn json_has_what_the_kind_has() {
        let path = StoredPath::from_slashes(b"dev/sda").unwrap();
        let object = object(&path, &node(Body::BlockDevice { major: 8, minor: 0 }, 0o660));
        assert_eq!(object["path"], "/dev/sda");
        assert_eq!((&object["major"], &object["mode"]), (&json!(8), &json!("0660")));
        assert_eq!(object["user"], "ann");
        assert!(object.get("size_bytes").is_none());
    }
}
