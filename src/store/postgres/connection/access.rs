//! How the database is reached: its servers, the user, the password and the certificates.
//!
//! Names of servers are resolved at the start and then again and again: a server may come back with
//! another address, and in many networks of containers a server that is away has no name. One that
//! cannot be resolved keeps its last addresses, and stops nobody but its server.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs as _},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

use crate::store::sync::Mutex;

use super::super::limits::{PORT, SERVERS_MAX};

/// Where one server listens.
#[derive(Clone, Debug)]
pub(super) enum Server {
    /// On TCP.
    Tcp {
        /// Its name, also for its certificate.
        name: ServerName<'static>,
        port: u16,
        /// None as long as its name could not be resolved.
        addresses: Arc<Mutex<Vec<SocketAddr>>>,
    },
    /// On a socket of this machine.
    Local(PathBuf),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { name, port, .. } => write!(f, "{} port {port}", name.to_str()),
            Self::Local(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Resolves a name.
fn resolved(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port)
        .to_socket_addrs()
        .map(|addresses| addresses.take(SERVERS_MAX).collect())
}

/// What is read from files before the database is reached.
#[derive(Clone, Copy, Default)]
pub struct Secrets<'a> {
    /// The password.
    pub password: Option<&'a str>,
    /// The certificates of the authorities that sign those of servers, in PEM form.
    pub authorities: Option<&'a [u8]>,
    /// The certificate of this client and its key, in PEM form.
    pub identity: Option<(&'a [u8], &'a [u8])>,
}

/// How the database is reached.
#[derive(Clone)]
pub struct Access {
    pub(super) servers: Vec<Server>,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// The index of the server that is tried first.
    pub(super) first: Arc<AtomicUsize>,
    /// The index of the server that was the primary when somebody connected last.
    pub(super) primary: Arc<AtomicUsize>,
    /// The servers whose names could not be resolved at first, and why.
    unresolved: Vec<String>,
    /// The ports of servers on TCP.
    ports: Vec<u16>,
    /// The directories of servers on this machine.
    directories: Vec<PathBuf>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("servers", &self.servers)
            .field("database", &self.database)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Secrets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// Why the text that says how the database is reached cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct AccessError(String);

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AccessError {}

/// An error with this text.
fn wrong<T>(text: impl Into<String>) -> Result<T, AccessError> {
    Err(AccessError(text.into()))
}

/// The words of the text: `key=value`, where a value may be in single quotes.
fn words(text: &str) -> Result<Vec<(String, String)>, AccessError> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((key, behind)) = rest.split_once('=') else {
            return wrong(format!(
                "{rest:?} has no =: write it like host=db1 dbname=mail"
            ));
        };
        let behind = behind.trim_start();
        let (value, behind) = match behind.strip_prefix('\'') {
            Some(quoted) => match quoted.split_once('\'') {
                Some(parts) => parts,
                None => return wrong("a quote is not closed"),
            },
            None => behind
                .split_once(char::is_whitespace)
                .unwrap_or((behind, "")),
        };
        found.push((key.trim().to_owned(), value.trim().to_owned()));
        rest = behind.trim_start();
    }
    Ok(found)
}

/// What the words say.
#[derive(Default)]
struct Said {
    hosts: Vec<String>,
    ports: Vec<u16>,
    database: Option<String>,
    user: Option<String>,
    mode: Option<String>,
}

impl Said {
    fn of(text: &str) -> Result<Self, AccessError> {
        let mut said = Self::default();
        for (key, value) in words(text)? {
            match &*key {
                "host" => said.hosts = value.split(',').map(|it| it.trim().to_owned()).collect(),
                "port" => {
                    let ports = value.split(',').map(|it| it.trim().parse());
                    match ports.collect::<Result<_, _>>() {
                        Ok(ports) => said.ports = ports,
                        Err(error) => return wrong(format!("port={value}: {error}")),
                    }
                }
                "dbname" => said.database = Some(value),
                "user" => said.user = Some(value),
                "sslmode" => said.mode = Some(value),
                "password" => {
                    return wrong("password: put it into a file, and name that with password_file");
                }
                other => {
                    return wrong(format!(
                        "{other} is not known: use host, port, dbname, user and sslmode"
                    ));
                }
            }
        }
        Ok(said)
    }
}

impl Said {
    /// Checks that everything is said that is needed.
    fn check(&self) -> Result<(), AccessError> {
        if self.database.is_none() || self.user.is_none() {
            return wrong("dbname and user are needed");
        }
        if self.hosts.is_empty() || self.hosts.len() > SERVERS_MAX {
            return wrong(format!(
                "host is needed: one server, or up to {SERVERS_MAX}"
            ));
        }
        let are_local = self.hosts.iter().all(|host| host.starts_with('/'));
        match self.mode.as_deref() {
            Some("verify-full" | "disable") => Ok(()),
            None if are_local => Ok(()),
            Some(_) | None => wrong(
                "sslmode is needed: verify-full, or disable for a server on this machine or in a \
                 network of your own",
            ),
        }
    }
}

impl Access {
    /// Checks the form of `text`: see [`parse`](Self::parse).
    ///
    /// # Errors
    /// [`AccessError`]: report it to the user.
    pub fn check(text: &str) -> Result<(), AccessError> {
        Said::of(text)?.check()
    }

    /// What `text` says, in the form `host=db1,db2 port=5432 dbname=mail user=facteur
    /// sslmode=verify-full`. Names are resolved; see [`unresolved`](Self::unresolved).
    ///
    /// # Errors
    /// [`AccessError`]: report it to the user.
    pub fn parse(text: &str, secrets: Secrets<'_>) -> Result<Self, AccessError> {
        Self::parse_with(text, secrets, &resolved)
    }

    fn parse_with(
        text: &str,
        secrets: Secrets<'_>,
        resolve: &dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
    ) -> Result<Self, AccessError> {
        let said = Said::of(text)?;
        said.check()?;
        let tls = if said.mode.as_deref() == Some("verify-full") {
            Some(Arc::new(tls(secrets)?))
        } else {
            None
        };
        let mut access = Self {
            servers: Vec::new(),
            database: said.database.unwrap_or_default(),
            user: said.user.unwrap_or_default(),
            password: secrets.password.map(str::to_owned),
            tls,
            first: Arc::default(),
            primary: Arc::default(),
            unresolved: Vec::new(),
            ports: Vec::new(),
            directories: Vec::new(),
        };
        for (index, host) in said.hosts.iter().enumerate() {
            let port = match &*said.ports {
                [] => PORT,
                [port] => *port,
                ports if ports.len() == said.hosts.len() => {
                    ports.get(index).copied().unwrap_or(PORT)
                }
                _ => return wrong("port: give one for all servers, or one for each"),
            };
            access.add(host, port)?;
        }
        access.unresolved = access.resolve_with(resolve);
        Ok(access)
    }

    /// Resolves the names of the servers again.
    pub(in crate::store::postgres) fn resolve(&self) {
        self.resolve_with(&resolved);
    }

    /// Returns the servers whose names could not be resolved, and why. They keep their addresses.
    fn resolve_with(
        &self,
        resolve: &dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
    ) -> Vec<String> {
        let mut unresolved = Vec::new();
        for server in &self.servers {
            let Server::Tcp {
                name,
                port,
                addresses,
            } = server
            else {
                continue;
            };
            let host = name.to_str();
            match resolve(&host, *port) {
                Ok(found) if found.is_empty() => {
                    unresolved.push(format!("host={host}: it has no address"));
                }
                Ok(found) => *addresses.lock() = found,
                Err(error) => unresolved.push(format!("host={host}: {error}")),
            }
        }
        unresolved
    }

    /// Whether a server is named by something else than its address.
    pub fn has_names(&self) -> bool {
        self.servers.iter().any(|server| match server {
            Server::Tcp { name, .. } => matches!(name, ServerName::DnsName(_)),
            Server::Local(_) => false,
        })
    }

    /// The servers whose names could not be resolved at first, and why: one on a line.
    pub fn unresolved(&self) -> &[String] {
        &self.unresolved
    }

    fn add(&mut self, host: &str, port: u16) -> Result<(), AccessError> {
        if host.starts_with('/') {
            let socket = Path::new(host).join(format!(".s.PGSQL.{port}"));
            self.directories.push(PathBuf::from(host));
            self.servers.push(Server::Local(socket));
            return Ok(());
        }
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            Err(error) => return wrong(format!("host={host}: {error}")),
        };
        self.ports.push(port);
        self.servers.push(Server::Tcp {
            name,
            port,
            addresses: Arc::default(),
        });
        Ok(())
    }

    /// The name of the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The ports of servers on TCP.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The directories of the sockets of servers on this machine.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }
}

/// The TLS of connections to servers.
fn tls(secrets: Secrets<'_>) -> Result<ClientConfig, AccessError> {
    let Some(authorities) = secrets.authorities else {
        return wrong("sslmode=verify-full needs the certificate of the authority: the key ca");
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let added = match certificate {
            Ok(certificate) => roots.add(certificate),
            Err(error) => return wrong(format!("ca: not a valid PEM file: {error}")),
        };
        if let Err(error) = added {
            return wrong(format!("ca: {error}"));
        }
    }
    if roots.is_empty() {
        return wrong("ca: it contains no certificate");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots));
    let builder = match builder {
        Ok(builder) => builder,
        Err(error) => return wrong(error.to_string()),
    };
    let Some((chain, key)) = secrets.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
    match (chain, PrivateKeyDer::from_pem_slice(key)) {
        (Ok(chain), Ok(key)) => match builder.with_client_auth_cert(chain, key) {
            Ok(config) => Ok(config),
            Err(error) => wrong(format!("certificate: {error}")),
        },
        (Err(error), _) => wrong(format!("certificate: {error}")),
        (_, Err(error)) => wrong(format!("key: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_where_the_database_is() {
        let access = Access::parse(
            "host=127.0.0.1,/run/postgresql port=5433\tdbname='my mail'\nuser=facteur\n\
             sslmode=disable",
            Secrets::default(),
        )
        .unwrap();
        assert_eq!(access.database, "my mail");
        assert_eq!(access.user, "facteur");
        assert_eq!(access.ports(), [5433]);
        assert_eq!(access.directories(), [PathBuf::from("/run/postgresql")]);
        assert!(matches!(
            &*access.servers,
            [Server::Tcp { addresses, .. }, Server::Local(path)]
                if addresses.lock()[0].port() == 5433 && path.ends_with(".s.PGSQL.5433")
        ));
    }

    #[test]
    fn a_name_without_an_address_stops_nobody_but_its_server() {
        const TEXT: &str = "host=db1,db2 dbname=a user=b sslmode=disable";
        let known = Mutex::new(vec![("db1", 1)]);
        let resolve = |host: &str, port| {
            let found = known.lock().iter().find(|it| it.0 == host).copied();
            let (_, number) = found.ok_or_else(|| io::Error::other("unknown"))?;
            Ok(vec![SocketAddr::from(([192, 0, 2, number], port))])
        };
        let access = Access::parse_with(TEXT, Secrets::default(), &resolve).unwrap();
        let addresses = || {
            let of_server = |server: &Server| match server {
                Server::Tcp { addresses, .. } => addresses.lock().clone(),
                Server::Local(_) => Vec::new(),
            };
            let all = access.servers.iter().flat_map(of_server);
            all.map(|address| address.to_string()).collect::<Vec<_>>()
        };
        assert!(access.has_names());
        assert_eq!(access.unresolved(), ["host=db2: unknown"]);
        assert_eq!(addresses(), ["192.0.2.1:5432"]);
        // The first has lost its name, and the second is there.
        *known.lock() = vec![("db2", 2)];
        access.resolve_with(&resolve);
        assert_eq!(addresses(), ["192.0.2.1:5432", "192.0.2.2:5432"]);
        // It is back elsewhere.
        *known.lock() = vec![("db1", 3), ("db2", 2)];
        access.resolve_with(&resolve);
        assert_eq!(addresses(), ["192.0.2.3:5432", "192.0.2.2:5432"]);
        known.lock().clear();
        let access = Access::parse_with(TEXT, Secrets::default(), &resolve).unwrap();
        assert_eq!(access.unresolved().len(), 2);
    }

    #[test]
    fn mistakes_in_the_text_are_named() {
        for (text, reason) in [
            ("", "dbname and user are needed"),
            ("mail", "has no ="),
            ("dbname=a user=b", "host is needed"),
            ("host=127.0.0.1 dbname=a user=b", "sslmode is needed"),
            (
                "host=127.0.0.1 dbname=a user=b sslmode=prefer",
                "sslmode is needed",
            ),
            (
                "host=127.0.0.1 dbname=a user=b sslmode=verify-full",
                "the key ca",
            ),
            ("host=/run dbname=a user=b password=c", "password_file"),
            ("host=/run dbname=a user=b hots=c", "hots is not known"),
            ("host=/run dbname='a user=b", "not closed"),
            ("host=/run port=x dbname=a user=b", "port=x"),
            ("host=/run port=1,2 dbname=a user=b", "one for each"),
        ] {
            let error = Access::parse(text, Secrets::default()).unwrap_err();
            assert!(error.0.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let secrets = Secrets {
            password: Some("sesame"),
            ..Secrets::default()
        };
        let access = Access::parse("host=/run dbname=a user=b", secrets).unwrap();
        let shown = format!("{access:?} {secrets:?}");
        assert!(!shown.contains("sesame"), "{shown}");
    }
}
