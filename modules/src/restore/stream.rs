//! A dump as a stream of verified bytes.

use dedup_engine::browse::{BrowseError, Contents};
use dedup_engine::listing::Node;
use dedup_engine::map::Class;
use dedup_engine::repo::Repository;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Pieces between the thread that fetches and the one that reads.
const PIECES: usize = 4;
/// Most bytes of one piece.
const PIECE_BYTES: usize = 256 << 10;

/// Lets `work` read the content of a file of a listing.
///
/// The end of the stream is told only if every byte was verified; damage is an error of the last `read`.
pub(super) fn with_stream<T>(
    repo: &Repository,
    class: Class,
    node: &Node,
    work: impl FnOnce(&mut dyn Read) -> T,
) -> T {
    let (send, pieces) = sync_channel(PIECES);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut out = Pieces(&send);
            let written = Contents::new(repo, class).and_then(|contents| contents.write(node, &mut out));
            // Whoever reads no more does not need to know the end.
            let _ = send.send(match written {
                Ok(()) => Piece::End,
                Err(error) => Piece::Failed(error),
            });
        });
        // Dropped before the scope ends, or a sender that nobody listens to would wait for ever.
        let mut stream = Stream { pieces, piece: Vec::new(), at: 0, ended: false };
        work(&mut stream)
    })
}

enum Piece {
    Bytes(Vec<u8>),
    End,
    Failed(BrowseError),
}

struct Pieces<'s>(&'s SyncSender<Piece>);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        self.0
            .send(Piece::Bytes(piece.to_vec()))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads any more"))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Stream {
    pieces: Receiver<Piece>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.ended {
            match self.pieces.recv() {
                Ok(Piece::Bytes(bytes)) => (self.piece, self.at) = (bytes, 0),
                Ok(Piece::End) => self.ended = true,
                Ok(Piece::Failed(error)) => return Err(io::Error::other(error)),
                Err(_) => return Err(io::Error::other("the stream broke off")),
            }
        }
        let len = buffer.len().min(self.piece.len() - self.at);
        buffer[..len].copy_from_slice(&self.piece[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}
