//! Searches through the messages that the asker sees.

use std::time::Instant;

use crate::{
    inbox::{Item, List, Reading, words::Words},
    mime::Summary,
    store::{Cursor, Error},
};

use super::{
    asker::Asker,
    base::Api,
    bcc::Bcc,
    call::Call,
    limits::{
        SEARCH_PART, SEARCH_PART_GROWTH, SEARCH_REST, SEARCH_TIME, SEARCH_TURN, SEARCHED_MAX,
    },
};

/// What a search has found.
#[derive(Debug)]
pub(super) struct Found {
    /// Newest first.
    pub(super) items: Vec<Item>,
    /// Whether there may be more: it has stopped, or some messages could not be read.
    pub(super) is_partial: bool,
}

/// Compares messages with words, for one asker and in one call.
#[derive(Debug)]
pub(super) struct Search<'a> {
    asker: &'a Asker,
    reading: Reading<'a>,
    bcc: Bcc<'a>,
}

impl<'a> Search<'a> {
    pub(super) fn of(api: &'a Api, asker: &'a Asker) -> Self {
        Self {
            asker,
            reading: api.inbox.reading(),
            bcc: Bcc::of(api),
        }
    }

    /// Whether a message is found by the words. One that is gone, or that the asker does not see,
    /// is not.
    ///
    /// # Errors
    /// Every error of reading the message.
    pub(super) fn finds(&self, item: &Item, words: &Words) -> Result<bool, Error> {
        let Some(item) = self.asker.view(item) else {
            return Ok(false);
        };
        let hidden = |item: &Item, summary: &Summary| self.bcc.hidden(item, summary);
        let of = (&item, self.asker.reader());
        let is_found = self.reading.matches(of, words, &hidden)?;
        Ok(is_found.unwrap_or(false))
    }

    /// Adds the messages of `part` that are found by any of `searches`. Returns whether the time
    /// was enough for all.
    fn compare(
        &self,
        part: &[Item],
        searches: &[Words],
        pace: &mut Pace<'_>,
        found: &mut Found,
    ) -> bool {
        let mut are_found = vec![false; part.len()];
        let mut is_whole = true;
        for index in by_mailbox(part) {
            is_whole = pace.goes_on();
            if !is_whole {
                break;
            }
            let (Some(item), Some(is_found)) = (part.get(index), are_found.get_mut(index)) else {
                continue;
            };
            let finds = searches.iter().map(|words| self.finds(item, words));
            match finds.reduce(|one, other| Ok(one? || other?)) {
                Some(Ok(finds)) => *is_found = finds,
                Some(Err(_)) => found.is_partial = true,
                None => {}
            }
        }
        let compared = part.iter().zip(are_found);
        let are_found = compared.filter(|(_, is_found)| *is_found);
        found.items.extend(are_found.map(|(item, _)| item.clone()));
        is_whole
    }
}

/// The messages of `list` that are found by any of these searches. They are compared in parts, the
/// newest first, so that a search that runs out of time has found the newest.
pub(super) fn search(call: &Call<'_>, list: &List, searches: &[Words]) -> Found {
    if searches.iter().any(|words| words.as_slice().is_empty()) {
        return Found {
            items: list.items.to_vec(),
            is_partial: list.is_partial,
        };
    }
    let search = Search::of(call.api, call.asker);
    let items = list.items.get(..SEARCHED_MAX).unwrap_or(&list.items);
    let mut found = Found {
        items: Vec::new(),
        is_partial: list.is_partial || items.len() < list.items.len(),
    };
    let mut pace = Pace::of(call.api);
    let (mut rest, mut length) = (items, SEARCH_PART);
    while !rest.is_empty() {
        let (part, others) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        if !search.compare(part, searches, &mut pace, &mut found) {
            found.is_partial = true;
            break;
        }
        (rest, length) = (others, length.saturating_mul(SEARCH_PART_GROWTH));
    }
    found
}

/// How fast a search goes: it reads many messages, and SMTP should not wait for it.
#[derive(Debug)]
struct Pace<'a> {
    api: &'a Api,
    begin: Instant,
    /// When it began, or last looked how much mail arrives.
    looked: Instant,
    /// What has happened since it last looked, also while it rested then, is behind this.
    cursor: Cursor,
}

impl<'a> Pace<'a> {
    fn of(api: &'a Api) -> Self {
        let now = api.clock.now();
        Self {
            api,
            begin: now,
            looked: now,
            cursor: api.store.cursor(),
        }
    }

    /// Whether there is time for one more message. Rests first if mail has arrived meanwhile.
    fn goes_on(&mut self) -> bool {
        let (clock, store) = (&self.api.clock, &self.api.store);
        let mut now = clock.now();
        let turn = now.saturating_duration_since(self.looked);
        if turn >= SEARCH_TURN {
            let cursor = store.cursor();
            // What came during the last rest counts as well, so rests grow with the rate of mail.
            let rest = SEARCH_REST.after(turn, cursor.changes_since(self.cursor));
            if !rest.is_zero() {
                clock.pause(rest);
                now = clock.now();
            }
            (self.looked, self.cursor) = (now, cursor);
        }
        now.saturating_duration_since(self.begin) < SEARCH_TIME
    }
}

/// The indexes of `items`, those of one mailbox next to each other: each mailbox is then looked at
/// once, and not for each of its messages.
fn by_mailbox(items: &[Item]) -> Vec<usize> {
    let mut indexes: Vec<_> = (0..items.len()).collect();
    indexes.sort_by_key(|&index| items.get(index).and_then(|item| item.mailboxes.first()));
    indexes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_search_rests_for_the_mail_that_arrives_and_as_long_as_it_has_worked() {
        let ms = Duration::from_millis;
        for (turn, changes, rest) in [
            (ms(1), 0, ms(0)),
            (ms(1), 2, ms(5)),
            (ms(1), 16, ms(40)),
            (ms(1), 17, ms(40)),
            (ms(5), 2, ms(5)),
            (ms(5), 80, ms(200)),
            (ms(5), 100, ms(200)),
            (ms(20), 180, ms(400)),
            (Duration::MAX, u64::MAX, ms(400)),
        ] {
            assert_eq!(SEARCH_REST.after(turn, changes), rest, "{turn:?} {changes}");
        }
    }
}
