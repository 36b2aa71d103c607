//! Searches through the messages that the asker sees.

use crate::{
    inbox::{Item, List, Reading, words::Words},
    mime::Summary,
    store::Error,
};

use super::{
    asker::Asker,
    base::Api,
    bcc::Bcc,
    call::Call,
    limits::{SEARCH_TIME, SEARCHED_MAX},
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
}

/// The messages of `list` that are found by any of these searches.
pub(super) fn search(call: &Call<'_>, list: &List, searches: &[Words]) -> Found {
    if searches.iter().any(|words| words.as_slice().is_empty()) {
        return Found {
            items: list.items.to_vec(),
            is_partial: list.is_partial,
        };
    }
    let search = Search::of(call.api, call.asker);
    let begin = call.api.clock.now();
    let mut found = Found {
        items: Vec::new(),
        is_partial: list.is_partial,
    };
    for (index, item) in list.items.iter().enumerate() {
        let time = call.api.clock.now().saturating_duration_since(begin);
        if index >= SEARCHED_MAX || time >= SEARCH_TIME {
            found.is_partial = true;
            break;
        }
        let finds = searches.iter().map(|words| search.finds(item, words));
        match finds.reduce(|one, other| Ok(one? || other?)) {
            Some(Ok(true)) => found.items.push(item.clone()),
            Some(Ok(false)) | None => {}
            Some(Err(_)) => found.is_partial = true,
        }
    }
    found
}
