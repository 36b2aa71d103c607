//! What a person has to type into a mail program, or a mail program into itself.
//!
//! Pure: from where facteur listens to words. [`Settings`] is written as text with the words of
//! Thunderbird, which Outlook and K-9 share, or as the autoconfig file that Thunderbird and K-9
//! fetch (`clientConfig`, version 1.1).
//!
//! # How a server is chosen
//! For each protocol the listener that protects a password best: with TLS from the first octet on,
//! as RFC 8314 §3 recommends, then the one of submission, then the ordinary one; those two with
//! STARTTLS or STLS where there is a certificate. Of several addresses of one listener the first
//! with a fixed port that other machines reach, or else the first with a fixed port.
//!
//! An address that other machines reach is called by the host name, which is in the certificate,
//! unless that is `localhost`.

use std::{fmt, net::SocketAddr};

use crate::mail::Address;

/// Where facteur listens, and for whom.
#[derive(Clone, Debug)]
pub struct Service {
    /// The name of the host.
    pub hostname: String,
    /// Where SMTP listens.
    pub smtp: Vec<SocketAddr>,
    /// Where SMTP listens with TLS.
    pub smtps: Vec<SocketAddr>,
    /// Where SMTP listens for submission.
    pub submission: Vec<SocketAddr>,
    /// Where POP3 listens.
    pub pop3: Vec<SocketAddr>,
    /// Where POP3 listens with TLS.
    pub pop3s: Vec<SocketAddr>,
    /// Whether there is a certificate.
    pub has_certificate: bool,
    /// Whether SMTP and POP3 that begin in clear offer TLS with it.
    pub starttls: bool,
    /// Which passwords open a mailbox.
    pub passwords: Passwords,
}

/// Which passwords open a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passwords {
    /// Any: there are no accounts.
    Any,
    /// That of the account.
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
    /// What mail programs call it.
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

/// A server as a mail program wants to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    host: String,
    /// `None` when it is chosen at the start.
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
    pub fn new(service: &Service, address: Address) -> Self {
        let upgraded = if service.has_certificate {
            Encryption::StartTls
        } else {
            Encryption::None
        };
        let in_clear = if service.starttls {
            upgraded
        } else {
            Encryption::None
        };
        let choose = |listeners: &[(&[SocketAddr], Encryption)]| {
            listeners.iter().find_map(|(addresses, encryption)| {
                let address = best(addresses)?;
                Some(Server {
                    host: host(address, &service.hostname),
                    port: Some(address.port()).filter(|port| *port != 0),
                    encryption: *encryption,
                })
            })
        };
        Self {
            address,
            incoming: choose(&[(&service.pop3s, Encryption::Tls), (&service.pop3, in_clear)]),
            outgoing: choose(&[
                (&service.smtps, Encryption::Tls),
                (&service.submission, upgraded),
                (&service.smtp, in_clear),
            ]),
            passwords: service.passwords,
        }
    }

    /// The autoconfig file for everybody in the domain of the address.
    ///
    /// # Errors
    /// [`NoAutoconfig`]: tell the person.
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
                None => writeln!(
                    f,
                    "  Port            the one that facteur prints at its start"
                )?,
            }
            writeln!(f, "  Encryption      {}", server.encryption.in_words())?;
            writeln!(f, "  User name       {}", self.address)?;
            writeln!(f, "  Authentication  Normal password\n")?;
        }
        match self.passwords {
            Passwords::Any => f.write_str("Any password is taken: there are no accounts.\n")?,
            Passwords::OfTheAccount => f.write_str("The password is that of the account.\n")?,
        }
        let mut servers = self.incoming.iter().chain(&self.outgoing);
        if servers.any(|server| server.encryption == Encryption::None) {
            f.write_str(
                "Without encryption some programs say \"Password, transmitted insecurely\" \
                 instead of\n\"Normal password\".\n",
            )?;
        }
        Ok(())
    }
}

/// Why there can be no autoconfig file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAutoconfig {
    /// POP3 is off.
    NoIncoming,
    /// SMTP is off.
    NoOutgoing,
    /// A port is chosen at the start: configure one.
    NoPort,
}

impl fmt::Display for NoAutoconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoIncoming => "an autoconfig file names a server for POP3, which is off",
            Self::NoOutgoing => "an autoconfig file names a server for SMTP, which is off",
            Self::NoPort => {
                "an autoconfig file names ports, and port 0 is another one at each start: \
                 configure a port"
            }
        })
    }
}

impl std::error::Error for NoAutoconfig {}

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

/// What a client should call an address.
fn host(address: SocketAddr, hostname: &str) -> String {
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

/// A text in an element or an attribute of XML.
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

    fn service() -> Service {
        Service {
            hostname: "mail.example.com".to_owned(),
            smtp: Vec::new(),
            smtps: Vec::new(),
            submission: Vec::new(),
            pop3: Vec::new(),
            pop3s: Vec::new(),
            has_certificate: true,
            starttls: true,
            passwords: Passwords::OfTheAccount,
        }
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn settings(service: &Service) -> Settings {
        let address = Address::parse("bob@example.com", Charset::Utf8).unwrap();
        Settings::new(service, address)
    }

    fn outgoing(service: &Service) -> (Option<u16>, Encryption) {
        let server = settings(service).outgoing.unwrap();
        (server.port, server.encryption)
    }

    #[test]
    fn the_best_protection_is_chosen() {
        let mut service = service();
        service.smtp = addresses(&["127.0.0.1:25"]);
        service.pop3 = addresses(&["127.0.0.1:110"]);
        service.has_certificate = false;
        assert_eq!(outgoing(&service), (Some(25), Encryption::None));
        service.has_certificate = true;
        assert_eq!(outgoing(&service), (Some(25), Encryption::StartTls));
        let incoming = settings(&service).incoming.unwrap();
        let found = (incoming.port, incoming.encryption);
        assert_eq!(found, (Some(110), Encryption::StartTls));
        service.submission = addresses(&["127.0.0.1:587"]);
        assert_eq!(outgoing(&service), (Some(587), Encryption::StartTls));
        service.has_certificate = false;
        assert_eq!(outgoing(&service), (Some(587), Encryption::None));
        service.has_certificate = true;
        service.starttls = false;
        assert_eq!(outgoing(&service), (Some(587), Encryption::StartTls));
        let incoming = settings(&service).incoming.unwrap();
        assert_eq!(incoming.encryption, Encryption::None);
        service.smtps = addresses(&["127.0.0.1:465"]);
        service.pop3s = addresses(&["127.0.0.1:995"]);
        assert_eq!(outgoing(&service), (Some(465), Encryption::Tls));
        let incoming = settings(&service).incoming.unwrap();
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
            let mut service = service();
            service.hostname = hostname.to_owned();
            service.smtp = addresses(listens);
            let found = settings(&service).outgoing.unwrap();
            let found = format!("{} {}", found.host, found.port.unwrap_or(0));
            assert_eq!(found, expected, "{listens:?} {hostname}");
        }
    }

    #[test]
    fn the_text_has_every_field() {
        let mut service = service();
        service.smtps = addresses(&["0.0.0.0:465"]);
        service.pop3s = addresses(&["0.0.0.0:995"]);
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
        assert_eq!(settings(&service).to_string(), expected);
    }

    #[test]
    fn the_text_says_what_is_off_open_or_not_yet_known() {
        let mut service = service();
        service.has_certificate = false;
        service.passwords = Passwords::Any;
        service.smtp = addresses(&["127.0.0.1:0"]);
        let text = settings(&service).to_string();
        for part in [
            "Incoming mail\n  none: POP3 is switched off\n",
            "  Port            the one that facteur prints at its start\n",
            "  Encryption      None\n",
            "Any password is taken",
            "Password, transmitted insecurely",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    #[test]
    fn the_autoconfig_file_is_that_of_the_domain() {
        let mut service = service();
        service.submission = addresses(&["0.0.0.0:587"]);
        service.pop3s = addresses(&["0.0.0.0:995"]);
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
        assert_eq!(settings(&service).autoconfig().unwrap(), expected);
    }

    #[test]
    fn an_autoconfig_file_needs_two_servers_with_ports() {
        let mut service = service();
        let reason = |service: &Service| settings(service).autoconfig().unwrap_err();
        assert_eq!(reason(&service), NoAutoconfig::NoIncoming);
        service.pop3 = addresses(&[LOOPBACK]);
        assert_eq!(reason(&service), NoAutoconfig::NoOutgoing);
        service.smtp = addresses(&["127.0.0.1:0"]);
        assert_eq!(reason(&service), NoAutoconfig::NoPort);
        service.smtp = addresses(&[LOOPBACK]);
        assert!(settings(&service).autoconfig().is_ok());
    }

    /// Whatever stands in a name, it stays text.
    #[test]
    fn nothing_in_a_name_is_taken_for_markup() {
        let mut service = service();
        service.hostname = "<a>&\"'".to_owned();
        service.pop3 = addresses(&["0.0.0.0:1"]);
        service.smtp = addresses(&["0.0.0.0:1"]);
        let file = settings(&service).autoconfig().unwrap();
        let expected = "<hostname>&lt;a&gt;&amp;&quot;&apos;</hostname>";
        assert!(file.contains(expected), "{file}");
    }
}
