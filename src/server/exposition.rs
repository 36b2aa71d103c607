//! The counters as Prometheus reads them: its text format, version 0.0.4.
//!
//! Each number of a [`Report`] belongs to one family, by the first row of the table that fits. A
//! number without a row would be missing without notice, so a test looks for all of them.

use std::fmt::Write as _;

use crate::counters::Report;

/// The media type of the text.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a number means (`# TYPE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It only grows.
    Counter,
    /// It is what there is now.
    Gauge,
}

/// One family of numbers.
struct Family {
    /// Where they are in the report.
    section: &'static str,
    /// Their names there; none means all that no row before has.
    names: &'static [&'static str],
    /// Its own name, without `facteur_`.
    name: &'static str,
    kind: Kind,
    /// The labels, whose values are the names in the report, cut at the first `_` if there are two.
    labels: &'static [&'static str],
    help: &'static str,
}

/// A row of the table.
const fn row(
    (section, names): (&'static str, &'static [&'static str]),
    (name, kind): (&'static str, Kind),
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        section,
        names,
        name,
        kind,
        labels,
        help,
    }
}

use Kind::{Counter, Gauge};

const FAMILIES: &[Family] = &[
    row(
        ("sessions", &["now"]),
        ("sessions", Gauge),
        &[],
        "Open sessions.",
    ),
    row(
        ("sessions", &["smtp", "pop3", "http"]),
        ("sessions_total", Counter),
        &["service"],
        "Sessions since the start.",
    ),
    row(
        ("sessions", &[]),
        ("sessions_refused_total", Counter),
        &["reason"],
        "Clients that got no session.",
    ),
    row(
        ("ended", &[]),
        ("sessions_ended_total", Counter),
        &["reason"],
        "Sessions that have ended.",
    ),
    row(
        ("accepted", &["messages"]),
        ("accepted_messages_total", Counter),
        &[],
        "Messages that were accepted.",
    ),
    row(
        ("accepted", &["octets"]),
        ("accepted_octets_total", Counter),
        &[],
        "Their octets on disk.",
    ),
    row(
        ("accepted", &["recipients"]),
        ("accepted_recipients_total", Counter),
        &[],
        "Their recipients.",
    ),
    row(
        ("refused", &[]),
        ("refused_total", Counter),
        &["reason"],
        "Commands and messages that were refused.",
    ),
    row(
        ("sent", &["messages"]),
        ("sent_messages_total", Counter),
        &[],
        "Messages that were fetched over POP3.",
    ),
    row(
        ("sent", &["tops"]),
        ("sent_tops_total", Counter),
        &[],
        "Answers to TOP.",
    ),
    row(
        ("sent", &["octets"]),
        ("sent_octets_total", Counter),
        &[],
        "Octets that were sent over POP3.",
    ),
    row(
        ("sent", &["removed"]),
        ("removed_messages_total", Counter),
        &[],
        "Messages that were removed over POP3.",
    ),
    row(
        ("logins", &[]),
        ("logins_total", Counter),
        &["service", "result"],
        "Attempts to log in.",
    ),
    row(
        ("tls", &[]),
        ("tls_handshakes_total", Counter),
        &["result"],
        "TLS handshakes.",
    ),
    row(
        ("memory", &["octets_now"]),
        ("memory_octets", Gauge),
        &[],
        "Octets of memory that sessions share now.",
    ),
    row(
        ("memory", &["octets_peak"]),
        ("memory_octets_peak", Gauge),
        &[],
        "The most so far.",
    ),
    row(
        ("memory", &[]),
        ("memory_shortages_total", Counter),
        &["result"],
        "Requests for memory that were denied, had to wait, or were refused then.",
    ),
    row(
        ("store", &["failures"]),
        ("store_failures_total", Counter),
        &[],
        "Operations of the store that failed.",
    ),
    row(
        ("store", &["journaled", "direct", "whole", "in_parts"]),
        ("store_messages_total", Counter),
        &["way"],
        "Messages by how they became durable.",
    ),
    row(
        ("store", &["degraded"]),
        ("store_degraded", Gauge),
        &[],
        "Whether the store has a problem now.",
    ),
    row(
        ("store", &["repeats"]),
        ("store_repeats_total", Counter),
        &[],
        "Batches that were sent to the database again.",
    ),
    row(
        ("store", &["waiting_connections"]),
        ("store_waiting_connections", Gauge),
        &[],
        "Connections to the database that wait after their deadline.",
    ),
    row(
        ("store", &["fences"]),
        ("store_fences_total", Counter),
        &[],
        "Removals that were refused because another session may have had the mailbox.",
    ),
    row(
        ("store", &["failovers"]),
        ("store_failovers_total", Counter),
        &[],
        "How often another server has become the primary.",
    ),
    row(
        ("store", &[]),
        ("store_pending_messages", Gauge),
        &["state"],
        "Messages that cannot be put into their mailboxes now.",
    ),
    row(
        ("commits", &["count"]),
        ("commits_total", Counter),
        &[],
        "Syncs of the journal, or commits of the database.",
    ),
    row(
        ("commits", &["failures"]),
        ("commit_failures_total", Counter),
        &[],
        "Those that failed.",
    ),
    row(
        ("commits", &["mean_us", "longest_us"]),
        ("commit_microseconds", Gauge),
        &["value"],
        "How long they took.",
    ),
    row(
        ("commits", &[]),
        ("commits_slow_total", Counter),
        &["than"],
        "Those that took longer.",
    ),
    row(
        ("batches", &[]),
        ("batches_total", Counter),
        &["messages"],
        "Syncs of the journal, or commits of the database, by how many messages they made durable.",
    ),
    row(
        ("checkpoints", &["count"]),
        ("checkpoints_total", Counter),
        &[],
        "Syncs of the Maildirs.",
    ),
    row(
        ("checkpoints", &["failures"]),
        ("checkpoint_failures_total", Counter),
        &[],
        "Those that failed.",
    ),
    row(
        ("checkpoints", &["mean_us", "longest_us"]),
        ("checkpoint_microseconds", Gauge),
        &["value"],
        "How long they took.",
    ),
    row(
        ("checkpoints", &[]),
        ("checkpoints_slow_total", Counter),
        &["than"],
        "Those that took longer.",
    ),
];

/// The numbers of a report as text, whose lines end in LF.
pub(super) fn exposition(report: &Report) -> String {
    let mut text = String::new();
    for (index, family) in FAMILIES.iter().enumerate() {
        let earlier = FAMILIES.iter().take(index);
        let earlier: Vec<&Family> = earlier.filter(|it| it.section == family.section).collect();
        let is_taken = |name: &str| earlier.iter().any(|it| it.names.contains(&name));
        let mut numbers = report.numbers().filter(|(section, name, _)| {
            let is_named = family.names.contains(name) || family.names.is_empty();
            *section == family.section && is_named && !is_taken(name)
        });
        let Some(first) = numbers.next() else {
            continue;
        };
        let (name, help) = (family.name, family.help);
        let kind = match family.kind {
            Counter => "counter",
            Gauge => "gauge",
        };
        // Writing to a String cannot fail.
        write!(
            text,
            "# HELP facteur_{name} {help}\n# TYPE facteur_{name} {kind}\n"
        )
        .unwrap_or_default();
        for (_, number, value) in [first].into_iter().chain(numbers) {
            let labels = labels(family.labels, number);
            writeln!(text, "facteur_{name}{labels} {value}").unwrap_or_default();
        }
    }
    text
}

/// The labels of a number. The names in a report have nothing that must be escaped.
fn labels(names: &[&str], number: &str) -> String {
    match names {
        [] => String::new(),
        [first, second] => {
            let (one, other) = number.split_once('_').unwrap_or((number, ""));
            format!("{{{first}=\"{one}\",{second}=\"{other}\"}}")
        }
        [first, ..] => format!("{{{first}=\"{number}\"}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Caps, PerAddress, Registry};
    use crate::store::{MessageStore, Settings};

    #[test]
    fn every_number_of_the_report_is_in_one_family() {
        let caps = Caps {
            total: 1,
            per_address: PerAddress::Scaled,
        };
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::new(directory.path().join("mail"), "localhost");
        let store = MessageStore::open(settings, crate::clock::Clock::system()).unwrap();
        let mut report = Report::default();
        Registry::new(caps, 1_000).report(&mut report);
        store.report(&mut report);
        let text = exposition(&report);
        let n_lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(n_lines, report.numbers().count(), "{text}");
        assert!(n_lines > 80, "{text}");
        for line in [
            "facteur_sessions 0",
            "facteur_sessions_total{service=\"smtp\"} 0",
            "facteur_sessions_refused_total{reason=\"too_many_from_site\"} 0",
            "facteur_logins_total{service=\"http\",result=\"accepted\"} 0",
            "# TYPE facteur_memory_octets gauge",
            "# TYPE facteur_refused_total counter",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
    }

    /// What a store in a database reports.
    #[test]
    fn messages_that_wait_are_no_family_of_other_numbers() {
        let mut report = Report::default();
        let numbers = [
            "whole",
            "repeats",
            "waiting_connections",
            "fences",
            "failovers",
        ];
        report.add("store", numbers.map(|number| (number, 7)));
        let text = exposition(&report);
        for line in [
            "facteur_store_messages_total{way=\"whole\"} 7",
            "facteur_store_repeats_total 7",
            "facteur_store_waiting_connections 7",
            "facteur_store_fences_total 7",
            "facteur_store_failovers_total 7",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
        assert!(!text.contains("pending"), "{text}");
    }

    #[test]
    fn sections_without_numbers_have_no_family() {
        assert_eq!(exposition(&Report::default()), "");
        let mut report = Report::default();
        report.add("tls", [("done", u64::MAX)]);
        assert_eq!(
            exposition(&report),
            "# HELP facteur_tls_handshakes_total TLS handshakes.\n\
             # TYPE facteur_tls_handshakes_total counter\n\
             facteur_tls_handshakes_total{result=\"done\"} 18446744073709551615\n"
        );
    }
}
