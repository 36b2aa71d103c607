//! What somebody may have meant: the word that is next to the one that was written.

use super::limits::{CHANGES_MAX, CHARACTERS_MAX};

/// The one of `choices` that is nearest to `text`, if it is near at all.
pub(super) fn nearest<'a>(
    text: &str,
    choices: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let text = text.to_ascii_lowercase();
    let length = text.chars().count();
    if length > CHARACTERS_MAX {
        return None;
    }
    let near = |choice: &'a str| {
        let changes = changes(&text, choice);
        // Of a short word little would be left.
        (changes <= CHANGES_MAX && changes.saturating_mul(2) < length).then_some((changes, choice))
    };
    let found = choices.into_iter().filter_map(near).min_by_key(|it| it.0);
    found.map(|(_, choice)| choice)
}

/// Says that `text` is not one of `choices`, and which of them may have been meant.
pub(super) fn none_of(text: &str, choices: &[&str]) -> String {
    let listed: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
    let listed = listed.join(", ");
    match nearest(text, choices.iter().copied()) {
        Some(meant) => format!("{text:?} is not one of {listed}; did you mean {meant:?}?"),
        None => format!("{text:?} is not one of {listed}"),
    }
}

/// How many characters have to be changed, added, left out or exchanged with their neighbour to
/// make one word of the other.
fn changes(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(CHARACTERS_MAX).collect();
    let width = other.len().saturating_add(1);
    // A row for each character: how many changes make the beginnings alike.
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..width).collect();
    let mut last = None;
    for character in one.chars() {
        let mut next = Vec::with_capacity(width);
        next.push(at(&row, 0).saturating_add(1));
        for (position, theirs) in other.iter().enumerate() {
            let is_same = usize::from(*theirs != character);
            let replaced = at(&row, position).saturating_add(is_same);
            let left_out = at(&row, position.saturating_add(1)).saturating_add(1);
            let added = at(&next, position).saturating_add(1);
            let mut fewest = replaced.min(left_out).min(added);
            let neighbour = position.checked_sub(1);
            if let Some(neighbour) = neighbour
                && last == Some(*theirs)
                && other.get(neighbour) == Some(&character)
            {
                fewest = fewest.min(at(&before, neighbour).saturating_add(1));
            }
            next.push(fewest);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(character);
    }
    row.last().copied().unwrap_or_default()
}

fn at(row: &[usize], position: usize) -> usize {
    row.get(position).copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted() {
        for (one, other, expected) in [
            ("", "", 0),
            ("smtp", "smtp", 0),
            ("smpt", "smtp", 1),
            ("smt", "smtp", 1),
            ("smttp", "smtp", 1),
            ("smdp", "smtp", 1),
            ("pop", "smtp", 3),
            ("", "smtp", 4),
            ("smtp", "", 4),
        ] {
            assert_eq!(changes(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn the_nearest_word_is_meant_if_it_is_near() {
        let keys = ["smtp", "smtps", "pop3", "hostname", "catch_all"];
        for (text, expected) in [
            ("smpt", Some("smtp")),
            ("SMTPS", Some("smtps")),
            ("hostnam", Some("hostname")),
            ("host_name", Some("hostname")),
            ("catchall", Some("catch_all")),
            ("catch-all", Some("catch_all")),
            ("pop4", Some("pop3")),
            ("x", None),
            ("port", None),
            ("quota", None),
        ] {
            assert_eq!(nearest(text, keys), expected, "{text}");
        }
        assert_eq!(nearest(&"x".repeat(1_000), keys), None);
    }

    #[test]
    fn what_is_none_of_the_choices_is_told_with_the_nearest() {
        let choices = ["journal", "none"];
        for (text, expected) in [
            (
                "jurnal",
                "\"jurnal\" is not one of \"journal\", \"none\"; did you mean \"journal\"?",
            ),
            ("fsync", "\"fsync\" is not one of \"journal\", \"none\""),
        ] {
            assert_eq!(none_of(text, &choices), expected);
        }
    }
}
