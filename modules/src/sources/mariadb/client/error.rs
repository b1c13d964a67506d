//! What the server said, or what became of the connection.

use super::fields::Fields;
use crate::units::show_duration;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// An error of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Said {
    /// Its number.
    pub(in super::super) code: u16,
    /// Its words, which may have values of rows in them.
    pub(in super::super) message: String,
}

/// Why a request came to nothing. After all but `Said` the session is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum ClientError {
    /// The server refuses it.
    #[error("error {}: {}", .0.code, .0.message)]
    Said(Said),
    /// The connection broke, or never was.
    #[error("the connection is lost: {0}")]
    Lost(#[source] io::Error),
    /// Nothing came for so long.
    #[error("the server said nothing for {}", show_duration(*.0))]
    Silent(Duration),
    /// Whoever asked wants no answer any more.
    #[error("cancelled")]
    Cancelled,
    /// What came is not the protocol.
    #[error("the connection is lost: the server sent {0}")]
    Broken(&'static str),
    /// A server of another kind, or of another time.
    #[error("the server speaks protocol {0}, which is not known here")]
    Protocol(u8),
    /// It lets this user in by something else.
    #[error("the server lets this user in by {0} only, which is not known here; format = \"sql\" may")]
    Plugin(String),
    /// It asks for the password itself.
    #[error(
        "the server asks for the password in clear, which is sent only to a server that is known: use its socket, or endpoint.tls = true with its `ca`"
    )]
    Clear,
    /// Encryption is demanded, and the server has none.
    #[error("the server speaks no TLS, which endpoint.tls demands; set ssl_cert and ssl_key there")]
    NoTls,
    /// Who answers cannot prove to be the server, or does not want us.
    #[error("no encrypted connection: {0}")]
    Tls(String),
    /// A file of certificates or keys.
    #[error("cannot use {}: {why}; the endpoint names it", path.display())]
    TlsFile { path: PathBuf, why: String },
}

/// Reads what the server says.
pub(super) fn said(packet: &[u8]) -> Result<Said, ClientError> {
    let mut fields = Fields::new(packet);
    fields.u8()?;
    let code = fields.u16()?;
    let words = fields.rest();
    // A state of five letters comes first, but not before the login.
    let words = match words {
        [b'#', _, _, _, _, _, words @ ..] => words,
        words => words,
    };
    Ok(Said { code, message: String::from_utf8_lossy(words).into_owned() })
}
