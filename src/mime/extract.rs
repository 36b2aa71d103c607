//! Links and codes in the text of a message: what a test has to follow or to type.

use super::{
    html::{Token, attribute, tokens, unescape},
    limits,
};

/// The http and https links in a plain text, in order. Punctuation behind a link, and a bracket
/// around it, does not belong to it.
pub fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(':') {
        let (before, after) = split(rest, at);
        rest = after.get(1..).unwrap_or_default();
        let scheme = ["https", "http"].iter().find_map(|scheme| {
            let begin = before.len().checked_sub(scheme.len())?;
            let found = before.get(begin..)?;
            found.eq_ignore_ascii_case(scheme).then_some(found)
        });
        let Some(scheme) = scheme.filter(|_| rest.starts_with("//")) else {
            continue;
        };
        let is_end = |c: char| {
            c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '`' | '{' | '}')
        };
        let (address, after) = split(rest, rest.find(is_end).unwrap_or(rest.len()));
        rest = after;
        add(&mut links, &[scheme, ":", trimmed(address)].concat());
    }
    links
}

/// The http and https links in HTML, in order: the `href`s of all elements, except for those that
/// nobody clicks.
pub fn links_in_html(html: &str) -> Vec<String> {
    let mut links = Vec::new();
    for token in tokens(html) {
        let Token::Begin(name, attributes) = token else {
            continue;
        };
        if name.eq_ignore_ascii_case("base") || name.eq_ignore_ascii_case("link") {
            continue;
        }
        if let Some(href) = attribute(attributes, "href") {
            // As browsers do, <https://url.spec.whatwg.org/#concept-basic-url-parser>.
            let href = unescape(href).replace(['\n', '\r', '\t'], "");
            add(&mut links, href.trim());
        }
    }
    links
}

/// The codes in a plain text, in order: runs of exactly `n_digits` digits, or of 4 to 8, that stand
/// alone. A run that is part of a word, a longer number, a decimal, a date or a URL does not.
pub fn codes(text: &str, n_digits: Option<usize>) -> Vec<&str> {
    let mut codes = Vec::new();
    // Two words before the current one, the later first.
    let mut before = ["", ""];
    for word in text.split_whitespace() {
        let is_address = word.contains("://") || word.contains('@') || word.starts_with("www.");
        let mut rest = word;
        while let Some(begin) = rest.find(|c: char| c.is_ascii_digit()) {
            let (_, run) = split(rest, begin);
            let is_end = |c: char| !c.is_ascii_digit();
            let (run, after) = split(run, run.find(is_end).unwrap_or(run.len()));
            rest = after;
            let is_long = match n_digits {
                Some(n_digits) => run.len() == n_digits,
                None => (4..=8).contains(&run.len()),
            };
            let end = word.len().saturating_sub(after.len());
            let (preceding, _) = split(word, end.saturating_sub(run.len()));
            let is_alone = may_precede(preceding) && may_follow(after);
            if is_long && is_alone && !is_address && !is_year(run, before) {
                codes.push(run);
            }
        }
        before = [word, before[0]];
    }
    codes
}

/// Whether a run of digits behind this part of a word stands alone.
fn may_precede(text: &str) -> bool {
    let mut back = text.chars().rev();
    match (back.next(), back.next()) {
        (Some(last), _) if last.is_alphanumeric() || matches!(last, '_' | '+') => false,
        (Some(':'), before) => !before.is_some_and(char::is_numeric),
        (Some('.' | ',' | '-' | '/' | '\\' | '\'' | '%' | '&' | '='), before) => {
            before.is_none_or(|c| !c.is_alphanumeric())
        }
        _ => true,
    }
}

/// Whether a run of digits before this part of a word stands alone.
fn may_follow(text: &str) -> bool {
    let mut ahead = text.chars();
    match (ahead.next(), ahead.next()) {
        (Some(first), _) if first.is_alphanumeric() || matches!(first, '_' | '%') => false,
        (Some('.' | ',' | ':' | '-' | '/' | '\\' | '\''), next) => {
            next.is_none_or(|c| !c.is_alphanumeric())
        }
        _ => true,
    }
}

/// Whether `run` is the year of a date whose month is one of the two words before it.
fn is_year(run: &str, before: [&str; 2]) -> bool {
    const MONTHS: [&str; 12] = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let is_month = |word: &str| {
        let begin = word.get(..3).unwrap_or_default().to_ascii_lowercase();
        MONTHS.contains(&begin.as_str())
    };
    run.len() == 4
        && (run.starts_with("19") || run.starts_with("20"))
        && before.map(is_month) != [false; 2]
}

/// Adds `link` if it is one that is wanted.
fn add(links: &mut Vec<String>, link: &str) {
    let is_link = ["http://", "https://"].iter().any(|scheme| {
        let begin = link.get(..scheme.len());
        begin.is_some_and(|it| it.eq_ignore_ascii_case(scheme)) && link.len() > scheme.len()
    });
    if is_link && link.len() <= limits::LINK_OCTETS_MAX && links.len() < limits::LINKS_MAX {
        links.push(link.to_owned());
    }
}

/// `link` without punctuation at its end, and without a bracket that it does not open.
fn trimmed(link: &str) -> &str {
    let (has_round, has_square) = (link.contains('('), link.contains('['));
    link.trim_end_matches(|c| match c {
        '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '*' | '_' | '|' => true,
        ')' => !has_round,
        ']' => !has_square,
        _ => false,
    })
}

fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}
