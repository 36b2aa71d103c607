//! What a session has to know about its connection: whether a secret may be sent on it, and what a
//! proof can be bound to.
//!
//! Values only; the driver, which owns the socket, fills them in. [`Link::is_private`] decides for
//! both protocols that no password is sent in clear from another machine (SEC-2), except from the
//! networks that `open_to` names while there are no accounts.

use std::fmt;

/// The connection of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The state of TLS on the connection.
    pub tls: Tls,
    /// Whether the client is on this machine, or counts as one that is (`open_to`).
    pub is_local: bool,
}

/// The state of TLS on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// It is not encrypted, and there is no certificate.
    NotOffered,
    /// It is not encrypted; STARTTLS or STLS is available.
    Offered,
    /// It is encrypted.
    Active(ChannelBindings),
}

/// Data that is unique to an encrypted connection, so that a proof made for it is not valid for any
/// other: the channel bindings that TLS can provide (RFC 5056). Its [`Debug`](fmt::Debug) form
/// shows only which ones there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ChannelBindings {
    /// `tls-exporter` (RFC 9266 §2): `None` with TLS 1.2 if the master secret was not extended
    /// (RFC 7627), because it is then not unique to the connection.
    pub exporter: Option<[u8; 32]>,
}

impl Link {
    /// Whether a secret may be sent here: nobody on the network path can read it, or there is no
    /// such path.
    pub fn is_private(&self) -> bool {
        self.is_encrypted() || self.is_local
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.tls, Tls::Active(_))
    }
}

impl ChannelBindings {
    /// The data of the binding type with this registered name.
    pub fn data(&self, name: &str) -> Option<&[u8]> {
        match name {
            "tls-exporter" => self.exporter.as_ref().map(<[u8; 32]>::as_slice),
            _ => None,
        }
    }

    /// Whether there are no bindings.
    pub fn is_empty(&self) -> bool {
        self.exporter.is_none()
    }
}

impl fmt::Debug for ChannelBindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelBindings")
            .field("exporter", &self.exporter.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-2: no password in clear off loopback.
    #[test]
    fn a_link_is_private_within_the_machine_and_within_tls() {
        let active = || Tls::Active(ChannelBindings::default());
        for (tls, is_local, private) in [
            (Tls::NotOffered, true, true),
            (Tls::NotOffered, false, false),
            (Tls::Offered, true, true),
            (Tls::Offered, false, false),
            (active(), true, true),
            (active(), false, true),
        ] {
            let link = Link { tls, is_local };
            assert_eq!(link.is_private(), private, "{link:?}");
        }
    }

    #[test]
    fn bindings_are_found_by_name() {
        let bindings = ChannelBindings {
            exporter: Some([7; 32]),
        };
        assert_eq!(bindings.data("tls-exporter"), Some(&[7; 32][..]));
        assert_eq!(bindings.data("tls-server-end-point"), None);
        assert_eq!(bindings.data("tls-unique"), None);
        assert!(!bindings.is_empty());
        let none = ChannelBindings::default();
        assert!(none.is_empty());
        assert_eq!(none.data("tls-exporter"), None);
        assert!(!format!("{bindings:?}").contains('7'));
    }
}
