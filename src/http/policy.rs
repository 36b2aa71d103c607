//! The fields that tell a browser what it may do with a response: one table for all of them.
//!
//! Mail is shown as its sender has written it, so it must not be able to do anything: a mail is a
//! document of its own, without an origin, that runs no script, sends no form, and loads nothing
//! that it does not contain. The header says so, and not only the frame in our page: the address of
//! the document can also be opened by itself.

use super::name::Name;

/// What a response is, as far as it matters to a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of our pages.
    Page,
    /// A script, a style sheet or a picture that belongs to our pages.
    Asset,
    /// The HTML of a mail, without anything from elsewhere.
    MailDocument,
    /// The same, with pictures, fonts, styles and media from elsewhere, because the user wants to
    /// see them.
    MailDocumentWithRemote,
    /// A part of a mail, or a whole one, to be saved.
    Attachment,
    /// Data for programs.
    Api,
    /// Events for programs, as they happen.
    Events,
}

const NO_STORE: (Name, &str) = (Name::CacheControl, "no-store");
const NO_SNIFFING: (Name, &str) = (Name::XContentTypeOptions, "nosniff");
const OWN_PAGES: (Name, &str) = (Name::CrossOriginResourcePolicy, "same-origin");
const NO_REFERRER: (Name, &str) = (Name::ReferrerPolicy, "no-referrer");
const NO_LOOK_UPS: (Name, &str) = (Name::XDnsPrefetchControl, "off");

/// Nothing may be done, should a browser show it as a document.
const NOTHING: (Name, &str) = (
    Name::ContentSecurityPolicy,
    "sandbox; default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

impl Kind {
    /// The fields of a response of this kind.
    pub fn fields(self) -> &'static [(Name, &'static str)] {
        match self {
            // With `no-referrer`, the forms of our own pages would have the origin `null`.
            Self::Page => &[
                (
                    Name::ContentSecurityPolicy,
                    "default-src 'none'; script-src 'self'; style-src 'self'; \
                     img-src 'self' data:; connect-src 'self'; frame-src 'self'; \
                     base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
                ),
                (Name::CrossOriginOpenerPolicy, "same-origin"),
                OWN_PAGES,
                (Name::ReferrerPolicy, "same-origin"),
                NO_LOOK_UPS,
                NO_SNIFFING,
                NO_STORE,
            ],
            // Kept, and asked for again with If-None-Match: after an upgrade it is another one.
            Self::Asset => &[
                NOTHING,
                OWN_PAGES,
                NO_SNIFFING,
                (Name::CacheControl, "no-cache"),
            ],
            Self::MailDocument => &[
                (
                    Name::ContentSecurityPolicy,
                    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
                     style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                     form-action 'none'; frame-ancestors 'self'",
                ),
                OWN_PAGES,
                NO_REFERRER,
                NO_LOOK_UPS,
                NO_SNIFFING,
                NO_STORE,
            ],
            Self::MailDocumentWithRemote => &[
                (
                    Name::ContentSecurityPolicy,
                    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; \
                     style-src 'unsafe-inline' http: https:; img-src data: http: https:; \
                     font-src http: https:; media-src http: https:; base-uri 'none'; \
                     form-action 'none'; frame-ancestors 'self'",
                ),
                OWN_PAGES,
                NO_REFERRER,
                NO_LOOK_UPS,
                NO_SNIFFING,
                NO_STORE,
            ],
            Self::Attachment | Self::Api => {
                &[NOTHING, OWN_PAGES, NO_REFERRER, NO_SNIFFING, NO_STORE]
            }
            Self::Events => &[
                NOTHING,
                OWN_PAGES,
                NO_REFERRER,
                NO_SNIFFING,
                NO_STORE,
                (Name::XAccelBuffering, "no"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Kind; 7] = [
        Kind::Page,
        Kind::Asset,
        Kind::MailDocument,
        Kind::MailDocumentWithRemote,
        Kind::Attachment,
        Kind::Api,
        Kind::Events,
    ];

    fn value(kind: Kind, name: Name) -> &'static str {
        let mut found = kind.fields().iter().filter(|(it, _)| *it == name);
        let value = found.next().map_or("", |(_, value)| value);
        assert_eq!(found.next(), None, "{kind:?} {name:?}");
        value
    }

    #[test]
    fn no_response_is_guessed_at_kept_or_embedded_by_others() {
        for kind in ALL {
            assert_eq!(
                value(kind, Name::XContentTypeOptions),
                "nosniff",
                "{kind:?}"
            );
            assert_eq!(value(kind, Name::CrossOriginResourcePolicy), "same-origin");
            let expect = if kind == Kind::Asset {
                "no-cache"
            } else {
                "no-store"
            };
            assert_eq!(value(kind, Name::CacheControl), expect, "{kind:?}");
        }
    }

    #[test]
    fn every_policy_begins_with_nothing_and_runs_no_script_of_a_mail() {
        for kind in ALL {
            let policy = value(kind, Name::ContentSecurityPolicy);
            assert!(policy.contains("default-src 'none';"), "{kind:?}");
            assert!(policy.contains("base-uri 'none';"), "{kind:?}");
            assert!(policy.contains("frame-ancestors '"), "{kind:?}");
            assert_eq!(
                policy.contains("script-src"),
                kind == Kind::Page,
                "{kind:?}"
            );
            assert_eq!(
                policy.starts_with("sandbox"),
                kind != Kind::Page,
                "{kind:?}"
            );
            assert!(!policy.contains("allow-scripts") && !policy.contains("allow-same-origin"));
            let remote = kind == Kind::MailDocumentWithRemote;
            assert_eq!(policy.contains("http"), remote, "{kind:?}");
            assert!(!policy.contains("  ") && policy.is_ascii(), "{policy}");
        }
    }
}
