//! Summaries: addresses, dates, snippets.

use super::outline;
use crate::mime::{Person, Summary, html_to_text, limits};

fn summary(message: &str) -> Summary {
    Summary::of(&outline(message.as_bytes()))
}

fn people(pairs: &[(&str, &str)]) -> Vec<Person> {
    let person = |(name, address): &(&str, &str)| Person {
        name: (*name).to_owned(),
        address: (*address).to_owned(),
    };
    pairs.iter().map(person).collect()
}

#[test]
fn a_summary_has_what_lists_show() {
    let summary = summary(
        "Return-Path: <bounces@x>\nFrom: =?utf-8?q?Zo=C3=AB?= <zoe@x>\nSender: <s@x>\n\
         To: a@x, \"B, b\" <b@x>,\n Group: c@x, (comment) d@x;\nTo: e@x\nCc: f@x (F)\nBcc: g@x\n\
         Reply-To: Zo\u{eb} <h@x>\nSubject: A\n =?utf-8?q?=C3=BC?=\n\
         Date: Tue, 21 Nov 2023 10:00:00 +0100\nMessage-ID: <1@x>\n\
         List-Unsubscribe: <mailto:u@x>,\n <https://x/u>\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\n\n\n  Dear\n\tall,\u{200b} \nhello\n",
    );
    let expected = Summary {
        from: people(&[("Zo\u{eb}", "zoe@x")]),
        to: people(&[
            ("", "a@x"),
            ("B, b", "b@x"),
            ("", "c@x"),
            ("comment", "d@x"),
            ("", "e@x"),
        ]),
        cc: people(&[("F", "f@x")]),
        bcc: people(&[("", "g@x")]),
        reply_to: people(&[("Zo\u{eb}", "h@x")]),
        sender: people(&[("", "s@x")]).pop(),
        subject: "A \u{fc}".to_owned(),
        date: Some(1_700_557_200),
        message_id: "1@x".to_owned(),
        return_path: "bounces@x".to_owned(),
        list_unsubscribe: "<mailto:u@x>, <https://x/u>".to_owned(),
        list_unsubscribe_post: "List-Unsubscribe=One-Click".to_owned(),
        snippet: "Dear all, hello".to_owned(),
        attachments: 0,
        content_type: "text/plain".to_owned(),
    };
    assert_eq!(summary, expected);
    assert!((600..1_500).contains(&summary.held_octets()));
}

#[test]
fn fields_that_are_missing_or_broken_are_empty() {
    let empty = Summary {
        content_type: "text/plain".to_owned(),
        ..Summary::default()
    };
    assert_eq!(summary(""), empty);
    let broken = "From:\nTo: ,;<>\nDate: Tuesday\nSubject:\nMessage-ID: <>\nReply-To: \"\n\n";
    let found = summary(broken);
    assert_eq!((found.date, found.subject.as_str()), (None, ""));
    assert_eq!(summary("From: Bob\n\n").from, people(&[("Bob", "")]));
    let twice = summary("Subject: a\nSubject: b\nDate: x\nDate: 1 Jan 2024 00:00:00 +0000\n\n");
    assert_eq!(
        (twice.subject.as_str(), twice.date),
        ("a", Some(1_704_067_200))
    );
}

#[test]
fn only_whole_encoded_words_are_decoded_in_addresses() {
    let check = |value: &str, name: &str| {
        let found = summary(&format!("To: {value} <a@x>\n\n")).to;
        assert_eq!(found, people(&[(name, "a@x")]), "{value}");
    };
    check("=?utf-8?q?=C3=BC?= =?UTF-8*de?B?w7w=?= b", "\u{fc}\u{fc} b");
    check("\"=?iso-8859-1?Q?a, b?=\"", "a, b");
    check("=?utf-8?q?=zz?=", "= ?utf-8?q?=zz?=");
    check("=?utf-8?q?a", "= ?utf-8?q?a");
    check("=?utf-8?x?a?= =?utf-8?q?b?=", "= ?utf-8?x?a?= b");
    // Each of these would be looked for to the end of the field.
    let found = summary(&format!("To: {}\n\n", " =?aa?q?".repeat(8_000)));
    assert!(found.to.len() <= 1);
}

#[test]
fn lists_and_texts_have_limits() {
    let many = "a@x,".repeat(2 * limits::PERSONS_MAX);
    let long = "x".repeat(5_000);
    let message = format!("To: {many}\nTo: {many}\nSubject: {long}\n\n{long}");
    let found = summary(&message);
    assert_eq!(found.to.len(), limits::PERSONS_MAX);
    assert_eq!(found.subject.len(), limits::SUMMARY_TEXT_OCTETS_MAX);
    assert_eq!(found.snippet.len(), limits::SNIPPET_CHARACTERS_MAX);
}

#[test]
fn snippets_come_from_the_text_or_else_from_the_html() {
    let parts = |text: &str| {
        format!(
            "Content-Type: multipart/alternative; boundary=b\n\n--b\n\n{text}\n--b\n\
             Content-Type: text/html; charset=iso-8859-1\n\
             Content-Transfer-Encoding: quoted-printable\n\n\
             <title>x</title><style>p {{ color: red }}</style><p class=3D\"a>b\">Gr=FC&szlig;e\n\
             <b>f=\nat</b></p><script>x()</script><!-- no --><div>end&nbsp;&zwnj;</div>\n--b--\n"
        )
    };
    assert_eq!(summary(&parts("the text")).snippet, "the text");
    assert_eq!(summary(&parts(" \n")).snippet, "Gr\u{fc}\u{df}e fat end");
    let attached = "Content-Disposition: attachment\n\nx";
    let found = summary(attached);
    assert_eq!((found.snippet.as_str(), found.attachments), ("", 1));
}

#[test]
fn html_becomes_readable_text() {
    let check = |html: &str, expected: &str| assert_eq!(html_to_text(html), expected, "{html}");
    check("", "");
    check("a  b\n c", "a b c");
    check("<p>a<p>b<br>c</p>d", "a\nb\nc\nd");
    check("<tr><td>a</td><td>b</td></tr><tr><td>c", "a b\nc");
    check(
        "a &lt; b &amp;&#38;&#x26; &unknown; &copy &",
        "a < b &&& &unknown; &copy &",
    );
    check("a < b <3 </> <", "a < b <3 </> <");
    check("a<!-- b > <p> -->c<!doctype html>d<?x?>e", "acde");
    check("a<SCRIPT>b</scripT >c<style>d</style", "ac");
    check("a<script>b", "a");
    check("a<b title='>' x=\">\">b</b>c", "abc");
    check("a<b title=it's>b", "ab");
    check("a<b title=\"b>c", "a");
    check("a<!-- b", "a");
}
