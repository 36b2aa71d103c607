//! The views without scripts.

use proptest::prelude::*;

use crate::page::{File, Listed, Markup, Row, Shown, limits::PLAIN_TEXT_OCTETS_MAX};

fn row(id: &str) -> Row {
    Row {
        id: id.to_owned(),
        from: "Ann <b>".to_owned(),
        subject: "1 < 2 & \"3\"".to_owned(),
        arrived: "2026-11-30T09:00:00Z".to_owned(),
        octets: 1_234,
        is_unread: true,
    }
}

#[test]
fn a_list_has_a_row_for_each_message() {
    let listed = Listed {
        rows: vec![row("9f-1")],
        total: 1,
        ..Listed::default()
    };
    let view = listed.view();
    let row = "<tr class=\"unread\"><td><bdi>Ann &lt;b&gt;</bdi><td><bdi><a href=\"m/9f-1\">\
        1 &lt; 2 &amp; &quot;3&quot;</a></bdi><td><time datetime=\"2026-11-30T09:00:00Z\">\
        2026-11-30 09:00 UTC</time><td>1.2 kB</table><p>1 to 1 of 1.</p></main>";
    assert!(view.as_str().ends_with(row), "{}", view.as_str());
    let empty = Listed::default().view();
    assert!(empty.as_str().contains("No messages."));
}

#[test]
fn a_list_leads_to_its_neighbours() {
    let listed = Listed {
        mailbox: "a&b@x".to_owned(),
        words: "\"x y\"".to_owned(),
        rows: vec![row("1"), row("2")],
        start: 2,
        total: 5,
        note: "Not <all>.".to_owned(),
    };
    let view = listed.view();
    let view = view.as_str();
    let rest = "&amp;mailbox=a%26b%40x&amp;plain=1&amp;q=%22x%20y%22\">";
    for expected in [
        "3 to 4 of 5. ",
        &format!("<a href=\"?start=0{rest}Newest</a>"),
        &format!("<a href=\"?start=4{rest}Older</a>"),
        "value=\"&quot;x y&quot;\"",
        "<p>Not &lt;all&gt;.</p>",
    ] {
        assert!(view.contains(expected), "{expected}: {view}");
    }
}

#[test]
fn a_message_has_links_to_all_of_it() {
    let shown = Shown {
        id: "9f-1".to_owned(),
        fields: vec![("From", "<a@b>".to_owned())],
        arrived: "2026-11-30T09:00:00Z".to_owned(),
        text: "a\n</pre><script>".to_owned(),
        has_html: true,
        files: vec![File {
            id: "1.2".to_owned(),
            name: "a\".png".to_owned(),
            content_type: "image/png".to_owned(),
            octets: 3,
        }],
        ..Shown::default()
    };
    let view = shown.view();
    for expected in [
        "(no subject)",
        "<td><bdi>&lt;a@b&gt;</bdi>",
        ">2026-11-30 09:00 UTC</time></table>",
        "<a href=\"9f-1/html\">",
        "<a href=\"9f-1/raw\">",
        "<a href=\"9f-1/part/1.2\"><bdi>a&quot;.png</bdi></a> image/png, 3 B",
        "<pre dir=\"auto\">\na\n&lt;/pre&gt;&lt;script&gt;</pre>",
    ] {
        assert!(view.as_str().contains(expected), "{expected}: {view:?}");
    }
    let long = Shown {
        text: "\u{e4}".repeat(PLAIN_TEXT_OCTETS_MAX),
        ..shown.clone()
    };
    let view = long.view();
    assert!(view.as_str().len() < PLAIN_TEXT_OCTETS_MAX + 2_000);
    assert!(view.as_str().contains("<a href=\"../view/9f-1.txt\">"));
    let complex = Shown {
        is_too_complex: true,
        ..shown
    };
    assert!(complex.view().as_str().contains("too complex"));
}

#[test]
fn sizes_are_as_the_scripts_write_them() {
    for (octets, expected) in [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (1_250, "1.3 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (10_499, "10 kB"),
        (999_499, "999 kB"),
        (1_000_000, "1.0 MB"),
        (u64::MAX, "18446744073709 MB"),
    ] {
        assert_eq!(Markup::new().size(octets).as_str(), expected);
    }
}

proptest! {
    /// Whatever a mail says, a view has the tags that it has for a mail that says nothing special.
    #[test]
    fn a_text_adds_no_tag(text in "(\\PC|[<>&\"'\0\r\n/=-]|</noscript>|<!--|-->){0,40}") {
        let tags = |text: &str| {
            let listed = Listed {
                mailbox: text.to_owned(),
                words: text.to_owned(),
                rows: vec![Row { from: text.to_owned(), subject: text.to_owned(), ..row(text) }],
                start: 1,
                total: 9,
                note: text.to_owned(),
            };
            let shown = Shown {
                id: text.to_owned(),
                subject: text.to_owned(),
                fields: vec![("From", text.to_owned())],
                arrived: text.to_owned(),
                text: text.to_owned(),
                has_html: true,
                is_too_complex: false,
                files: vec![File {
                    id: text.to_owned(),
                    name: text.to_owned(),
                    content_type: text.to_owned(),
                    octets: 1,
                }],
            };
            let views = [listed.view(), shown.view()].map(|it| it.as_str().to_owned()).concat();
            prop_assert!(!views.contains('\0'));
            let marks = ['<', '>', '"', '\''];
            Ok(views.chars().filter(|it| marks.contains(it)).collect::<String>())
        };
        prop_assert_eq!(tags(&format!("x{text}"))?, tags("x")?);
    }
}
