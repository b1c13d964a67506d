//! TLS as the programs of PostgreSQL mean it: without an authority's certificate the connection is encrypted and whoever
//! answers is believed (`require`; `prefer` where nothing is said); with one it is certain who answers (`verify-full`).

use super::connect::{Address, Transport};
use super::error::PostgresError;
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
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a client asks for: its own length and a number that no version of the protocol has.
const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

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

/// An encrypted stream on another one.
pub(super) struct Encrypted {
    connection: Box<ClientConnection>,
}

impl Tls {
    /// Asks the server for encryption; none if it has none, and none is needed. Sockets of this machine never have it.
    pub(super) fn begin(
        &self,
        address: &Address,
        line: &mut Transport<'_>,
    ) -> Result<Option<Encrypted>, PostgresError> {
        let Address::Network(host, _) = address else { return Ok(None) };
        if self.wanted == Some(false) {
            return Ok(None);
        }
        line.write_all(&REQUEST)?;
        // One byte and no more: whatever came after it unencrypted would be somebody else's.
        let mut answer = [0];
        match (line.read(&mut answer)?, answer) {
            (0, _) => return Err(PostgresError::Gone(ErrorKind::UnexpectedEof.into())),
            (_, [b'S']) => {}
            (_, [b'N']) if self.wanted.is_none() => return Ok(None),
            (_, [b'N']) => return Err(PostgresError::NoTls { place: address.show() }),
            _ => return Err(PostgresError::Protocol("an answer that does not belong to TLS".into())),
        }
        let failed = |error: Error| PostgresError::Tls { place: address.show(), why: error.to_string() };
        let config = self.config(&failed)?;
        let name = ServerName::try_from(host.clone())
            .map_err(|_| PostgresError::Tls { place: address.show(), why: "no name of a machine".into() })?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(failed)?;
        let mut encrypted = Encrypted { connection: Box::new(connection) };
        while encrypted.connection.is_handshaking() {
            encrypted.flush(line)?;
            if encrypted.connection.is_handshaking() && !encrypted.fill(line)? {
                return Err(PostgresError::Gone(ErrorKind::UnexpectedEof.into()));
            }
        }
        encrypted.flush(line)?;
        Ok(Some(encrypted))
    }

    fn config(&self, failed: &dyn Fn(Error) -> PostgresError) -> Result<ClientConfig, PostgresError> {
        let provider = Arc::new(ring::default_provider());
        let trust: Arc<dyn ServerCertVerifier> = match &self.ca {
            None => Arc::new(Anybody(provider.clone())),
            Some(ca) => {
                let own = certificates(ca)?;
                let mut roots = RootCertStore::empty();
                for certificate in &own {
                    roots.add(certificate.clone()).map_err(failed)?;
                }
                let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                let inner = inner.build().map_err(|error| failed(Error::General(error.to_string())))?;
                Arc::new(Known { inner, own })
            }
        };
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

fn unreadable(path: &Path, error: impl std::fmt::Display) -> PostgresError {
    PostgresError::TlsFile { path: path.to_owned(), why: error.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PostgresError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(|error| unreadable(path, error))?;
    match read.is_empty() {
        true => Err(unreadable(path, "there is no certificate in it")),
        false => Ok(read),
    }
}

impl Encrypted {
    /// Reads what is there, or waits for it. Returns 0 where the other side has closed in good order.
    pub(super) fn read(
        &mut self,
        line: &mut Transport<'_>,
        buffer: &mut [u8],
    ) -> Result<usize, PostgresError> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read.map_err(PostgresError::Gone),
            }
            self.fill(line)?;
            self.flush(line)?;
        }
    }

    /// Writes everything.
    pub(super) fn write_all(
        &mut self,
        line: &mut Transport<'_>,
        mut bytes: &[u8],
    ) -> Result<(), PostgresError> {
        while !bytes.is_empty() {
            let count = self.connection.writer().write(bytes).map_err(PostgresError::Gone)?;
            bytes = bytes.get(count..).unwrap_or_default();
            self.flush(line)?;
        }
        Ok(())
    }

    fn flush(&mut self, line: &mut Transport<'_>) -> Result<(), PostgresError> {
        while self.connection.wants_write() {
            let connection = &mut self.connection;
            if line.wait(|stream| connection.write_tls(stream))? == 0 {
                return Err(PostgresError::Gone(ErrorKind::WriteZero.into()));
            }
        }
        Ok(())
    }

    /// Takes what came; returns whether anything can still come.
    fn fill(&mut self, line: &mut Transport<'_>) -> Result<bool, PostgresError> {
        let connection = &mut self.connection;
        let count = line.wait(|stream| connection.read_tls(stream))?;
        let taken = self.connection.process_new_packets();
        taken.map_err(|error| PostgresError::Tls { place: line.place(), why: error.to_string() })?;
        Ok(count > 0)
    }
}

/// Believes any certificate whose key whoever answers has.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Believes what an authority signed; and the very certificate that is named as the authority's, as a server has it that
/// signed its own.
#[derive(Debug)]
struct Known {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.inner.verify_server_cert(cert, chain, name, ocsp, now) {
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if self.own.contains(cert) => {
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
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
