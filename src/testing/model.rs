//! The naive model of a message store, a list, against which the real store is judged.
//!
//! The model is given what the store is about to be asked and what the store answered. For each
//! message it knows whether it must exist, must not, or may. Contents are unique, so a message is
//! recognised by its content.

use std::collections::{BTreeMap, HashMap};

use crate::{
    mail::{MailboxName, MessageSummary, Summaries, UniqueId},
    store::{Error, MessageStore},
};

/// What the store promised about one message in one mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its delivery was neither acknowledged nor refused: it may be there.
    Attempted,
    /// Its delivery failed: it must not be seen before the next restart.
    Refused,
    /// Its delivery was acknowledged: it must be there.
    Accepted,
    /// Its removal was requested but not acknowledged: it may be there.
    RemovalAttempted,
    /// It was removed, or legitimately lost: it must never be there again.
    Gone,
}

/// How the store came to be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It was open all the time.
    Same,
    /// The process was killed, but the machine kept running.
    Kill,
    /// The power failed.
    PowerCut,
}

/// Everything that the store was asked, and its answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    messages: BTreeMap<MailboxName, Vec<(Vec<u8>, Fate)>>,
    /// Every unique-id ever seen and the message that had it.
    unique_ids: HashMap<(MailboxName, UniqueId<'static>), Vec<u8>>,
}

impl Model {
    /// Records the fate of the message `content` in `mailbox`.
    pub(crate) fn note(&mut self, mailbox: &MailboxName, content: &[u8], fate: Fate) {
        let messages = self.messages.entry(mailbox.clone()).or_default();
        match messages.iter_mut().find(|(known, _)| known == content) {
            Some((_, known)) => *known = fate,
            None => messages.push((content.to_vec(), fate)),
        }
    }

    /// Records the store's answer to a delivery, unless the message has met another fate since.
    pub(crate) fn settle(&mut self, mailbox: &MailboxName, content: &[u8], fate: Fate) {
        let messages = self.messages.entry(mailbox.clone()).or_default();
        let attempted =
            |(known, fate): &&mut (Vec<u8>, Fate)| known == content && *fate == Fate::Attempted;
        if let Some((_, known)) = messages.iter_mut().find(attempted) {
            *known = fate;
        }
    }

    /// Records that the message may be gone from now on, if it is not already.
    #[cfg(shuttle)]
    pub(crate) fn give_up(&mut self, mailbox: &MailboxName, content: &[u8]) {
        let messages = self.messages.entry(mailbox.clone()).or_default();
        let here = |(known, fate): &&mut (Vec<u8>, Fate)| {
            known == content && !matches!(fate, Fate::Gone | Fate::Refused)
        };
        if let Some((_, known)) = messages.iter_mut().find(here) {
            *known = Fate::RemovalAttempted;
        }
    }

    /// Records that the message, if it was removed, may be there again.
    #[cfg(shuttle)]
    pub(crate) fn doubt_removal(&mut self, mailbox: &MailboxName, content: &[u8]) {
        let messages = self.messages.entry(mailbox.clone()).or_default();
        let gone = |(known, fate): &&mut (Vec<u8>, Fate)| known == content && *fate == Fate::Gone;
        if let Some((_, known)) = messages.iter_mut().find(gone) {
            *known = Fate::RemovalAttempted;
        }
    }

    /// The messages of `mailbox` with this fate.
    #[cfg(shuttle)]
    pub(crate) fn messages(
        &self,
        mailbox: &MailboxName,
        fate: Fate,
    ) -> impl Iterator<Item = Vec<u8>> {
        let messages = self.messages.get(mailbox).into_iter().flatten();
        let messages = messages.filter(move |(_, known)| *known == fate);
        messages.map(|(content, _)| content.clone())
    }

    /// Compares every mailbox with what it must hold. From then on, the messages that were found
    /// must stay, and after a power cut those that were not found must stay away.
    pub(crate) fn check(&mut self, store: &MessageStore, start: Start) -> Result<(), String> {
        let mailboxes: Vec<MailboxName> = self.messages.keys().cloned().collect();
        for mailbox in mailboxes {
            let failed = |error: Error| format!("I10: {mailbox}: {error} ({error:?})");
            let maildrop = store.open_maildrop(&mailbox).map_err(failed)?;
            let mut contents = Vec::new();
            for (index, summary) in summaries(&*maildrop.messages()).iter().enumerate() {
                let content = read(&maildrop, index).map_err(failed)?;
                self.see(&mailbox, &content, &summary.unique_id)?;
                if summary.octets != sent_octets(&content) {
                    return Err(format!("I5: {mailbox}: {} octets listed", summary.octets));
                }
                contents.push(content);
            }
            self.compare(&mailbox, &contents, start)?;
        }
        Ok(())
    }

    /// Records that `content` has this unique-id.
    pub(crate) fn see(
        &mut self,
        mailbox: &MailboxName,
        content: &[u8],
        unique_id: &UniqueId<'static>,
    ) -> Result<(), String> {
        let key = (mailbox.clone(), unique_id.clone());
        let known = self
            .unique_ids
            .entry(key)
            .or_insert_with(|| content.to_vec());
        if known != content {
            return Err(format!(
                "I6: {mailbox}: {unique_id} was another message before"
            ));
        }
        let same = |((of, _), known): &(&(MailboxName, UniqueId<'_>), &Vec<u8>)| {
            of == mailbox && *known == content
        };
        if self.unique_ids.iter().filter(same).count() > 1 {
            return Err(format!(
                "I6: {mailbox}: {unique_id} had another unique-id before"
            ));
        }
        Ok(())
    }

    fn compare(
        &mut self,
        mailbox: &MailboxName,
        contents: &[Vec<u8>],
        start: Start,
    ) -> Result<(), String> {
        let is_twice = |(index, it)| {
            contents
                .iter()
                .skip(index)
                .filter(|other| *other == it)
                .count()
                > 1
        };
        if contents.iter().enumerate().any(is_twice) {
            return Err(format!("I5: {mailbox}: a message is there twice"));
        }
        let messages = self.messages.entry(mailbox.clone()).or_default();
        if let Some(content) = contents
            .iter()
            .find(|it| !messages.iter().any(|(m, _)| m == *it))
        {
            let start = String::from_utf8_lossy(&content[..content.len().min(40)]).into_owned();
            let octets = content.len();
            return Err(format!(
                "I5: {mailbox}: nobody sent these {octets} octets: {start:?}"
            ));
        }
        for (content, fate) in messages {
            let is_found = contents.contains(content);
            let name = String::from_utf8_lossy(&content[..content.len().min(12)]).into_owned();
            match (is_found, *fate, start) {
                (false, Fate::Accepted, _) => {
                    return Err(format!("I1, I3: {mailbox}: {name:?} is lost"));
                }
                (true, Fate::Gone, _) => {
                    return Err(format!("I2: {mailbox}: {name:?} came back"));
                }
                (true, Fate::Refused, Start::Same) => {
                    return Err(format!(
                        "I4: {mailbox}: {name:?} is seen though it was refused"
                    ));
                }
                (true, ..) => *fate = Fate::Accepted,
                (false, _, Start::PowerCut) => *fate = Fate::Gone,
                (false, ..) => {}
            }
        }
        Ok(())
    }
}

/// What RETR sends of `content`, in the simplest way.
pub(crate) fn sent_octets(content: &[u8]) -> u64 {
    let n_lines = memchr::memchr_iter(b'\n', content).count();
    let unended = if content.last().is_none_or(|&last| last == b'\n') {
        0
    } else {
        2
    };
    u64::try_from(content.len() + n_lines + unended).unwrap()
}

/// Everything that is reported about the messages of a maildrop.
pub(crate) fn summaries(messages: &dyn Summaries) -> Vec<MessageSummary> {
    let summary = |position| MessageSummary {
        octets: messages.octets(position).unwrap(),
        unique_id: messages.unique_id(position).unwrap().into_owned(),
    };
    (0..messages.len()).map(summary).collect()
}

/// Reads a whole message.
pub(crate) fn read(maildrop: &crate::store::Maildrop, index: usize) -> Result<Vec<u8>, Error> {
    let mut message = maildrop.open_message(index)?;
    let mut content = Vec::new();
    let mut buffer = [0; 3000];
    loop {
        match message.read(&mut buffer)? {
            0 => return Ok(content),
            n_read => content.extend_from_slice(&buffer[..n_read]),
        }
    }
}
