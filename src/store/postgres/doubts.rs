//! Messages that may still come although their delivery has failed, which is when its time is over.
//!
//! By then the server may have the statement: it waits for a standby and will commit when that is
//! back, or the connection was lost before it could answer. Nobody sends the statement again, but
//! watches have to hear of the message if it comes (`late.rs`).

use crate::{
    mail::{EntryId, MailboxName},
    store::sync::Mutex,
};

use super::limits::{DOUBT_LOOKS, DOUBTS_MAX};

/// Messages that may still come.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Doubt>,
    /// Whether there were too many.
    has_forgotten: bool,
}

/// A message of one mailbox.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) mailbox: MailboxName,
    pub(super) name: String,
    pub(super) id: EntryId,
    /// How often it was missing.
    n_missing: u32,
}

impl Doubts {
    /// Notes that the message `name` may still come to `mailboxes`.
    pub(super) fn add(&self, name: &str, id: EntryId, mailboxes: &[MailboxName]) {
        let doubts = mailboxes.iter().map(|mailbox| Doubt {
            mailbox: mailbox.clone(),
            name: name.to_owned(),
            id,
            n_missing: 0,
        });
        self.give_back(doubts.collect());
    }

    /// Takes all.
    pub(super) fn take(&self) -> Vec<Doubt> {
        std::mem::take(&mut self.0.lock().waiting)
    }

    /// Gives them back: nothing was found out. Forgets those for which there is no room.
    pub(super) fn give_back(&self, doubts: Vec<Doubt>) {
        let mut state = self.0.lock();
        let room = DOUBTS_MAX.saturating_sub(state.waiting.len());
        state.has_forgotten |= doubts.len() > room;
        state.waiting.extend(doubts.into_iter().take(room));
    }

    /// Gives those back that were missing, without those that were missing so often that they do
    /// not come any more.
    pub(super) fn give_back_missing(&self, mut missing: Vec<Doubt>) {
        for doubt in &mut missing {
            doubt.n_missing = doubt.n_missing.saturating_add(1);
        }
        missing.retain(|doubt| doubt.n_missing < DOUBT_LOOKS);
        self.give_back(missing);
    }

    /// Whether some were left out, and the others have come or will not.
    pub(super) fn take_forgotten(&self) -> bool {
        let mut state = self.0.lock();
        state.waiting.is_empty() && std::mem::take(&mut state.has_forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_too_often_or_is_too_much_is_forgotten() {
        let doubts = Doubts::default();
        let mailbox = MailboxName::from_canonical("ann", "a.example").unwrap();
        let id = EntryId::own(1, 1);
        let n_kept = || {
            let taken = doubts.take();
            let count = taken.len();
            doubts.give_back(taken);
            count
        };
        assert!(!doubts.take_forgotten());
        for _ in 0..=DOUBTS_MAX {
            doubts.add("7.a_1", id, std::slice::from_ref(&mailbox));
        }
        assert_eq!(n_kept(), DOUBTS_MAX);
        // Others that come during a look count as well.
        let taken = doubts.take();
        doubts.add("7.a_2", id, std::slice::from_ref(&mailbox));
        doubts.give_back(taken);
        assert_eq!(n_kept(), DOUBTS_MAX);
        for _ in 1..DOUBT_LOOKS {
            doubts.give_back_missing(doubts.take());
        }
        assert_eq!(n_kept(), DOUBTS_MAX);
        assert!(!doubts.take_forgotten(), "the others may come");
        doubts.give_back_missing(doubts.take());
        assert_eq!(n_kept(), 0);
        assert!(doubts.take_forgotten());
        assert!(!doubts.take_forgotten(), "once");
    }
}
