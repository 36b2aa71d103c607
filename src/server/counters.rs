//! What the server has counted since its start.
//!
//! One struct for all sessions; each of its methods is one event. Who turns a client away, ends a
//! session or refuses a command says so here at the place where it also tells the log or the
//! client.

use crate::counters::{Counter, Report};
use crate::mail::Breadth;
use crate::smtp::Reason;

use super::budget::Budget;
use super::session::{Interruption, Refusal, Service, SessionEnd};
use super::shares::Full;

/// All numbers of the server.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sessions: Sessions,
    pub(super) ended: Ended,
    pub(super) came: Came,
    pub(super) refused: Refused,
    pub(super) went: Went,
    pub(super) logins: Logins,
    pub(super) tls: Handshakes,
    /// How often the store could not do what a client asked for.
    pub(super) store_failures: Counter,
}

/// Clients that came.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    smtp: Counter,
    pop3: Counter,
    too_many: Counter,
    /// From one address, or one /64 of IPv6.
    too_many_from_address: Counter,
    /// From one /24, or one /56 of IPv6.
    too_many_from_site: Counter,
    /// From one /16, or one /48 of IPv6.
    too_many_from_organisation: Counter,
    /// From one /8, or one /32 of IPv6.
    too_many_from_block: Counter,
    /// From this machine.
    too_many_from_loopback: Counter,
    shutting_down: Counter,
    pub(super) no_thread: Counter,
    pub(super) accept_failed: Counter,
}

/// How sessions ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    quit: Counter,
    closed: Counter,
    lost: Counter,
    timed_out: Counter,
    not_reading: Counter,
    at_stop: Counter,
    displaced: Counter,
    broken: Counter,
    panicked: Counter,
}

/// Messages that were accepted.
#[derive(Debug, Default)]
pub(super) struct Came {
    messages: Counter,
    octets: Counter,
    recipients: Counter,
}

/// What was refused, by its reason.
#[derive(Debug, Default)]
pub(super) struct Refused {
    unknown_recipient: Counter,
    not_local: Counter,
    too_many_recipients: Counter,
    too_large: Counter,
    no_space: Counter,
    busy: Counter,
    not_stored: Counter,
    auth_required: Counter,
    sender_not_permitted: Counter,
    pub(super) line_ending: Counter,
    pub(super) other_protocol: Counter,
    too_many_errors: Counter,
    too_many_unknown: Counter,
}

/// Messages that went out.
#[derive(Debug, Default)]
pub(super) struct Went {
    fetched: Counter,
    tops: Counter,
    octets: Counter,
    removed: Counter,
}

/// Logins of both protocols.
#[derive(Debug, Default)]
pub(super) struct Logins {
    smtp: LoginsOf,
    pop3: LoginsOf,
}

/// Logins of one protocol.
#[derive(Debug, Default)]
pub(super) struct LoginsOf {
    pub(super) accepted: Counter,
    pub(super) refused: Counter,
    /// Too many passwords were verified, or the maildrop was in use.
    pub(super) busy: Counter,
}

/// Handshakes of TLS.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    pub(super) done: Counter,
    pub(super) failed: Counter,
}

impl Counters {
    /// A client gets no session.
    pub(super) fn turned_away(&self, refusal: Refusal) {
        let sessions = &self.sessions;
        let counter = match refusal {
            Refusal::TooMany(Full(network)) => match network.breadth() {
                Breadth::Everything => &sessions.too_many,
                Breadth::Address | Breadth::Customer => &sessions.too_many_from_address,
                Breadth::Site => &sessions.too_many_from_site,
                Breadth::Organisation => &sessions.too_many_from_organisation,
                Breadth::Block => &sessions.too_many_from_block,
                Breadth::Loopback => &sessions.too_many_from_loopback,
            },
            Refusal::ShuttingDown => &sessions.shutting_down,
        };
        counter.increment();
    }

    /// A session begins.
    pub(super) fn began(&self, service: Service) {
        match service {
            Service::Smtp => self.sessions.smtp.increment(),
            Service::Pop3 => self.sessions.pop3.increment(),
        }
    }

    /// A session has ended.
    pub(super) fn ended(&self, end: &SessionEnd) {
        let ended = &self.ended;
        let counter = match end {
            SessionEnd::Quit => &ended.quit,
            SessionEnd::Closed { why: None, .. } | SessionEnd::Foreign { .. } => &ended.closed,
            SessionEnd::Panicked => &ended.panicked,
            SessionEnd::Closed { why: Some(why), .. } | SessionEnd::Broken(why) => match why {
                Interruption::Lost(_) | Interruption::Tls(_) => &ended.lost,
                Interruption::NotReading => &ended.not_reading,
                Interruption::IdleTimeout
                | Interruption::HandshakeTimeout { .. }
                | Interruption::TooSlow
                | Interruption::SessionTimeout => &ended.timed_out,
                Interruption::ShuttingDown => &ended.at_stop,
                Interruption::Displaced => &ended.displaced,
                Interruption::Unreadable | Interruption::Injected | Interruption::NoCertificate => {
                    &ended.broken
                }
            },
        };
        counter.increment();
    }

    /// A message is durable in every recipient's mailbox.
    pub(super) fn accepted(&self, octets: u64, recipients: usize) {
        self.came.messages.increment();
        self.came.octets.add(octets);
        self.came.recipients.add_many(recipients);
    }

    /// A message is on its way to its client, whole or the beginning of it.
    pub(super) fn fetched(&self, is_whole: bool, octets: usize) {
        let counter = if is_whole {
            &self.went.fetched
        } else {
            &self.went.tops
        };
        counter.increment();
        self.went.octets.add_many(octets);
    }

    /// Messages were removed.
    pub(super) fn removed(&self, messages: usize) {
        self.went.removed.add_many(messages);
    }

    /// A client was refused something.
    pub(super) fn refused(&self, reason: Reason) {
        let refused = &self.refused;
        let counter = match reason {
            Reason::UnknownRecipient => &refused.unknown_recipient,
            Reason::NotLocal => &refused.not_local,
            Reason::TooManyRecipients => &refused.too_many_recipients,
            Reason::TooLarge => &refused.too_large,
            Reason::NoSpace => &refused.no_space,
            Reason::Busy => &refused.busy,
            Reason::NotStored => &refused.not_stored,
            Reason::AuthenticationRequired => &refused.auth_required,
            Reason::SenderNotPermitted => &refused.sender_not_permitted,
            Reason::LineEnding => &refused.line_ending,
            Reason::OtherProtocol => &refused.other_protocol,
            Reason::TooManyErrors => &refused.too_many_errors,
            Reason::TooManyUnknown => &refused.too_many_unknown,
        };
        counter.increment();
    }

    /// The logins of a protocol.
    pub(super) fn logins(&self, service: Service) -> &LoginsOf {
        match service {
            Service::Smtp => &self.logins.smtp,
            Service::Pop3 => &self.logins.pop3,
        }
    }

    /// Puts all of it into `report`, with the number of sessions that there are `now`, and what was
    /// counted of their `budget`.
    pub(super) fn report(&self, now: usize, budget: &Budget, report: &mut Report) {
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        report.add("sessions", self.sessions.values(now));
        report.add("ended", self.ended.values());
        report.add("accepted", self.came.values());
        report.add("refused", self.refused.values());
        report.add("sent", self.went.values());
        report.add("logins", self.logins.values());
        let Handshakes { done, failed } = &self.tls;
        report.add("tls", named([("done", done), ("failed", failed)]));
        report.add("memory", budget.values());
        let failures = named([("failures", &self.store_failures)]);
        report.add("store", failures);
    }
}

/// The numbers of counters.
fn named<const N: usize>(counters: [(&'static str, &Counter); N]) -> [(&'static str, u64); N] {
    counters.map(|(name, counter)| (name, counter.value()))
}

impl Sessions {
    fn values(&self, now: u64) -> impl Iterator<Item = (&'static str, u64)> {
        let rest = named([
            ("smtp", &self.smtp),
            ("pop3", &self.pop3),
            ("too_many", &self.too_many),
            ("too_many_from_address", &self.too_many_from_address),
            ("too_many_from_site", &self.too_many_from_site),
            (
                "too_many_from_organisation",
                &self.too_many_from_organisation,
            ),
            ("too_many_from_block", &self.too_many_from_block),
            ("too_many_from_loopback", &self.too_many_from_loopback),
            ("shutting_down", &self.shutting_down),
            ("no_thread", &self.no_thread),
            ("accept_failed", &self.accept_failed),
        ]);
        [("now", now)].into_iter().chain(rest)
    }
}

impl Ended {
    fn values(&self) -> [(&'static str, u64); 9] {
        named([
            ("quit", &self.quit),
            ("closed", &self.closed),
            ("lost", &self.lost),
            ("timed_out", &self.timed_out),
            ("not_reading", &self.not_reading),
            ("at_stop", &self.at_stop),
            ("displaced", &self.displaced),
            ("broken", &self.broken),
            ("panicked", &self.panicked),
        ])
    }
}

impl Came {
    fn values(&self) -> [(&'static str, u64); 3] {
        named([
            ("messages", &self.messages),
            ("octets", &self.octets),
            ("recipients", &self.recipients),
        ])
    }
}

impl Refused {
    fn values(&self) -> [(&'static str, u64); 13] {
        named([
            ("unknown_recipient", &self.unknown_recipient),
            ("not_local", &self.not_local),
            ("too_many_recipients", &self.too_many_recipients),
            ("too_large", &self.too_large),
            ("no_space", &self.no_space),
            ("busy", &self.busy),
            ("not_stored", &self.not_stored),
            ("auth_required", &self.auth_required),
            ("sender_not_permitted", &self.sender_not_permitted),
            ("line_ending", &self.line_ending),
            ("other_protocol", &self.other_protocol),
            ("too_many_errors", &self.too_many_errors),
            ("too_many_unknown", &self.too_many_unknown),
        ])
    }
}

impl Went {
    fn values(&self) -> [(&'static str, u64); 4] {
        named([
            ("messages", &self.fetched),
            ("tops", &self.tops),
            ("octets", &self.octets),
            ("removed", &self.removed),
        ])
    }
}

impl Logins {
    fn values(&self) -> [(&'static str, u64); 6] {
        named([
            ("smtp_accepted", &self.smtp.accepted),
            ("smtp_refused", &self.smtp.refused),
            ("smtp_busy", &self.smtp.busy),
            ("pop3_accepted", &self.pop3.accepted),
            ("pop3_refused", &self.pop3.refused),
            ("pop3_busy", &self.pop3.busy),
        ])
    }
}
