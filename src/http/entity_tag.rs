//! Entity tags: whether a browser already has the current version of an asset (RFC 9110 §8.8.3,
//! §13.1.2).

use super::fields::Fields;
use super::limits::ENTITY_TAGS_MAX;

/// A strong entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    /// The tag of a version with this number, such as the beginning of the hash of the content.
    pub fn new(version: u64) -> Self {
        Self(format!("\"{version:016x}\""))
    }

    /// The tag with its quotes, as in the field.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the client with these fields has this version: answer with 304. The comparison is
    /// the weak one (RFC 9110 §8.8.3.2), because a proxy that compresses makes a tag weak.
    pub fn is_held(&self, fields: &Fields) -> bool {
        let mut tags = fields.list("if-none-match").take(ENTITY_TAGS_MAX);
        tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_compared_weakly_with_each_of_the_list() {
        let tag = EntityTag::new(0x2a);
        assert_eq!(tag.as_str(), "\"000000000000002a\"");
        for (values, is_held) in [
            (&[][..], false),
            (&["\"000000000000002a\""][..], true),
            (&["W/\"000000000000002a\""], true),
            (&["\"x\", \"000000000000002a\""], true),
            (&["\"x\"", "\"000000000000002a\""], true),
            (&["*"], true),
            (&["000000000000002a"], false),
            (&["\"000000000000002A\""], false),
            (&["w/\"000000000000002a\""], false),
            (&["\"x\""], false),
            (&[""], false),
        ] {
            let mut fields = Fields::default();
            for value in values {
                fields.push("If-None-Match", value.as_bytes());
            }
            assert_eq!(tag.is_held(&fields), is_held, "{values:?}");
        }
        let mut many = Fields::default();
        many.push(
            "If-None-Match",
            ["\"x\""; ENTITY_TAGS_MAX].join(",").as_bytes(),
        );
        many.push("If-None-Match", b"\"000000000000002a\"");
        assert!(!tag.is_held(&many));
    }
}
