//! Adds, removes and changes accounts in a TOML text, in place.
//!
//! Everything that is not about the account stays as it was written: comments, order, other keys.
//! A comment directly above an account is about it and is removed with it; a comment that an empty
//! line separates from it stays.
//!
//! Accounts are tables `[[accounts]]` or a list of inline tables; either form is kept.
//!
//! # Failures
//! A text that is not TOML. Whether it is a valid configuration is checked elsewhere.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::super::accounts::Name;
use crate::mail::MailboxName;

/// The key of the accounts.
pub(super) const ACCOUNTS: &str = "accounts";

/// A text with accounts.
#[derive(Clone, Debug)]
pub(super) struct Text(DocumentMut);

impl Text {
    /// Reads `text`.
    ///
    /// # Errors
    /// It is not TOML: the parser's message, and the place.
    pub(super) fn parse(text: &str) -> Result<Self, toml_edit::TomlError> {
        text.parse().map(Self)
    }

    /// Sets `accounts` to the path of the accounts file.
    pub(super) fn name_file(&mut self, file: &str) {
        let document = &mut self.0;
        if let Some(Item::Value(value)) = document.get_mut(ACCOUNTS) {
            let decor = value.decor().clone();
            *value = Value::from(file);
            *value.decor_mut() = decor;
        } else {
            document.insert(ACCOUNTS, toml_edit::value(file));
        }
    }

    /// Whether there is an account with this name.
    pub(super) fn has(&self, name: &MailboxName) -> bool {
        match self.0.get(ACCOUNTS) {
            Some(Item::ArrayOfTables(tables)) => tables.iter().any(|it| is_of(it, name)),
            Some(Item::Value(Value::Array(list))) => list
                .iter()
                .filter_map(Value::as_inline_table)
                .any(|it| is_of(it, name)),
            Some(_) | None => false,
        }
    }

    /// Adds an account after the others. `password` is the value of that key.
    pub(super) fn add(&mut self, address: &str, password: Value, aliases: &[String]) {
        let mut account = Table::new();
        account.insert("address", toml_edit::value(address));
        account.insert("password", Item::Value(password));
        if !aliases.is_empty() {
            let aliases: Array = aliases.iter().map(String::as_str).collect();
            account.insert("aliases", toml_edit::value(aliases));
        }
        match self.0.get_mut(ACCOUNTS) {
            Some(Item::Value(Value::Array(list))) => push(list, account.into_inline_table()),
            Some(Item::ArrayOfTables(tables)) => {
                account.decor_mut().set_prefix("\n");
                tables.push(account);
            }
            Some(_) | None => {
                // Text at the end stays above the new account.
                let mut end = self.0.trailing().as_str().unwrap_or("").to_owned();
                if !end.is_empty() && !end.ends_with('\n') {
                    end.push('\n');
                }
                let is_first = self.0.is_empty() && end.is_empty();
                let is_apart = is_first || end.ends_with("\n\n");
                let gap = if is_apart { "" } else { "\n" };
                self.0.set_trailing("");
                account.decor_mut().set_prefix(format!("{end}{gap}"));
                let mut tables = ArrayOfTables::new();
                tables.push(account);
                self.0.insert(ACCOUNTS, Item::ArrayOfTables(tables));
            }
        }
    }

    /// Changes the password of an account; false if there is no account with this name.
    pub(super) fn set_password(&mut self, name: &MailboxName, password: Value) -> bool {
        let account: Option<&mut dyn TableLike> = match self.0.get_mut(ACCOUNTS) {
            Some(Item::ArrayOfTables(tables)) => tables
                .iter_mut()
                .find(|it| is_of(*it, name))
                .map(some_table),
            Some(Item::Value(Value::Array(list))) => list
                .iter_mut()
                .filter_map(Value::as_inline_table_mut)
                .find(|it| is_of(*it, name))
                .map(some_table),
            Some(_) | None => None,
        };
        let Some(account) = account else {
            return false;
        };
        match account.get_mut("password") {
            Some(Item::Value(value)) => {
                let decor = value.decor().clone();
                *value = password;
                *value.decor_mut() = decor;
            }
            Some(_) | None => {
                account.insert("password", Item::Value(password));
            }
        }
        true
    }

    /// Removes an account; false if there is no account with this name.
    pub(super) fn remove(&mut self, name: &MailboxName) -> bool {
        match self.0.get_mut(ACCOUNTS) {
            Some(Item::ArrayOfTables(tables)) => {
                let Some(position) = tables.iter().position(|it| is_of(it, name)) else {
                    return false;
                };
                let removed = tables.get(position).and_then(|it| it.decor().prefix());
                let above = removed.and_then(|prefix| prefix.as_str()).unwrap_or("");
                let above = kept(above).to_owned();
                tables.remove(position);
                self.put_above(position, &above);
                true
            }
            Some(Item::Value(Value::Array(list))) => {
                let is_it = |it: &InlineTable| is_of(it, name);
                let mut inline = list.iter().map(Value::as_inline_table);
                let position = inline.position(|it| it.is_some_and(is_it));
                drop(inline);
                position.map(|position| list.remove(position)).is_some()
            }
            Some(_) | None => false,
        }
    }

    /// Moves the text above a removed table to the table that is now in its place, or to the end.
    fn put_above(&mut self, position: usize, above: &str) {
        if above.is_empty() {
            return;
        }
        let tables = self.0.get_mut(ACCOUNTS);
        let tables = tables.and_then(Item::as_array_of_tables_mut);
        if let Some(table) = tables.and_then(|tables| tables.get_mut(position)) {
            let own = table.decor().prefix().and_then(|prefix| prefix.as_str());
            let own = own.unwrap_or("").trim_start_matches('\n');
            let prefix = format!("{above}{own}");
            table.decor_mut().set_prefix(prefix);
        } else {
            let own = self.0.trailing().as_str().unwrap_or("").to_owned();
            self.0.set_trailing(format!("{above}{own}"));
        }
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The value of `password` in a line as `facteur hash-password` prints it.
///
/// # Errors
/// The line is not TOML.
pub(super) fn password_value(line: &str) -> Result<Value, toml_edit::TomlError> {
    let mut document: DocumentMut = line.parse()?;
    let value = document.remove("password").map(Item::into_value);
    Ok(value
        .and_then(Result::ok)
        .unwrap_or_else(|| Value::from("")))
}

fn some_table(table: &mut impl TableLike) -> &mut dyn TableLike {
    table
}

/// Whether a table is the account with this name.
fn is_of(account: &dyn TableLike, name: &MailboxName) -> bool {
    let address = account.get("address").and_then(Item::as_str);
    let found = address.and_then(|address| Name::try_from(address.to_owned()).ok());
    found.is_some_and(|Name(found)| found == *name)
}

/// Adds an element in the layout of the others.
fn push(list: &mut Array, account: InlineTable) {
    let mut value = Value::InlineTable(account);
    let decor = list.iter().last().map(|other| other.decor().clone());
    if let Some(prefix) = decor.as_ref().and_then(|decor| decor.prefix()) {
        // The text in front of an element may contain a comment about that element.
        let prefix = prefix.as_str().unwrap_or(" ");
        let prefix = if let Some((_, indentation)) = prefix.rsplit_once('\n') {
            format!("\n{indentation}")
        } else {
            " ".to_owned()
        };
        value.decor_mut().set_prefix(prefix);
    }
    list.push_formatted(value);
}

/// The part of the text above a table that is not about it: all up to the last empty line.
fn kept(prefix: &str) -> &str {
    let end = prefix.rfind("\n\n").map_or(0, |at| at.saturating_add(2));
    prefix
        .get(..end)
        .filter(|text| !text.trim().is_empty())
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::mail::{Address, Charset};

    fn name(address: &str) -> MailboxName {
        let address = Address::parse(address, Charset::Utf8).unwrap();
        MailboxName::from_address(&address).unwrap()
    }

    fn value() -> Value {
        password_value("password = [\"$argon2id$x\", \"SCRAM\"]").unwrap()
    }

    const FILE: &str = "\
# The accounts of this host.

postmaster = \"bob@example.com\" # for now

# Bob, since 2024
[[accounts]]
address = \"Bob@Example.com\"   # his name
password = \"old\" # changed in May
aliases = [
    \"robert@example.com\", # as his mother says
]

# Alice
[[accounts]]
password = 'old'
address = 'alice@example.com'

[catch_all]
\"example.org\" = \"alice@example.com\"
# the end
";

    /// The lines that are in only one of the texts.
    fn changes(before: &str, after: &str) -> Vec<String> {
        let has = |text: &str, line: &str| text.lines().any(|it| it == line);
        let gone = before.lines().filter(|line| !has(after, line));
        let gone = gone.map(|line| format!("-{line}"));
        let new = after.lines().filter(|line| !has(before, line));
        gone.chain(new.map(|line| format!("+{line}"))).collect()
    }

    #[test]
    fn unchanged_text_stays_octet_for_octet() {
        let text = Text::parse(FILE).unwrap();
        assert_eq!(text.to_string(), FILE);
    }

    #[test]
    fn an_account_is_added_after_the_others_and_nothing_else_changes() {
        let mut text = Text::parse(FILE).unwrap();
        text.add("carol@example.com", value(), &["c@example.com".to_owned()]);
        let added = "
[[accounts]]
address = \"carol@example.com\"
password = [\"$argon2id$x\", \"SCRAM\"]
aliases = [\"c@example.com\"]
";
        let (above, below) = FILE.split_at(FILE.find("\n[catch_all]").unwrap());
        assert_eq!(text.to_string(), format!("{above}{added}{below}"));
    }

    #[test]
    fn a_password_is_changed_in_place() {
        let mut text = Text::parse(FILE).unwrap();
        assert!(text.set_password(&name("bob@example.com"), value()));
        assert_eq!(
            changes(FILE, &text.to_string()),
            [
                "-password = \"old\" # changed in May",
                "+password = [\"$argon2id$x\", \"SCRAM\"] # changed in May",
            ]
        );
        assert!(!text.set_password(&name("robert@example.com"), value()));
    }

    #[test]
    fn an_account_is_removed_with_the_comment_directly_above_it() {
        let mut text = Text::parse(FILE).unwrap();
        assert!(text.remove(&name("bob@example.com")));
        let after = text.to_string();
        assert!(
            changes(FILE, &after)
                .iter()
                .all(|line| line.starts_with('-'))
        );
        for (part, stays) in [
            ("# The accounts of this host.", true),
            ("# for now", true),
            ("# Bob, since 2024", false),
            ("mother", false),
            ("# Alice\n[[accounts]]\npassword = 'old'\n", true),
            ("# the end", true),
        ] {
            assert_eq!(after.contains(part), stays, "{part}: {after}");
        }
        assert!(!text.remove(&name("bob@example.com")));
    }

    #[test]
    fn a_comment_that_an_empty_line_separates_from_an_account_stays() {
        let file = "# Ours.\n\n# Bob\n[[accounts]]\naddress = \"bob@a\"\n\n# Al\n[[accounts]]\n\
                    address = \"al@a\"\n";
        let mut text = Text::parse(file).unwrap();
        assert!(text.remove(&name("bob@a")));
        let expected = "# Ours.\n\n# Al\n[[accounts]]\naddress = \"al@a\"\n";
        assert_eq!(text.to_string(), expected);
        assert!(text.remove(&name("al@a")));
        assert_eq!(text.to_string(), "# Ours.\n\n");
    }

    #[test]
    fn a_list_stays_a_list() {
        let file = "accounts = [\n  { address = \"bob@a\", password = \"old\" }, # Bob\n]\n";
        let mut text = Text::parse(file).unwrap();
        text.add("al@a", value(), &[]);
        let added = "  { address = \"al@a\", password = [\"$argon2id$x\", \"SCRAM\"] }";
        let after = text.to_string();
        assert!(after.contains(added) && after.contains("# Bob"), "{after}");
        assert!(text.has(&name("bob@a")) && text.has(&name("al@a")));
        assert!(text.set_password(&name("bob@a"), Value::from("new")));
        assert!(
            text.to_string()
                .contains("{ address = \"bob@a\", password = \"new\" }")
        );
        assert!(text.remove(&name("bob@a")));
        assert!(!text.has(&name("bob@a")) && text.has(&name("al@a")));
        Text::parse(&text.to_string()).unwrap();
    }

    #[test]
    fn the_first_account_creates_the_tables() {
        for (before, between) in [
            ("# ours\n\n", ""),
            ("[catch_all]\n# the end\n", "\n"),
            ("", ""),
            ("[catch_all]\n", "\n"),
            ("abuse = \"x@a\"\n", "\n"),
        ] {
            let mut text = Text::parse(before).unwrap();
            text.add("x@a", Value::from("new"), &[]);
            let table = "[[accounts]]\naddress = \"x@a\"\npassword = \"new\"\n";
            assert_eq!(text.to_string(), format!("{before}{between}{table}"));
        }
    }

    #[test]
    fn the_file_is_named_above_all_tables() {
        for (before, after) in [
            ("", "accounts = \"a.toml\"\n"),
            (
                "mail = \"m\"\n\n[limits]\n",
                "mail = \"m\"\naccounts = \"a.toml\"\n\n[limits]\n",
            ),
            (
                "# Mine\n[limits]\n",
                "accounts = \"a.toml\"\n# Mine\n[limits]\n",
            ),
            (
                "accounts = \"off\" # none\n",
                "accounts = \"a.toml\" # none\n",
            ),
        ] {
            let mut text = Text::parse(before).unwrap();
            text.name_file("a.toml");
            assert_eq!(text.to_string(), after);
        }
    }
}
