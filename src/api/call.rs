//! A request with everything that its answer depends on.

use serde::de::DeserializeOwned;

use crate::{
    http::{Login, Refusal, Request, Status},
    inbox::{
        Item, List,
        words::{Present, Words},
    },
    mail::{EntryId, MailboxName},
    page::LogOut,
};

use super::{
    asker::Asker,
    base::Api,
    failure::{Failure, gone, no_json, wrong},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) api: &'a Api,
    pub(super) request: &'a Request,
    pub(super) asker: &'a Asker,
    /// The segments of the path that its row names in braces, in their order.
    pub(super) parameters: Vec<&'a str>,
}

impl Call<'_> {
    /// The parameter of the path at `index`.
    pub(super) fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).copied().unwrap_or_default()
    }

    /// Whether the asker has logged in with a form, and can log out.
    pub(super) fn log_out(&self) -> LogOut {
        match (self.asker, self.request.login()) {
            (Asker::Owner(_), Login::Token(_)) => LogOut::Offered,
            (Asker::Everybody | Asker::Owner(_), _) => LogOut::Absent,
        }
    }

    /// Refuses what the query has beside `names`: a parameter that is misspelt would not limit what
    /// the request means.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), Refusal> {
        let mut given = self.request.target.query().iter().map(|(name, _)| name);
        if given.all(|name| names.contains(&name)) {
            return Ok(());
        }
        let text = if names.is_empty() {
            "This request has no parameters".to_owned()
        } else {
            format!("There is a parameter other than {}", names.join(", "))
        };
        Err(wrong(text))
    }

    /// The value of this name in the query, unless it is empty.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let value = self.request.target.query().first(name);
        value.filter(|value| !value.is_empty())
    }

    /// A number of the query.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<usize>, Refusal> {
        let Some(text) = self.query(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(wrong(format!("{name} is not a whole number"))),
        }
    }

    /// The body of the request, which is JSON. An empty one is `T::default()`.
    pub(super) fn json<T: DeserializeOwned + Default>(&self) -> Result<T, Refusal> {
        let body = self.request.body.trim_ascii();
        if body.is_empty() {
            return Ok(T::default());
        }
        // A list would be read as the fields in their order: an empty one as no IDs, which are all.
        if body.starts_with(b"[") {
            return Err(wrong(
                "The body is a list; it has to be an object, with the list as IDs",
            ));
        }
        serde_json::from_slice(body).map_err(|error| no_json(&error))
    }

    /// All messages that the asker sees.
    pub(super) fn list(&self) -> Result<List, Failure> {
        let mut list = self.api.inbox.list()?;
        if *self.asker != Asker::Everybody {
            let items = list.items.iter().filter_map(|item| self.asker.view(item));
            list.items = items.collect();
        }
        Ok(list)
    }

    /// The mailbox that an address of the request leads to, which may have no messages yet.
    ///
    /// # Errors
    /// 404: nobody receives mail there, as far as the asker is concerned.
    pub(super) fn mailbox(&self, address: &str) -> Result<MailboxName, Failure> {
        let mailbox = self.api.mailbox_of(address)?;
        let mailbox = mailbox.filter(|mailbox| self.asker.sees(mailbox));
        mailbox.ok_or_else(|| {
            let text = "No mailbox receives mail for this address; /api/mailboxes lists those that \
                        have messages";
            Refusal::new(Status::NotFound, text).into()
        })
    }

    /// The mailbox to which the query limits the request, if it does.
    ///
    /// # Errors
    /// As [`mailbox`](Self::mailbox); 400 if the name is there without an address, which must not
    /// mean all mailboxes.
    pub(super) fn limit_to_mailbox(&self) -> Result<Option<MailboxName>, Failure> {
        match self.request.target.query().first("mailbox") {
            None => Ok(None),
            Some("") => Err(wrong("mailbox is empty; give an address, or leave it out").into()),
            Some(address) => self.mailbox(address).map(Some),
        }
    }

    /// A search.
    pub(super) fn words(&self, text: &str) -> Result<Words, Failure> {
        let now = self.api.clock.unix_time().as_secs();
        let present = Present {
            unix_seconds: i64::try_from(now).unwrap_or(i64::MAX),
            zone: self.api.clock.zone(),
        };
        Words::parse(text, &present).map_err(|error| wrong(error.to_string()).into())
    }

    /// The message that the path names by its ID, or as `latest`.
    pub(super) fn item(&self, text: &str) -> Result<Item, Failure> {
        let item = if text == "latest" {
            self.list()?.items.first().cloned()
        } else {
            let id = EntryId::parse(text);
            let found = id.map(|id| self.api.inbox.item(id)).transpose()?;
            found.flatten().and_then(|item| self.asker.view(&item))
        };
        item.ok_or_else(|| gone().into())
    }
}
