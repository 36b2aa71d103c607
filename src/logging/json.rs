//! A log line as a JSON object (RFC 8259).
//!
//! `time` and `level` come first. The fields of a record follow, under the names that the caller
//! gave them; a record without fields has its text as `message`. Every line is ASCII: all other
//! characters are escaped, and so are those that end a line or a string, whatever a client put into
//! a field (SEC-7).

use std::fmt::{self, Write};

use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};

/// Renders a record, without a line ending.
pub(super) fn line(time: &str, record: &Record<'_>) -> String {
    let mut fields = Fields::begin(time, record.level());
    // Writing to a string cannot fail.
    drop(record.key_values().visit(&mut fields));
    if record.key_values().get(Key::from_str("event")).is_none() {
        fields.text("message", record.args());
    }
    fields.end()
}

/// Renders a plain text, without a line ending.
pub(super) fn message(time: &str, level: Level, message: &str) -> String {
    let mut fields = Fields::begin(time, level);
    fields.text("message", &message);
    fields.end()
}

/// An object being written.
struct Fields {
    out: String,
}

impl Fields {
    fn begin(time: &str, level: Level) -> Self {
        let mut fields = Self {
            out: String::from("{"),
        };
        fields.text("time", &time);
        fields.text(
            "level",
            &match level {
                Level::Error => "error",
                Level::Warn => "warn",
                Level::Info => "info",
                Level::Debug => "debug",
                Level::Trace => "trace",
            },
        );
        fields
    }

    fn end(mut self) -> String {
        self.out.push('}');
        self.out
    }

    fn key(&mut self, key: &str) {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        self.string(&key);
        self.out.push(':');
    }

    fn text(&mut self, key: &str, text: &dyn fmt::Display) {
        self.key(key);
        self.string(text);
    }

    fn string(&mut self, text: &dyn fmt::Display) {
        self.out.push('"');
        // Writing to a string cannot fail; if a value cannot be formatted, the part written so far
        // is kept.
        write!(Escape(&mut self.out), "{text}").unwrap_or_default();
        self.out.push('"');
    }
}

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.key(key.as_str());
        value.visit(self)
    }
}

/// Numbers and Booleans are written as such, everything else as a string.
impl VisitValue<'_> for &mut Fields {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.string(&value);
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.out.push_str(&value.to_string());
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.out.push_str(&value.to_string());
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.out.push_str(if value { "true" } else { "false" });
        Ok(())
    }
}

/// Writes the inside of a JSON string.
struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '"' | '\\' => self.0.extend(['\\', character]),
                ' '..='~' => self.0.push(character),
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        write!(self.0, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "../../tests/it/support/json.rs"]
mod strict;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::strict::{Json, parse};
    use super::*;

    fn text(text: &str) -> Json {
        Json::Text(text.to_owned())
    }

    #[test]
    fn a_record_is_logged_with_its_fields_or_else_its_message() {
        let fields = [
            ("event", Value::from("accepted")),
            ("octets", Value::from(7_u64)),
            ("change", Value::from(-7_i64)),
            ("is_whole", Value::from(true)),
        ];
        let mut record = Record::builder();
        record.level(Level::Warn);
        let with_fields = record.key_values(&fields).build();
        assert_eq!(
            line("2026-11-23T07:50:32.123Z", &with_fields),
            "{\"time\":\"2026-11-23T07:50:32.123Z\",\"level\":\"warn\",\"event\":\"accepted\",\
             \"octets\":7,\"change\":-7,\"is_whole\":true}"
        );
        let plain = line(
            "now",
            &Record::builder().args(format_args!("a \"b\"")).build(),
        );
        assert_eq!(
            plain,
            "{\"time\":\"now\",\"level\":\"info\",\"message\":\"a \\\"b\\\"\"}"
        );
        assert_eq!(plain, message("now", Level::Info, "a \"b\""));
    }

    proptest! {
        /// SEC-7.
        #[test]
        fn every_record_is_one_line_with_exactly_its_text(value in "\\PC*|(?s).{0,40}") {
            let fields = [("event", "e"), ("user", value.as_str())];
            let with_fields = line("t", &Record::builder().key_values(&fields).build());
            let plain = message("t", Level::Error, &value);
            for written in [&with_fields, &plain] {
                prop_assert!(written.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
            }
            prop_assert_eq!(
                parse(&with_fields).unwrap(),
                [("time", "t"), ("level", "info"), ("event", "e"), ("user", &value)]
                    .map(|(key, value)| (key.to_owned(), text(value)))
            );
            prop_assert_eq!(&parse(&plain).unwrap()[2], &("message".to_owned(), text(&value)));
        }
    }
}
