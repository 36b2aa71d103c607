//! Whom a message was sent to.
//!
//! A sub-address, such as `bob+run42@example.com`, leads to the mailbox of `bob@example.com`. Tests
//! that run in parallel tell their messages apart by it, so a wait for it must look at the message:
//! the sub-address is usually in a field, and always in the trace header of a message that had one
//! recipient. Those of messages with several recipients are kept in memory for a while.
//!
//! A name without a domain is the mailbox with this local part. If there is none yet, the message
//! that is waited for may be its first one.

use crate::{
    accounts::UserName,
    http::{Refusal, Status},
    inbox::Item,
    mail::{ForwardPath, MailboxName, fold_local_part},
    mime::{Outline, Person, Summary},
};

use super::{
    asker::Asker,
    base::Api,
    call::Call,
    failure::{Failure, wrong},
};

/// A recipient that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addressee {
    whose: Whose,
    /// The address itself, if the mailbox has another one.
    subaddress: Option<MailboxName>,
}

/// Whose mail it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whose {
    Mailbox(MailboxName),
    /// Any mailbox with this local part, in its common form: there is none yet.
    LocalPart(String),
}

impl Addressee {
    /// The recipient that a request names by its address.
    ///
    /// # Errors
    /// 404: nobody receives mail there, as far as the asker is concerned.
    pub(super) fn parse(call: &Call<'_>, address: &str) -> Result<Self, Failure> {
        let api = call.api;
        let mailbox = match (api.accounts.user(address), call.asker) {
            (UserName::LocalPart(local_part), Asker::Everybody) => {
                let mut mailboxes = api.store.mailboxes_with_local_part(&local_part)?;
                if mailboxes.is_empty() {
                    return Ok(Self {
                        whose: Whose::LocalPart(fold_local_part(&local_part)),
                        subaddress: None,
                    });
                }
                if mailboxes.len() > 1 {
                    let text =
                        "Several mailboxes have the name that to gives; give a whole address";
                    return Err(Refusal::new(Status::NotFound, text).into());
                }
                mailboxes.pop()
            }
            _ => api.mailbox_of(address)?,
        };
        let Some(mailbox) = mailbox.filter(|mailbox| call.asker.sees(mailbox)) else {
            let text = "Nobody receives mail for the address that to gives; if there are accounts, \
                        only they and their aliases do (in a URL, write + as %2B)";
            return Err(Refusal::new(Status::NotFound, text).into());
        };
        let literal = literal(api, address);
        let subaddress = literal.filter(|literal| literal.is_below(&mailbox));
        Ok(Self {
            whose: Whose::Mailbox(mailbox),
            subaddress,
        })
    }

    /// The mailbox that receives its mail, if it is known.
    pub(super) fn mailbox(&self) -> Option<&MailboxName> {
        match &self.whose {
            Whose::Mailbox(mailbox) => Some(mailbox),
            Whose::LocalPart(_) => None,
        }
    }

    /// Whether a message of the mailbox was sent to this recipient.
    pub(super) fn is_of(&self, api: &Api, item: &Item) -> Result<bool, Failure> {
        let is_here = match &self.whose {
            Whose::Mailbox(mailbox) => item.mailboxes.contains(mailbox),
            Whose::LocalPart(name) => item.mailboxes.iter().any(|it| it.local_part() == name),
        };
        if !is_here {
            return Ok(false);
        }
        let Some(subaddress) = &self.subaddress else {
            return Ok(true);
        };
        if api.paths.has(item.seen.id, subaddress) {
            return Ok(true);
        }
        let Some(opened) = api.inbox.open(item)? else {
            return Ok(false);
        };
        let Ok(outline) = &opened.outline else {
            return Ok(false);
        };
        let summary = Summary::of(outline);
        let persons = [&summary.to, &summary.cc, &summary.bcc];
        let named = persons.into_iter().flatten().map(address_of);
        let mut named = named.chain(traced(outline));
        Ok(named.any(|address| literal(api, &address).as_ref() == Some(subaddress)))
    }
}

/// The mailbox of this address, all of whose messages the call means.
///
/// # Errors
/// As [`Call::mailbox`]; 400 for a sub-address, because the mailbox also has the mail of its other
/// ones.
pub(super) fn whole_mailbox(call: &Call<'_>, address: &str) -> Result<MailboxName, Failure> {
    let mailbox = call.mailbox(address)?;
    refuse_subaddress(call, address, &mailbox)?;
    Ok(mailbox)
}

fn refuse_subaddress(call: &Call<'_>, address: &str, mailbox: &MailboxName) -> Result<(), Refusal> {
    if literal(call.api, address).is_some_and(|literal| literal.is_below(mailbox)) {
        let text = format!(
            "{address} is a sub-address of {mailbox}, which has the mail of all of them: name the \
             mailbox itself, or search with to: and remove what is found"
        );
        return Err(wrong(text));
    }
    Ok(())
}

/// The mailbox to which the query limits a removal, if it does.
///
/// # Errors
/// As [`Call::limit_to_mailbox`] and [`whole_mailbox`].
pub(super) fn limit_to_whole_mailbox(call: &Call<'_>) -> Result<Option<MailboxName>, Failure> {
    let mailbox = call.limit_to_mailbox()?;
    if let (Some(mailbox), Some(address)) = (&mailbox, call.query("mailbox")) {
        refuse_subaddress(call, address, mailbox)?;
    }
    Ok(mailbox)
}

fn address_of(person: &Person) -> String {
    person.address.clone()
}

/// The address in the newest trace header, which this program has written (RFC 5321 §4.4).
fn traced(outline: &Outline) -> Option<String> {
    let fields = outline.fields();
    let trace = fields
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("Received"))?;
    // The field is folded, in front of this word or elsewhere.
    let value = trace.value.replace(['\r', '\n', '\t'], " ");
    let (_, behind) = value.split_once(" for <")?;
    let (address, _) = behind.split_once('>')?;
    Some(address.to_owned())
}

/// The name that a mailbox with exactly this address would have.
fn literal(api: &Api, address: &str) -> Option<MailboxName> {
    match api.accounts.user(address) {
        UserName::Address(ForwardPath::Address(address)) => {
            MailboxName::from_address(&address).ok()
        }
        UserName::Address(_) | UserName::LocalPart(_) | UserName::Unknown => None,
    }
}
