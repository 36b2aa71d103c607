//! `facteur remove`: removes messages, and prints how many.
//!
//! The daemon removes all the messages of one request or none, except for all messages at once: it
//! then leaves those of mailboxes that a session has open, and names these.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cli::RemoveArguments;

use super::{
    client::{Client, path_of, target},
    error::Reason,
    limits,
    message::List,
    screen::Screen,
};

pub(super) fn run(
    asked: &RemoveArguments,
    client: &mut Client<'_>,
    screen: &mut Screen<'_>,
) -> Result<(), Reason> {
    let all = ["api", "v1", "messages"];
    let n_removed = if let Some(words) = &asked.words {
        let search = ["api", "v1", "search"];
        let found = page(&search, &[("query", words), ("limit", "1")], client)?;
        if found.messages_count > 0 {
            client.delete(&target(&search, &[("query", words)]), "")?;
        }
        found.messages_count
    } else if let Some(mailbox) = &asked.mailbox {
        let address = mailbox.to_string();
        let path = ["api", "mailboxes", &address];
        let found = page(&path, &[("limit", "1")], client)?;
        // This leaves the copies of other mailboxes.
        client.delete(&target(&path, &[]), "")?;
        found.messages_count
    } else if asked.all {
        let found = page(&all, &[("limit", "1")], client)?;
        client.delete(&target(&all, &[]), "")?;
        found.total
    } else {
        let ids: BTreeSet<&String> = asked.ids.iter().collect();
        let ids: Vec<String> = ids.into_iter().cloned().collect();
        for id in &ids {
            // The daemon would ignore one that does not exist. This does not mark it as read.
            client.get(&path_of(id, &["raw"]))?;
        }
        remove_ids(&ids, client)?
    };
    let line = match n_removed {
        1 => "removed 1 message\n".to_owned(),
        n_removed => format!("removed {n_removed} messages\n"),
    };
    Ok(screen.print(&line)?)
}

fn page(path: &[&str], query: &[(&str, &str)], client: &mut Client<'_>) -> Result<List, Reason> {
    client.get(&target(path, query))?.document()?.read()
}

/// Removes messages by their IDs, and returns how many.
fn remove_ids(ids: &[String], client: &mut Client<'_>) -> Result<usize, Reason> {
    for some in ids.chunks(limits::IDS_MAX) {
        let body = format!("{{\"IDs\":{}}}", Value::from(some));
        client.delete(&target(&["api", "v1", "messages"], &[]), &body)?;
    }
    Ok(ids.len())
}
