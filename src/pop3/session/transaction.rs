//! TRANSACTION and UPDATE: answers from the listing, sends messages, removes them at QUIT
//! (RFC 1939 §5 to §7).
//!
//! Invariant: QUIT is the only command that asks for a removal, and it asks for exactly the
//! messages that are marked at that time (I3). Its `+OK` is sent when the driver reports that the
//! removal is durable (I2), never before.

use crate::mail::Closing;
use crate::pop3::command::Maildrop;
use crate::pop3::listing::{Listing, MessageNumber, NoMessage};
use crate::pop3::response::{self, Response};
use crate::pop3::step::{Action, Extent};

use super::turn::{Retrieval, State, Turn};

/// A command on the maildrop was received.
// Not inlined: see `Session::answered`.
#[inline(never)]
pub(super) fn command(mut listing: Listing, command: Maildrop) -> Turn {
    let response = match command {
        Maildrop::Dele(number) => match listing.mark(number) {
            Ok(()) => Response::marked(number),
            Err(reason) => reason.into(),
        },
        Maildrop::List(number) => list(&listing, number).unwrap_or_else(Response::from),
        Maildrop::Noop => response::NOOP,
        Maildrop::Retr(number) => return retrieve(listing, number, Extent::Whole),
        Maildrop::Rset => {
            listing.unmark_all();
            Response::maildrop(listing.visible())
        }
        Maildrop::Stat => Response::drop_listing(listing.visible()),
        Maildrop::Top { message, lines } => {
            return retrieve(listing, message, Extent::Top { lines });
        }
        Maildrop::Uidl(number) => uidl(&listing, number).unwrap_or_else(Response::from),
    };
    Turn::Say(State::Transaction(listing), response)
}

fn list(listing: &Listing, number: Option<MessageNumber>) -> Result<Response, NoMessage> {
    let Some(number) = number else {
        return Ok(Response::scan_listing(listing));
    };
    Ok(Response::message(number, listing.octets(number)?))
}

fn uidl(listing: &Listing, number: Option<MessageNumber>) -> Result<Response, NoMessage> {
    let Some(number) = number else {
        return Ok(Response::unique_id_listing(listing));
    };
    Ok(Response::message(number, listing.unique_id(number)?))
}

fn retrieve(listing: Listing, number: MessageNumber, extent: Extent) -> Turn {
    match listing.octets(number) {
        Ok(octets) => {
            let retrieval = Retrieval { octets, extent };
            let state = State::Retrieving(listing, retrieval);
            Turn::ask(state, Action::OpenMessage(number))
        }
        Err(reason) => Turn::Say(State::Transaction(listing), reason.into()),
    }
}

/// The message is open. `withheld`: only a client in UTF-8 mode may get it, and this one is not.
pub(super) fn message_opened(listing: Listing, retrieval: Retrieval, withheld: bool) -> Turn {
    if withheld {
        return Turn::Say(State::Transaction(listing), response::NEEDS_UTF8);
    }
    let response = match retrieval.extent {
        Extent::Whole => Response::content_follows(retrieval.octets),
        Extent::Top { .. } => response::TOP_FOLLOWS,
    };
    let action = Action::SendContent(retrieval.extent);
    Turn::Ask(State::Sending(listing), Some(response), action)
}

pub(super) fn quit(hostname: &str, listing: &Listing) -> Turn {
    let left = listing.visible().messages;
    let marked = listing.marked();
    if marked.is_empty() {
        return sign_off(hostname, left);
    }
    Turn::ask(State::Update { left }, Action::RemoveMarked(marked))
}

pub(super) fn sign_off(hostname: &str, left: usize) -> Turn {
    let response = Response::goodbye_from_maildrop(hostname, left);
    Turn::Close(Some(response), Closing::Quit)
}
