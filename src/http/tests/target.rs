//! Targets and forms.

use proptest::prelude::*;

use crate::http::limits::{
    PAIR_TEXT_OCTETS_MAX, PAIRS_MAX, PATH_SEGMENT_OCTETS_MAX, PATH_SEGMENTS_MAX,
};
use crate::http::{Pairs, Target};

#[test]
fn a_path_is_split_and_then_decoded() {
    for (target, expect) in [
        ("/", Ok(vec![""])),
        ("/a/b", Ok(vec!["a", "b"])),
        ("/a/b/", Ok(vec!["a", "b", ""])),
        ("//a", Ok(vec!["", "a"])),
        ("/a%2Fb/c", Ok(vec!["a/b", "c"])),
        ("/bob%40example.com", Ok(vec!["bob@example.com"])),
        ("/a+b", Ok(vec!["a+b"])),
        ("/a%20b%0d%0A", Ok(vec!["a b\r\n"])),
        ("/%c3%A4", Ok(vec!["\u{e4}"])),
        ("/a\\b", Ok(vec!["a\\b"])),
        ("/...", Ok(vec!["..."])),
        ("/%252e", Ok(vec!["%2e"])),
        ("/..", Err(400)),
        ("/a/../b", Err(400)),
        ("/%2e%2E/a", Err(400)),
        ("/.", Err(400)),
        ("/a/%2e", Err(400)),
        ("/%", Err(400)),
        ("/%4", Err(400)),
        ("/%4/", Err(400)),
        ("/%4g", Err(400)),
        ("/%+4", Err(400)),
        ("/%%41", Err(400)),
        ("/%u0041", Err(400)),
        ("/%00", Err(400)),
        ("/%ff", Err(400)),
        // An overlong form of the slash, and a surrogate.
        ("/%c0%af", Err(400)),
        ("/%ed%a0%80", Err(400)),
        ("/a#b", Err(400)),
        ("/a b", Err(400)),
        ("/\u{e4}", Err(400)),
        ("", Err(400)),
        ("*", Err(400)),
        ("a/b", Err(400)),
        ("http://a/b", Err(400)),
    ] {
        let found = Target::parse(target);
        let found = found.as_ref().map(Target::segments);
        let found = found.map_err(|refusal| refusal.status.code());
        assert_eq!(found, expect, "{target}");
    }
}

#[test]
fn a_query_has_pairs_in_their_order() {
    for (query, expect) in [
        ("", Ok(vec![])),
        ("a=b", Ok(vec![("a", "b")])),
        ("a=b&a=c&d", Ok(vec![("a", "b"), ("a", "c"), ("d", "")])),
        ("&&a=b&", Ok(vec![("a", "b")])),
        ("=", Ok(vec![("", "")])),
        ("a=b=c", Ok(vec![("a", "b=c")])),
        ("a+b=c+%2B%26%3D", Ok(vec![("a b", "c +&=")])),
        ("a=%c3%a4?/", Ok(vec![("a", "\u{e4}?/")])),
        ("a=%", Err(400)),
        ("a=%4", Err(400)),
        ("%zz=a", Err(400)),
        ("a=%ff", Err(400)),
        ("a=%00", Err(400)),
    ] {
        let found = Pairs::parse(query.as_bytes());
        let shown = found.as_ref().map(|pairs| pairs.iter().collect::<Vec<_>>());
        let shown = shown.map_err(|refusal| refusal.status.code());
        assert_eq!(shown, expect, "{query}");
        if query.is_ascii() && !query.is_empty() {
            let target = Target::parse(&format!("/?{query}"));
            assert_eq!(
                target.map(|target| target.query().clone()),
                found,
                "{query}"
            );
        }
    }
    let pairs = Pairs::parse(b"a=1&b=2&a=3").unwrap();
    assert_eq!((pairs.first("a"), pairs.first("c")), (Some("1"), None));
    assert_eq!(pairs.all("a").collect::<Vec<_>>(), ["1", "3"]);
}

/// SEC-8.
#[test]
fn a_target_has_limits() {
    let path = |target: String| Target::parse(&target).err().map(|it| it.status.code());
    assert_eq!(path("/a".repeat(PATH_SEGMENTS_MAX)), None);
    assert_eq!(path("/a".repeat(PATH_SEGMENTS_MAX + 1)), Some(414));
    assert_eq!(
        path(format!("/{}", "a".repeat(PATH_SEGMENT_OCTETS_MAX))),
        None
    );
    assert_eq!(
        path(format!("/{}", "a".repeat(PATH_SEGMENT_OCTETS_MAX + 1))),
        Some(414)
    );
    let form = |form: String| {
        Pairs::parse(form.as_bytes())
            .err()
            .map(|it| it.status.code())
    };
    assert_eq!(form("a&".repeat(PAIRS_MAX)), None);
    assert_eq!(form("a&".repeat(PAIRS_MAX + 1)), Some(414));
    assert_eq!(
        form(format!("a={}", "a".repeat(PAIR_TEXT_OCTETS_MAX))),
        None
    );
    assert_eq!(
        form(format!("a={}", "a".repeat(PAIR_TEXT_OCTETS_MAX + 1))),
        Some(414)
    );
    assert_eq!(form("a".repeat(PAIR_TEXT_OCTETS_MAX + 1)), Some(414));
}

/// All octets but letters and digits as escapes.
fn encoded(text: &str) -> String {
    let octets = text.bytes().map(|octet| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(octet).to_string(),
        _ => format!("%{octet:02x}"),
    });
    octets.collect()
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(segments in proptest::collection::vec("[^\0]{0,20}", 1..8)) {
        prop_assume!(!segments.iter().any(|it| it == "." || it == ".."));
        let parts: Vec<String> = segments.iter().map(|it| encoded(it)).collect();
        let path = format!("/{}", parts.join("/"));
        let query: Vec<String> = parts.iter().map(|it| format!("{it}={it}")).collect();
        let target = Target::parse(&format!("{path}?{}", query.join("&"))).unwrap();
        prop_assert_eq!(target.path(), path);
        prop_assert_eq!(target.segments(), segments.iter().map(String::as_str).collect::<Vec<_>>());
        let pairs: Vec<_> = target.query().iter().collect();
        let expect: Vec<_> = segments.iter().map(|it| (it.as_str(), it.as_str())).collect();
        prop_assert_eq!(pairs, expect);
    }
}
