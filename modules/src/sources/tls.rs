//! TLS to servers of databases, over a connection whose waiting has an end.
//!
//! Without an authority's certificate the connection is encrypted and whoever answers is believed; with one it is certain
//! who answers. How a server is asked for encryption is its protocol's.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What an endpoint says of encryption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    /// Whether it is wanted; where nothing is said, if the server has it.
    pub wanted: Option<bool>,
    /// The authority's certificates.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// Why there is no encryption.
#[derive(Debug)]
pub(super) enum TlsError {
    /// A file of certificates or keys cannot be used.
    File(PathBuf, String),
    /// Who answers cannot prove to be the server, or does not want us.
    Failed(String),
    /// The connection broke off.
    Gone(io::Error),
}

/// What bytes go through, both ways.
pub(super) trait Both: Read + Write {}

impl<T: Read + Write> Both for T {}

/// A connection whose waiting has an end.
pub(super) trait Waiting {
    type Error;

    /// Calls until something happens, the patience is over, or the run is cancelled.
    fn wait(
        &mut self,
        call: &mut dyn FnMut(&mut dyn Both) -> io::Result<usize>,
    ) -> Result<usize, Self::Error>;

    /// Says in this connection's words what is wrong.
    fn failed(&self, error: TlsError) -> Self::Error;
}

/// An encrypted stream on another one.
pub(super) struct Encrypted {
    connection: Box<ClientConnection>,
}

impl Encrypted {
    /// Begins it with a server that awaits it, by the name of its machine.
    pub(super) fn begin<L: Waiting>(tls: &Tls, host: &str, line: &mut L) -> Result<Self, L::Error> {
        let made = tls.config().and_then(|config| {
            let name = ServerName::try_from(host.to_owned());
            let name = name.map_err(|_| TlsError::Failed("no name of a machine".into()))?;
            ClientConnection::new(Arc::new(config), name).map_err(failed)
        });
        let mut encrypted = Self { connection: Box::new(made.map_err(|error| line.failed(error))?) };
        while encrypted.connection.is_handshaking() {
            encrypted.flush(line)?;
            if encrypted.connection.is_handshaking() && !encrypted.fill(line)? {
                return Err(line.failed(TlsError::Gone(ErrorKind::UnexpectedEof.into())));
            }
        }
        encrypted.flush(line)?;
        Ok(encrypted)
    }

    /// Reads what is there, or waits for it. Returns 0 where the other side has closed in good order.
    pub(super) fn read<L: Waiting>(&mut self, line: &mut L, buffer: &mut [u8]) -> Result<usize, L::Error> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read.map_err(|error| line.failed(TlsError::Gone(error))),
            }
            self.fill(line)?;
            self.flush(line)?;
        }
    }

    /// Writes everything.
    pub(super) fn write_all<L: Waiting>(&mut self, line: &mut L, mut bytes: &[u8]) -> Result<(), L::Error> {
        while !bytes.is_empty() {
            let written = self.connection.writer().write(bytes);
            let count = written.map_err(|error| line.failed(TlsError::Gone(error)))?;
            bytes = bytes.get(count..).unwrap_or_default();
            self.flush(line)?;
        }
        Ok(())
    }

    fn flush<L: Waiting>(&mut self, line: &mut L) -> Result<(), L::Error> {
        while self.connection.wants_write() {
            let connection = &mut self.connection;
            if line.wait(&mut |mut stream| connection.write_tls(&mut stream))? == 0 {
                return Err(line.failed(TlsError::Gone(ErrorKind::WriteZero.into())));
            }
        }
        Ok(())
    }

    /// Takes what came; returns whether anything can still come.
    fn fill<L: Waiting>(&mut self, line: &mut L) -> Result<bool, L::Error> {
        let connection = &mut self.connection;
        let count = line.wait(&mut |mut stream| connection.read_tls(&mut stream))?;
        let taken = self.connection.process_new_packets();
        taken.map_err(|error| line.failed(failed(error)))?;
        Ok(count > 0)
    }
}

fn failed(error: Error) -> TlsError {
    TlsError::Failed(error.to_string())
}

impl Tls {
    fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let known = match &self.ca {
            None => None,
            Some(ca) => {
                let own = certificates(ca)?;
                let mut roots = RootCertStore::empty();
                for certificate in &own {
                    roots.add(certificate.clone()).map_err(failed)?;
                }
                let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                let inner = inner.build().map_err(|error| TlsError::Failed(error.to_string()))?;
                Some(Known { inner, own })
            }
        };
        let trust = Arc::new(Trust { known, provider: provider.clone() });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(trust);
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(cert)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
                config.with_client_auth_cert(chain, key).map_err(failed)
            }
            _ => Ok(config.with_no_client_auth()),
        }
    }
}

fn unreadable(path: &Path, error: impl std::fmt::Display) -> TlsError {
    TlsError::File(path.to_owned(), error.to_string())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| unreadable(path, error))?;
    match read.is_empty() {
        true => Err(unreadable(path, "there is no certificate in it")),
        false => Ok(read),
    }
}

/// Believes any certificate whose key whoever answers has, if no authority is named.
#[derive(Debug)]
struct Trust {
    known: Option<Known>,
    provider: Arc<CryptoProvider>,
}

/// What an authority signed; and the very certificate that is named as the authority's, as a server has it that signed its
/// own.
#[derive(Debug)]
struct Known {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(Known { inner, own }) = &self.known else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(cert, chain, name, ocsp, now) {
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if own.contains(cert) => {
                verify_server_name(&ParsedCertificate::try_from(cert)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
