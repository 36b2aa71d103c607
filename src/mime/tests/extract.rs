//! Links and codes.

use proptest::prelude::*;

use crate::mime::{
    extract::{codes, links, links_in_html},
    html_to_text, limits,
};

#[test]
fn links_in_text_end_before_punctuation() {
    let check = |text: &str, expected: &[&str]| assert_eq!(links(text), expected, "{text}");
    check("", &[]);
    check(
        "see https://a.example/x?y=1&z#b, or http://b",
        &["https://a.example/x?y=1&z#b", "http://b"],
    );
    check(
        "(https://a/b). <https://c> \"https://d\"",
        &["https://a/b", "https://c", "https://d"],
    );
    check(
        "https://a/b_(c) [x](https://d)!",
        &["https://a/b_(c)", "https://d"],
    );
    check("HTTPS://A/B\u{fc}", &["HTTPS://A/B\u{fc}"]);
    check("ftp://a mailto:b@c javascript:x http:/d https://", &[]);
    check("https://a/?u=https://b", &["https://a/?u=https://b"]);
    check("::http://a", &["http://a"]);
    let many = "http://a ".repeat(2 * limits::LINKS_MAX);
    assert_eq!(links(&many).len(), limits::LINKS_MAX);
    check(
        &format!("http://{}", "a".repeat(limits::LINK_OCTETS_MAX)),
        &[],
    );
}

#[test]
fn links_in_html_are_what_can_be_clicked() {
    let check = |html: &str, expected: &[&str]| assert_eq!(links_in_html(html), expected, "{html}");
    check(
        "<a href=\"https://a/?x=1&amp;y=2\">https://no</a>",
        &["https://a/?x=1&y=2"],
    );
    check("<A class=b HREF = 'http://a' >", &["http://a"]);
    check(
        "<a href=http://a/b/><area href=https://c>",
        &["http://a/b/", "https://c"],
    );
    check("<a href=\" \nhttps://a/\nb \">", &["https://a/b"]);
    check("<a href=\"&#104;ttps://a\">", &["https://a"]);
    check(
        "<link href=https://a><base href=https://b><a name href>",
        &[],
    );
    check(
        "<a href='javascript:x'><a href=#b><a href=/c><a data-href=http://d>",
        &[],
    );
    check(
        "<!-- <a href=http://a> --><script>'<a href=http://b>'</script>",
        &[],
    );
    check(
        "<a title=\"<a href=http://a>\" href=\"http://b\">",
        &["http://b"],
    );
    check("<a href=http://a href=http://b>", &["http://a"]);
    check("<a =\"x\" = y href=http://a", &[]);
    check("<a =\"x\" =y href=http://a>", &["http://a"]);
}

#[test]
fn codes_stand_alone() {
    let check = |text: &str, expected: &[&str]| assert_eq!(codes(text, None), expected, "{text}");
    check("", &[]);
    check("Your code is 123456.", &["123456"]);
    check(
        "code:123456, \"4321\" (87654321) [1234] *5678*",
        &["123456", "4321", "87654321", "1234", "5678"],
    );
    check("code=1234 #123456", &["123456"]);
    check("123 123456789", &[]);
    check("abc1234 1234abc G-123456 1234_ +49301234567 +4912345", &[]);
    check("1234.5678 1,2345 12.3456 1234:56 99.1234%", &[]);
    check("2024-01-02 01/02/2024 02.01.2024 2024-01-02T10:00", &[]);
    check("January 5, 2024 or 5 Jan 2024; code 2024", &["2024"]);
    check("https://a/123456 www.a/1234 a1234@x 1234@x", &[]);
    check("030-1234567 1234-5678", &[]);
    check("12345\u{fc} \u{fc}12345 \u{201e}12345\u{201c}", &["12345"]);
    assert_eq!(codes("1234 123456 12345", Some(5)), ["12345"]);
    assert_eq!(codes("123 12", Some(3)), ["123"]);
    assert_eq!(codes("1234567890", Some(10)), ["1234567890"]);
}

proptest! {
    #[test]
    fn no_text_is_refused(
        text in "(<[a-z!/ ]{0,4}|[=\"'>&;#:]|http|href|//|--|[0-9]{1,9}|.){0,20}",
    ) {
        links(&text);
        html_to_text(&text);
        for link in links_in_html(&text) {
            prop_assert!(link.to_lowercase().starts_with("http"));
        }
        for code in codes(&text, None) {
            prop_assert!((4..=8).contains(&code.len()) && text.contains(code));
        }
    }
}
