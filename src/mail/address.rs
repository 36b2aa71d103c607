//! Addresses and paths: their syntax, their meaning and their written form.
//!
//! The grammar is that of RFC 5321 §4.1.2 and §4.1.3, extended to UTF-8 by RFC 6531 §3.3. A parsed
//! value is known to be well-formed; whether such a mailbox exists is decided elsewhere.
//!
//! # Invariants
//! - A parsed value contains no control character, no Unicode line separator and nothing invisible,
//!   so it can be written into a header field or a log line without escaping.
//! - Parsing the written form of an [`Address`] gives an equal address.
//! - The written form of a parsed address has fewer than 800 octets, so it fits into one line of
//!   998.
//!
//! # Failures
//! Every function returns an [`AddressError`]; none keeps part of a text that it refused.
//!
//! # Known limits
//! - Underscores are accepted in domains although RFC 5321 §4.1.2 forbids them: hosts with such
//!   names exist and send mail.
//! - `::` in an IPv6 literal can stand for a single group, as in RFC 4291 §2.2.
//! - The C1 control characters (U+0080 to U+009F) and the separators U+2028 and U+2029 are refused
//!   although the grammar of RFC 6531 allows them: programs that read headers might take them for
//!   the end of a line. Also refused are white space outside ASCII, invisible characters including
//!   joiners, and characters that change the direction of a text: an address with them looks like
//!   another one.
//! - Local parts are kept as they are written; [`MailboxName`](super::MailboxName) says which of
//!   them are the same.
//! - With [`Dots::Anywhere`], dots can lead, end and follow each other in a local part that is not
//!   quoted. Carriers in Japan have assigned such addresses, and RFC 5321 has no unquoted form for
//!   them. The quoted form is the same address, so [`Address`] writes that one: a trace header is
//!   then well-formed for others, and the mailbox is the same.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Longest domain, in octets: RFC 5321 §4.5.3.1.2.
const DOMAIN_OCTETS_MAX: usize = 255;

/// Longest label of a domain, in octets: RFC 1035 §2.3.4.
const LABEL_OCTETS_MAX: usize = 63;

/// Longest local part, in octets after unquoting.
///
/// RFC 5321 §4.5.3.1.1 asks for 64. A whole path has at most 256 (§4.5.3.1.3), so nobody can rely
/// on more; the bound also keeps a header field with two such octets per character below 998.
const LOCAL_PART_OCTETS_MAX: usize = 256;

/// The characters that are allowed in an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// ASCII only: RFC 5321.
    Ascii,
    /// UTF-8 too: the transaction was declared SMTPUTF8 (RFC 6531 §3.4).
    Utf8,
}

/// Where dots are allowed in a local part that is not quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dots {
    /// One between two atoms: RFC 5321 §4.1.2.
    BetweenAtoms,
    /// Anywhere, as in `a..b` and `a.`, unless there is nothing but dots.
    Anywhere,
}

/// The grammar of an address. A [`Charset`] by itself means the dots of RFC 5321.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grammar {
    /// Its characters.
    pub charset: Charset,
    /// Its dots.
    pub dots: Dots,
}

impl Grammar {
    /// Every address that is valid anywhere.
    pub const WIDEST: Self = Self {
        charset: Charset::Utf8,
        dots: Dots::Anywhere,
    };
}

impl From<Charset> for Grammar {
    fn from(charset: Charset) -> Self {
        Self {
            charset,
            dots: Dots::BetweenAtoms,
        }
    }
}

/// Why a text is not an address or path.
///
/// Every variant is a permanent error of the client. The `Display` form is one line of ASCII
/// without any part of the text, suitable for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// The domain is missing or is not a domain.
    Domain,
    /// The text in square brackets is not an address literal (RFC 5321 §4.1.3).
    Literal,
    /// The local part is missing or is neither a dot-string nor a quoted string.
    LocalPart,
    /// The path does not begin with an angle bracket.
    NoBrackets,
    /// There is a character outside ASCII, which needs SMTPUTF8 (RFC 6531 §3.5).
    NonAscii,
    /// `<>` where a recipient is needed.
    NullForwardPath,
    /// The path does not end with an angle bracket, or its source route is malformed.
    Path,
    /// The domain has more than 255 octets, or the local part more than 256.
    TooLong,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Domain => "the domain of the address is missing or not valid",
            Self::Literal => "the address literal in square brackets is not valid",
            Self::LocalPart => "the part of the address before the @ is missing or not valid",
            Self::NoBrackets => "put the address in angle brackets, as in <alice@example.com>",
            Self::NonAscii => "an address with non-ASCII characters needs SMTPUTF8 after MAIL",
            Self::NullForwardPath => "a recipient cannot be empty, write <alice@example.com>",
            Self::Path => "the path is not complete, write <alice@example.com>",
            Self::TooLong => "the address is too long",
        })
    }
}

impl std::error::Error for AddressError {}

/// A domain name or an address literal in its brackets, as it was written.
///
/// Equality compares the written form; [`to_a_label`](Self::to_a_label) gives a form for
/// comparison.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain(String);

impl Domain {
    /// The domain `localhost`.
    pub fn localhost() -> Self {
        Self("localhost".to_owned())
    }

    /// Parses the whole of `text` as a domain (RFC 5321 §4.1.2) or an address literal with its
    /// brackets (§4.1.3).
    ///
    /// A single label (`localhost`) is a domain. With [`Charset::Utf8`] labels can be U-labels
    /// (RFC 6531 §3.3); such a domain must have an A-label form.
    ///
    /// # Errors
    /// [`AddressError::Domain`], [`AddressError::Literal`], [`AddressError::NonAscii`] or
    /// [`AddressError::TooLong`]: refuse the text that contains the domain.
    pub fn parse(text: &str, charset: Charset) -> Result<Self, AddressError> {
        if text.len() > DOMAIN_OCTETS_MAX {
            return Err(AddressError::TooLong);
        }
        if charset == Charset::Ascii && !text.is_ascii() {
            return Err(AddressError::NonAscii);
        }
        let domain = Self(text.to_owned());
        if let Some(after_bracket) = text.strip_prefix('[') {
            let valid = after_bracket
                .strip_suffix(']')
                .is_some_and(is_literal_content);
            return if valid {
                Ok(domain)
            } else {
                Err(AddressError::Literal)
            };
        }
        if !text.split('.').all(is_label) {
            return Err(AddressError::Domain);
        }
        if !text.is_ascii() {
            domain.to_a_label()?;
        }
        Ok(domain)
    }

    /// The domain as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The canonical form: ASCII, lowercase, U-labels as A-labels (RFC 5890 §2.3.2.1).
    ///
    /// # Errors
    /// [`AddressError::Domain`] if a U-label has no A-label form; this cannot happen to a domain
    /// that was parsed.
    pub fn to_a_label(&self) -> Result<String, AddressError> {
        if self.0.is_ascii() {
            return Ok(self.0.to_ascii_lowercase());
        }
        let mapped = Uts46::new().to_ascii(
            self.0.as_bytes(),
            AsciiDenyList::EMPTY,
            Hyphens::Allow,
            DnsLength::Ignore,
        );
        // The mapping can turn a look-alike (a full-width bracket, for example) into any ASCII
        // character, so its result must follow the same rules as a domain from outside.
        match mapped {
            Ok(name) if name.len() <= DOMAIN_OCTETS_MAX && name.split('.').all(is_label) => {
                Ok(name.into_owned())
            }
            Ok(_) | Err(_) => Err(AddressError::Domain),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address of a mailbox: local part and domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    local_part: String,
    domain: Domain,
}

impl Address {
    /// Parses the whole of `text` as `local-part@domain`, without angle brackets.
    ///
    /// # Errors
    /// Any [`AddressError`] except those of a path: refuse the address.
    pub fn parse(text: &str, grammar: impl Into<Grammar>) -> Result<Self, AddressError> {
        let grammar = grammar.into();
        let (local_part, rest) = split_local_part(text, grammar)?;
        match rest.strip_prefix('@') {
            Some(domain) => Ok(Self {
                local_part,
                domain: Domain::parse(domain, grammar.charset)?,
            }),
            None if rest.is_empty() => Err(AddressError::Domain),
            None => Err(fault_at(rest, grammar.charset, AddressError::LocalPart)),
        }
    }

    /// Joins a local part, unquoted, with a domain.
    ///
    /// For text from the network use [`parse`](Self::parse) instead: this checks nothing.
    pub fn from_parts(local_part: String, domain: Domain) -> Self {
        Self { local_part, domain }
    }

    /// The local part without quotes and backslashes: its meaning (RFC 5321 §4.1.2).
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
}

impl fmt::Display for Address {
    /// Writes the address in RFC 5321 form, with the local part quoted only if necessary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_local_part(f, &self.local_part)?;
        write!(f, "@{}", self.domain)
    }
}

/// Writes `local_part` as a dot-string if possible, otherwise as a quoted string.
///
/// A control character, which no parsed local part has, is written as `?` (SEC-7).
pub(super) fn write_local_part(f: &mut fmt::Formatter<'_>, local_part: &str) -> fmt::Result {
    if is_dot_string(local_part) {
        return f.write_str(local_part);
    }
    f.write_str("\"")?;
    for character in local_part.chars() {
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            _ if is_hazard(character) => f.write_str("?")?,
            _ => write!(f, "{character}")?,
        }
    }
    f.write_str("\"")
}

/// Where failure reports go: RFC 5321 §4.1.1.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: no report is wanted (RFC 5321 §4.5.5).
    Null,
    /// A mailbox.
    Address(Address),
}

impl fmt::Display for ReversePath {
    /// Writes the path with its angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Address(address) => write!(f, "<{address}>"),
        }
    }
}

/// The recipient of the message: RFC 5321 §4.1.1.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain, in any case: the postmaster of this host.
    Postmaster,
    /// A mailbox.
    Address(Address),
}

impl fmt::Display for ForwardPath {
    /// Writes the path with its angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<postmaster>"),
            Self::Address(address) => write!(f, "<{address}>"),
        }
    }
}

/// Parses the reverse-path at the start of `text`; returns it with the text after its `>`.
///
/// Spaces before the path are skipped, because many clients send one after the colon. A path
/// without a domain (`<bob>`) gets `default_domain`. A source route is checked and discarded
/// (RFC 5321 §3.6.1, appendix C).
///
/// # Errors
/// Any [`AddressError`] except [`AddressError::NullForwardPath`]: refuse the command.
pub fn parse_reverse_path<'a>(
    text: &'a str,
    grammar: impl Into<Grammar>,
    default_domain: &Domain,
) -> Result<(ReversePath, &'a str), AddressError> {
    let inner = open_path(text)?;
    if let Some(rest) = inner.strip_prefix('>') {
        return Ok((ReversePath::Null, rest));
    }
    let (local_part, domain, rest) = split_path(inner, grammar.into())?;
    let domain = domain.unwrap_or_else(|| default_domain.clone());
    Ok((ReversePath::Address(Address { local_part, domain }), rest))
}

/// Parses the forward-path at the start of `text`; returns it with the text after its `>`.
///
/// Like [`parse_reverse_path`], but `<>` is refused and `<postmaster>` without a domain, in any
/// case, is the postmaster of this host (RFC 5321 §4.1.1.3).
///
/// # Errors
/// Any [`AddressError`]: refuse the command.
pub fn parse_forward_path<'a>(
    text: &'a str,
    grammar: impl Into<Grammar>,
    default_domain: &Domain,
) -> Result<(ForwardPath, &'a str), AddressError> {
    let inner = open_path(text)?;
    if inner.starts_with('>') {
        return Err(AddressError::NullForwardPath);
    }
    let (local_part, domain, rest) = split_path(inner, grammar.into())?;
    let forward_path = match domain {
        None if local_part.eq_ignore_ascii_case("postmaster") => ForwardPath::Postmaster,
        None => ForwardPath::Address(Address {
            local_part,
            domain: default_domain.clone(),
        }),
        Some(domain) => ForwardPath::Address(Address { local_part, domain }),
    };
    Ok((forward_path, rest))
}

/// Returns the text after the opening angle bracket.
fn open_path(text: &str) -> Result<&str, AddressError> {
    text.trim_start_matches(' ')
        .strip_prefix('<')
        .ok_or(AddressError::NoBrackets)
}

/// Splits the text after `<` into local part, domain if there is one, and the text after `>`.
fn split_path(
    inner: &str,
    grammar: Grammar,
) -> Result<(String, Option<Domain>, &str), AddressError> {
    let charset = grammar.charset;
    let mailbox = if inner.starts_with('@') {
        skip_source_route(inner, charset)?
    } else {
        inner
    };
    let (local_part, rest) = split_local_part(mailbox, grammar)?;
    let (domain, rest) = match rest.strip_prefix('@') {
        Some(rest) => {
            let (domain, rest) = split_domain(rest, charset)?;
            (Some(domain), rest)
        }
        None => (None, rest),
    };
    match rest.strip_prefix('>') {
        Some(rest) => Ok((local_part, domain, rest)),
        None if rest.is_empty() => Err(AddressError::Path),
        None if domain.is_some() => Err(fault_at(rest, charset, AddressError::Domain)),
        None => Err(fault_at(rest, charset, AddressError::LocalPart)),
    }
}

/// Returns the text after the source route `@a,@b:` at the start of `inner`.
fn skip_source_route(inner: &str, charset: Charset) -> Result<&str, AddressError> {
    let mut rest = inner;
    loop {
        let at_domain = rest.strip_prefix('@').ok_or(AddressError::Path)?;
        let (_, after) = split_domain(at_domain, charset)?;
        if let Some(mailbox) = after.strip_prefix(':') {
            return Ok(mailbox);
        }
        rest = after
            .strip_prefix(',')
            .ok_or_else(|| fault_at(after, charset, AddressError::Path))?;
    }
}

/// Splits `text` after the domain or address literal at its start.
fn split_domain(text: &str, charset: Charset) -> Result<(Domain, &str), AddressError> {
    let end = if text.starts_with('[') {
        let bracket = text.find(']').ok_or(AddressError::Literal)?;
        bracket.saturating_add(1)
    } else {
        text.find(|character| !is_label_character(character))
            .unwrap_or(text.len())
    };
    let (domain, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    Ok((Domain::parse(domain, charset)?, rest))
}

/// Splits `text` after the local part at its start; returns that unquoted.
fn split_local_part(text: &str, grammar: Grammar) -> Result<(String, &str), AddressError> {
    let (local_part, rest) = match text.strip_prefix('"') {
        Some(quoted) => split_quoted_string(quoted, grammar.charset)?,
        None => split_dot_string(text, grammar)?,
    };
    if local_part.len() > LOCAL_PART_OCTETS_MAX {
        return Err(AddressError::TooLong);
    }
    Ok((local_part, rest))
}

/// Splits `text` after the dot-string at its start.
fn split_dot_string(text: &str, grammar: Grammar) -> Result<(String, &str), AddressError> {
    let Grammar { charset, dots } = grammar;
    let end = text
        .find(|c| c != '.' && !is_atext(c))
        .unwrap_or(text.len());
    let (dot_string, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    if charset == Charset::Ascii && !dot_string.is_ascii() {
        return Err(AddressError::NonAscii);
    }
    let is_valid = match dots {
        Dots::BetweenAtoms => is_dot_string(dot_string),
        // Only dots remain an error: nobody has them for a name.
        Dots::Anywhere => dot_string.contains(is_atext),
    };
    if !is_valid {
        return Err(fault_at(rest, charset, AddressError::LocalPart));
    }
    Ok((dot_string.to_owned(), rest))
}

/// Parses a quoted string after its opening quote; returns it unquoted, and the text after it.
fn split_quoted_string(text: &str, charset: Charset) -> Result<(String, &str), AddressError> {
    let mut local_part = String::new();
    let mut characters = text.chars();
    loop {
        let character = match characters.next() {
            Some('"') => return Ok((local_part, characters.as_str())),
            // RFC 6531 §3.3 extends qtextSMTP but not quoted-pairSMTP: the character after a
            // backslash is always ASCII.
            Some('\\') => characters.next().filter(char::is_ascii),
            other => other,
        };
        let character = character.ok_or(AddressError::LocalPart)?;
        if is_hazard(character) {
            return Err(AddressError::LocalPart);
        }
        if charset == Charset::Ascii && !character.is_ascii() {
            return Err(AddressError::NonAscii);
        }
        local_part.push(character);
    }
}

/// The error where the parser stopped: a character that is allowed only with UTF-8, or else
/// `otherwise`.
fn fault_at(rest: &str, charset: Charset, otherwise: AddressError) -> AddressError {
    match rest.chars().next() {
        Some(character) if charset == Charset::Ascii && !character.is_ascii() => {
            AddressError::NonAscii
        }
        Some(_) | None => otherwise,
    }
}

/// Whether a character could end or garble a line of a header or log, or make an address look like
/// another one: control characters, white space outside ASCII, invisible characters, and those that
/// change the direction of the text around them (Unicode: `Default_Ignorable_Code_Point`,
/// `Bidi_Control`).
pub(super) fn is_hazard(character: char) -> bool {
    character.is_control()
        || (character.is_whitespace() && !character.is_ascii())
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fff8}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Whether a character is atext: RFC 5322 §3.2.3, extended by RFC 6531 §3.3.
pub(super) fn is_atext(character: char) -> bool {
    match character {
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' | '^' | '_'
        | '`' | '{' | '|' | '}' | '~' => true,
        _ if character.is_ascii() => character.is_ascii_alphanumeric(),
        _ => !is_hazard(character),
    }
}

/// Whether `text` is a dot-string: atoms with single dots between them.
fn is_dot_string(text: &str) -> bool {
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// Whether a character is allowed in a domain name, including the dots.
fn is_label_character(character: char) -> bool {
    match character {
        '-' | '.' | '_' => true,
        _ if character.is_ascii() => character.is_ascii_alphanumeric(),
        _ => !is_hazard(character),
    }
}

/// Whether `label` is allowed between the dots of a domain name.
///
/// The length of a U-label counts in its A-label form, so it is not checked here.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && (label.len() <= LABEL_OCTETS_MAX || !label.is_ascii())
        && label.chars().all(is_label_character)
}

/// Whether `content` is allowed between the brackets of an address literal: RFC 5321 §4.1.3.
fn is_literal_content(content: &str) -> bool {
    let Some((tag, rest)) = content.split_once(':') else {
        return is_ipv4(content);
    };
    if tag.eq_ignore_ascii_case("IPv6") {
        return Ipv6Addr::from_str(rest).is_ok();
    }
    let is_ldh = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    let is_dcontent = |octet: u8| matches!(octet, 33..=90 | 94..=126);
    !tag.is_empty()
        && !tag.ends_with('-')
        && tag.bytes().all(is_ldh)
        && !rest.is_empty()
        && rest.bytes().all(is_dcontent)
}

/// Whether `text` is four numbers of one to three digits, each at most 255.
///
/// `Ipv4Addr` is not used because it refuses the leading zeros that the grammar allows.
fn is_ipv4(text: &str) -> bool {
    let is_number = |number: &str| {
        number.len() <= 3
            && number.bytes().all(|octet| octet.is_ascii_digit())
            && u8::from_str(number).is_ok()
    };
    text.split('.').count() == 4 && text.split('.').all(is_number)
}
