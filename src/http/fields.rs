//! The fields of a request (RFC 9110 §5).
//!
//! # Invariants
//! Names are tokens, in lower case. Values have no control characters except the tab, and no white
//! space at their ends; they may have octets above 127, in any character set. The
//! [`Debug`](fmt::Debug) form shows only names: a value may be a password or a cookie.

use std::fmt;

/// The fields of one request, in their order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    /// Adds a field, whose name gets into lower case.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_ascii_lowercase(), value.to_vec()));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The values of all fields with this name, which is in lower case, in their order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.0.iter().filter(move |(it, _)| it == name);
        fields.map(|(_, value)| value.as_slice())
    }

    /// The value of the field with this name, which is in lower case.
    ///
    /// # Errors
    /// [`Several`] if it occurs more than once: programs would not agree on which one counts.
    pub fn single<'a>(&'a self, name: &'a str) -> Result<Option<&'a [u8]>, Several> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Several),
        }
    }

    /// The same as text; `None` also if it is not UTF-8 or occurs more than once.
    pub fn text<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let value = self.single(name).ok().flatten()?;
        str::from_utf8(value).ok()
    }

    /// The elements of all fields with this name, which is in lower case, as one list (RFC 9110
    /// §5.6.1), without white space around them; empty ones are left out.
    pub(super) fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let elements = self
            .all(name)
            .flat_map(|value| value.split(|it| *it == b','));
        let elements = elements.map(<[u8]>::trim_ascii);
        elements.filter(|element| !element.is_empty())
    }
}

/// A field occurs more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Several;

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}
