//! SMTP replies (RFC 5321 §4.2, RFC 2034): their codes and texts.
//!
//! Fixed replies are constants, and one exhaustive `match` turns each error type into its reply.
//! Only a client without a session gets a text from elsewhere, [`Reply::unavailable`]. The enhanced
//! status code is part of a [`Reply`] but is sent only in an extended session, where EHLO announced
//! it. The texts name the mistake and how to correct it. None repeats what the client sent, except
//! for the nonce that SCRAM has to repeat, in base64.

use std::borrow::Cow;
use std::iter;

use crate::mail::sasl::Fault;
use crate::mail::{AddressError, Ending};

use super::command::SyntaxError;
use super::outcome::{DeliveryFailure, MailboxFailure, RecipientVerdict};

/// One reply: code, enhanced status code, and one or more lines of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: &'static str,
    /// Empty where RFC 2034 §4 has none: greeting, HELO, EHLO and 3yz.
    enhanced: &'static str,
    /// Lines separated by LF, at least one.
    text: Cow<'static, str>,
    /// Why something was refused, if that is counted.
    reason: Option<Reason>,
}

/// Declares [`Reason`]: each reason with the name of its counter.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal,)*) => {
        /// Why a client was refused something, as far as that interests the administrator. Mistakes
        /// of a client are not among them, and refused logins are counted where they are verified.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $reason,)*
        }

        impl Reason {
            /// All of them, with the names of their counters.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$reason, $name),)*];
        }
    };
}

reasons! {
    /// There is no such mailbox, or there cannot be.
    UnknownRecipient = "unknown_recipient",
    /// The domain is not one of ours.
    NotLocal = "not_local",
    /// The transaction already has the most recipients allowed.
    TooManyRecipients = "too_many_recipients",
    /// The message is larger than the limit.
    TooLarge = "too_large",
    /// The disk is full.
    NoSpace = "no_space",
    /// Too much mail arrived at the same time (SEC-9).
    Busy = "busy",
    /// The store failed in another way; the log has the details.
    NotStored = "not_stored",
    /// Only clients that have logged in may send, perhaps only with TLS.
    AuthenticationRequired = "auth_required",
    /// The sender address does not belong to the user.
    SenderNotPermitted = "sender_not_permitted",
    /// A line ending is not the session's own (SEC-1).
    LineEnding = "line_ending",
    /// The client does not speak SMTP (SEC-13).
    OtherProtocol = "other_protocol",
    /// The session has made too many mistakes.
    TooManyErrors = "too_many_errors",
    /// The session has named too many unknown recipients (SEC-12).
    TooManyUnknown = "too_many_unknown",
}

const fn fixed(code: &'static str, enhanced: &'static str, text: &'static str) -> Reply {
    Reply {
        code,
        enhanced,
        text: Cow::Borrowed(text),
        reason: None,
    }
}

const fn refused(
    reason: Reason,
    code: &'static str,
    enhanced: &'static str,
    text: &'static str,
) -> Reply {
    Reply {
        code,
        enhanced,
        text: Cow::Borrowed(text),
        reason: Some(reason),
    }
}

pub(super) const HELO_OK: Reply = fixed("250", "", "Ok");
pub(super) const SENDER_OK: Reply = fixed("250", "2.1.0", "Sender OK");
pub(super) const RECIPIENT_OK: Reply = fixed("250", "2.1.5", "Recipient OK");
pub(super) const SEND_CONTENT: Reply = fixed("354", "", "Envoyez votre mail");
pub(super) const DELIVERED: Reply = fixed("250", "2.0.0", "OK");
pub(super) const GOODBYE: Reply = fixed("221", "2.0.0", "Fermeture connexion");

pub(super) const RESET: Reply = fixed("250", "2.0.0", "Ok");
pub(super) const NOOP: Reply = fixed("250", "2.0.0", "Ok");
pub(super) const HELP: Reply = fixed(
    "214",
    "2.0.0",
    "To send a message:\n\
     HELO your.host.name (or EHLO, which lists the extensions)\n\
     MAIL FROM:<alice@example.com>\n\
     RCPT TO:<bob@example.com> (once for each recipient)\n\
     DATA, then the lines of the message, then a line with a single dot\n\
     QUIT\n\
     Also: BDAT RSET VRFY NOOP AUTH HELP. Fetch mail with POP3.",
);
pub(super) const LMTP_HELP: Reply = fixed(
    "214",
    "2.0.0",
    "To hand in a message:\n\
     LHLO your.host.name\n\
     MAIL FROM:<alice@example.com>\n\
     RCPT TO:<bob@example.com> (once for each recipient)\n\
     DATA, then the lines of the message, then a line with a single dot\n\
     QUIT\n\
     Also: BDAT RSET VRFY NOOP AUTH HELP. Each recipient gets a reply after the dot.",
);
pub(super) const CANNOT_VERIFY: Reply = fixed(
    "252",
    "2.5.0",
    "Cannot verify the address; send to it and see",
);
pub(super) const NO_LISTS: Reply = fixed("502", "5.5.1", "There are no lists here to expand");
pub(super) const READY_FOR_TLS: Reply = fixed("220", "2.0.0", "Ready to start TLS");
pub(super) const NO_TLS: Reply = fixed("502", "5.5.1", "STARTTLS is not offered here");
pub(super) const TLS_ALREADY: Reply = fixed("503", "5.5.1", "TLS is already active");

pub(super) const HELO_FIRST: Reply = fixed("503", "5.5.1", "Send HELO or EHLO first");
pub(super) const LHLO_FIRST: Reply = fixed("503", "5.5.1", "Send LHLO first");
/// RFC 2033 §4.1 suggests 500.
pub(super) const LHLO_ONLY: Reply = fixed("500", "5.5.1", "This is LMTP: send LHLO");
pub(super) const NOT_LMTP: Reply =
    fixed("500", "5.5.1", "This is SMTP, not LMTP: send EHLO or HELO");
pub(super) const MAIL_FIRST: Reply = fixed(
    "503",
    "5.5.1",
    "Name the sender first: MAIL FROM:<alice@example.com>",
);
pub(super) const SENDER_NOT_PERMITTED: Reply = refused(
    Reason::SenderNotPermitted,
    "550",
    "5.7.1",
    "This sender address does not belong to your account",
);
pub(super) const SENDER_UNCHECKED: Reply = fixed(
    "451",
    "4.3.0",
    "The sender address cannot be checked now; try again later",
);
pub(super) const MAIL_ALREADY: Reply =
    fixed("503", "5.5.1", "Sender already given; RSET starts over");
pub(super) const NO_RECIPIENT: Reply = fixed(
    "554",
    "5.5.1",
    "No valid recipient: send RCPT TO:<bob@example.com> first",
);
/// The same for LMTP (RFC 2033 §4.2).
pub(super) const NO_LMTP_RECIPIENT: Reply = fixed(
    "503",
    "5.5.1",
    "No valid recipient: send RCPT TO:<bob@example.com> first",
);
pub(super) const RECIPIENT_TOO_LATE: Reply = fixed(
    "503",
    "5.5.1",
    "No recipient can be added after BDAT; RSET starts over",
);
pub(super) const CHUNKS_BEGUN: Reply = fixed(
    "503",
    "5.5.1",
    "DATA cannot follow BDAT; finish with BDAT LAST or send RSET",
);
pub(super) const CHUNKS_FAILED: Reply = fixed(
    "503",
    "5.5.1",
    "An earlier chunk of this message failed; RSET starts over",
);
pub(super) const TOO_MANY_RECIPIENTS: Reply = refused(
    Reason::TooManyRecipients,
    "452",
    "4.5.3",
    "Too many recipients; send to the others in another transaction",
);
pub(super) const TOO_LARGE: Reply = refused(
    Reason::TooLarge,
    "552",
    "5.3.4",
    "Message is larger than the limit",
);
pub(super) const NOT_ENOUGH_SPACE: Reply = refused(
    Reason::NoSpace,
    "452",
    "4.3.1",
    "Not enough space to store the message; try again later",
);

pub(super) const AUTHENTICATED: Reply = fixed("235", "2.7.0", "Authentication succeeded");
pub(super) const AUTH_REFUSED: Reply = fixed(
    "535",
    "5.7.8",
    "Authentication failed: wrong user name or password",
);
pub(super) const AUTH_UNAVAILABLE: Reply = fixed(
    "454",
    "4.7.0",
    "Passwords cannot be checked now; try again later",
);
pub(super) const AUTH_LINE_TOO_LONG: Reply =
    fixed("500", "5.5.6", "The authentication response is too long");
pub(super) const AUTH_MECHANISM: Reply = fixed(
    "504",
    "5.5.4",
    "This mechanism is not offered; EHLO lists those that are",
);
pub(super) const AUTH_ALREADY: Reply = fixed("503", "5.5.1", "Already authenticated");
pub(super) const AUTH_IN_TRANSACTION: Reply = fixed(
    "503",
    "5.5.1",
    "AUTH is not allowed in a mail transaction; RSET ends it",
);
pub(super) const AUTH_REQUIRED: Reply = refused(
    Reason::AuthenticationRequired,
    "530",
    "5.7.0",
    "Authentication required: send EHLO and AUTH first",
);
pub(super) const TLS_AND_AUTH_REQUIRED: Reply = refused(
    Reason::AuthenticationRequired,
    "530",
    "5.7.0",
    "Authentication required: send STARTTLS, then EHLO and AUTH",
);
pub(super) const AUTH_NEEDS_TLS: Reply = refused(
    Reason::AuthenticationRequired,
    "538",
    "5.7.11",
    "Encryption required: send STARTTLS first, then AUTH",
);
pub(super) const AUTH_NOT_OFFERED: Reply = fixed("502", "5.5.1", "AUTH is not offered here");
pub(super) const AUTH_FAILED_TOO_OFTEN: Reply =
    fixed("421", "4.7.0", "Too many failed authentications, closing");

pub(super) const LINE_TOO_LONG: Reply = fixed("500", "5.5.2", "Line too long");
pub(super) const TOO_MANY_ERRORS: Reply = refused(
    Reason::TooManyErrors,
    "421",
    "4.7.0",
    "Too many errors, closing",
);
pub(super) const TOO_MANY_UNKNOWN: Reply = refused(
    Reason::TooManyUnknown,
    "421",
    "4.7.0",
    "Too many unknown recipients, closing",
);
pub(super) const NOT_SMTP: Reply = refused(
    Reason::OtherProtocol,
    "421",
    "4.7.0",
    "This is an SMTP server and that is not SMTP, closing",
);
pub(super) const IDLE_TIMEOUT: Reply = fixed(
    "421",
    "4.4.2",
    "Timeout: no complete line arrived in time, closing",
);
pub(super) const TOO_SLOW: Reply = fixed(
    "421",
    "4.4.2",
    "Timeout: the content arrived too slowly, nothing stored, closing",
);
pub(super) const SESSION_TIMEOUT: Reply =
    fixed("421", "4.4.2", "The session has lasted too long, closing");
pub(super) const SHUTTING_DOWN: Reply = fixed(
    "421",
    "4.3.2",
    "The service is shutting down, closing; try again later",
);
pub(super) const DISPLACED: Reply = fixed(
    "421",
    "4.3.2",
    "Too many connections from your network, closing this one; try again later",
);
pub(super) const NOT_OPEN: Reply = fixed(
    "421",
    "4.3.2",
    "This server is no longer open to your network; closing",
);
/// RFC 5321 §3.8 and §4.2.2: 421 is the reply to any command after which the connection is closed.
/// The 535 of RFC 4954 §6 is only for AUTH, and the client gets it when it logs in again.
pub(super) const REVOKED: Reply = fixed(
    "421",
    "4.7.0",
    "The account was removed or its password changed, closing; log in again",
);
pub(super) const OUT_OF_STEP: Reply = fixed("421", "4.3.0", "Internal error, closing");

impl Reply {
    /// The reply to a client that speaks HTTP, which has a port of its own.
    pub(super) fn http_is_at(port: u16) -> Self {
        Self {
            text: Cow::Owned(format!(
                "This port speaks SMTP; HTTP is at port {port}, closing"
            )),
            ..NOT_SMTP
        }
    }

    /// The greeting: 220, the name of the host and what is spoken (RFC 5321 §4.2, §3.1).
    pub(super) fn greeting(hostname: &str, protocol: &str) -> Self {
        Self {
            code: "220",
            enhanced: "",
            text: format!("{hostname} {protocol} facteur").into(),
            reason: None,
        }
    }

    /// The reply to EHLO: the name of the host, then one line for each extension.
    pub(super) fn ehlo(hostname: &str, keywords: &[Cow<'_, str>]) -> Self {
        let first = format!("{hostname} Ok");
        let lines = iter::once(first.as_str()).chain(keywords.iter().map(Cow::as_ref));
        let text = lines.collect::<Vec<_>>().join("\n");
        Self {
            code: "250",
            enhanced: "",
            text: text.into(),
            reason: None,
        }
    }

    /// A challenge of an authentication exchange, in base64 (RFC 4954 §4).
    pub(super) fn challenge(base64: String) -> Self {
        Self {
            code: "334",
            enhanced: "",
            text: base64.into(),
            reason: None,
        }
    }

    /// The acknowledgement of a chunk that is not the last (RFC 3030 §2).
    pub(super) fn chunk_received(octets: u64) -> Self {
        let text = format!("{octets} octets received");
        Self {
            code: "250",
            enhanced: "2.0.0",
            text: text.into(),
            reason: None,
        }
    }

    /// The refusal of a line ending that makes the end of the content doubtful (SEC-1): `found`
    /// names it.
    pub(super) fn content_line_ending(found: &str) -> Self {
        let text = format!(
            "The content has a lone dot next to {found}; nothing stored, end every line with CRLF; \
             closing"
        );
        Self {
            code: "550",
            enhanced: "5.6.0",
            text: text.into(),
            reason: Some(Reason::LineEnding),
        }
    }

    /// The refusal of a line ending in content whose end is certain.
    pub(super) fn wrong_line_ending(found: &str) -> Self {
        let text = format!("The content has {found}; nothing stored, end every line with CRLF");
        Self {
            code: "550",
            enhanced: "5.6.0",
            text: text.into(),
            reason: Some(Reason::LineEnding),
        }
    }

    /// What is said last when the session has to end.
    pub(super) fn ended(ending: Ending) -> Self {
        match ending {
            Ending::IdleTimeout => IDLE_TIMEOUT,
            Ending::TooSlow => TOO_SLOW,
            Ending::SessionTimeout => SESSION_TIMEOUT,
            Ending::ShuttingDown => SHUTTING_DOWN,
            Ending::Displaced => DISPLACED,
            Ending::NotOpen => NOT_OPEN,
            Ending::Revoked => REVOKED,
            // Only sessions of POP3 have a maildrop.
            Ending::MaildropLost => OUT_OF_STEP,
        }
    }

    /// The refusal of a command's line ending (SEC-1): `found` names it.
    pub(super) fn command_line_ending(found: &str) -> Self {
        let text = format!("The line has {found}; end every line with CRLF; closing");
        Self {
            code: "500",
            enhanced: "5.5.2",
            text: text.into(),
            reason: Some(Reason::LineEnding),
        }
    }

    /// The reply of a driver that has no session: 421 with `text`, which is one line of ASCII.
    pub fn unavailable(text: &'static str) -> Self {
        fixed("421", "", text)
    }

    /// The code, for example 250.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The code and the text, if the reply refuses something: 4yz and 5yz.
    pub fn refusal(&self) -> Option<(&'static str, &str)> {
        if !self.code.starts_with(['4', '5']) {
            return None;
        }
        Some((self.code, self.text.as_ref()))
    }

    /// Whether it completes its command and does not ask for more: not 3yz.
    pub fn is_final(&self) -> bool {
        !self.code.starts_with('3')
    }

    /// Whether it is a challenge of an authentication exchange. A SCRAM challenge, together with
    /// the rest of the log, is enough to guess passwords offline.
    pub fn is_challenge(&self) -> bool {
        self.code == "334"
    }

    /// Why it refuses something, if that is counted.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// Removes the enhanced status code, for a client that did not send EHLO.
    pub(super) fn drop_enhanced_code(&mut self) {
        self.enhanced = "";
    }

    /// Appends the reply with its CRLF line endings to `out`.
    pub fn render(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            out.extend_from_slice(self.code.as_bytes());
            out.push(if lines.peek().is_some() { b'-' } else { b' ' });
            if !self.enhanced.is_empty() {
                out.extend_from_slice(self.enhanced.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl From<SyntaxError> for Reply {
    fn from(error: SyntaxError) -> Self {
        match error {
            SyntaxError::ControlCharacter => fixed(
                "501",
                "5.5.2",
                "Control characters are not allowed in a command",
            ),
            SyntaxError::NotUtf8 => fixed("501", "5.5.2", "The command is not UTF-8"),
            SyntaxError::Empty => fixed("500", "5.5.2", "Empty line; HELP shows the commands"),
            SyntaxError::UnknownVerb => {
                fixed("500", "5.5.1", "Unknown command; HELP shows the commands")
            }
            SyntaxError::XClient => fixed(
                "500",
                "5.5.1",
                "XCLIENT is not accepted here; switch it off in the proxy (nginx: xclient off)",
            ),
            SyntaxError::ArgumentMissing(form) => {
                let text = format!("Write it as {form}");
                Self {
                    code: "501",
                    enhanced: "5.5.4",
                    text: text.into(),
                    reason: None,
                }
            }
            SyntaxError::ArgumentUnexpected => {
                fixed("501", "5.5.4", "This command takes no such argument")
            }
            SyntaxError::ClientName => fixed(
                "501",
                "5.5.4",
                "The host name must be one word of at most 255 octets",
            ),
            SyntaxError::ReversePath(error) => path_refused(error, "5.1.7"),
            SyntaxError::ForwardPath(error) => path_refused(error, "5.1.3"),
            // RFC 6531 §3.5 specifies the two codes.
            SyntaxError::ReversePathNotAscii => {
                fixed("550", "5.6.7", "A non-ASCII address needs SMTPUTF8 in MAIL")
            }
            SyntaxError::ForwardPathNotAscii => {
                fixed("553", "5.6.7", "A non-ASCII address needs SMTPUTF8 in MAIL")
            }
            SyntaxError::AfterPath => fixed(
                "501",
                "5.5.4",
                "Put a space between the path and a parameter",
            ),
            SyntaxError::ParameterUnknown => fixed("555", "5.5.4", "Unknown parameter"),
            SyntaxError::ParameterValue(keyword) => {
                let text = format!("The parameter {keyword} has no valid value or is given twice");
                Self {
                    code: "501",
                    enhanced: "5.5.4",
                    text: text.into(),
                    reason: None,
                }
            }
            SyntaxError::ChunkSize => {
                fixed("501", "5.5.4", "Write it as BDAT <octets> [LAST]; closing")
            }
        }
    }
}

/// A path with invalid syntax gets 501; a valid path that cannot be a mailbox here gets 553
/// (RFC 5321 §4.2.2). The enhanced code says whether it was the sender's or a recipient's
/// (RFC 3463 §3.2).
fn path_refused(error: AddressError, enhanced: &'static str) -> Reply {
    let code = if error == AddressError::TooLong {
        "553"
    } else {
        "501"
    };
    Reply {
        code,
        enhanced,
        text: format!("Bad address: {error}").into(),
        reason: None,
    }
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Base64 => fixed("501", "5.5.2", "The response is not valid base64"),
            Fault::Cancelled => fixed("501", "5.7.0", "Authentication cancelled"),
            Fault::ChannelBinding => fixed(
                "535",
                "5.7.8",
                "Authentication failed: it is not bound to this connection",
            ),
            Fault::Downgrade => fixed(
                "535",
                "5.7.8",
                "Authentication failed: SCRAM-SHA-256-PLUS was hidden from the client",
            ),
            Fault::Message => fixed(
                "501",
                "5.5.2",
                "The response is not valid for this mechanism",
            ),
            Fault::OtherIdentity => fixed("535", "5.7.8", "Users cannot act for other users here"),
            Fault::Unavailable => AUTH_UNAVAILABLE,
        }
    }
}

impl From<DeliveryFailure> for Reply {
    fn from(failure: DeliveryFailure) -> Self {
        match failure {
            DeliveryFailure::Full => NOT_ENOUGH_SPACE,
            DeliveryFailure::Busy => refused(
                Reason::Busy,
                "452",
                "4.3.1",
                "Too much mail is arriving at the moment; try again later",
            ),
            DeliveryFailure::Transient => refused(
                Reason::NotStored,
                "451",
                "4.3.0",
                "The message could not be stored; try again later",
            ),
        }
    }
}

impl From<MailboxFailure> for Reply {
    fn from(failure: MailboxFailure) -> Self {
        match failure {
            MailboxFailure::Full => RecipientVerdict::Full.reply(),
            MailboxFailure::Unavailable => RecipientVerdict::Unavailable.reply(),
        }
    }
}

impl RecipientVerdict {
    /// The reply to RCPT.
    pub fn reply(&self) -> Reply {
        match self {
            Self::Accepted(_) => RECIPIENT_OK,
            Self::Unknown => refused(
                Reason::UnknownRecipient,
                "550",
                "5.1.1",
                "No such mailbox here",
            ),
            Self::NotLocal => refused(
                Reason::NotLocal,
                "550",
                "5.7.1",
                "This server does not accept mail for that domain",
            ),
            Self::NameTooLong => refused(
                Reason::UnknownRecipient,
                "553",
                "5.1.3",
                "The name of the mailbox is too long",
            ),
            Self::TooMany => TOO_MANY_RECIPIENTS,
            Self::Failed => refused(
                Reason::NotStored,
                "451",
                "4.3.0",
                "The mailbox cannot be looked up; try again later",
            ),
            Self::Full => refused(
                Reason::NoSpace,
                "452",
                "4.2.2",
                "The mailbox is full; try again later",
            ),
            Self::Unavailable => refused(
                Reason::NotStored,
                "451",
                "4.2.0",
                "The mailbox cannot accept mail at the moment; try again later",
            ),
        }
    }
}
