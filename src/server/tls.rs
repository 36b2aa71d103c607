//! TLS on a client's connection: versions 1.2 and 1.3, by rustls (SEC-3).
//!
//! # Theory of operation
//! An [`Identity`] is a certificate with its key and everything else that new connections need; it
//! is replaced as a whole. A `Tunnel` is the TLS of one connection: it is between the connection's
//! buffers and its socket, and converts between records and octets. It reads and writes the socket
//! itself, one system call at a time, so that deadlines stay with the connection: a call without
//! octets from the client returns `WouldBlock`, and the connection checks its clock.
//!
//! rustls accepts 4 KiB of records at a time; the tunnel reads more with one system call and passes
//! it on in pieces. While the client is silent, that buffer is freed.
//!
//! # Invariants
//! - SEC-2: a tunnel is made only over a connection whose buffers are empty, so nothing that
//!   arrived before it is ever treated as having come through it.
//! - Encrypted and unencrypted octets of a client never mix: a tunnel is never removed.
//!
//! # Failures
//! A bad handshake or record is an error of this connection only; the client is sent the alert that
//! gives the reason. A certificate that cannot be used is an [`IdentityError`] with a reason that a
//! person can act on.

use std::{
    fmt,
    io::{self, ErrorKind, Read as _, Write as _},
    sync::Arc,
};

use rustls::{
    AlertDescription, PeerIncompatible, ProtocolVersion, ServerConfig, ServerConnection,
    SignatureAlgorithm,
    client::verify_server_name,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject as _},
    server::{NoServerSessionStorage, ParsedCertificate},
};
#[cfg(test)]
use rustls::{server::ClientHello, sign::CertifiedKey};
use socket2::Socket;

use crate::mail::Foreign;

use super::limits;

/// A certificate with its key, ready for handshakes.
#[derive(Clone, Debug)]
pub struct Identity {
    config: Arc<ServerConfig>,
    /// In DER form.
    certificate: Arc<[u8]>,
    /// Whether the key is an RSA key.
    is_rsa: bool,
    /// Whether proofs can be bound to its connections.
    binds: bool,
}

/// Why a certificate and a key cannot be used.
#[derive(Debug)]
pub enum IdentityError {
    /// The file of the certificate is not PEM, or contains no certificate.
    Certificate(pem::Error),
    /// The file of the key is not PEM, or contains no private key.
    Key(pem::Error),
    /// The two do not belong together, or are of an unsupported kind.
    Pair(rustls::Error),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(pem::Error::NoItemsFound) => f.write_str(
                "it contains no certificate: a PEM file has -----BEGIN CERTIFICATE-----",
            ),
            Self::Certificate(_) => f.write_str("the certificate is not a valid PEM file"),
            Self::Key(pem::Error::NoItemsFound) => f.write_str(
                "it contains no private key: a PEM file without a password has \
                 -----BEGIN PRIVATE KEY-----",
            ),
            Self::Key(_) => f.write_str("the private key is not a valid PEM file"),
            Self::Pair(rustls::Error::InconsistentKeys(_)) => {
                f.write_str("the key does not belong to the certificate")
            }
            Self::Pair(error) => write!(f, "the certificate or its key cannot be used: {error}"),
        }
    }
}

impl std::error::Error for IdentityError {}

impl Identity {
    /// Takes a certificate, followed by the certificates between it and its authority, and its
    /// private key, both in PEM form.
    ///
    /// # Errors
    /// [`IdentityError`]: report it to the user, and keep the current identity.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(IdentityError::Certificate)?;
        let Some(first) = chain.first() else {
            return Err(IdentityError::Certificate(pem::Error::NoItemsFound));
        };
        let certificate = Arc::from(first.as_ref());
        let key = PrivateKeyDer::from_pem_slice(key).map_err(IdentityError::Key)?;
        // A key that cannot be used is refused below.
        let is_rsa = ring::sign::any_supported_type(&key)
            .is_ok_and(|key| key.algorithm() == SignatureAlgorithm::RSA);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(IdentityError::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(IdentityError::Pair)?;
        // Clients keep what is needed to resume their sessions, so the server's memory does not
        // grow with them.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(IdentityError::Pair)?;
        Ok(Self {
            config: Arc::new(config),
            certificate,
            is_rsa,
            binds: false,
        })
    }

    /// An identity with which every handshake panics.
    #[cfg(test)]
    pub(super) fn that_panics() -> Self {
        #[derive(Debug)]
        struct Panicking;
        impl rustls::server::ResolvesServerCert for Panicking {
            fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
                panic!("on purpose")
            }
        }
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        Self {
            config: Arc::new(builder.with_cert_resolver(Arc::new(Panicking))),
            certificate: Arc::from([]),
            is_rsa: false,
            binds: false,
        }
    }

    /// Whether logins may be bound to a connection with this identity, as SCRAM-SHA-256-PLUS does.
    #[must_use]
    pub fn with_channel_binding(self, binds: bool) -> Self {
        Self { binds, ..self }
    }

    /// The certificate in DER form.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

/// What a handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// Octets from the client.
    Octets,
    /// Room in the socket.
    Room,
    /// Nothing from the client: a step was interrupted and must be repeated.
    Step,
    /// Nothing: it is done.
    Nothing,
}

/// The result of one write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// How many of the octets were accepted; the others must be passed again.
    pub(super) taken: usize,
    /// Whether the client read nothing for as long as a write waits.
    pub(super) is_stuck: bool,
    /// Whether everything has gone to the socket.
    pub(super) is_done: bool,
}

/// Whether a read or a write ended without octets but without harm.
pub(super) fn is_pause(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Whether a write that ended in a pause has waited for its whole timeout.
pub(super) fn is_stuck(pause: ErrorKind) -> bool {
    pause != ErrorKind::Interrupted
}

/// The TLS of one connection.
#[derive(Debug)]
pub(super) struct Tunnel {
    tls: ServerConnection,
    /// What was read from the socket.
    records: Vec<u8>,
    /// How many of these octets rustls has.
    taken: usize,
    /// The first octets from the socket.
    head: Vec<u8>,
    /// The certificate of its [`Identity`].
    certificate: Arc<[u8]>,
    is_rsa: bool,
    /// Whether a proof can be bound to it.
    binds: bool,
}

/// The first octets of a client, kept until it is known what it speaks: they contain an HTTP
/// method, a PROXY protocol header, or the version that a TLS greeting asks for.
const HEAD_OCTETS_MAX: usize = 16;

impl Tunnel {
    /// The server's side of a handshake that has not begun.
    ///
    /// # Errors
    /// If rustls cannot begin one.
    pub(super) fn new(identity: &Identity) -> io::Result<Self> {
        let tls = ServerConnection::new(Arc::clone(&identity.config)).map_err(io::Error::other)?;
        Ok(Self {
            tls,
            records: Vec::new(),
            taken: 0,
            head: Vec::new(),
            certificate: Arc::clone(&identity.certificate),
            is_rsa: identity.is_rsa,
            binds: identity.binds,
        })
    }

    /// What the handshake needs in order to continue.
    pub(super) fn lack(&self) -> Lack {
        if self.tls.wants_write() {
            Lack::Room
        } else if !self.tls.is_handshaking() {
            Lack::Nothing
        } else if self.taken < self.records.len() {
            Lack::Step
        } else {
            Lack::Octets
        }
    }

    /// The version and the cipher suite, for the log.
    pub(super) fn parameters(&self) -> (&'static str, &'static str) {
        let version = self.tls.protocol_version().and_then(|it| it.as_str());
        let suite = self.tls.negotiated_cipher_suite();
        let suite = suite.and_then(|suite| suite.suite().as_str());
        (version.unwrap_or("?"), suite.unwrap_or("?"))
    }

    /// The octets that only the two ends of this tunnel know (RFC 9266). `None` before TLS 1.3,
    /// where they need not be unique, and if nothing may be bound to them.
    pub(super) fn exporter(&self) -> Option<[u8; 32]> {
        if !self.binds || self.tls.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return None;
        }
        let label = b"EXPORTER-Channel-Binding";
        self.tls
            .export_keying_material([0; 32], label, Some(&[]))
            .ok()
    }

    /// Octets from the client, after at most one read of the socket; 0 at the end. Also sends TLS's
    /// own records.
    ///
    /// # Errors
    /// `WouldBlock` if none have arrived yet; `InvalidData` if the input is not TLS, or says that
    /// the client gives up.
    pub(super) fn read(&mut self, socket: &Socket, into: &mut [u8]) -> io::Result<usize> {
        match self.plaintext(into) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
        self.advance(socket, into.len())?;
        self.plaintext(into)
    }

    /// The octets that are already there. An end that the client did not announce is still an end:
    /// a command or a message that it cuts off is never treated as complete.
    fn plaintext(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.tls.reader().read(into) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            other => other,
        }
    }

    /// Reads records until one of them contains octets from the client, after at most one read of
    /// the socket; false if no more can come.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn advance<S>(&mut self, socket: S, room: usize) -> io::Result<bool>
    where
        S: io::Read + io::Write + Copy,
    {
        // The client may be waiting for records that the socket did not accept last time.
        self.send_records(socket)?;
        if self.taken >= self.records.len() {
            self.fill(socket, room)?;
        }
        loop {
            let mut rest = self.records.get(self.taken..).unwrap_or_default();
            let taken = self.tls.read_tls(&mut rest)?;
            self.taken = self.taken.saturating_add(taken);
            let state = match self.tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // The alert; whether it arrives does not matter here.
                    self.send_records(socket).ok();
                    let failure = Failure(self.explain(&error));
                    return Err(io::Error::new(ErrorKind::InvalidData, failure));
                }
            };
            self.send_records(socket)?;
            if state.plaintext_bytes_to_read() > 0 {
                return Ok(true);
            }
            if taken == 0 {
                // The socket has ended, or the client has announced its end and more follows: TLS
                // accepts no more.
                return Ok(false);
            }
            if self.taken >= self.records.len() {
                return Ok(true);
            }
        }
    }

    /// One read of the socket.
    fn fill(&mut self, mut socket: impl io::Read, room: usize) -> io::Result<()> {
        let room = room.clamp(limits::COMMAND_READ_OCTETS, limits::READ_OCTETS_MAX);
        self.taken = 0;
        self.records.resize(room, 0);
        let filled = socket.read(&mut self.records);
        self.records.truncate(*filled.as_ref().unwrap_or(&0));
        if self.tls.is_handshaking() {
            let room = HEAD_OCTETS_MAX.saturating_sub(self.head.len());
            self.head.extend(self.records.iter().take(room));
        }
        filled.map(drop)
    }

    fn send_records(&mut self, mut socket: impl io::Write) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut socket)?;
        }
        Ok(())
    }

    /// Accepts some of `octets` to be sent, and does one write to the socket.
    ///
    /// # Errors
    /// An error of the socket.
    pub(super) fn write(&mut self, mut socket: &Socket, octets: &[u8]) -> io::Result<Written> {
        let taken = self.tls.writer().write(octets)?;
        let mut stuck = false;
        if self.tls.wants_write() {
            match self.tls.write_tls(&mut socket) {
                Ok(sent) => stuck = sent == 0,
                // What was accepted must not be passed again; a pause only leaves it here for now.
                Err(error) if is_pause(error.kind()) => stuck = is_stuck(error.kind()),
                Err(error) => return Err(error),
            }
        }
        Ok(Written {
            taken,
            is_stuck: stuck,
            is_done: taken == octets.len() && !self.tls.wants_write(),
        })
    }

    /// Tells the client that no more will be sent.
    pub(super) fn close(&mut self, socket: &Socket) {
        self.tls.send_close_notify();
        // This does not matter to a client that is gone.
        self.send_records(socket).ok();
    }

    /// Whether nothing from the socket is waiting here.
    pub(super) fn is_released(&self) -> bool {
        self.records.is_empty()
    }

    /// Frees the buffer; the next read allocates it again.
    pub(super) fn release(&mut self) {
        if self.taken >= self.records.len() {
            self.taken = 0;
            self.records = Vec::new();
        }
    }
}

/// Why TLS ended, with advice if the remedy is known.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS: {}", self.0)
    }
}

impl std::error::Error for Failure {}

/// Whether TLS itself failed, and not the connection below it.
pub(super) fn is_failure(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Failure>)
}

/// How a TLS greeting encodes version 1.2 (RFC 5246 §7.4.1.2); later versions use the same code.
const TLS_1_2: [u8; 2] = [3, 3];

/// What an alert from a client means, if that is always the same.
const ADVICE: [(AlertDescription, &str); 5] = [
    (
        AlertDescription::UnknownCA,
        "the client does not trust the authority that signed the certificate: give it \
         that authority's own certificate (ca.pem of facteur cert)",
    ),
    (
        AlertDescription::CertificateExpired,
        "the client considers the certificate expired: renew it (facteur cert --renew), or set the \
         clock of the client",
    ),
    (
        AlertDescription::ProtocolVersion,
        "the client accepts neither TLS 1.2 nor TLS 1.3: update the client",
    ),
    (
        AlertDescription::HandshakeFailure,
        "the client rejected the cipher suite that was negotiated: update the client",
    ),
    (
        AlertDescription::InsufficientSecurity,
        "the client rejected the cipher suite that was negotiated: update the client",
    ),
];

impl Tunnel {
    /// Whether anything has arrived from the client.
    pub(super) fn has_begun(&self) -> bool {
        !self.head.is_empty()
    }

    /// Whether the handshake has begun and not ended.
    pub(super) fn is_under_way(&self) -> bool {
        self.has_begun() && self.tls.is_handshaking()
    }

    /// The error if the client closed the connection during its handshake without giving a reason.
    pub(super) fn broken_off(&self) -> io::Error {
        // There is a version once the client has been answered, with the certificate.
        let why = if self.tls.protocol_version().is_some() {
            "the client closed the connection during its handshake and did not say why, as \
             Node.js does when it does not trust the authority that signed the certificate: give \
             it that authority's own certificate (ca.pem of facteur cert)"
        } else {
            "the client closed the connection during its first TLS message"
        };
        io::Error::new(ErrorKind::UnexpectedEof, Failure(why.to_owned()))
    }

    /// What an error means, and what to do.
    fn explain(&self, error: &rustls::Error) -> String {
        if let rustls::Error::PeerIncompatible(why) = error {
            self.nothing_in_common(why)
        } else if let rustls::Error::AlertReceived(alert) = error {
            self.given_up(*alert)
        } else if matches!(error, rustls::Error::InvalidMessage(_)) && self.tls.is_handshaking() {
            self.no_tls(error)
        } else {
            error.to_string()
        }
    }

    /// The first octets were not a handshake.
    fn no_tls(&self, error: &rustls::Error) -> String {
        let why = match Foreign::of_octets(&self.head) {
            Foreign::Text => {
                "the client sent plain text to a TLS port: set the client to TLS (often called \
                 SSL), or to a plain-text port"
            }
            Foreign::Http => {
                "the client speaks HTTP: it is a browser, or a program with the wrong port"
            }
            Foreign::Proxy => {
                "a proxy sent a PROXY protocol header, which this server does not accept: switch \
                 it off in the proxy (HAProxy: no send-proxy or check-send-proxy; nginx: \
                 proxy_protocol off)"
            }
            Foreign::Tls | Foreign::Other => {
                return format!("{error} (does the client speak TLS?)");
            }
        };
        why.to_owned()
    }

    /// The client offers nothing that the server can use.
    fn nothing_in_common(&self, why: &PeerIncompatible) -> String {
        // A record header has five octets, a message header four.
        let version = self.head.get(9..11);
        let is_said = matches!(
            why,
            PeerIncompatible::Tls12NotOffered | PeerIncompatible::Tls12NotOfferedOrEnabled
        );
        // A client with an older version lacks only what that version does not have.
        let is_old = is_said || version.is_some_and(|version| version < TLS_1_2.as_slice());
        let is_cipher = matches!(
            why,
            PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoSignatureSchemesInCommon
        );
        let is_exchange = matches!(why, PeerIncompatible::NoKxGroupsInCommon);
        if is_old {
            "the client offers only TLS 1.1 or older, and this server requires 1.2 or newer: \
             update the client"
                .to_owned()
        } else if is_cipher && !self.is_rsa {
            "the client has no cipher suite in common with this server for an elliptic-curve \
             key: update the client, or give [tls] a certificate with an RSA key"
                .to_owned()
        } else if is_cipher {
            "the client has no cipher suite in common with this server, which accepts those with \
             ECDHE and AES-GCM or ChaCha20: update the client"
                .to_owned()
        } else if is_exchange {
            "the client has no key exchange in common with this server, which accepts ECDHE with \
             X25519, P-256 or P-384: update the client, or let it use those"
                .to_owned()
        } else {
            let error = rustls::Error::PeerIncompatible(why.clone());
            format!("{error} (update the client)")
        }
    }

    /// The client gave up.
    fn given_up(&self, alert: AlertDescription) -> String {
        let by_certificate = [
            AlertDescription::BadCertificate,
            AlertDescription::CertificateUnknown,
        ];
        if by_certificate.contains(&alert) {
            return self.not_accepted(alert);
        }
        let known = ADVICE.iter().find(|(known, _)| *known == alert);
        let Some((_, why)) = known else {
            return rustls::Error::AlertReceived(alert).to_string();
        };
        format!("{why} (alert from the client: {alert:?})")
    }

    /// The client rejected the certificate without giving a reason. With this alert some clients
    /// mean the wrong name, and others mean anything.
    fn not_accepted(&self, alert: AlertDescription) -> String {
        let why = match self.tls.server_name() {
            // A name consists of letters, digits, hyphens, underscores and dots.
            Some(name) if self.is_for(name) == Some(false) => format!(
                "the client asked for \"{name}\" and rejected the certificate, which is not for \
                 that name: set the client to a name in the certificate, or make a certificate for \
                 that name too (facteur cert)"
            ),
            Some(name) => format!(
                "the client rejected the certificate, though it is for the name that the client \
                 asked for (\"{name}\"): it may not trust the authority that signed it: give it \
                 that authority's own certificate (ca.pem of facteur cert)"
            ),
            None => {
                "the client rejected the certificate: it named no host, so it may have connected \
                 to an address that the certificate is not for, or it does not trust the authority \
                 that signed it: give it that authority's own certificate (ca.pem of facteur cert)"
                    .to_owned()
            }
        };
        format!("{why} (alert from the client: {alert:?})")
    }

    /// Whether the certificate is for `name`; `None` if that cannot be determined.
    fn is_for(&self, name: &str) -> Option<bool> {
        let certificate = CertificateDer::from(self.certificate.as_ref());
        let parsed = ParsedCertificate::try_from(&certificate).ok()?;
        let name = ServerName::try_from(name).ok()?;
        Some(verify_server_name(&parsed, &name).is_ok())
    }
}
