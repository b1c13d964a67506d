//! Bytes that were made ready, and are handed out as they are asked for: the end of every reader here that changes what it
//! passes on.

/// What is to be handed out.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) bytes: Vec<u8>,
    /// So many of them are gone.
    at: usize,
}

impl Ready {
    /// Returns whether all of it is gone; then there is room for more.
    pub(super) fn is_out(&mut self) -> bool {
        let is_out = self.at == self.bytes.len();
        if is_out {
            self.bytes.clear();
            self.at = 0;
        }
        is_out
    }

    /// Hands out as much as there is room for; returns how much that is.
    pub(super) fn hand_out(&mut self, room: &mut [u8]) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = room.len().min(rest.len());
        room[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        count
    }
}

/// Bytes that come one, two, three … at a time, never more than so many.
#[cfg(test)]
pub(super) struct Bits<'a> {
    rest: &'a [u8],
    most: usize,
    count: usize,
}

#[cfg(test)]
impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], most: usize) -> Self {
        Self { rest: bytes, most, count: 0 }
    }
}

#[cfg(test)]
impl std::io::Read for Bits<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.count = self.count % self.most + 1;
        let room = buffer.len().min(self.count);
        std::io::Read::read(&mut self.rest, &mut buffer[..room])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ready_goes_once_and_in_its_order() {
        let (mut ready, mut room) = (Ready::default(), [0; 3]);
        assert!(ready.is_out());
        ready.bytes.extend_from_slice(b"abcde");
        assert!(!ready.is_out() && ready.hand_out(&mut []) == 0);
        assert_eq!((ready.hand_out(&mut room), &room), (3, b"abc"));
        // More may come before the rest is gone.
        ready.bytes.push(b'f');
        assert!(!ready.is_out());
        assert_eq!((ready.hand_out(&mut room), &room), (3, b"def"));
        assert_eq!(ready.hand_out(&mut room), 0);
        assert!(ready.is_out() && ready.bytes.is_empty());
        ready.bytes.push(b'g');
        assert_eq!((ready.hand_out(&mut room), room[0]), (1, b'g'));
    }
}
