//! TLS as the programs of PostgreSQL mean it: without an authority's certificate `require`, `prefer` where nothing is said;
//! with one `verify-full`.

use super::super::tls::{Both, Encrypted, Tls, TlsError, Waiting};
use super::connect::{Address, Transport};
use super::error::PostgresError;
use std::io::{self, ErrorKind};

/// What a client asks for: its own length and a number that no version of the protocol has.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Asks the server for encryption; none if it has none, and none is needed. Sockets of this machine never have it.
pub(super) fn begin(
    tls: &Tls,
    address: &Address,
    line: &mut Transport<'_>,
) -> Result<Option<Encrypted>, PostgresError> {
    let Address::Network(host, _) = address else { return Ok(None) };
    if tls.wanted == Some(false) {
        return Ok(None);
    }
    line.write_all(&REQUEST)?;
    // One byte and no more: whatever came after it unencrypted would be somebody else's.
    let mut answer = [0];
    match (line.read(&mut answer)?, answer) {
        (0, _) => return Err(PostgresError::Gone(ErrorKind::UnexpectedEof.into())),
        (_, [b'S']) => {}
        (_, [b'N']) if tls.wanted.is_none() => return Ok(None),
        (_, [b'N']) => return Err(PostgresError::NoTls { place: address.show() }),
        _ => return Err(PostgresError::Protocol("an answer that does not belong to TLS".into())),
    }
    Encrypted::begin(tls, host, line).map(Some)
}

impl Waiting for Transport<'_> {
    type Error = PostgresError;

    fn wait(
        &mut self,
        call: &mut dyn FnMut(&mut dyn Both) -> io::Result<usize>,
    ) -> Result<usize, PostgresError> {
        self.wait(|stream| call(stream))
    }

    fn failed(&self, error: TlsError) -> PostgresError {
        match error {
            TlsError::File(path, why) => PostgresError::TlsFile { path, why },
            TlsError::Failed(why) => PostgresError::Tls { place: self.place(), why },
            TlsError::Gone(error) => PostgresError::Gone(error),
        }
    }
}
