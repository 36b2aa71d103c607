//! The settings that a person types into a mail program, or that a mail program downloads.
//!
//! Pure: it turns the addresses of the listeners into words. [`Settings`] is written as text with
//! the words of Thunderbird, which Outlook and K-9 also use, or as the autoconfig file that
//! Thunderbird and K-9 fetch (`clientConfig`, version 1.1).
//!
//! # How a server is chosen
//! For each protocol, the listener that protects a password best is chosen: first implicit TLS, as
//! RFC 8314 §3 recommends, then submission, then the ordinary listener; the last two with STARTTLS
//! or STLS if there is a certificate. If a listener has several addresses, the first one with a
//! fixed port that other machines can reach is chosen, or otherwise the first one with a fixed
//! port.
//!
//! An address that other machines can reach is shown as the host name, which is in the certificate,
//! unless the host name is `localhost`.

use std::{fmt, net::SocketAddr};

use crate::mail::{Address, Door, Service};

/// A host on which facteur runs, and which passwords it accepts.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// Whether there is a certificate.
    pub has_certificate: bool,
    /// Whether the other SMTP and POP3 listeners offer TLS with it.
    pub starttls: bool,
    /// Which passwords open a mailbox.
    pub passwords: Passwords,
}

/// The addresses that one protocol is served at in one way.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The protocol.
    pub service: Service,
    /// How connections begin.
    pub door: Door,
    /// Where.
    pub addresses: Vec<SocketAddr>,
}

/// Which passwords open a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passwords {
    /// Any: there are no accounts.
    Any,
    /// Only the password of the account.
    OfTheAccount,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    None,
    StartTls,
    Tls,
}

impl Encryption {
    /// The name that mail programs use for it.
    fn in_words(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::StartTls => "STARTTLS",
            Self::Tls => "SSL/TLS",
        }
    }

    /// The `socketType` of an autoconfig file.
    fn socket_type(self) -> &'static str {
        match self {
            Self::None => "plain",
            Self::StartTls => "STARTTLS",
            Self::Tls => "SSL",
        }
    }
}

/// A server, described for a mail program.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    host: String,
    /// `None` if it is chosen when facteur starts.
    port: Option<u16>,
    encryption: Encryption,
}

/// The settings for one address.
#[derive(Clone, Debug)]
pub struct Settings {
    address: Address,
    /// `None` when POP3 is off.
    incoming: Option<Server>,
    /// `None` when SMTP is off.
    outgoing: Option<Server>,
    passwords: Passwords,
}

impl Settings {
    /// The settings for the mail of `address`.
    pub fn new(host: &Host, address: Address) -> Self {
        let best_server = |service| {
            let mut doors = [Door::Tls, Door::Submission, Door::Plain].into_iter();
            doors.find_map(|door| server(host, service, door))
        };
        Self {
            address,
            incoming: best_server(Service::Pop3),
            outgoing: best_server(Service::Smtp),
            passwords: host.passwords,
        }
    }

    /// The autoconfig file for every user in the domain of the address.
    ///
    /// # Errors
    /// [`NoAutoconfig`]: report it.
    pub fn autoconfig(&self) -> Result<String, NoAutoconfig> {
        let incoming = self.incoming.as_ref().ok_or(NoAutoconfig::NoIncoming)?;
        let outgoing = self.outgoing.as_ref().ok_or(NoAutoconfig::NoOutgoing)?;
        let incoming = server_element("incomingServer", "pop3", incoming)?;
        let outgoing = server_element("outgoingServer", "smtp", outgoing)?;
        let domain = Xml(self.address.domain().as_str());
        Ok(format!(
            "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<clientConfig version=\"1.1\">
  <emailProvider id=\"{domain}\">
    <domain>{domain}</domain>
    <displayName>{domain}</displayName>
    <displayShortName>{domain}</displayShortName>
{incoming}{outgoing}  </emailProvider>
</clientConfig>
"
        ))
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = [
            ("Incoming mail", "POP3", &self.incoming),
            ("Outgoing mail", "SMTP", &self.outgoing),
        ];
        for (title, protocol, server) in servers {
            writeln!(f, "{title}")?;
            let Some(server) = server else {
                writeln!(f, "  none: {protocol} is switched off\n")?;
                continue;
            };
            writeln!(f, "  Protocol        {protocol}")?;
            writeln!(f, "  Server          {}", server.host)?;
            match server.port {
                Some(port) => writeln!(f, "  Port            {port}")?,
                None => writeln!(f, "  Port            printed when facteur starts")?,
            }
            writeln!(f, "  Encryption      {}", server.encryption.in_words())?;
            writeln!(f, "  User name       {}", self.address)?;
            writeln!(f, "  Authentication  Normal password\n")?;
        }
        match self.passwords {
            Passwords::Any => f.write_str("Any password is accepted: there are no accounts.\n")?,
            Passwords::OfTheAccount => f.write_str("The password is that of the account.\n")?,
        }
        let mut servers = self.incoming.iter().chain(&self.outgoing);
        if servers.any(|server| server.encryption == Encryption::None) {
            f.write_str(
                "Without encryption some programs show \"Password, transmitted insecurely\" \
                 instead of\n\"Normal password\".\n",
            )?;
        }
        Ok(())
    }
}

/// Why no autoconfig file can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAutoconfig {
    /// POP3 is off.
    NoIncoming,
    /// SMTP is off.
    NoOutgoing,
    /// A port is chosen when facteur starts: configure one.
    NoPort,
}

impl fmt::Display for NoAutoconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoIncoming => "an autoconfig file needs a POP3 server, and POP3 is off",
            Self::NoOutgoing => "an autoconfig file needs an SMTP server, and SMTP is off",
            Self::NoPort => {
                "an autoconfig file needs fixed ports, and port 0 changes at each start: \
                 configure a port"
            }
        })
    }
}

impl std::error::Error for NoAutoconfig {}

/// The server of `host` for `service` that is reached by `door`, if there is one.
fn server(host: &Host, service: Service, door: Door) -> Option<Server> {
    let mut listeners = host.listeners.iter();
    let listener = listeners.find(|it| (it.service, it.door) == (service, door))?;
    let address = best(&listener.addresses)?;
    let encryption = match door {
        Door::Tls => Encryption::Tls,
        Door::Submission if host.has_certificate => Encryption::StartTls,
        Door::Plain if host.has_certificate && host.starttls => Encryption::StartTls,
        Door::Submission | Door::Plain | Door::Lmtp | Door::Control => Encryption::None,
    };
    Some(Server {
        host: name_for(address, &host.name),
        port: Some(address.port()).filter(|port| *port != 0),
        encryption,
    })
}

/// The address that a client should use.
fn best(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let is_fixed = |address: &&SocketAddr| address.port() != 0;
    let is_near = |address: &&SocketAddr| address.ip().to_canonical().is_loopback();
    let fixed = || addresses.iter().filter(is_fixed);
    let from_afar = fixed().find(|address| !is_near(address));
    from_afar
        .or_else(|| fixed().next())
        .or(addresses.first())
        .copied()
}

/// The name or address by which a client should connect.
fn name_for(address: SocketAddr, hostname: &str) -> String {
    let ip = address.ip().to_canonical();
    let has_name = hostname != "localhost";
    if ip.is_unspecified() || (has_name && !ip.is_loopback()) {
        hostname.to_owned()
    } else {
        ip.to_string()
    }
}

fn server_element(element: &str, kind: &str, server: &Server) -> Result<String, NoAutoconfig> {
    let port = server.port.ok_or(NoAutoconfig::NoPort)?;
    let host = Xml(&server.host);
    let socket_type = server.encryption.socket_type();
    Ok(format!(
        "    <{element} type=\"{kind}\">
      <hostname>{host}</hostname>
      <port>{port}</port>
      <socketType>{socket_type}</socketType>
      <username>%EMAILADDRESS%</username>
      <authentication>password-cleartext</authentication>
    </{element}>
"
    ))
}

/// Text in an XML element or attribute.
struct Xml<'a>(&'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&apos;")?,
                _ => write!(f, "{character}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::mail::Charset;

    const LOOPBACK: &str = "127.0.0.1:1";

    fn host() -> Host {
        Host {
            name: "mail.example.com".to_owned(),
            listeners: Vec::new(),
            has_certificate: true,
            starttls: true,
            passwords: Passwords::OfTheAccount,
        }
    }

    /// Has `host` listen there at these addresses and no others.
    fn listen(host: &mut Host, service: Service, door: Door, texts: &[&str]) {
        let others = |it: &Listener| (it.service, it.door) != (service, door);
        host.listeners.retain(others);
        host.listeners.push(Listener {
            service,
            door,
            addresses: texts.iter().map(|text| text.parse().unwrap()).collect(),
        });
    }

    fn settings(host: &Host) -> Settings {
        let address = Address::parse("bob@example.com", Charset::Utf8).unwrap();
        Settings::new(host, address)
    }

    fn outgoing(host: &Host) -> (Option<u16>, Encryption) {
        let server = settings(host).outgoing.unwrap();
        (server.port, server.encryption)
    }

    #[test]
    fn the_best_protection_is_chosen() {
        let mut host = host();
        listen(&mut host, Service::Smtp, Door::Plain, &["127.0.0.1:25"]);
        listen(&mut host, Service::Pop3, Door::Plain, &["127.0.0.1:110"]);
        host.has_certificate = false;
        assert_eq!(outgoing(&host), (Some(25), Encryption::None));
        host.has_certificate = true;
        assert_eq!(outgoing(&host), (Some(25), Encryption::StartTls));
        let incoming = settings(&host).incoming.unwrap();
        let found = (incoming.port, incoming.encryption);
        assert_eq!(found, (Some(110), Encryption::StartTls));
        listen(
            &mut host,
            Service::Smtp,
            Door::Submission,
            &["127.0.0.1:587"],
        );
        assert_eq!(outgoing(&host), (Some(587), Encryption::StartTls));
        host.has_certificate = false;
        assert_eq!(outgoing(&host), (Some(587), Encryption::None));
        host.has_certificate = true;
        host.starttls = false;
        assert_eq!(outgoing(&host), (Some(587), Encryption::StartTls));
        let incoming = settings(&host).incoming.unwrap();
        assert_eq!(incoming.encryption, Encryption::None);
        listen(&mut host, Service::Smtp, Door::Tls, &["127.0.0.1:465"]);
        listen(&mut host, Service::Pop3, Door::Tls, &["127.0.0.1:995"]);
        assert_eq!(outgoing(&host), (Some(465), Encryption::Tls));
        let incoming = settings(&host).incoming.unwrap();
        let found = (incoming.port, incoming.encryption);
        assert_eq!(found, (Some(995), Encryption::Tls));
    }

    #[test]
    fn a_server_has_the_name_under_which_clients_reach_it() {
        for (listens, hostname, expected) in [
            (&["127.0.0.1:1"][..], "mail.example.com", "127.0.0.1 1"),
            (&["[::1]:1", "127.0.0.1:2"], "mail.example.com", "::1 1"),
            (&["[::ffff:127.0.0.1]:1"], "localhost", "127.0.0.1 1"),
            (&["0.0.0.0:1"], "mail.example.com", "mail.example.com 1"),
            (&["[::]:1"], "mail.example.com", "mail.example.com 1"),
            (&["0.0.0.0:1"], "localhost", "localhost 1"),
            (&["192.0.2.7:1"], "mail.example.com", "mail.example.com 1"),
            (&["192.0.2.7:1"], "localhost", "192.0.2.7 1"),
            (&["127.0.0.1:1", "192.0.2.7:2"], "m.example", "m.example 2"),
            (&["0.0.0.0:0", "127.0.0.1:2"], "m.example", "127.0.0.1 2"),
            (&["127.0.0.1:0"], "m.example", "127.0.0.1 0"),
        ] {
            let mut host = host();
            host.name = hostname.to_owned();
            listen(&mut host, Service::Smtp, Door::Plain, listens);
            let found = settings(&host).outgoing.unwrap();
            let found = format!("{} {}", found.host, found.port.unwrap_or(0));
            assert_eq!(found, expected, "{listens:?} {hostname}");
        }
    }

    #[test]
    fn the_text_has_every_field() {
        let mut host = host();
        listen(&mut host, Service::Smtp, Door::Tls, &["0.0.0.0:465"]);
        listen(&mut host, Service::Pop3, Door::Tls, &["0.0.0.0:995"]);
        let expected = "\
Incoming mail
  Protocol        POP3
  Server          mail.example.com
  Port            995
  Encryption      SSL/TLS
  User name       bob@example.com
  Authentication  Normal password

Outgoing mail
  Protocol        SMTP
  Server          mail.example.com
  Port            465
  Encryption      SSL/TLS
  User name       bob@example.com
  Authentication  Normal password

The password is that of the account.
";
        assert_eq!(settings(&host).to_string(), expected);
    }

    #[test]
    fn the_text_shows_what_is_off_open_or_not_yet_known() {
        let mut host = host();
        host.has_certificate = false;
        host.passwords = Passwords::Any;
        listen(&mut host, Service::Smtp, Door::Plain, &["127.0.0.1:0"]);
        let text = settings(&host).to_string();
        for part in [
            "Incoming mail\n  none: POP3 is switched off\n",
            "  Port            printed when facteur starts\n",
            "  Encryption      None\n",
            "Any password is accepted",
            "Password, transmitted insecurely",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    #[test]
    fn the_autoconfig_file_is_that_of_the_domain() {
        let mut host = host();
        listen(&mut host, Service::Smtp, Door::Submission, &["0.0.0.0:587"]);
        listen(&mut host, Service::Pop3, Door::Tls, &["0.0.0.0:995"]);
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="example.com">
    <domain>example.com</domain>
    <displayName>example.com</displayName>
    <displayShortName>example.com</displayShortName>
    <incomingServer type="pop3">
      <hostname>mail.example.com</hostname>
      <port>995</port>
      <socketType>SSL</socketType>
      <username>%EMAILADDRESS%</username>
      <authentication>password-cleartext</authentication>
    </incomingServer>
    <outgoingServer type="smtp">
      <hostname>mail.example.com</hostname>
      <port>587</port>
      <socketType>STARTTLS</socketType>
      <username>%EMAILADDRESS%</username>
      <authentication>password-cleartext</authentication>
    </outgoingServer>
  </emailProvider>
</clientConfig>
"#;
        assert_eq!(settings(&host).autoconfig().unwrap(), expected);
    }

    #[test]
    fn an_autoconfig_file_needs_two_servers_with_ports() {
        let mut host = host();
        let reason = |host: &Host| settings(host).autoconfig().unwrap_err();
        assert_eq!(reason(&host), NoAutoconfig::NoIncoming);
        listen(&mut host, Service::Pop3, Door::Plain, &[LOOPBACK]);
        assert_eq!(reason(&host), NoAutoconfig::NoOutgoing);
        listen(&mut host, Service::Smtp, Door::Plain, &["127.0.0.1:0"]);
        assert_eq!(reason(&host), NoAutoconfig::NoPort);
        listen(&mut host, Service::Smtp, Door::Plain, &[LOOPBACK]);
        assert!(settings(&host).autoconfig().is_ok());
    }

    /// Any characters in a name remain text.
    #[test]
    fn nothing_in_a_name_becomes_markup() {
        let mut host = host();
        host.name = "<a>&\"'".to_owned();
        listen(&mut host, Service::Pop3, Door::Plain, &["0.0.0.0:1"]);
        listen(&mut host, Service::Smtp, Door::Plain, &["0.0.0.0:1"]);
        let file = settings(&host).autoconfig().unwrap();
        let expected = "<hostname>&lt;a&gt;&amp;&quot;&apos;</hostname>";
        assert!(file.contains(expected), "{file}");
    }
}
