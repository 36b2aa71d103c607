//! The outline of a message: its parts, and which of them are the body.
//!
//! The sorting is Mailpit's, so that tests written for it find what they expect, with these
//! differences: a multipart/alternative shows the last text of a type, as RFC 2046 §5.1.4 says; a
//! message within a message is an attachment, also without a disposition; and parts without a name
//! are listed, so that every part can be reached.

use super::{
    header::{self, Field},
    part::{Disposition, Part},
};

/// The beginning of a text, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    /// The part, as an index.
    pub(super) part: usize,
    pub(super) octets: Vec<u8>,
}

/// The parts of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The message, then its parts in order; never empty.
    parts: Vec<Part>,
    header: Vec<u8>,
    leads: Vec<Lead>,
}

impl Outline {
    /// An outline of `parts`; `header` is the header section of the message, with LF line endings.
    pub(super) fn new(parts: Vec<Part>, header: Vec<u8>, leads: Vec<Lead>) -> Self {
        Self {
            parts,
            header,
            leads,
        }
    }

    /// The message itself, then its parts in the order of the message.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The part with this [`Part::id`].
    pub fn part(&self, id: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.id == id)
    }

    /// All fields of the message's header section in order.
    pub fn fields(&self) -> Vec<Field> {
        header::shown(&self.header)
    }

    /// The parts that together are the body as plain text, in order.
    pub fn text(&self) -> Vec<&Part> {
        self.body("text/plain")
    }

    /// The parts that together are the body as HTML, in order. Mailpit shows the first.
    pub fn html(&self) -> Vec<&Part> {
        self.body("text/html")
    }

    /// The parts to be shown on request, in the order of Mailpit: those that are nested less first.
    pub fn attachments(&self) -> Vec<&Part> {
        let is_attachment = |part: &&Part| match part.disposition {
            Some(Disposition::Attachment) => true,
            Some(Disposition::Inline) => part.content_type == "application/octet-stream",
            None => part.content_type == "application/octet-stream" || part.is_message(),
        };
        let is_single = self.is_single();
        let is_attachment = |part: &&Part| {
            let is_other = is_single && part.disposition.is_none() && !part.is_body();
            is_attachment(part) || is_other
        };
        self.leaves(is_attachment)
    }

    /// The parts to be shown with the body, in the order of [`attachments`](Self::attachments): the
    /// pictures of a page, and text that has a name.
    pub fn inline(&self) -> Vec<&Part> {
        let is_named = |part: &Part| part.file_name.is_some() || part.content_id.is_some();
        let is_single = self.is_single();
        let is_inline = |part: &&Part| match part.disposition {
            Some(Disposition::Attachment) => false,
            _ if part.content_type == "application/octet-stream" => false,
            Some(Disposition::Inline) if is_single => !part.is_body(),
            Some(Disposition::Inline) => !part.is_body() || is_named(part),
            None => !is_single && !part.is_body() && !part.is_message(),
        };
        self.leaves(is_inline)
    }

    /// The header section of the message, with LF line endings.
    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }

    /// The beginning of the body of `part`, encoded: empty if it was not kept.
    pub(super) fn lead(&self, part: &Part) -> &[u8] {
        let is_it = |lead: &&Lead| self.parts.get(lead.part).is_some_and(|it| it.id == part.id);
        let lead = self.leads.iter().find(is_it);
        lead.map(|lead| lead.octets.as_slice()).unwrap_or_default()
    }

    /// Whether the message has no parts.
    fn is_single(&self) -> bool {
        self.parts.first().is_none_or(|part| !part.is_multipart())
    }

    /// The parts for which `is_wanted`, without multiparts.
    fn leaves(&self, is_wanted: impl Fn(&&Part) -> bool) -> Vec<&Part> {
        let leaves = self.parts.iter().filter(|part| !part.is_multipart());
        let mut leaves: Vec<&Part> = leaves.filter(is_wanted).collect();
        leaves.sort_by_key(|part| part.depth);
        leaves
    }

    /// The parts of the body of this type.
    fn body(&self, content_type: &str) -> Vec<&Part> {
        let is_body = |part: &Part| part.is_body() && part.content_type == content_type;
        // For each multipart/alternative, its last part of this type.
        let mut last = vec![None; self.parts.len()];
        for (index, part) in self.parts.iter().enumerate() {
            let Some(parent) = part.parent.filter(|_| is_body(part)) else {
                continue;
            };
            let is_alternative = |it: &Part| it.content_type == "multipart/alternative";
            if let Some(last) = last.get_mut(parent)
                && self.parts.get(parent).is_some_and(is_alternative)
            {
                *last = Some(index);
            }
        }
        let is_chosen = |mut branch: usize| {
            while let Some(parent) = self.parts.get(branch).and_then(|part| part.parent) {
                let chosen = last.get(parent).copied().flatten();
                if chosen.is_some_and(|chosen| chosen != branch) {
                    return false;
                }
                branch = parent;
            }
            true
        };
        let parts = self.parts.iter().enumerate();
        let body = parts.filter(|(index, part)| is_body(part) && is_chosen(*index));
        body.map(|(_, part)| part).collect()
    }
}
