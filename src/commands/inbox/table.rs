//! The table that `facteur list` prints.

use crate::clock::Clock;

use super::{
    limits,
    message::Summary,
    screen::{columns, fit, printable},
};

/// What is between two columns.
const GAP: &str = "  ";

/// The messages in a table with a line for each. At a terminal of this width, its lines fit.
pub(super) fn table(messages: &[Summary], clock: &Clock, width: Option<usize>) -> String {
    let head = ["ID", "WHEN", "FROM", "TO", "SUBJECT"].map(str::to_owned);
    let rows = messages.iter().map(|message| row(message, clock, width));
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let widest = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index));
        cells.map(|cell| columns(cell)).max().unwrap_or_default()
    };
    let (id, when) = (widest(0), widest(1));
    let names = width.map_or(limits::NAME_COLUMNS_MAX, |width| {
        let rest = width.saturating_sub(id).saturating_sub(when);
        // The subject gets half of the rest.
        let names = rest.checked_div(4).unwrap_or_default();
        names.clamp(limits::NAME_COLUMNS_MIN, limits::NAME_COLUMNS_MAX)
    });
    let widths = [id, when, widest(2).min(names), widest(3).min(names)];
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, cell_width) in row.iter().zip(widths) {
            let cell = fit(cell, cell_width);
            line.push_str(&cell);
            let missing = cell_width.saturating_sub(columns(&cell));
            line.push_str(&" ".repeat(missing));
            line.push_str(GAP);
        }
        line.extend(row.last().map(String::as_str));
        let line = width.map_or_else(|| line.clone(), |width| fit(&line, width));
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// The cells of a message.
fn row(message: &Summary, clock: &Clock, width: Option<usize>) -> [String; 5] {
    let form = match width {
        Some(_) => "%m-%d %H:%M",
        None => "%Y-%m-%d %H:%M:%S",
    };
    let when = clock.local(&message.created);
    let when = when.map(|when| when.strftime(form).to_string());
    let to = match message.recipient() {
        (first, 0) => first.to_owned(),
        (first, others) => format!("{first} +{others}"),
    };
    let when = when.unwrap_or_default();
    let (from, subject) = (&message.from.address, &message.subject);
    [&message.id, &when, from, &to, subject].map(|cell| printable(cell))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use crate::clock::Hands;

    use super::*;

    fn messages(json: &str) -> Vec<Summary> {
        serde_json::from_str(json).unwrap()
    }

    const JSON: &str = r#"[
        {"ID":"9f00-1","From":{"Name":"A","Address":"alice@example.com"},
         "To":[{"Address":"bob@example.com"},{"Address":"carol@example.com"}],
         "Subject":"Please confirm your address","Created":"2026-11-30T09:00:05Z"},
        {"ID":"9f00-22","From":null,"To":null,"Subject":"a\u001b[31m\nb",
         "Created":"yesterday","Mailboxes":["dave@example.com"]}
    ]"#;

    fn clock() -> Clock {
        Clock::turned_by(Arc::new(Hands::new()))
    }

    #[test]
    fn a_table_has_a_line_for_each_message() {
        let expect = "\
ID       WHEN                 FROM               TO                  SUBJECT
9f00-1   2026-11-30 09:00:05  alice@example.com  bob@example.com +1  Please confirm your address
9f00-22                                          dave@example.com    a\\u{1b}[31m\\nb
";
        assert_eq!(table(&messages(JSON), &clock(), None), expect);
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let expect = "\
ID       WHEN         FROM         TO           SUBJECT
9f00-1   11-30 09:00  alice@examp…  bob@exampl…  Please con…
";
        let found = table(&messages(JSON), &clock(), Some(60));
        assert_eq!(found.lines().count(), 3);
        let first = found.lines().nth(1).unwrap();
        assert!(
            first.starts_with("9f00-1   11-30 09:00  alice@exa…"),
            "{found} {expect}"
        );
        assert!(first.ends_with('…'), "{found}");
        assert!(found.lines().all(|line| columns(line) <= 60), "{found}");
    }

    proptest! {
        #[test]
        fn every_table_fits(subject: String, from: String, width in 0_usize..120) {
            let mut some = messages(JSON);
            some[0].subject = subject;
            some[0].from.address = from;
            let found = table(&some, &clock(), Some(width));
            prop_assert_eq!(found.lines().count(), 3);
            prop_assert!(found.lines().all(|line| columns(line) <= width));
        }
    }
}
