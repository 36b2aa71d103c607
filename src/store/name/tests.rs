//! Names on disk, tested against tables and arbitrary text.

use proptest::prelude::*;

use super::*;

#[test]
fn directory_names_keep_what_is_harmless_and_encode_the_rest() {
    for (text, expect) in [
        ("bob", "bob"),
        ("bob+news", "bob+news"),
        ("b.o_b-1", "b.o_b-1"),
        ("", "%"),
        ("%", "%25"),
        (".", "%2e"),
        ("..", "%2e%2e"),
        (".bob", "%2ebob"),
        ("a..b", "a.%2eb"),
        ("a...b", "a.%2e%2eb"),
        ("a.", "a."),
        ("a..", "a.%2e"),
        ("..a", "%2e%2ea"),
        (".a.", "%2ea."),
        ("../a", "%2e%2e%2fa"),
        ("-x", "%2dx"),
        ("_x", "%5fx"),
        ("+x", "%2bx"),
        ("../../etc/passwd", "%2e%2e%2f.%2e%2fetc%2fpasswd"),
        ("a\0b", "a%00b"),
        ("Bob", "%42ob"),
        ("a b", "a%20b"),
        ("jos\u{e9}", "jos%c3%a9"),
        ("[127.0.0.1]", "%5b127.0.0.1%5d"),
        (".facteur", "%2efacteur"),
    ] {
        assert_eq!(encode_directory(text).as_deref(), Some(expect), "{text:?}");
        assert_eq!(
            decode_directory(expect).as_deref(),
            Some(text),
            "{expect:?}"
        );
    }
}

#[test]
fn a_directory_name_has_at_most_240_octets() {
    assert!(encode_directory(&"a".repeat(240)).is_some());
    assert!(encode_directory(&"a".repeat(241)).is_none());
    assert!(encode_directory(&" ".repeat(80)).is_some());
    assert!(encode_directory(&" ".repeat(81)).is_none());
}

#[test]
fn directory_names_of_other_programs_are_not_decoded() {
    for name in [
        "%", "%61", "%2", "%2G", "%2E", "A", "a..b", ".a", "-a", "%ff", "a b", "é",
    ] {
        let expect = (name == "%").then(String::new);
        assert_eq!(decode_directory(name), expect, "{name:?}");
    }
    assert_eq!(decode_directory(""), None);
}

/// The unique-id that a listing gives.
fn unique_id_of(file_name: &[u8]) -> UniqueId<'_> {
    let parsed = Parsed::of(file_name);
    unique_id(parsed.identity, parsed.unique_id_octets).unwrap()
}

/// The fields of a name, parsed with no regard to their spelling.
fn parsed_loosely(base: &str) -> Option<OwnName<'_>> {
    let (secs, rest) = base.split_once('.')?;
    let (serial, rest) = rest.split_once('.')?;
    let (nonce, counter) = serial.split_once('_')?;
    let (host, sizes) = rest.split_once(",S=")?;
    let (stored, sent) = sizes.split_once(",W=")?;
    let serial = Serial {
        nonce: u64::from_str_radix(nonce, 16).ok()?,
        counter: u64::from_str_radix(counter, 16).ok()?,
    };
    let name = OwnName {
        secs: secs.parse().ok()?,
        serial,
        host,
        stored_octets: Some(stored.parse().ok()?),
        sent_octets: Some(sent.parse().ok()?),
    };
    (!host.is_empty()).then_some(name)
}

/// Text with many of the characters that matter.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![".*", "[./%a-bA-B+_-]{0,12}", "[.]{0,5}", "[a-z.]{230,250}"]
}

proptest! {
    #[test]
    fn directory_names_are_safe_and_can_be_decoded(text in any_text()) {
        if let Some(name) = encode_directory(&text) {
            prop_assert!(!name.is_empty() && name.len() <= 240);
            prop_assert!(!name.contains(['/', '\0']));
            prop_assert!(!name.starts_with('.') && !name.contains(".."));
            prop_assert!(name.bytes().all(|octet| octet.is_ascii_graphic()));
            prop_assert!(!name.bytes().any(|octet| octet.is_ascii_uppercase()));
            prop_assert_eq!(decode_directory(&name), Some(text));
        } else {
            prop_assert!(text.len() > 80);
        }
    }

    #[test]
    fn different_texts_have_different_directory_names(a in any_text(), b in any_text()) {
        let (left, right) = (encode_directory(&a), encode_directory(&b));
        prop_assert_eq!(left.is_some() && left == right, left.is_some() && a == b);
    }

    #[test]
    fn a_decoded_name_encodes_to_the_same_name(name in any_text()) {
        if let Some(text) = decode_directory(&name) {
            prop_assert_eq!(encode_directory(&text), Some(name));
        }
    }

    #[test]
    fn own_names_are_parsed_with_and_without_flags(
        secs: u64, nonce: u64, counter: u64, stored: u64, sent: u64, hostname in ".*",
        appended in "(,U=[0-9]{1,4})?(,FMD5=[0-9a-f]{8})?", flags in "(:2,[DFPRST]{0,6})?",
    ) {
        let host = escape_host(&hostname);
        let name = OwnName {
            secs,
            serial: Serial { nonce, counter },
            host: &host,
            stored_octets: Some(stored),
            sent_octets: Some(sent),
        };
        let rendered = name.render();
        prop_assert_eq!(OwnName::parse_exactly(&rendered), Some(name));
        let file_name = format!("{rendered}{appended}{flags}");
        prop_assert!(file_name.len() <= 240 && !file_name.contains('/'));
        prop_assert_eq!(OwnName::parse(base(file_name.as_bytes())), Some(name));
        let parsed = Parsed::of(file_name.as_bytes());
        prop_assert_eq!(parsed.identity, Identity::of(rendered.as_bytes()));
        prop_assert_eq!(parsed.identity.serial(), Some(name.serial));
        prop_assert_eq!(parsed.arrival_secs, secs);
        prop_assert_eq!(parsed.sent_octets, Some(sent));
        let unique_id = unique_id_of(file_name.as_bytes());
        prop_assert_eq!(unique_id.as_str(), format!("{secs}.{nonce:016x}_{counter:08x}"));
    }

    #[test]
    fn only_rendered_names_are_parsed_exactly(
        base in "[0+]{0,2}[0-9]{0,20}[.][+0A]?[0-9a-f]{15,16}_[+0]?[0-9a-f]{7,17}\
                 [.]([a-z.,]|,S=|,W=1|é){0,3},S=[+0]?[0-9]{0,21},W=[+0]?[0-9]{0,2}",
    ) {
        let parsed = OwnName::parse_exactly(&base);
        let expect = parsed_loosely(&base).filter(|name| name.render() == base);
        prop_assert_eq!(parsed, expect.filter(|name| is_escaped_host(name.host)));
    }

    #[test]
    fn any_file_name_has_a_unique_id_that_flags_do_not_change(
        octets in proptest::collection::vec(any::<u8>(), 1..200), flags in "[a-zA-Z]{0,8}",
    ) {
        let before = unique_id_of(base(&octets));
        let flagged = [base(&octets), b":2,", flags.as_bytes()].concat();
        prop_assert_eq!(unique_id_of(&flagged), before);
    }
}

#[test]
fn foreign_names_give_unique_ids() {
    let long = format!("1.{}", "x".repeat(69));
    for (name, expect) in [
        ("1700000000.M1P2.host:2,S", "1700000000.M1P2.host"),
        (
            "1700000000.M1P2.host,S=5,W=6:2,",
            "1700000000.M1P2.host,S=5,W=6",
        ),
        ("a:2,S:2,F", "a:2,S"),
        ("a:1,S", "a:1,S"),
        ("a b", "a68d62c6038b5822836dbc79780dff7a"),
        (long.as_str(), &hash(long.as_bytes())),
        // It has the unique-id of one of our messages, but not its name.
        (
            "1.0123456789abcdef_00000001",
            &hash(b"1.0123456789abcdef_00000001"),
        ),
        (
            "1.0123456789abcdef_00000001.host",
            "1.0123456789abcdef_00000001.host",
        ),
    ] {
        let found = unique_id_of(name.as_bytes());
        assert_eq!(found.as_str(), expect, "{name}");
    }
}

/// I6: a file whose name is the hash of another file's name.
#[test]
fn a_name_that_is_a_hash_is_hashed_itself() {
    let hashed = unique_id_of(b"a b");
    let named = hashed.as_str().as_bytes();
    assert_ne!(hashed, unique_id_of(named));
    assert_eq!(unique_id_of(named).as_str(), hash(named));
    // With another length, or in capitals, it is not a hash.
    for other in [
        "a68d62c6038b5822836dbc79780dff7",
        "A68D62C6038B5822836DBC79780DFF7A",
    ] {
        assert_eq!(unique_id_of(other.as_bytes()).as_str(), other);
    }
}

#[test]
fn the_hash_is_fnv_1a_of_128_bits() {
    assert_eq!(hash(b""), "6c62272e07bb014262b821756295c58d");
    assert_eq!(hash(b"a"), "d228cb696f1a8caf78912b704e4a8964");
    assert_eq!(hash(b"foobar"), "343e1662793c64bf6f0d3597ba446f18");
}

#[test]
fn only_names_with_a_serial_and_a_size_are_our_own() {
    let own = "17.0123456789abcdef_00000001.host,S=5,W=6";
    assert!(OwnName::parse(own.as_bytes()).is_some());
    for other in [
        "017.0123456789abcdef_00000001.host,S=5,W=6",
        "17.0123456789ABCDEF_00000001.host,S=5,W=6",
        "17.0123456789abcdef_1.host,S=5,W=6",
        "17.0123456789abcdef_00000001.,S=5,W=6",
        "17.0123456789abcdef_00000001.host",
        "17.0123456789abcdef_00000001.host,U=1",
        "17.0123456789abcdef_00000001.host,S=,W=+6",
        "+17.0123456789abcdef_00000001.host,S=5,W=6",
        "",
    ] {
        assert_eq!(OwnName::parse(other.as_bytes()), None, "{other}");
    }
}

/// I6, I12: when mbsync, OfflineIMAP or Dovecot change a name, it still identifies this message,
/// and never becomes a path that the journal refers to.
#[test]
fn fields_of_other_programs_do_not_make_another_message() {
    let own = "17.0123456789abcdef_00000001.host,S=5,W=6";
    for (changed, sent) in [
        ("17.0123456789abcdef_00000001.host,S=5,W=6,U=1", Some(6)),
        ("17.0123456789abcdef_00000001.host,S=5,W=6,U=1:2,S", Some(6)),
        ("17.0123456789abcdef_00000001.host,U=1,S=5,W=6", Some(6)),
        (
            "17.0123456789abcdef_00000001.host,S=5,W=6,U=1,FMD5=0123456789abcdef:2,RS",
            Some(6),
        ),
        ("17.0123456789abcdef_00000001.host,W=6,S=5:2,", Some(6)),
        ("17.0123456789abcdef_00000001.host,S=5,W=6,W=7", Some(6)),
        ("17.0123456789abcdef_00000001.host,S=7:2,S", None),
        ("17.0123456789abcdef_00000001.host,S=5,W=+6", None),
        (
            "17.0123456789abcdef_00000001.host,S=5,W=99999999999999999999",
            None,
        ),
        ("17.0123456789abcdef_00000001.host,S=5,W=6,", Some(6)),
    ] {
        let (changed, own) = (changed.as_bytes(), own.as_bytes());
        assert_eq!(Identity::of(changed), Identity::of(own));
        assert_eq!(unique_id_of(changed), unique_id_of(own));
        assert_eq!(Parsed::of(changed).sent_octets, sent);
        let text = std::str::from_utf8(changed).unwrap();
        assert_eq!(
            OwnName::parse_exactly(text).is_some(),
            text.ends_with("host,S=7"),
            "{text}"
        );
    }
    // Nor does another program's message become one of our own.
    for foreign in [
        "17.0123456789abcdef_00000001",
        "17.0123456789abcdef_00000001.",
    ] {
        assert_ne!(
            Identity::of(foreign.as_bytes()),
            Identity::of(own.as_bytes())
        );
        assert_ne!(
            unique_id_of(foreign.as_bytes()),
            unique_id_of(own.as_bytes())
        );
    }
}

#[test]
fn sizes_and_times_in_foreign_names_are_parsed() {
    for (name, secs, sent) in [
        ("5.x.y,S=1,W=2", 5, Some(2)),
        ("5.x.y,W=2,S=1", 5, Some(2)),
        ("5.x.y,S=1", 5, None),
        ("5.x.y,W=", 5, None),
        ("5.x.y,W=-1", 5, None),
        ("5.x.y,W=99999999999999999999", 5, None),
        ("W=2", 0, None),
        ("x.5", 0, None),
        ("99999999999999999999.x", 0, None),
    ] {
        assert_eq!(arrival_secs(name.as_bytes()), secs, "{name}");
        assert_eq!(sent_octets(name.as_bytes()), sent, "{name}");
    }
}

#[test]
fn the_host_in_a_file_name_is_escaped_as_the_maildir_specification_says() {
    for (hostname, expect) in [
        ("mail.example.org", "mail.example.org"),
        ("a/b:c", "a\\057b\\072c"),
        ("a,S=1", "a\\054S\\0751"),
        ("", "localhost"),
        ("é", "\\303\\251"),
    ] {
        assert_eq!(escape_host(hostname), expect, "{hostname}");
    }
    assert_eq!(escape_host(&"x".repeat(300)).len(), 100);
    assert_eq!(escape_host(&"/".repeat(300)).len(), 100);
}
