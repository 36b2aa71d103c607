//! The client's side of TLS, and an authority with one certificate for all tests.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

/// An authority, and the server certificate that it signed.
pub(crate) struct Pki {
    authority: CertificateDer<'static>,
    /// PEM.
    pub(crate) certificate: String,
    /// PEM.
    pub(crate) key: String,
}

impl Pki {
    /// A new authority, with a certificate for localhost and 127.0.0.1.
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// The same, with a change to the server's certificate.
    pub(crate) fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        // Two authorities with the same name would be taken for one with a wrong signature.
        let name = format!("{:x?}", authority_key.public_key_raw());
        params.distinguished_name.push(DnType::CommonName, name);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(params, authority_key);
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Self {
            authority: authority.der().clone(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// The authority of all tests that do not need their own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Pki> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    /// Writes the two files that the configuration of [`configure`] names.
    pub(crate) fn write(&self, directory: &Path) {
        std::fs::write(directory.join("certificate.pem"), &self.certificate).unwrap();
        std::fs::write(directory.join("key.pem"), &self.key).unwrap();
    }

    /// The settings of a client that trusts this authority, for some versions of TLS.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        client_of(self.authority.clone(), versions)
    }
}

/// The settings of a client that trusts an authority, for some versions of TLS.
pub(crate) fn client_of(
    authority: CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Writes a certificate into `directory`; returns configuration lines for that directory that use
/// it everywhere, on any free port.
pub(crate) fn configure(directory: &Path) -> String {
    Pki::shared().write(directory);
    "tls = { certificate = \"certificate.pem\", key = \"key.pem\" }\n\
     smtps = [\"127.0.0.1:0\"]\npop3s = [\"127.0.0.1:0\"]\nsubmission = [\"127.0.0.1:0\"]\n"
        .to_owned()
}

/// A connection with or without TLS.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Starts TLS on it, with the authority of all tests.
    pub(crate) fn into_tls(self) -> Self {
        self.into_tls_of(&Arc::new(Pki::shared().client(rustls::ALL_VERSIONS)))
    }

    /// Starts TLS on it, as this client.
    pub(crate) fn into_tls_of(self, client: &Arc<ClientConfig>) -> Self {
        let Self::Plain(stream) = self else {
            panic!("there is TLS already");
        };
        let name = "localhost".try_into().unwrap();
        let tls = ClientConnection::new(Arc::clone(client), name).unwrap();
        Self::Tls(Box::new(StreamOwned::new(tls, stream)))
    }

    /// The underlying socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &tls.sock,
        }
    }

    /// Announces that nothing more will be sent, if there is a way to say it.
    pub(crate) fn end(&mut self) {
        if let Self::Tls(tls) = self {
            tls.conn.send_close_notify();
            // The server may have closed already.
            drop(tls.flush());
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(octets),
            Self::Tls(tls) => tls.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
