//! How a part of the session answers, and what the session then waits for.

use crate::mail::Closing;
use crate::mail::sasl::{Exchange, scram::ClientFirst};
use crate::pop3::listing::Listing;
use crate::pop3::response::Response;
use crate::pop3::step::{Action, Extent};

/// The result of a command or an outcome. The session turns it into a step.
#[derive(Debug)]
pub(super) enum Turn {
    /// Respond, and read the next line in this state.
    Say(State, Response),
    /// Respond to a wrong command, which is counted, and read the next line in this state.
    Refuse(State, Response),
    /// Read the next line in this state without a response.
    Listen(State),
    /// Ask the driver for something, and wait for it in this state. The response, if there is one,
    /// is sent first.
    Ask(State, Option<Response>, Action),
    /// Respond, where a response is possible, and end the session.
    Close(Option<Response>, Closing),
}

impl Turn {
    /// Asks the driver for something, without a response.
    pub(super) fn ask(state: State, action: Action) -> Self {
        Self::Ask(state, None, action)
    }

    /// Ends the session because it cannot go on.
    pub(super) fn give_up(response: Response) -> Self {
        Self::Close(Some(response), Closing::Refused)
    }
}

/// What the session waits for. See the theory of operation of the session.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing was sent yet.
    Connected,
    /// A command, before login.
    Authorization {
        /// The name of a USER command, if that was the last command: PASS must follow it
        /// immediately (RFC 1939 §7).
        name: Option<String>,
    },
    /// A response of a SASL exchange.
    Exchange(Exchange),
    /// The verdict on a password.
    Checking,
    /// What SCRAM needs to know of a user.
    BeginningScram(ClientFirst),
    /// The verdict on a proof.
    CheckingProof {
        /// The user of the proof.
        user: String,
    },
    /// The maildrop.
    Opening,
    /// TLS.
    StartingTls,
    /// A command, after login.
    Transaction(Listing),
    /// A message, for RETR or TOP.
    Retrieving(Listing, Retrieval),
    /// The end of its content.
    Sending(Listing),
    /// The removal of the marked messages.
    Update {
        /// How many messages are not marked.
        left: usize,
    },
    /// Nothing more.
    Closed,
}

impl State {
    /// A command, before login, without a name.
    pub(super) fn before_login() -> Self {
        Self::Authorization { name: None }
    }

    /// The same after a command that was not USER.
    pub(super) fn without_name(self) -> Self {
        if let Self::Authorization { .. } = self {
            Self::before_login()
        } else {
            self
        }
    }
}

/// A message that is being opened, and what to do with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retrieval {
    pub(super) octets: u64,
    pub(super) extent: Extent,
}

impl Retrieval {
    /// The same for a message whose octets differ from the listing, if they do.
    pub(super) fn edited(self, octets: Option<u64>) -> Self {
        let octets = octets.unwrap_or(self.octets);
        Self { octets, ..self }
    }
}
