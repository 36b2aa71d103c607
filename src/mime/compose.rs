//! Writing a mail: a message that every program can read (RFC 5322, RFC 2045 to RFC 2047, RFC 2183,
//! RFC 2231).
//!
//! # Invariants
//! - Lines end in LF and have at most 998 octets, if no text of the draft that is not broken into
//!   lines, such as an address, is longer than [`limits::COMPOSED_WORD_OCTETS_MAX`].
//! - The header section has the fields of the draft and no others: a control character in a text
//!   for it becomes a space, so that no text begins a line.
//! - Everything is ASCII, except addresses that are not.
//! - What [`Outline`](super::Outline) and its relatives read of the message is what the draft says.
//!
//! # Known limits
//! A text that is a body alone gets a line ending at its end.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{limits, person::Person};

/// Begins each boundary. No body has it behind two hyphens: quoted-printable encodes `=`, base64
/// has no hyphen, and a text with it is not sent as it is.
const BOUNDARY: &str = "=_";

/// How much of a text one encoded word holds, in octets: it has 64 with that, and fits behind the
/// name of a field into a line of 76 (RFC 2047 §2).
const WORD_TEXT_OCTETS: usize = 39;

/// Longest line of a body in octets without its ending (RFC 2045 §6.7, §6.8).
const BODY_LINE_OCTETS: usize = 76;

/// Preferred maximum length of other lines (RFC 5322 §2.1.1).
const LINE_OCTETS_PREFERRED: usize = 78;

/// Fields of which a draft has other parts, or that a server writes.
const OWN_FIELDS: [&str; 9] = [
    "bcc",
    "cc",
    "from",
    "mime-version",
    "received",
    "reply-to",
    "return-path",
    "subject",
    "to",
];

/// What somebody wants to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// From. The addresses are valid and are written as they are.
    pub from: Person,
    /// To.
    pub to: Vec<Person>,
    /// Cc.
    pub cc: Vec<Person>,
    /// Reply-To.
    pub reply_to: Vec<Person>,
    /// The subject; without one, there is no such field.
    pub subject: String,
    /// Further fields. The names are valid, and none of those above.
    pub fields: Vec<(String, String)>,
    /// The body as plain text, with line endings of any kind; empty if there is none.
    pub text: String,
    /// The body as HTML, in the same way.
    pub html: String,
    /// The files.
    pub attachments: Vec<Attachment>,
}

/// A file that is sent with the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Its name; empty if it has none.
    pub file_name: String,
    /// Its type with parameters, as it is written.
    pub content_type: String,
    /// The name by which the HTML shows it, without brackets; empty if it does not.
    pub content_id: String,
    /// Its octets.
    pub content: Vec<u8>,
}

/// A part of the message.
enum Entity<'a> {
    /// A text of this type.
    Text(&'static str, &'a str),
    File(&'a Attachment),
    /// Parts in a multipart of this kind.
    Many(&'static str, Vec<Self>),
}

impl Draft {
    /// Whether a further field of a draft may have this name (RFC 5322 §3.6.8): it is none of those
    /// that have other parts of the draft, and none about the content (RFC 2045 §9).
    pub fn may_have_field(name: &str) -> bool {
        let is_name = |octet: u8| octet.is_ascii_graphic() && octet != b':';
        let name = name.to_ascii_lowercase();
        let is_own = OWN_FIELDS.contains(&name.as_str()) || name.starts_with("content-");
        !name.is_empty() && name.bytes().all(is_name) && !is_own
    }

    /// Whether its header section would be longer than [`limits::COMPOSED_HEADER_OCTETS_MAX`].
    pub fn has_long_header(&self) -> bool {
        self.header("", "").len() > limits::COMPOSED_HEADER_OCTETS_MAX
    }

    /// The message, sent at `date` (RFC 5322 §3.3) and named `message_id`, which has no brackets;
    /// both only if the draft has no such field itself.
    pub fn render(&self, date: &str, message_id: &str) -> Vec<u8> {
        let mut out = self.header(date, message_id);
        self.entity().write(&mut out);
        if !out.ends_with(b"\n") {
            out.push(b'\n');
        }
        out
    }

    /// The fields that are not about the body.
    fn header(&self, date: &str, message_id: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let own = [
            ("Date", date.to_owned()),
            ("Message-ID", format!("<{message_id}>")),
        ];
        for (name, value) in own {
            let is_it = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
            if !self.fields.iter().any(|field| is_it(&field)) {
                write_field(name, [value], &mut out);
            }
        }
        write_people("From", std::slice::from_ref(&self.from), &mut out);
        write_people("To", &self.to, &mut out);
        write_people("Cc", &self.cc, &mut out);
        write_people("Reply-To", &self.reply_to, &mut out);
        if !self.subject.is_empty() {
            write_field("Subject", words(&self.subject), &mut out);
        }
        for (name, value) in &self.fields {
            write_field(name, field_words(value), &mut out);
        }
        write_field("MIME-Version", ["1.0".to_owned()], &mut out);
        out
    }

    /// Its body. The parts are nested four deep at most.
    fn entity(&self) -> Entity<'_> {
        let is_shown = |it: &&Attachment| !it.content_id.is_empty() && !self.html.is_empty();
        let (shown, others): (Vec<_>, Vec<_>) = self.attachments.iter().partition(is_shown);
        let mut bodies = Vec::new();
        if !self.text.is_empty() || (self.html.is_empty() && others.is_empty()) {
            bodies.push(Entity::Text("text/plain", &self.text));
        }
        if !self.html.is_empty() {
            let html = Entity::Text("text/html", &self.html);
            bodies.push(html.with("related", shown));
        }
        let mut bodies = bodies.into_iter();
        match (bodies.next(), bodies.next()) {
            (Some(text), Some(html)) => {
                Entity::Many("alternative", vec![text, html]).with("mixed", others)
            }
            (Some(body), None) => body.with("mixed", others),
            (None, _) => Entity::Many("mixed", others.into_iter().map(Entity::File).collect()),
        }
    }
}

impl Attachment {
    /// Whether `text` can be its type: one that is encoded in base64, which messages and multiparts
    /// are not (RFC 2045 §6.4), with a charset or without.
    pub fn may_have_type(text: &str) -> bool {
        let is_token = |text: &str| {
            let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$&^_.+-".contains(c);
            !text.is_empty() && text.chars().all(is_token)
        };
        let (essence, parameter) = text.split_once(';').unwrap_or((text, "charset=utf-8"));
        let charset = parameter.trim().strip_prefix("charset=");
        let (kind, subtype) = essence.trim().split_once('/').unwrap_or_default();
        let is_nested = ["message", "multipart"]
            .iter()
            .any(|it| it.eq_ignore_ascii_case(kind));
        text.len() <= limits::TYPE_OCTETS_MAX
            && is_token(kind)
            && is_token(subtype)
            && charset.is_some_and(is_token)
            && !is_nested
    }
}

impl<'a> Entity<'a> {
    /// The part with these files behind it, in a multipart of this kind; alone if there are none.
    fn with(self, kind: &'static str, files: Vec<&'a Attachment>) -> Self {
        if files.is_empty() {
            return self;
        }
        let files = files.into_iter().map(Entity::File);
        Self::Many(kind, [self].into_iter().chain(files).collect())
    }

    /// Writes its fields and its body, which has no line ending at its end.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(kind, text) => write_text(kind, text, out),
            Self::File(file) => write_file(file, out),
            Self::Many(kind, parts) => {
                let boundary = format!("{BOUNDARY}{kind}");
                let value = format!("multipart/{kind}; boundary=\"{boundary}\"");
                write_field("Content-Type", [value], out);
                for part in parts {
                    out.extend_from_slice(format!("\n--{boundary}\n").as_bytes());
                    part.write(out);
                }
                out.extend_from_slice(format!("\n--{boundary}--\n").as_bytes());
            }
        }
    }
}

/// A part that is text.
fn write_text(kind: &str, text: &str, out: &mut Vec<u8>) {
    let text = text.replace("\r\n", "\n");
    let kind = format!("{kind}; charset=utf-8");
    write_field("Content-Type", [kind], out);
    if is_plain(&text) {
        write_field("Content-Transfer-Encoding", ["7bit".to_owned()], out);
        out.push(b'\n');
        out.extend_from_slice(text.as_bytes());
    } else {
        let encoding = "quoted-printable".to_owned();
        write_field("Content-Transfer-Encoding", [encoding], out);
        out.push(b'\n');
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                out.push(b'\n');
            }
            write_quoted(line, out);
        }
    }
}

/// A part that is a file.
fn write_file(file: &Attachment, out: &mut Vec<u8>) {
    write_field("Content-Type", [file.content_type.clone()], out);
    write_field("Content-Transfer-Encoding", ["base64".to_owned()], out);
    let mut disposition = "attachment".to_owned();
    if !file.content_id.is_empty() {
        write_field("Content-ID", [format!("<{}>", file.content_id)], out);
        "inline".clone_into(&mut disposition);
    }
    let mut words = vec![disposition];
    if !file.file_name.is_empty() {
        for word in &mut words {
            word.push(';');
        }
        words.push(file_name(&file.file_name));
    }
    write_field("Content-Disposition", words, out);
    out.push(b'\n');
    let encoded = STANDARD.encode(&file.content);
    for (index, line) in encoded.as_bytes().chunks(BODY_LINE_OCTETS).enumerate() {
        if index > 0 {
            out.push(b'\n');
        }
        out.extend_from_slice(line);
    }
}

/// A field with these words, folded between them.
fn write_field(name: &str, words: impl IntoIterator<Item = String>, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let mut column = name.len().saturating_add(1);
    for (index, word) in words.into_iter().enumerate() {
        let length = word.len().saturating_add(1);
        if index > 0 && column.saturating_add(length) > LINE_OCTETS_PREFERRED {
            out.push(b'\n');
            column = 0;
        }
        out.push(b' ');
        out.extend(word.bytes().map(one_line));
        column = column.saturating_add(length);
    }
    out.push(b'\n');
}

/// The octet, or a space for one that could end a line.
fn one_line(octet: u8) -> u8 {
    if octet.is_ascii_control() {
        b' '
    } else {
        octet
    }
}

/// A field with these people, unless there are none.
fn write_people(name: &str, people: &[Person], out: &mut Vec<u8>) {
    let mut words = Vec::new();
    for (index, person) in people.iter().enumerate() {
        if index > 0
            && let Some(last) = words.last_mut()
        {
            let last: &mut String = last;
            last.push(',');
        }
        words.extend(phrase(&person.name));
        words.push(format!("<{}>", person.address));
    }
    if !words.is_empty() {
        write_field(name, words, out);
    }
}

/// A text without structure, as the words of a field.
fn words(text: &str) -> Vec<String> {
    let is_short = |word: &str| (1..=limits::COMPOSED_WORD_OCTETS_MAX).contains(&word.len());
    let is_graphic = |word: &str| word.bytes().all(|octet| octet.is_ascii_graphic());
    let mut words = text.split(' ');
    if !text.contains("=?") && words.all(|word| is_short(word) && is_graphic(word)) {
        return text.split(' ').map(str::to_owned).collect();
    }
    encoded_words(text)
}

/// The value of a further field, which may have a structure: where it can, it stays as it is but
/// for its blanks, because an encoded word would hide addresses, IDs and links.
fn field_words(text: &str) -> Vec<String> {
    let is_kept = |word: &str| {
        word.len() <= limits::COMPOSED_WORD_OCTETS_MAX
            && !word.contains("=?")
            && word.bytes().all(|octet| octet.is_ascii_graphic())
    };
    let kept: Option<Vec<String>> = text
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| is_kept(word).then(|| word.to_owned()))
        .collect();
    kept.unwrap_or_else(|| words(text))
}

/// The name of a person, as words.
fn phrase(name: &str) -> Vec<String> {
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let is_printable = |octet: u8| octet == b' ' || octet.is_ascii_graphic();
    let is_short = name.len() <= WORD_TEXT_OCTETS;
    if name.is_empty() {
        Vec::new()
    } else if !is_short || name.contains("=?") || !name.bytes().all(is_printable) {
        encoded_words(name)
    } else if name
        .split(' ')
        .all(|word| !word.is_empty() && word.chars().all(is_atom))
    {
        name.split(' ').map(str::to_owned).collect()
    } else {
        let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
        vec![format!("\"{escaped}\"")]
    }
}

/// A text in encoded words, each with whole characters (RFC 2047 §5).
fn encoded_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (begin, after) = rest.split_at(rest.floor_char_boundary(WORD_TEXT_OCTETS));
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(begin)));
        rest = after;
    }
    words
}

/// The name of a file as a parameter (RFC 2183 §2.3, RFC 2231 §4).
fn file_name(name: &str) -> String {
    let is_simple = |octet: u8| octet.is_ascii_graphic() && !b"\"\\".contains(&octet);
    let is_simple = |octet: u8| octet == b' ' || is_simple(octet);
    if name.bytes().all(is_simple) && name.trim() == name && !name.contains("=?") {
        return format!("filename=\"{name}\"");
    }
    let mut value = "filename*=utf-8''".to_owned();
    for octet in name.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._".contains(&octet) {
            value.push(char::from(octet));
        } else {
            value.push('%');
            value.extend(digits(octet));
        }
    }
    value
}

/// Whether a text, whose lines end in LF, can be sent as it is.
fn is_plain(text: &str) -> bool {
    let is_kept = |octet: u8| matches!(octet, b' ' | b'\t') || octet.is_ascii_graphic();
    let is_line = |line: &str| {
        line.len() <= LINE_OCTETS_PREFERRED
            && line.bytes().all(is_kept)
            && line.trim_ascii_end().len() == line.len()
    };
    text.split('\n').all(is_line) && !text.contains(BOUNDARY)
}

/// A line in quoted-printable (RFC 2045 §6.7), without its ending.
fn write_quoted(line: &str, out: &mut Vec<u8>) {
    let mut column: usize = 0;
    let last = line.len().saturating_sub(1);
    for (index, octet) in line.bytes().enumerate() {
        let is_blank = matches!(octet, b' ' | b'\t') && index < last;
        let is_literal = is_blank || (octet.is_ascii_graphic() && octet != b'=');
        let length = if is_literal { 1 } else { 3 };
        // One place is for the `=` of a soft line break.
        if column.saturating_add(length) >= BODY_LINE_OCTETS {
            out.extend_from_slice(b"=\n");
            column = 0;
        }
        if is_literal {
            out.push(octet);
        } else {
            out.push(b'=');
            out.extend(digits(octet).map(|digit| u8::try_from(digit).unwrap_or(b'0')));
        }
        column = column.saturating_add(length);
    }
}

/// The two hexadecimal digits of an octet.
fn digits(octet: u8) -> [char; 2] {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    [octet >> 4, octet & 0xf].map(|value| digit(value).to_ascii_uppercase())
}
