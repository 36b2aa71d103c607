//! What other nodes are told of changes.
//!
//! A notification is a hint: it names messages of mailboxes in which something has changed. The
//! node that gets it asks the database whether they are there. It is sent a moment after the change
//! was proved, and apart from it, because a transaction that notifies keeps all others waiting that
//! do. A node that may have missed a hint lets all its watches begin again.
//!
//! The text of a notification has a line with the number of the node, and one with the domain, the
//! local part and the name for each message, separated by tabs, which names do not have; or one
//! line with `*`: something was left out.

use std::{collections::VecDeque, time::Instant};

use crate::{mail::MailboxName, store::sync::Mutex};

use super::{
    connection::{Connection, Failure, Value},
    limits::{HINT_OCTETS_MAX, HINTS_MAX},
    statements::WHICH_ARE_THERE,
};

/// The line that says that something was left out.
const MORE: &str = "*";

/// Changes that were not told yet.
#[derive(Debug, Default)]
pub(super) struct Hints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    has_forgotten: bool,
}

impl Hints {
    /// Notes that the message `name` has come to `mailbox`, or gone.
    pub(super) fn add(&self, mailbox: &MailboxName, name: &str) {
        let line = format!("{}\t{}\t{name}\n", mailbox.domain(), mailbox.local_part());
        let mut state = self.0.lock();
        if state.lines.len() < HINTS_MAX && line.len() < HINT_OCTETS_MAX {
            state.lines.push_back(line);
        } else {
            state.has_forgotten = true;
        }
    }

    /// Notes that something was left out.
    pub(super) fn forget(&self) {
        self.0.lock().has_forgotten = true;
    }

    /// Takes the text of the next notification of the node with this number.
    pub(super) fn take(&self, node: &str) -> Option<String> {
        let mut text = format!("{node}\n");
        let begin = text.len();
        let mut state = self.0.lock();
        if std::mem::take(&mut state.has_forgotten) {
            state.lines.clear();
            text.push_str(MORE);
        }
        while let Some(line) = state.lines.front() {
            if text.len().saturating_add(line.len()) > HINT_OCTETS_MAX {
                break;
            }
            text.push_str(line);
            state.lines.pop_front();
        }
        drop(state);
        (text.len() > begin).then_some(text)
    }
}

/// A message of a mailbox in which something has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint<'a> {
    pub(super) domain: &'a str,
    pub(super) local_part: &'a str,
    pub(super) name: &'a str,
}

/// The hints in the text of a notification, unless they are from this `node`; `None` if something
/// was left out, or it cannot be read.
pub(super) fn parse<'a>(text: &'a str, node: &str) -> Option<Vec<Hint<'a>>> {
    let (from, lines) = text.split_once('\n')?;
    if from == node {
        return Some(Vec::new());
    }
    let hints = lines.lines().map(|line| {
        let mut words = line.split('\t');
        let hint = Hint {
            domain: words.next()?,
            local_part: words.next()?,
            name: words.next()?,
        };
        words.next().is_none().then_some(hint)
    });
    hints.collect()
}

/// Whether each of the messages that `hints` name is there.
///
/// # Errors
/// [`Failure`].
pub(super) fn which_are_there(
    connection: &mut Connection,
    hints: &[Hint<'_>],
    deadline: Instant,
) -> Result<Vec<bool>, Failure> {
    let domains: Vec<&str> = hints.iter().map(|hint| hint.domain).collect();
    let locals: Vec<&str> = hints.iter().map(|hint| hint.local_part).collect();
    let names: Vec<&str> = hints.iter().map(|hint| hint.name).collect();
    let values = [
        Value::Texts(&domains),
        Value::Texts(&locals),
        Value::Texts(&names),
    ];
    let answer = connection.ask(&WHICH_ARE_THERE, &values, deadline)?;
    let rows = answer.returned.iter().flat_map(|returned| &returned.rows);
    Ok(rows.map(|row| row.bool(0) == Some(true)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_arrive_as_they_were_given() {
        let hints = Hints::default();
        assert_eq!(hints.take("1"), None);
        let mailbox = MailboxName::from_canonical("bob smith", "a.example").unwrap();
        hints.add(&mailbox, "7.a_1");
        let text = hints.take("1").unwrap();
        let hint = Hint {
            domain: "a.example",
            local_part: "bob smith",
            name: "7.a_1",
        };
        assert_eq!(parse(&text, "2"), Some(vec![hint]));
        assert_eq!(parse(&text, "1"), Some(Vec::new()));
        assert_eq!(hints.take("1"), None);
        for _ in 0..=HINTS_MAX {
            hints.add(&mailbox, "7.a_1");
        }
        assert_eq!(parse(&hints.take("1").unwrap(), "2"), None);
        assert_eq!(hints.take("1"), None);
        for text in ["", "1", "1\na", "1\na\tb", "1\na\tb\tc\td"] {
            assert_eq!(parse(text, "2"), None, "{text:?}");
        }
    }

    #[test]
    fn many_hints_need_several_notifications() {
        let hints = Hints::default();
        let mailbox = MailboxName::from_canonical("bob", "a.example").unwrap();
        for _ in 0..1_000 {
            hints.add(&mailbox, "1700000000.0123456789abcdef_00000001");
        }
        let mut n_hints = 0;
        while let Some(text) = hints.take("1") {
            assert!(text.len() <= HINT_OCTETS_MAX);
            n_hints += parse(&text, "2").unwrap().len();
        }
        assert_eq!(n_hints, 1_000);
    }
}
