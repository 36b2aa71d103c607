//! Header sections: their fields, folded and unfolded (RFC 5322 §2.2).

use super::words;

/// A field of a header section, for the eyes of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name as it was written.
    pub name: String,
    /// Its value as it was written, with LF between its lines; octets that are no UTF-8 are
    /// replaced.
    pub raw: String,
    /// Its value on one line, with encoded words decoded (RFC 2047).
    pub value: String,
}

impl Field {
    /// All fields of a header section, whose lines end in LF, in order.
    pub fn all_in(section: &[u8]) -> Vec<Self> {
        shown(section)
    }

    /// Its value as it was written, on one line, with a space for each fold.
    pub fn unfolded(&self) -> String {
        let lines: Vec<&str> = self.raw.lines().map(str::trim).collect();
        lines.join(" ")
    }
}

/// The fields of `section`, whose lines end in LF, in order: each name, and the value with its
/// lines. Lines that belong to no field are left out.
pub(super) fn fields(section: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = section;
    let next = move || {
        while !rest.is_empty() {
            let (field, after) = rest.split_at(end_of_field(rest));
            rest = after;
            let Some(colon) = memchr::memchr(b':', field) else {
                continue;
            };
            let (name, value) = field.split_at(colon);
            let name = name.trim_ascii_end();
            let is_field = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
            if is_field {
                let value = value.get(1..).unwrap_or_default();
                return Some((name, value.strip_suffix(b"\n").unwrap_or(value)));
            }
        }
        None
    };
    std::iter::from_fn(next)
}

/// The length of the first line and of the lines that continue it.
fn end_of_field(section: &[u8]) -> usize {
    let ends = memchr::memchr_iter(b'\n', section).map(|at| at.saturating_add(1));
    let is_continued = |end: &usize| matches!(section.get(*end), Some(b' ' | b'\t'));
    ends.into_iter()
        .find(|end| !is_continued(end))
        .unwrap_or(section.len())
}

/// The value of a field on one line, without white space around it.
pub(super) fn unfolded(value: &[u8]) -> Vec<u8> {
    let is_kept = |octet: &u8| !matches!(octet, b'\n' | b'\r');
    value.trim_ascii().iter().copied().filter(is_kept).collect()
}

/// The fields of `section` for a person.
pub(super) fn shown(section: &[u8]) -> Vec<Field> {
    let shown = |(name, value): (&[u8], &[u8])| Field {
        name: String::from_utf8_lossy(name).into_owned(),
        raw: String::from_utf8_lossy(value.trim_ascii()).into_owned(),
        value: words::decode(&unfolded(value)),
    };
    fields(section).map(shown).collect()
}
