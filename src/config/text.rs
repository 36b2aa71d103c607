//! Reads the text of a configuration file, and finds the line and key of each mistake in it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::de;

use super::{
    error::Error,
    hints,
    limits::{FILE_OCTETS_MAX, MISTAKES_MAX},
};

/// Reads a file of limited size.
pub(super) fn read_octets(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    let mut file = File::open(path)?.take(FILE_OCTETS_MAX);
    file.read_to_end(&mut octets)?;
    if file.limit() == 0 {
        let reason = format!("it is larger than {FILE_OCTETS_MAX} octets");
        return Err(io::Error::other(reason));
    }
    Ok(octets)
}

/// Reads the content of a file.
pub(super) type Read<'a> = dyn Fn(&Path) -> io::Result<String> + 'a;

pub(super) fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_octets(path)?).map_err(|error| io::Error::other(error.utf8_error()))
}

/// The path of `file`, relative to the file at `path`, which names it.
pub(super) fn beside(path: &Path, file: &Path) -> PathBuf {
    path.parent().unwrap_or(path).join(file)
}

/// The directory that contains `file`.
pub(super) fn directory_of(file: &Path) -> &Path {
    // A bare name is in the working directory.
    let is_named = |directory: &&Path| !directory.as_os_str().is_empty();
    file.parent().filter(is_named).unwrap_or(Path::new("."))
}

/// What is wrong with `text`, the content of the file at `path`.
pub(super) fn value_error(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let position = error.span().map_or(0, |place| place.start);
    Error::Value {
        path: path.to_owned(),
        line: line_at(text, position),
        key: key_at(text, position),
        reason: reason(error.message()),
    }
}

/// Everything that is wrong with `text`, the content of the file at `path`, starting with `first`.
/// Each mistake is removed from the text, and the rest is parsed again.
pub(super) fn mistakes<T: de::DeserializeOwned>(
    path: &Path,
    text: &str,
    first: toml::de::Error,
) -> Error {
    let mut rest = text.to_owned();
    let mut error = first;
    let mut errors = vec![value_error(path, &rest, &error)];
    while errors.len() < MISTAKES_MAX {
        let shorter = error.span().and_then(|place| without(&rest, &place));
        // Only part of a value may have been removed, or a syntax error may remain.
        let Some(shorter) = shorter.filter(|it| toml::from_str::<toml::Table>(it).is_ok()) else {
            break;
        };
        rest = shorter;
        match toml::from_str::<T>(&rest) {
            // A consequence of the removal.
            Err(next) if next.message().contains("missing field") => break,
            Err(next) => error = next,
            Ok(_) => break,
        }
        errors.push(value_error(path, &rest, &error));
    }
    if errors.len() == 1 {
        return value_error(path, text, &error);
    }
    errors.sort_by_key(|error| {
        if let Error::Value { line, .. } = error {
            *line
        } else {
            0
        }
    });
    Error::Several(errors)
}

/// The text with the lines of a mistake made empty; an unknown table is emptied completely. `None`
/// if nothing would change.
pub(super) fn without(text: &str, place: &std::ops::Range<usize>) -> Option<String> {
    let first = line_at(text, place.start);
    let last = line_at(text, place.end.saturating_sub(1).max(place.start));
    let is_table = |line: &str| table_header(line).is_some();
    let mut is_inside = false;
    let mut shorter = String::with_capacity(text.len());
    for (number, line) in (1..).zip(text.split('\n')) {
        if number == first {
            is_inside = is_table(line);
        } else if number > last && is_table(line) {
            is_inside = false;
        }
        let goes = (first..=last).contains(&number) || (number > last && is_inside);
        if !goes {
            shorter.push_str(line);
        }
        shorter.push('\n');
    }
    (shorter.trim_end() != text.trim_end()).then_some(shorter)
}

/// The parser's message, with a hint at what was probably meant: a similar key, or quotes.
pub(super) fn reason(message: &str) -> String {
    let message = message.replace('\n', " ");
    let unknown = message.strip_prefix("unknown field `");
    if let Some((key, rest)) = unknown.and_then(|rest| rest.split_once('`')) {
        let keys = rest.split('`').skip(1).step_by(2);
        if let Some(meant) = hints::nearest(key, keys) {
            return format!("unknown field `{key}`, did you mean `{meant}`?");
        }
    }
    if message.starts_with("string values must be quoted") || message.contains("invalid number") {
        return format!("{message}; write a number with a unit in quotes, as in \"50 MiB\"");
    }
    message
}

/// The number of the line that holds the octet at `position`.
pub(super) fn line_at(text: &str, position: usize) -> usize {
    let before = text.as_bytes().get(..position).unwrap_or_default();
    memchr::memchr_iter(b'\n', before).count().saturating_add(1)
}

/// The key on the line that holds the octet at `position`, with its table and, for an account, the
/// address. For the header of a table, only the table. Any other line without a key has an error
/// that is not about a value, or is part of a value of several lines: there, only the table and
/// address of an account are given.
pub(super) fn key_at(text: &str, position: usize) -> Option<String> {
    let lines_above = line_at(text, position).saturating_sub(1);
    let line = text.lines().nth(lines_above)?;
    let own_table = table_header(line);
    let above: Vec<&str> = text.lines().take(lines_above).collect();
    let table = own_table.or_else(|| above.into_iter().rev().find_map(table_header));
    let key = match own_table {
        Some(_) => None,
        None => key_of(line),
    };
    let account = match table {
        Some("accounts") if key != Some("address") => address_near(text, lines_above),
        Some(_) | None => None,
    };
    let name = match (table, key) {
        (Some(table), Some(key)) => format!("{table}.{key}"),
        (Some(table), None) if own_table.is_some() || account.is_some() => table.to_owned(),
        (None, Some(key)) => key.to_owned(),
        (_, None) => return None,
    };
    Some(match account {
        Some(account) => format!("{name} of {account}"),
        None => name,
    })
}

/// The name in a line such as `[limits]` or `[[accounts]]`.
pub(super) fn table_header(line: &str) -> Option<&str> {
    let after = line.trim_start().strip_prefix('[')?;
    let (name, _) = after.strip_prefix('[').unwrap_or(after).split_once(']')?;
    Some(name.trim())
}

/// The key of a line. Text that does not look like a key may be part of a value, and a value may be
/// secret.
pub(super) fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    let quoted = |mark| key.len() > 1 && key.starts_with(mark) && key.ends_with(mark);
    let is_bare = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    (key.chars().all(is_bare) || quoted('"') || quoted('\'')).then_some(key)
}

/// The value of `address` in the table that contains the line after `lines_above` lines.
pub(super) fn address_near(text: &str, lines_above: usize) -> Option<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let (above, below) = lines.split_at_checked(lines_above)?;
    let is_inside = |line: &&&str| table_header(line).is_none();
    // The line itself may be the header.
    let (own, below) = below.split_first()?;
    let above = match table_header(own) {
        Some(_) => &[],
        None => above,
    };
    let inside = above.iter().rev().take_while(is_inside);
    let inside = inside.chain(std::iter::once(own));
    let mut inside = inside.chain(below.iter().take_while(is_inside));
    inside.find_map(|line| {
        let value = line.trim_start().strip_prefix("address")?.trim_start();
        let value = value.strip_prefix('=')?.trim_start();
        value.strip_prefix('"')?.split('"').next()
    })
}
