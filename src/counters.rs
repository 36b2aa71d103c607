//! Numbers that many threads add to, and the report that shows them.
//!
//! A [`Counter`] is one atomic number: adding takes no lock, allocates nothing and orders nothing
//! else. So a report is not a snapshot of one moment: one of its numbers might already include a
//! message and another not yet. Each room counts in tables of its own, each declared by `table!`
//! with the names that appear in the report, and adds them to a [`Report`] when one is requested.
//!
//! A report contains only our own names and numbers, and nothing that a client sent (SEC-7).

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::kv::{self, Key, Source, Value, VisitSource};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds a number of things.
    pub fn add_many(&self, things: usize) {
        self.add(u64::try_from(things).unwrap_or(u64::MAX));
    }

    /// The current value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares a struct of counters. The name of a counter's field is also its name in the report, so
/// it is written only there.
macro_rules! table {
    (
        $(#[$table_doc:meta])*
        $visibility:vis struct $Table:ident {
            $($(#[$doc:meta])* $counter:ident,)*
        }
    ) => {
        $(#[$table_doc])*
        #[derive(Debug, Default)]
        $visibility struct $Table {
            $($(#[$doc])* $visibility $counter: $crate::counters::Counter,)*
        }

        impl $Table {
            /// The name and the value of each counter.
            fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($counter), self.$counter.value()),)*].into_iter()
            }
        }
    };
}

pub(crate) use table;

/// How often something happened, and how long it took.
#[derive(Debug, Default)]
pub struct Times {
    n: Counter,
    micros: Counter,
    longest_micros: AtomicU64,
    over_10ms: Counter,
    over_100ms: Counter,
    over_1s: Counter,
}

impl Times {
    /// Counts one that took this long.
    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.n.increment();
        self.micros.add(micros);
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
        for (limit, counter) in [
            (10_000, &self.over_10ms),
            (100_000, &self.over_100ms),
            (1_000_000, &self.over_1s),
        ] {
            if micros <= limit {
                break;
            }
            counter.increment();
        }
    }

    /// The mean and the maximum in microseconds, and how many took longer than certain times.
    pub fn values(&self) -> [(&'static str, u64); 6] {
        let n = self.n.value();
        [
            ("count", n),
            ("mean_us", self.micros.value().checked_div(n).unwrap_or(0)),
            ("longest_us", self.longest_micros.load(Ordering::Relaxed)),
            ("over_10ms", self.over_10ms.value()),
            ("over_100ms", self.over_100ms.value()),
            ("over_1s", self.over_1s.value()),
        ]
    }
}

/// How often groups of each size occurred: 1, 2 to 3, 4 to 7 and so on.
#[derive(Debug, Default)]
pub struct Sizes([Counter; 7]);

impl Sizes {
    const NAMES: [&str; 7] = [
        "of_1",
        "of_2_to_3",
        "of_4_to_7",
        "of_8_to_15",
        "of_16_to_31",
        "of_32_to_63",
        "of_64_or_more",
    ];

    /// Counts a group of `n`. An empty group is not counted.
    pub fn note(&self, n: u32) {
        let Some(power) = n.checked_ilog2() else {
            return;
        };
        let position = usize::try_from(power).unwrap_or(usize::MAX);
        let counter = self.0.get(position).or(self.0.last());
        counter.into_iter().for_each(Counter::increment);
    }

    /// How many groups there were of each size.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(Counter::value);
        Self::NAMES.into_iter().zip(counts)
    }
}

/// The counts of all rooms, in sections.
#[derive(Debug, Default)]
pub struct Report {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    section: &'static str,
    name: Cow<'static, str>,
    /// Both names, for readers that want a single name for each number.
    key: String,
    value: u64,
}

impl Report {
    /// Adds a section.
    pub fn add<N: Into<Cow<'static, str>>>(
        &mut self,
        section: &'static str,
        values: impl IntoIterator<Item = (N, u64)>,
    ) {
        let entries = values.into_iter().map(|(name, value)| {
            let name = name.into();
            Entry {
                section,
                key: format!("{section}_{name}"),
                name,
                value,
            }
        });
        self.entries.extend(entries);
    }

    /// Each number with its section and its name, in order.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static str, &str, u64)> {
        let entries = self.entries.iter();
        entries.map(|entry| (entry.section, entry.name.as_ref(), entry.value))
    }

    /// Logs the report, as one block of text and as fields.
    pub fn log(&self) {
        log::logger().log(
            &log::Record::builder()
                .level(log::Level::Info)
                .target(module_path!())
                .args(format_args!("{self}"))
                .key_values(self)
                .build(),
        );
    }
}

/// One line for each section, `name=value` for each number.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counters:")?;
        let mut section = "";
        for entry in &self.entries {
            if entry.section != section {
                section = entry.section;
                write!(f, "\n{section:<12}")?;
            }
            write!(f, " {}={}", entry.name, entry.value)?;
        }
        Ok(())
    }
}

impl Source for Report {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        visitor.visit_pair(Key::from_str("event"), Value::from("counters"))?;
        for entry in &self.entries {
            visitor.visit_pair(Key::from_str(&entry.key), Value::from(entry.value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_line_for_each_section_and_a_key_for_each_number() {
        let mut report = Report::default();
        report.add("sessions", [("now", 3), ("smtp", 40)]);
        report.add("tls", [("done", u64::MAX)]);
        assert_eq!(
            report.to_string(),
            "counters:\n\
             sessions     now=3 smtp=40\n\
             tls          done=18446744073709551615"
        );
        for (key, value) in [
            ("event", "counters"),
            ("sessions_now", "3"),
            ("sessions_smtp", "40"),
            ("tls_done", "18446744073709551615"),
        ] {
            let found = report.get(Key::from_str(key)).unwrap();
            assert_eq!(found.to_string(), value, "{key}");
        }
        assert_eq!(report.count(), 4);
    }

    #[test]
    fn times_are_counted_with_their_mean_and_their_tail() {
        let times = Times::default();
        assert_eq!(times.values().map(|(_, value)| value), [0; 6]);
        for millis in [1, 10, 11, 100, 101, 1_001] {
            times.note(Duration::from_millis(millis));
        }
        let values = times.values().map(|(_, value)| value);
        assert_eq!(values, [6, 204_000, 1_001_000, 4, 2, 1]);
    }

    #[test]
    fn sizes_are_counted_by_powers_of_two() {
        let sizes = Sizes::default();
        for n in [0, 1, 2, 3, 4, 7, 8, 63, 64, u32::MAX] {
            sizes.note(n);
        }
        let counts: Vec<u64> = sizes.values().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2, 2, 1, 0, 1, 2]);
    }
}
