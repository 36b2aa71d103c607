//! Fields, parameters and encoded words.

use super::outline;
use crate::mime::{Disposition, Encoding, Part};

/// The message with this header section and no body.
fn message(header: &str) -> Part {
    outline(header.as_bytes()).parts()[0].clone()
}

#[test]
fn file_names_are_decoded() {
    let check = |parameters: &str, expected: &str| {
        let part = message(&format!("Content-Disposition: attachment{parameters}\n\n"));
        assert_eq!(part.file_name.as_deref(), Some(expected), "{parameters}");
        let part = message(&format!(
            "Content-Type: a/b{}\n\n",
            parameters.replace("filename", "name")
        ));
        assert_eq!(part.file_name.as_deref(), Some(expected), "{parameters}");
    };
    check("; filename=a.txt", "a.txt");
    check("; filename = \"a b.txt\" ; x=y", "a b.txt");
    check(";filename=\"a;b\\\"c.txt\"", "a;b\"c.txt");
    check(";filename=\"C:\\new\\a.txt\"", "C:\\new\\a.txt");
    check(";filename=report(1).pdf", "report(1).pdf");
    check(";filename=two words (1).pdf", "two words (1).pdf");
    check(";\n filename=\"a\n b.txt\"", "a b.txt");
    check("; filename=\"unterminated", "unterminated");
    check("; filename=\u{fc}.txt", "\u{fc}.txt");
    check("; filename*=utf-8'de'%C3%BC%20x.txt", "\u{fc} x.txt");
    check("; filename*=iso-8859-1''%fc.txt", "\u{fc}.txt");
    check(
        "; filename=x.txt; filename*=utf-8''%C3%BC.txt",
        "\u{fc}.txt",
    );
    check("; filename*1=b.txt; filename*0=\"a \"", "a b.txt");
    check(
        "; filename*0*=iso-8859-1''a%fc; filename*1*=%fcb; filename*2=\"%fc\"",
        "a\u{fc}\u{fc}b%fc",
    );
    // A character in two sections.
    check(
        "; filename*0*=utf-8''a%C3; filename*1*=%BC.txt",
        "a\u{fc}.txt",
    );
    check("; filename*=%zz", "%zz");
    check("; filename=\"=?utf-8?q?=C3=BC_x.txt?=\"", "\u{fc} x.txt");
    check(
        "; filename=\"=?utf-8?b?w7w=?=\n =?utf-8?b?LnR4dA==?=\"",
        "\u{fc}.txt",
    );
}

#[test]
fn a_part_is_described_by_its_first_fields() {
    let part = message(
        "content-type: TEXT/Html (a comment); charset=\"UTF-8\"\nContent-Type: image/png\n\
         CONTENT-TRANSFER-ENCODING: Quoted-Printable \nContent-ID: <a@b>\n\
         Content-Disposition: INLINE\n\n",
    );
    assert_eq!(part.content_type, "text/html");
    assert_eq!(part.charset.as_deref(), Some("UTF-8"));
    assert_eq!(part.encoding, Encoding::QuotedPrintable);
    assert_eq!(part.content_id.as_deref(), Some("a@b"));
    assert_eq!(part.disposition, Some(Disposition::Inline));
    let part = message("Content-Type: text/plain; charset=us-ascii (Plain text)\n\n");
    assert_eq!(part.charset.as_deref(), Some("us-ascii"));
    let part = message("Content-Disposition: other\nContent-Transfer-Encoding: x-uuencode\n\n");
    assert_eq!(part.disposition, Some(Disposition::Attachment));
    assert_eq!(part.encoding, Encoding::Identity);
}

#[test]
fn fields_are_shown_in_order_and_decoded() {
    let outline = outline(
        b"From: x\nSubject: =?utf-8?q?a=C3=BC?=\n =?utf-8?b?w7w=?= end\n: no field\n  of it\n\
          no-colon\n",
    );
    let fields = outline.fields();
    let shown: Vec<_> = fields
        .iter()
        .map(|it| (it.name.as_str(), it.raw.as_str(), it.value.as_str()))
        .collect();
    let raw = "=?utf-8?q?a=C3=BC?=\n =?utf-8?b?w7w=?= end";
    assert_eq!(
        shown,
        [("From", "x", "x"), ("Subject", raw, "a\u{fc}\u{fc} end")]
    );
}

#[test]
fn encoded_words_are_decoded() {
    let check = |value: &str, expected: &str| {
        let outline = outline(format!("Subject: {value}\n\n").as_bytes());
        assert_eq!(outline.fields()[0].value, expected, "{value}");
    };
    check("plain", "plain");
    check("=?iso-8859-1?Q?a_=FC?=", "a \u{fc}");
    check("=?iso-8859-1*de?q?=fc?=", "\u{fc}");
    check("=?utf-8?b?w7w?=", "\u{fc}");
    check("a =?utf-8?q?b?= c =?utf-8?q?d?= =?utf-8?q?e?=", "a b c de");
    check("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "\u{fc}");
    check("=?utf-8?q?=C3=BC?= =?iso-8859-1?q?=FC?=", "\u{fc}\u{fc}");
    check("=?gb2312?b?xOO6ww==?=", "\u{4f60}\u{597d}");
    check("=?unknown?q?=C3=BC?= =?other?q?=FC?=", "\u{fc}\u{fc}");
    check("=?utf-8?q?a b?=", "a b");
    check("=?utf-8?x?a?= =?utf-8?q?b", "=?utf-8?x?a?= =?utf-8?q?b");
    check("=? =?utf-8?q?a?=", "=? a");
    check("=?utf-8?q?=zz=?=", "=zz=");
    check("=?utf-8?q??=", "");
}
