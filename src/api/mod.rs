//! The API: what each path of the inbox's HTTP port means, as one table.
//!
//! Programs that test mail know the API of one of the mail catchers that came before. So their
//! paths and shapes are here beside ours: those of Mailpit, `MailHog` and inbucket. All of them
//! show the same messages, those of an [`Inbox`](crate::inbox::Inbox).
//!
//! # Theory of operation
//! The driver hands in a [`Request`](crate::http::Request) that [`http`](crate::http) has admitted,
//! and whom it is for: the [`Asker`]. A call is both together with what the path says. The function
//! in the row for this path (`router.rs`) returns an [`Answer`]: a whole response, a response whose
//! body the driver sends piece by piece, [`Events`] or a [`Wait`], of which the driver takes turns,
//! a [`Letter`], which it delivers, or a word for its counters. So nothing here sends, waits for a
//! socket or holds a thread.
//!
//! # Who sees what
//! Without accounts, and on the control socket, an asker sees all mail. With accounts, an asker is
//! the mailbox of an account: other mailboxes do not exist for it, neither in lists nor in fields.
//! [`entry()`] says which paths need no login: probes, and the files of the login page.
//!
//! # Failures
//! A [`Refusal`](crate::http::Refusal) with one line that says what happened and what to do. The
//! texts of the store are for the log, because they name paths: the client learns only the kind.

mod addressee;
mod answer;
mod asker;
mod base;
mod bcc;
mod body;
mod call;
mod entry;
mod events;
mod failure;
mod inbucket;
mod letter;
pub mod limits;
mod listing;
mod login;
mod mailhog;
mod mailpit;
mod makers;
mod missing;
mod openapi;
mod own;
mod pages;
mod person;
mod removal;
mod reply;
mod router;
mod search;
mod sending;
mod times;
mod wait;
mod whole;

#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use asker::Asker;
pub use base::Api;
pub use entry::Entry;
pub use events::Events;
pub use failure::Failure;
pub use letter::{Letter, Recipient};
pub use login::{credentials, logged_in, logged_out, turned_away};
pub use router::{Audience, Route, Verb, answer, entry, routes};
pub use wait::{Turn, Wait};
