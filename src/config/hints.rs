//! Guesses what the user meant: the valid word that is nearest to a wrong one.

use super::limits::{CHANGES_MAX, CHARACTERS_MAX};

/// The choice that is nearest to `text`, if any is near enough.
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
        // Counts two swapped neighbours as one change.
        let changes = strsim::osa_distance(&text, choice);
        // Two changes would leave little of a short word.
        (changes <= CHANGES_MAX && changes.saturating_mul(2) < length).then_some((changes, choice))
    };
    let found = choices.into_iter().filter_map(near).min_by_key(|it| it.0);
    found.map(|(_, choice)| choice)
}

/// Says that `text` is not one of `choices`, and which of them was probably meant.
pub(super) fn none_of(text: &str, choices: &[&str]) -> String {
    let listed: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
    let listed = listed.join(", ");
    match nearest(text, choices.iter().copied()) {
        Some(meant) => format!("{text:?} is not one of {listed}; did you mean {meant:?}?"),
        None => format!("{text:?} is not one of {listed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_if_it_is_near() {
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
    fn a_word_that_is_not_a_choice_is_reported_with_the_nearest() {
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
