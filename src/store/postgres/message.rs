//! A message open for reading.
//!
//! Content of up to 256 KiB is read when the message is opened. Of a larger one, one part at a time
//! is held. It stays readable when it is removed: content stays for an hour.

use std::{path::PathBuf, sync::Arc};

use crate::{
    mail::MailboxName,
    store::{Error, quota::Taken, sync::Mutex},
};

use super::{
    connection::{Failure, Value},
    lanes::{Purpose, after},
    limits::{ANSWER_TIMEOUT, PART_OCTETS},
    open::OpenStore,
    proof::unexpected,
    statements::{READ, READ_PART},
};

/// See the module.
#[derive(Debug)]
pub(in crate::store) struct Message {
    store: Arc<OpenStore>,
    name: String,
    path: PathBuf,
    octets: u64,
    /// Where the next read begins.
    offset: u64,
    /// The part that was read last, and its number.
    part: Mutex<(u64, Arc<Vec<u8>>)>,
    _taken: Taken,
}

/// The size of a part.
fn part_octets() -> u64 {
    u64::try_from(PART_OCTETS).unwrap_or(u64::MAX)
}

impl Message {
    /// Opens the message `name` of `mailbox`.
    ///
    /// # Errors
    /// [`Error::MessageGone`], [`Error::Io`].
    pub(super) fn open(
        store: &Arc<OpenStore>,
        mailbox: &MailboxName,
        name: &str,
    ) -> Result<Self, Error> {
        let path = store.path_of(mailbox).join(name);
        let deadline = after(&store.clock, ANSWER_TIMEOUT);
        let (of_task, name_of_task) = (mailbox.clone(), name.to_owned());
        let found = store.lanes.run(Purpose::Read, deadline, move |connection| {
            let values = [
                Value::Text(of_task.domain()),
                Value::Text(of_task.local_part()),
                Value::Text(&name_of_task),
            ];
            let answer = connection.ask(&READ, &values, deadline)?;
            let Some(row) = answer.row(0) else {
                return Ok(None);
            };
            let octets = row.count(0).ok_or_else(unexpected)?;
            Ok(Some((octets, row.octets(1).map(<[u8]>::to_vec))))
        });
        let found = found.map_err(|failure| Error::other("read", &path, failure))?;
        let Some((octets, body)) = found else {
            return Err(Error::MessageGone { path });
        };
        let mut taken = Taken::nothing(&store.held);
        if !taken.set(octets.min(part_octets())) {
            let reason = "too many messages are open at the same time";
            return Err(Error::other("read", path, reason));
        }
        let found = Self::found(store, name, (octets, body));
        Ok(Self {
            path,
            _taken: taken,
            ..found
        })
    }

    /// The content `name`, which has so many octets and this body, if it is not in parts.
    pub(super) fn found(
        store: &Arc<OpenStore>,
        name: &str,
        (octets, body): (u64, Option<Vec<u8>>),
    ) -> Self {
        let part = match body {
            Some(body) => (0, Arc::new(body)),
            // None yet.
            None => (u64::MAX, Arc::default()),
        };
        Self {
            store: Arc::clone(store),
            name: name.to_owned(),
            path: store.place.join(name),
            octets,
            offset: 0,
            part: Mutex::new(part),
            _taken: Taken::nothing(&store.held),
        }
    }

    /// The number of octets as they are stored.
    pub(in crate::store) fn octets(&self) -> u64 {
        self.octets
    }

    pub(in crate::store) fn cut_short(&self) -> Error {
        Error::other(
            "read",
            &self.path,
            "the database has only a part of the message",
        )
    }

    pub(in crate::store) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let n_read = self.read_some(self.offset, buffer)?;
        let after = u64::try_from(n_read).unwrap_or(u64::MAX);
        self.offset = self.offset.saturating_add(after);
        Ok(n_read)
    }

    pub(in crate::store) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut n_read = 0_usize;
        while let Some(rest) = buffer.get_mut(n_read..).filter(|rest| !rest.is_empty()) {
            let before = u64::try_from(n_read).unwrap_or(u64::MAX);
            match self.read_some(offset.saturating_add(before), rest)? {
                0 => break,
                n => n_read = n_read.saturating_add(n),
            }
        }
        Ok(n_read)
    }

    /// Reads octets of one part.
    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        if offset >= self.octets {
            return Ok(0);
        }
        let number = offset.checked_div(part_octets()).unwrap_or(0);
        let part = self.part(number)?;
        let within = usize::try_from(offset.checked_rem(part_octets()).unwrap_or(0));
        let rest = part.get(within.unwrap_or(usize::MAX)..).unwrap_or_default();
        if rest.is_empty() {
            return Err(self.cut_short());
        }
        let n_read = rest.len().min(buffer.len());
        if let (Some(into), Some(from)) = (buffer.get_mut(..n_read), rest.get(..n_read)) {
            into.copy_from_slice(from);
        }
        Ok(n_read)
    }

    fn part(&self, number: u64) -> Result<Arc<Vec<u8>>, Error> {
        {
            let part = self.part.lock();
            if part.0 == number {
                return Ok(Arc::clone(&part.1));
            }
        }
        let deadline = after(&self.store.clock, ANSWER_TIMEOUT);
        let name = self.name.clone();
        let of_statement = i64::try_from(number).unwrap_or(i64::MAX);
        let read = self
            .store
            .lanes
            .run(Purpose::Read, deadline, move |connection| {
                let values = [Value::Text(&name), Value::Int(of_statement)];
                let answer = connection.ask(&READ_PART, &values, deadline)?;
                let row = answer.row(0);
                let octets = row.and_then(|row| row.octets(0));
                octets
                    .map(<[u8]>::to_vec)
                    .map_or_else(|| Ok(None), |octets| Ok::<_, Failure>(Some(octets)))
            });
        let read = read.map_err(|failure| Error::other("read", &self.path, failure))?;
        let part = Arc::new(read.ok_or_else(|| self.cut_short())?);
        *self.part.lock() = (number, Arc::clone(&part));
        Ok(part)
    }
}
