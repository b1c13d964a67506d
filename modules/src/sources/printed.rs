//! What a program prints, as a dump: whole only if the program says so at its end.

use super::{Dump, Head, SourceError};
use crate::child::ChildError;
use crate::planted::{Bug, planted};
use std::io::{self, Read};

/// A dump that is the output of a program; the reader fails at its end if the program did.
pub(super) struct Printed<R> {
    stream: R,
    head: Head,
    bytes: u64,
    at_end: bool,
    failed: Option<SourceError>,
}

impl<R: Read> Printed<R> {
    pub(super) fn new(stream: R, head: Head) -> Self {
        Self { stream, head, bytes: 0, at_end: false, failed: None }
    }
}

impl<R: Read> Read for Printed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        match self.stream.read(out) {
            Ok(count) => {
                self.bytes = self.bytes.saturating_add(count as u64);
                self.at_end = count == 0;
                Ok(count)
            }
            Err(_) if planted(Bug::IgnoreDumpStatus) => {
                self.at_end = true;
                Ok(0)
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                if self.failed.is_none() {
                    self.failed = Some(match error.downcast::<ChildError>() {
                        Ok(child) => child.into(),
                        Err(other) => SourceError::Stream(other),
                    });
                }
                Err(told)
            }
        }
    }
}

impl<R: Read> Dump for Printed<R> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn finish(self: Box<Self>) -> Result<u64, SourceError> {
        match self.failed {
            Some(failed) => Err(failed),
            None if self.at_end => Ok(self.bytes),
            None => Err(SourceError::Unfinished),
        }
    }
}
