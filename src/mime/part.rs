//! A part of a message, and what its header section says about it (RFC 2045, RFC 2183).

use super::{charset::to_text, header, limits, parameters::Parameters, transfer::Encoding};

/// Where something is in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The octets of the message before it.
    pub offset: u64,
    /// Its length.
    pub octets: u64,
}

/// How a part wants to be shown (RFC 2183).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// On request. Unknown dispositions count as this one (RFC 2183 §2.8).
    Attachment,
    /// With the rest of the message.
    Inline,
}

/// The message or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The number in the containing multipart, from 1, behind the numbers of those that contain it,
    /// as Mailpit names parts: `2`, `1.3`. The message is `0`. Multiparts in others end in `.0`.
    pub id: String,
    /// The containing multipart, as an index into the parts; `None` for the message.
    pub parent: Option<usize>,
    /// The number of multiparts that contain it.
    pub depth: usize,
    /// The header section, without the blank line that ends it.
    pub header: Extent,
    /// The body, encoded, without the line ending that belongs to the next delimiter.
    pub body: Extent,
    /// The number of lines of the body, as they are in the message.
    pub lines: u64,
    /// The type and subtype in lower case, such as `text/plain`.
    pub content_type: String,
    /// The charset as it was written.
    pub charset: Option<String>,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// How the part wants to be shown.
    pub disposition: Option<Disposition>,
    /// The file name, decoded, which may contain anything: it is not safe as a path.
    pub file_name: Option<String>,
    /// The Content-ID, without brackets.
    pub content_id: Option<String>,
}

impl Part {
    /// Notes what the header section says. The default type is `default` (RFC 2046 §5.1.5).
    ///
    /// Returns the boundary if the part is a multipart with one.
    pub(super) fn describe(&mut self, section: &[u8], default: &str) -> Option<Vec<u8>> {
        let (mut kind, mut disposition) = (None, None);
        let (mut encoding, mut content_id) = (None, None);
        for (name, value) in header::fields(section) {
            // Of several fields of one name the first counts.
            let slot = match name.to_ascii_lowercase().as_slice() {
                b"content-type" => &mut kind,
                b"content-disposition" => &mut disposition,
                b"content-transfer-encoding" => &mut encoding,
                b"content-id" => &mut content_id,
                _ => continue,
            };
            slot.get_or_insert(value);
        }
        let parse = |value| Parameters::parse(&header::unfolded(value));
        let kind = kind.map(parse);
        let disposition = disposition.map(parse);
        self.content_type = match &kind {
            None => default.to_owned(),
            Some(kind) if is_type(&kind.value) => kind.value.clone(),
            // RFC 2045 §5.2
            Some(_) => "text/plain".to_owned(),
        };
        self.encoding = encoding.map(Encoding::parse).unwrap_or_default();
        self.disposition = disposition.as_ref().and_then(|it| match it.value.as_str() {
            "" => None,
            "inline" => Some(Disposition::Inline),
            _ => Some(Disposition::Attachment),
        });
        let kind = kind.unwrap_or_default();
        self.charset = kind
            .text("charset")
            .map(|name| cut(name, limits::WORD_OCTETS_MAX));
        let name = disposition.and_then(|it| it.text("filename"));
        let name = name.or_else(|| kind.text("name"));
        self.file_name = name
            .map(|name| cut(name.trim().to_owned(), limits::FILE_NAME_OCTETS_MAX))
            .filter(|name| !name.is_empty());
        self.content_id = content_id
            .map(|id| without_brackets(&to_text(&header::unfolded(id), None)))
            .map(|id| cut(id, limits::CONTENT_ID_OCTETS_MAX))
            .filter(|id| !id.is_empty());
        let boundary = kind.octets("boundary").map(<[u8]>::to_vec);
        let boundary = boundary.or_else(|| kind.text("boundary").map(String::into_bytes))?;
        let boundary = boundary.trim_ascii_end();
        let is_usable = (1..=limits::BOUNDARY_OCTETS_MAX).contains(&boundary.len());
        (self.is_multipart() && is_usable).then(|| boundary.to_vec())
    }

    /// Whether the part consists of parts, of which there may be none.
    pub fn is_multipart(&self) -> bool {
        self.content_type.starts_with("multipart/")
    }

    /// Whether the part has a body of its own.
    pub fn is_leaf(&self) -> bool {
        !self.is_multipart()
    }

    /// Whether the part is a message of its own, which is not looked into.
    pub fn is_message(&self) -> bool {
        matches!(
            self.content_type.as_str(),
            "message/rfc822" | "message/global"
        )
    }

    /// Whether the part is text of one of the two types that bodies have, and no attachment.
    pub(super) fn is_body(&self) -> bool {
        let is_text = matches!(self.content_type.as_str(), "text/plain" | "text/html");
        is_text && self.disposition != Some(Disposition::Attachment)
    }

    /// The octets of memory that it holds.
    pub(super) fn held_octets(&self) -> usize {
        let texts = [&self.charset, &self.file_name, &self.content_id];
        let texts = texts.into_iter().flatten();
        let texts = texts.chain([&self.id, &self.content_type]);
        texts.fold(size_of::<Self>(), |sum, text| {
            sum.saturating_add(text.capacity())
        })
    }
}

/// Whether `value` is a type and a subtype, and not too long.
fn is_type(value: &str) -> bool {
    let is_token = |name: &str| !name.is_empty() && name.bytes().all(|it| it.is_ascii_graphic());
    let names = value.split_once('/');
    names.is_some_and(|(kind, subtype)| {
        is_token(kind) && is_token(subtype) && !subtype.contains('/')
    }) && value.len() <= limits::TYPE_OCTETS_MAX
}

/// `text`, and no more than `octets` octets of it.
pub(super) fn cut(mut text: String, octets: usize) -> String {
    text.truncate(text.floor_char_boundary(octets));
    text.shrink_to_fit();
    text
}

/// An identifier without white space and angle brackets around it.
pub(super) fn without_brackets(text: &str) -> String {
    let is_around = |c: char| c.is_whitespace() || matches!(c, '<' | '>');
    text.trim_matches(is_around).to_owned()
}
