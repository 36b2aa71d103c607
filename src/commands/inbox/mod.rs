//! `facteur list`, `show`, `wait`, `remove` and `cursor`: the messages of a running daemon, for
//! people and for tests.
//!
//! # Theory of operation
//! Each command asks the daemon over HTTP, in the form of Mailpit's API. The [`client`] finds it by
//! the control socket of the mail directory, or at the default address. It has no password: who
//! can enter the mail directory can read it anyway. Nothing is read from the mail directory itself,
//! so a command works while the daemon runs, and only then.
//!
//! # Invariants
//! - No text of a message controls the terminal: see [`screen`].
//! - No message is removed at another daemon than that of a directory which was named.
//!
//! # Failures
//! [`Error`]: 1 for a failure, 2 for words that the daemon cannot read, 75 if a mailbox is in use,
//! 124 if a wait is over.

mod chunks;
mod client;
mod error;
mod form;
mod limits;
mod message;
mod remove;
mod save;
mod screen;
mod table;
mod wait;

use std::io::{self, Write as _};

use crate::{
    cli::{Arguments, ListArguments, RemoveArguments, ShowArguments, WaitArguments},
    clock::Clock,
    config::Config,
    system::terminal::Output,
};

use client::{Client, path_of, target};
use error::Reason;
use message::{CursorAnswer, List};
use screen::Screen;

pub use error::Error;

/// Prints the place behind the newest change.
pub(super) fn cursor(
    arguments: &Arguments,
    clock: &Clock,
    output: &mut dyn Output,
) -> Result<(), Error> {
    with_client((arguments, clock), output, |client, screen| {
        let answer = client.get(&target(&["api", "cursor"], &[]))?;
        let answer: CursorAnswer = answer.document()?.read()?;
        screen.print_theirs(&screen::printable(&answer.cursor))?;
        Ok(())
    })
}

/// Prints a table of the newest messages, or of those that words find.
pub(super) fn list(
    asked: &ListArguments,
    arguments: &Arguments,
    clock: &Clock,
    output: &mut dyn Output,
) -> Result<(), Error> {
    with_client((arguments, clock), output, |client, screen| {
        let document = client.get(&target_of_list(asked))?.document()?;
        let list: List = document.read()?;
        if asked.json {
            return form::json(&document, screen);
        }
        let table = table::table(&list.messages, clock, screen.columns);
        screen.print(&table)?;
        if list.partial {
            remark("some mailboxes could not be read; the log of the daemon says why");
        }
        let n_shown = list.messages.len();
        if n_shown < list.messages_count && screen.columns.is_some() {
            let all = list.messages_count;
            remark(&format!("{n_shown} of {all} messages; --limit shows more"));
        }
        Ok(())
    })
}

/// What `list` asks for.
fn target_of_list(asked: &ListArguments) -> String {
    let limit = asked.limit.to_string();
    let mailbox = asked.mailbox.as_ref().map(ToString::to_string);
    let mut words = asked.words.join(" ");
    match (mailbox, words.is_empty()) {
        (None, true) => target(&["api", "v1", "messages"], &[("limit", &limit)]),
        (Some(mailbox), true) => target(&["api", "mailboxes", &mailbox], &[("limit", &limit)]),
        (mailbox, false) => {
            if let Some(mailbox) = mailbox {
                words.extend([" mailbox:\"", &mailbox, "\""]);
            }
            let query = [("query", words.as_str()), ("limit", &limit)];
            target(&["api", "v1", "search"], &query)
        }
    }
}

/// Removes messages.
pub(super) fn remove(
    asked: &RemoveArguments,
    arguments: &Arguments,
    clock: &Clock,
    output: &mut dyn Output,
) -> Result<(), Error> {
    with_client((arguments, clock), output, |client, screen| {
        remove::run(asked, client, screen)
    })
}

/// Prints a message.
pub(super) fn show(
    asked: &ShowArguments,
    arguments: &Arguments,
    clock: &Clock,
    output: &mut dyn Output,
) -> Result<(), Error> {
    with_client((arguments, clock), output, |client, screen| {
        if asked.form.raw {
            return form::raw(&asked.id, client, screen);
        }
        if asked.form.headers {
            return form::headers(&asked.id, client, screen);
        }
        let document = client.get(&path_of(&asked.id, &[]))?.document()?;
        if asked.form.json {
            return form::json(&document, screen);
        }
        form::print(&document.read()?, &asked.form, client, screen)
    })
}

/// Waits for a message.
pub(super) fn wait(
    asked: &WaitArguments,
    arguments: &Arguments,
    clock: &Clock,
    output: &mut dyn Output,
) -> Result<(), Error> {
    with_client((arguments, clock), output, |client, screen| {
        wait::run(asked, client, screen)
    })
}

/// Runs a command, which asks the daemon that serves the mail directory. Whoever reads its output
/// may stop before the end, as `head` does.
fn with_client(
    (arguments, clock): (&Arguments, &Clock),
    output: &mut dyn Output,
    command: impl FnOnce(&mut Client<'_>, &mut Screen<'_>) -> Result<(), Reason>,
) -> Result<(), Error> {
    let mut screen = Screen::new(output);
    let done = client_of(arguments, clock).and_then(|mut client| {
        command(&mut client, &mut screen)?;
        Ok(screen.flush()?)
    });
    match done {
        Err(Reason::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A client of the daemon that serves the mail directory. Only that key is used, so the final
/// checks of the configuration do not matter here.
fn client_of<'a>(arguments: &Arguments, clock: &'a Clock) -> Result<Client<'a>, Reason> {
    let config = arguments.unchecked_configuration();
    let config = config.map_err(Reason::Config)?;
    let is_named = names_directory(&config, arguments);
    Ok(Client::new(config.mail, is_named, clock))
}

/// Whether the user has named a mail directory, by any means.
fn names_directory(config: &Config, arguments: &Arguments) -> bool {
    let is_typed = arguments.mail.is_some() || config.variables.contains_key("mail");
    is_typed || config.mail != Config::default().mail
}

/// Tells a person something besides the output. If standard error is closed, nobody reads it.
fn remark(text: &str) {
    drop(writeln!(io::stderr(), "facteur: {text}"));
}
