//! Counters of the server since its start.
//!
//! One struct for all sessions; each of its methods is one event. The code that turns a client
//! away, ends a session or refuses a command calls it where it also informs the log or the client.

use crate::counters::{Counter, Report, table};
use crate::mail::{Breadth, Ending, Service};
use crate::smtp::Reason;

use super::budget::Budget;
use super::session::{Interruption, NoPlace, SessionEnd, Unfit};
use super::shares::Full;

/// All counters of the server.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) sessions: Clients,
    ended: Ended,
    received: Received,
    refused: Refused,
    sent: Sent,
    smtp_logins: Logins,
    pop3_logins: Logins,
    http_logins: Logins,
    pub(super) tls: Tls,
    pub(super) store: Store,
}

table! {
    /// Clients that connected.
    pub(super) struct Clients {
        smtp,
        pop3,
        http,
        too_many,
        /// From one address, or one /64 of IPv6.
        too_many_from_address,
        /// From one /24, or one /56 of IPv6.
        too_many_from_site,
        /// From one /16, or one /48 of IPv6.
        too_many_from_organisation,
        /// From one /8, or one /32 of IPv6.
        too_many_from_block,
        /// From this machine.
        too_many_from_loopback,
        /// From a network that is not open, while there are no accounts.
        not_open,
        shutting_down,
        no_thread,
        accept_failed,
    }
}

table! {
    /// How sessions ended.
    struct Ended {
        quit,
        closed,
        lost,
        timed_out,
        not_reading,
        at_stop,
        displaced,
        broken,
        panicked,
    }
}

table! {
    /// Messages that were accepted.
    struct Received {
        messages,
        octets,
        recipients,
    }
}

/// What was refused: a counter for each of [`Reason::ALL`].
#[derive(Debug, Default)]
struct Refused([Counter; Reason::ALL.len()]);

table! {
    /// Messages that were sent.
    struct Sent {
        /// Whole messages.
        messages,
        tops,
        octets,
        removed,
    }
}

table! {
    /// Logins of one protocol.
    pub(super) struct Logins {
        accepted,
        refused,
        /// Too many passwords were being verified, or the maildrop was in use.
        busy,
    }
}

table! {
    /// TLS handshakes.
    pub(super) struct Tls {
        done,
        failed,
    }
}

table! {
    /// Operations that the store could not perform for a client.
    pub(super) struct Store {
        failures,
    }
}

impl Tally {
    /// A client gets no session.
    pub(super) fn turned_away(&self, refusal: NoPlace) {
        let sessions = &self.sessions;
        let counter = match refusal {
            NoPlace::TooMany(Full(network)) => match network.breadth() {
                Breadth::Everything => &sessions.too_many,
                Breadth::Address | Breadth::Customer => &sessions.too_many_from_address,
                Breadth::Site => &sessions.too_many_from_site,
                Breadth::Organisation => &sessions.too_many_from_organisation,
                Breadth::Block => &sessions.too_many_from_block,
                Breadth::Loopback => &sessions.too_many_from_loopback,
            },
            NoPlace::NotOpen => &sessions.not_open,
            NoPlace::ShuttingDown => &sessions.shutting_down,
        };
        counter.increment();
    }

    /// A session begins.
    pub(super) fn began(&self, service: Service) {
        match service {
            Service::Smtp => self.sessions.smtp.increment(),
            Service::Pop3 => self.sessions.pop3.increment(),
            Service::Http => self.sessions.http.increment(),
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
                Interruption::HandshakeTimeout { .. }
                | Interruption::NoProxyHeader { is_late: true } => &ended.timed_out,
                Interruption::NoProxyHeader { is_late: false } => &ended.closed,
                Interruption::Ended(ending) => match ending {
                    Ending::IdleTimeout | Ending::TooSlow | Ending::SessionTimeout => {
                        &ended.timed_out
                    }
                    Ending::ShuttingDown => &ended.at_stop,
                    Ending::Displaced => &ended.displaced,
                    Ending::NotOpen | Ending::Revoked | Ending::MaildropLost => &ended.closed,
                },
                Interruption::Unreadable
                | Interruption::OctetsBehindStartTls
                | Interruption::NoCertificate => &ended.broken,
            },
        };
        counter.increment();
    }

    /// A message is durable in every recipient's mailbox.
    pub(super) fn accepted(&self, octets: u64, recipients: usize) {
        self.received.messages.increment();
        self.received.octets.add(octets);
        self.received.recipients.add_many(recipients);
    }

    /// A message was sent to its client, whole or only its beginning.
    pub(super) fn fetched(&self, is_whole: bool, octets: usize) {
        let counter = if is_whole {
            &self.sent.messages
        } else {
            &self.sent.tops
        };
        counter.increment();
        self.sent.octets.add_many(octets);
    }

    /// Messages were removed.
    pub(super) fn removed(&self, messages: usize) {
        self.sent.removed.add_many(messages);
    }

    /// A client was refused something.
    pub(super) fn refused(&self, reason: Reason) {
        let counters = Reason::ALL.iter().zip(&self.refused.0);
        for ((known, _), counter) in counters {
            if *known == reason {
                counter.increment();
            }
        }
    }

    /// The client sent something that is not accepted as a line.
    pub(super) fn unfit(&self, what: Unfit) {
        self.refused(match what {
            Unfit::LineEnding => Reason::LineEnding,
            Unfit::OtherProtocol => Reason::OtherProtocol,
        });
    }

    /// The logins of a protocol.
    pub(super) fn logins(&self, service: Service) -> &Logins {
        match service {
            Service::Smtp => &self.smtp_logins,
            Service::Pop3 => &self.pop3_logins,
            Service::Http => &self.http_logins,
        }
    }

    /// Adds everything to `report`, with the number of open sessions `now`, and the counters of
    /// their `budget`.
    pub(super) fn report(&self, now: usize, budget: &Budget, report: &mut Report) {
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let sessions = self.sessions.values();
        report.add("sessions", [("now", now)].into_iter().chain(sessions));
        report.add("ended", self.ended.values());
        report.add("accepted", self.received.values());
        report.add("refused", self.refused.values());
        report.add("sent", self.sent.values());
        for service in [Service::Smtp, Service::Pop3, Service::Http] {
            let logins = self.logins(service).values();
            let named = logins.map(|(name, value)| (format!("{service}_{name}"), value));
            report.add("logins", named);
        }
        report.add("tls", self.tls.values());
        report.add("memory", budget.values());
        report.add("store", self.store.values());
    }
}

impl Refused {
    fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Reason::ALL.iter().map(|(_, name)| *name);
        names.zip(self.0.iter().map(Counter::value))
    }
}
