//! Who may ask: which requests of a browser are made for its user, and not by somebody's page.
//!
//! Without accounts, everybody who reaches the port sees all mail, and the browser of a developer
//! reaches it for every page that it shows. So a page must be able neither to read mail nor to
//! change anything:
//!
//! - A page of a name that its owner points to 127.0.0.1 ("DNS rebinding") is of the same origin
//!   for the browser. Its requests have that name in Host. Only names that cannot be bought, and
//!   those of the configuration, are answered.
//! - A page of another origin can send requests whose responses it cannot read. Browsers mark them
//!   with Sec-Fetch-Site and Origin (Fetch Metadata, RFC 6454).
//! - A link from elsewhere opens our pages in a window of their own, and nothing else.
//!
//! Programs other than browsers send neither field, and are answered. On the control socket, which
//! no browser reaches, none of this applies.

use super::head::{Head, Method};
use super::host::{Host, HostName, Origin, Scheme};
use super::refusal::Refusal;
use super::status::Status;

/// Whose requests are answered, according to the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The name of this host, in lower case.
    pub hostname: String,
    /// More names by which this server is reached, in lower case: `http_names`.
    pub http_names: Vec<String>,
    /// The origins whose pages may do everything: `http_origins`.
    pub http_origins: Vec<Origin>,
    /// The ports of this server. They count only for requests without Host: elsewhere the port that
    /// a client uses can be another one, of a container or of a proxy.
    pub ports: Vec<u16>,
}

/// How a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over the control socket, which only the user of the daemon can open.
    Control,
    /// Over TCP without TLS; a proxy may have added it.
    Plain,
    /// Over TLS.
    Tls,
}

/// What an admitted request may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What it may ask for.
    pub scope: Scope,
    /// The origin of `http_origins` whose page has sent it, and may read the response.
    pub origin: Option<String>,
}

/// What a request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Everything,
    /// Only pages that are shown in a window of their own: a link from elsewhere. Nothing of the
    /// API, no document of a mail, no download: refuse it with [`Refusal::pages_only`].
    Pages,
}

/// Determines whether a request is answered, and what it may ask for.
///
/// # Errors
/// It is meant for another host (421), or was sent by a page of another origin (403). The
/// connection can stay open if the request has no body.
pub fn admit(head: &Head, rules: &Rules, way: Way) -> Result<Admission, Refusal> {
    let everything = Admission {
        scope: Scope::Everything,
        origin: None,
    };
    if way == Way::Control {
        return Ok(everything);
    }
    if head
        .host
        .as_ref()
        .is_some_and(|host| !is_served(&host.name, rules))
    {
        return Err(Refusal::new(
            Status::MisdirectedRequest,
            "The name in Host is not one of this server; if it should be, add it to http_names in \
             the configuration",
        ));
    }
    let fields = (Browser::of(head), page(head, rules, way));
    match fields {
        (_, Page::Allowed(origin)) => Ok(Admission {
            origin: Some(origin),
            ..everything
        }),
        (Browser::Own, Page::Own | Page::Unnamed | Page::Opaque)
        | (Browser::Unknown, Page::Own | Page::Unnamed) => Ok(everything),
        (Browser::Link, Page::Unnamed) => Ok(Admission {
            scope: Scope::Pages,
            ..everything
        }),
        _ => Err(Refusal::new(
            Status::Forbidden,
            "A page of another origin has sent this request; if it should be able to, add its \
             origin to http_origins in the configuration",
        )),
    }
}

/// What the browser says of where a request comes from: Sec-Fetch-Site, and for links the fields
/// that belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Browser {
    /// Nothing: it is no browser, an old one, or a connection without TLS off this machine.
    Unknown,
    /// From our own pages, or from its user.
    Own,
    /// From elsewhere, to show a page in a window of its own.
    Link,
    /// From elsewhere.
    Other,
}

impl Browser {
    fn of(head: &Head) -> Self {
        let is = |name, value: &[u8]| head.fields.single(name) == Ok(Some(value));
        match head.fields.single("sec-fetch-site") {
            Ok(None) => Self::Unknown,
            Ok(Some(b"same-origin" | b"none")) => Self::Own,
            _ if head.method == Method::Get
                && is("sec-fetch-mode", b"navigate")
                && is("sec-fetch-dest", b"document") =>
            {
                Self::Link
            }
            _ => Self::Other,
        }
    }
}

/// The page that has sent a request, according to Origin.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Page {
    /// There is no Origin: no page, or a request that only reads.
    Unnamed,
    /// One of ours.
    Own,
    /// One that does not name its origin: a form of a page whose referrer policy forbids it, or a
    /// document that has none, such as a mail.
    Opaque,
    /// One of an origin of the configuration, as it was sent.
    Allowed(String),
    /// Any other.
    Other,
}

fn page(head: &Head, rules: &Rules, way: Way) -> Page {
    let value = match head.fields.single("origin") {
        Ok(None) => return Page::Unnamed,
        Ok(Some(b"null")) => return Page::Opaque,
        Ok(Some(value)) => str::from_utf8(value).unwrap_or_default(),
        Err(_) => return Page::Other,
    };
    let Some(origin) = Origin::parse(value) else {
        return Page::Other;
    };
    let is_secure_enough = way != Way::Tls || origin.scheme == Scheme::Https;
    let is_own = match &head.host {
        Some(host) => origin.is_of(host),
        None => is_served(&origin.host, rules) && rules.ports.contains(&origin.port),
    };
    if is_own && is_secure_enough {
        Page::Own
    } else if rules.http_origins.contains(&origin) {
        Page::Allowed(value.to_owned())
    } else {
        Page::Other
    }
}

/// Whether a request for this host is answered. An address cannot be rebound; nor can the names
/// that no registry sells: those without a dot, which containers use, and those of RFC 6761 and of
/// ICANN for private use.
fn is_served(host: &HostName, rules: &Rules) -> bool {
    let HostName::Name(name) = host else {
        return true;
    };
    let is_below = |domain: &str| {
        let rest = name.strip_suffix(domain);
        rest.is_some_and(|rest| rest.ends_with('.'))
    };
    !name.contains('.')
        || ["localhost", "internal", "test"].into_iter().any(is_below)
        || *name == rules.hostname
        || rules.http_names.contains(name)
}

impl Rules {
    /// Whether `text` can be in `http_names`: the name of a host, without a port.
    pub fn is_name(text: &str) -> bool {
        let host = Host::parse(text);
        host.is_some_and(|host| host.port.is_none() && host.name == HostName::Name(text.to_owned()))
    }
}
