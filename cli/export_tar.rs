//! The tar archive of an export, and the file that it goes to.

use crate::context::Context;
use crate::failure::Failure;
use crate::tar_stream::TarStream;
use dedup_engine::browse::{BrowseError, Contents};
use dedup_engine::error::Kind;
use dedup_engine::listing::{Body, Content, Node, StoredPath, Time, Xattrs};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Turns a name into one that is safe in every file system: others' letters become `_`.
pub fn clean(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars().take(60).map(|c| if is_plain(c) { c } else { '_' }).collect()
}

/// Counts what is written.
#[derive(Default)]
pub struct Counted {
    pub bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes through, and counts.
struct Through<'t> {
    out: &'t mut dyn Write,
    bytes: u64,
}

impl Write for Through<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Entries of an export, in the order of their names.
pub struct ExportTar<'t> {
    tar: TarStream<Through<'t>>,
    time: Time,
    left_out: Vec<String>,
}

impl<'t> ExportTar<'t> {
    /// Begins; files that are in no snapshot have this time.
    pub fn new(out: &'t mut dyn Write, time: Time) -> Self {
        Self { tar: TarStream::new(Through { out, bytes: 0 }), time, left_out: Vec::new() }
    }

    /// Begins a tree: links lead to nothing outside of it.
    pub fn begin_tree(&mut self) {
        self.tar.forget_links();
    }

    /// Writes a small file.
    pub fn text(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.sized(name, bytes.len() as u64, &mut |out| Ok(out.write_all(bytes)?))
    }

    /// Writes a file of so many bytes.
    pub fn sized(
        &mut self,
        name: &str,
        size: u64,
        content: &mut dyn FnMut(&mut dyn Write) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let node = Node {
            body: Body::File { size, holes: Vec::new(), content: Content::default() },
            mode: 0o600,
            uid: 0,
            gid: 0,
            names: None,
            mtime: self.time,
            ctime: self.time,
            atime: None,
            btime: None,
            xattrs: Xattrs::None,
            link: None,
            suspect: false,
        };
        let path = StoredPath::from_slashes(name.as_bytes()).unwrap_or_default();
        let mut failed = None;
        let written = self.tar.entry(&path, &node, &[], |out| {
            content(out).map_err(|failure| {
                let text = io::Error::other(failure.message.clone());
                failed = Some(failure);
                text
            })
        });
        ended(failed, written).map(drop)
    }

    /// Writes an entry of a snapshot below a directory.
    pub fn entry(
        &mut self,
        contents: &Contents<'_>,
        below: &str,
        path: &StoredPath,
        node: &Node,
    ) -> Result<(), Failure> {
        let name = [below.as_bytes(), b"/", &path.to_slashes()].concat();
        let name = StoredPath::from_slashes(&name).unwrap_or_default();
        let xattrs = contents.xattrs(node)?;
        let mut failed: Option<BrowseError> = None;
        let written = self.tar.entry(&name, node, &xattrs, |out| {
            contents.write(node, out).map_err(|error| {
                let text = io::Error::other(error.to_string());
                failed = Some(error);
                text
            })
        });
        if !ended(failed.map(Failure::from), written)? {
            self.left_out.push(format!("/{}", crate::escape::name(&path.to_slashes())));
        }
        Ok(())
    }

    /// Ends the archive; returns its bytes, and what a tar cannot hold.
    pub fn finish(self) -> io::Result<(u64, Vec<String>)> {
        let bytes = self.tar.finish_into()?.bytes;
        Ok((bytes, self.left_out))
    }
}

fn ended(failed: Option<Failure>, written: io::Result<bool>) -> Result<bool, Failure> {
    match (failed, written) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Failure::new(Kind::Integrity, error.to_string()))
        }
        (None, written) => Ok(written?),
    }
}

/// Where an archive goes: a file that has its name only when it is whole, or standard output.
pub struct OutFile {
    out: Box<dyn Write>,
    place: Option<(PathBuf, PathBuf)>,
}

impl OutFile {
    /// Opens it. A file is for its owner alone.
    pub fn create(ctx: &Context, file: Option<&Path>) -> Result<Self, Failure> {
        let Some(file) = file else {
            if io::stdout().is_terminal() {
                return Err(Failure::refused("a tar archive is nothing for a terminal")
                    .hint("name a file with --output, or send it to a pipe"));
            }
            return Ok(Self { out: Box::new(ctx.output.listing()), place: None });
        };
        if file.symlink_metadata().is_ok() {
            return Err(
                Failure::refused(format!("{} is there already", file.display())).hint("name another file")
            );
        }
        let beside = file.with_added_extension(format!("{}.part", std::process::id()));
        let failed = |error| Failure::io(format!("cannot write {}", beside.display()), &error);
        let out =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).map_err(failed)?;
        let out = Box::new(BufWriter::with_capacity(1 << 16, out));
        Ok(Self { out, place: Some((beside, file.to_owned())) })
    }

    /// Gives the file its name: it is whole.
    pub fn keep(mut self) -> Result<(), Failure> {
        self.out.flush()?;
        let Some((beside, file)) = self.place.take() else { return Ok(()) };
        let failed = |error| Failure::io(format!("cannot write {}", file.display()), &error);
        let kept = File::open(&beside).and_then(|whole| whole.sync_all());
        // Not over one that came meanwhile.
        let kept = kept
            .and_then(|()| std::fs::hard_link(&beside, &file))
            .and_then(|()| std::fs::remove_file(&beside));
        kept.map_err(|error| {
            // Of no use to anybody; failing to remove it changes nothing.
            let _ = std::fs::remove_file(&beside);
            failed(error)
        })
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if let Some((beside, _)) = &self.place {
            // Half an archive is none.
            let _ = std::fs::remove_file(beside);
        }
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
