//! TRANSACTION and UPDATE: the listing is answered from, messages are sent, QUIT removes
//! (RFC 1939 §5 to §7).
//!
//! Invariant: QUIT is the only command that asks for a removal, and it asks for exactly the
//! messages that are marked then (I3). Its `+OK` is said when the driver reports that the removal
//! is durable (I2), never before.

use super::{Action, Extent, Session, State, Step};
use crate::pop3::{
    Command, MessageNumber,
    listing::{Listing, NoMessage},
    response::{Code, Column, Response},
};

/// A message that is being opened, and what is to be done with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retrieval {
    octets: u64,
    extent: Extent,
}

impl Retrieval {
    /// The same of a message that has so many octets, if it has others than the listing says.
    pub(super) fn edited(self, octets: Option<u64>) -> Self {
        let octets = octets.unwrap_or(self.octets);
        Self { octets, ..self }
    }
}

impl Session {
    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn transaction(&mut self, mut listing: Listing, command: Command) -> Step {
        let response = match command {
            Command::Capa => self.capabilities(false),
            Command::Dele(number) => match listing.mark(number) {
                Ok(()) => Response::ok(format!("Message {number} marked as deleted")),
                Err(reason) => reason.into(),
            },
            Command::Help => Response::ok(
                "STAT, LIST [n], RETR n, TOP n lines, UIDL [n], DELE n, RSET, NOOP, CAPA, QUIT; \
                 only QUIT removes what is marked",
            ),
            Command::Lang(range) => {
                return self.lang(State::Transaction(listing), range.as_deref());
            }
            Command::List(number) => list(&listing, number).unwrap_or_else(Response::from),
            Command::Noop => Response::ok(""),
            Command::Quit => return self.quit(&listing),
            Command::Retr(number) => return self.retrieve(listing, number, Extent::Whole),
            Command::Rset => {
                listing.unmark_all();
                Response::ok(format!("Maildrop has {}", listing.visible()))
            }
            Command::Stat => {
                let visible = listing.visible();
                Response::ok(format!("{} {}", visible.messages, visible.octets))
            }
            Command::Top { message, lines } => {
                return self.retrieve(listing, message, Extent::Top { lines });
            }
            Command::Uidl(number) => uidl(&listing, number).unwrap_or_else(Response::from),
            Command::Apop | Command::Auth { .. } | Command::Pass(_) | Command::User(_) => {
                let response = Response::err("You are logged in already, QUIT ends the session");
                return self.fault(State::Transaction(listing), response);
            }
            Command::Stls | Command::Utf8 => {
                let response = Response::err("Permitted before login only");
                return self.fault(State::Transaction(listing), response);
            }
        };
        self.reply(State::Transaction(listing), response)
    }

    fn retrieve(&mut self, listing: Listing, number: MessageNumber, extent: Extent) -> Step {
        match listing.octets(number) {
            Ok(octets) => {
                let retrieval = Retrieval { octets, extent };
                let state = State::Retrieving(listing, retrieval);
                self.act(state, None, Action::OpenMessage(number))
            }
            Err(reason) => self.reply(State::Transaction(listing), reason.into()),
        }
    }

    pub(super) fn message_opened(
        &mut self,
        listing: Listing,
        retrieval: Retrieval,
        internationalized: bool,
    ) -> Step {
        if internationalized && self.settings.utf8 && !self.utf8 {
            let text = "Message needs UTF-8 mode, send UTF8 before you log in";
            let response = Response::err_with(Code::Utf8, text);
            return self.reply(State::Transaction(listing), response);
        }
        let response = match retrieval.extent {
            Extent::Whole => Response::ok(format!("{} octets", retrieval.octets)),
            Extent::Top { .. } => Response::ok("Top of message follows"),
        };
        let action = Action::SendContent(retrieval.extent);
        self.act(State::Sending(listing), Some(response), action)
    }

    pub(super) fn message_gone(&mut self, listing: Listing) -> Step {
        let text = "Message was removed by another program, connect again for a new listing";
        self.reply(
            State::Transaction(listing),
            Response::err_with(Code::SysPerm, text),
        )
    }

    pub(super) fn message_failed(&mut self, listing: Listing, transient: bool) -> Step {
        let text = if transient {
            "Message cannot be read now, try again later"
        } else {
            "Message cannot be read, ask the administrator of this server"
        };
        self.reply(
            State::Transaction(listing),
            Response::err_with(Code::system(transient), text),
        )
    }

    fn quit(&mut self, listing: &Listing) -> Step {
        let left = listing.visible().messages;
        let marked = listing.marked();
        if marked.is_empty() {
            return self.sign_off(left);
        }
        self.act(State::Update { left }, None, Action::RemoveMarked(marked))
    }

    pub(super) fn sign_off(&self, left: usize) -> Step {
        let remainder = match left {
            0 => "maildrop empty".to_owned(),
            1 => "1 message left".to_owned(),
            _ => format!("{left} messages left"),
        };
        let text = format!(
            "{} POP3 server signing off ({remainder})",
            self.settings.hostname
        );
        Self::close(Some(Response::ok(text)))
    }

    pub(super) fn remove_failed() -> Step {
        let text = "Some deleted messages not removed, connect again and repeat";
        Self::close(Some(Response::err_with(Code::SysTemp, text)))
    }
}

fn list(listing: &Listing, number: Option<MessageNumber>) -> Result<Response, NoMessage> {
    let Some(number) = number else {
        return Ok(Response::listing(
            listing.visible().to_string(),
            listing,
            Column::Octets,
        ));
    };
    let octets = listing.octets(number)?;
    Ok(Response::ok(format!("{number} {octets}")))
}

fn uidl(listing: &Listing, number: Option<MessageNumber>) -> Result<Response, NoMessage> {
    let Some(number) = number else {
        return Ok(Response::listing(
            "Unique-id listing follows",
            listing,
            Column::UniqueId,
        ));
    };
    let unique_id = listing.unique_id(number)?;
    Ok(Response::ok(format!("{number} {unique_id}")))
}
