//! Tests of addresses that look alike. Different spellings of one address lead to one account
//! everywhere, as recipient, user and sender; addresses that only look like it lead nowhere.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::mail::{Charset, ReversePath, parse_forward_path, parse_reverse_path};

/// The local part and the domain of an account, each with all its spellings.
const PARTS: [(&[&str], &[&str]); 3] = [
    (
        &["bob", "Bob", "BOB", "\"bob\"", "\"B\\ob\"", "\"\\b\\o\\b\""],
        &["example.com", "EXAMPLE.com", "Example.Com"],
    ),
    (
        &[
            "zo\u{eb}",
            "Zo\u{eb}",
            "zoe\u{308}",
            "ZOe\u{308}",
            "\"zoe\u{308}\"",
        ],
        &[
            "b\u{fc}cher.example",
            "bu\u{308}cher.example",
            "B\u{dc}CHER.example",
            "xn--bcher-kva.example",
            "XN--BCHER-KVA.example",
            "\u{ff42}\u{fc}cher.example",
        ],
    ),
    (
        &["\"bob smith\"", "\"Bob Smith\"", "\"b\\ob\\ smith\""],
        &["example.org", "EXAMPLE.ORG"],
    ),
];

/// Other accounts, with names that look like those above.
const OTHERS: [&str; 6] = [
    "b\u{3bf}b@example.com", // the o is Greek
    "bob@example.co",
    "b.ob@example.com",
    "zoe@xn--bcher-kva.example",
    "zo\u{eb}@example.com",
    "\"bob  smith\"@example.org",
];

/// Characters that are invisible, or change the direction of a text.
const INVISIBLE: [char; 8] = [
    '\u{ad}', '\u{200b}', '\u{200d}', '\u{202e}', '\u{2066}', '\u{2060}', '\u{feff}', '\u{fe0f}',
];

fn name(address: &str) -> MailboxName {
    let address = Address::parse(address, Charset::Utf8).unwrap();
    MailboxName::from_address(&address).unwrap()
}

fn closed() -> Accounts {
    let mut table = Table::default();
    let own = PARTS.map(|(local_parts, domains)| format!("{}@{}", local_parts[0], domains[0]));
    for address in own.iter().map(String::as_str).chain(OTHERS) {
        let added = table.add(Account {
            mailbox: name(address),
            password: StoredPassword {
                hash: password::tests::cheap("pencil"),
                scram: None,
            },
            send_as: SendAs::default(),
        });
        added.unwrap();
    }
    let settings = Settings {
        hostname: Domain::localhost(),
        domains: Vec::new(),
        subaddress: Some('+'),
    };
    Accounts::closed(&settings, table, NonZeroUsize::MIN)
}

/// The mailbox that mail for a path goes to.
fn recipient(accounts: &Accounts, path: &ForwardPath) -> Option<MailboxName> {
    match accounts.resolve(path, |_| Ok::<_, ()>(false)).unwrap() {
        Resolution::Mailbox(mailbox) => Some(mailbox),
        Resolution::NotLocal | Resolution::Unknown => None,
    }
}

fn user(accounts: &Accounts, user: &str) -> Option<Login> {
    let credentials = Credentials {
        user: user.to_owned(),
        password: Secret::new("pencil".to_owned()),
    };
    let here = (IpAddr::from([127, 0, 0, 1]), Standing::Known);
    match accounts.verify(&credentials, here, || true) {
        Verdict::Accepted(login) => Some(login),
        Verdict::Refused | Verdict::Busy => None,
    }
}

/// A spelling of an account's address: which account, the local part, the domain.
fn writing() -> impl Strategy<Value = (usize, String, String)> {
    (0..PARTS.len()).prop_flat_map(|which| {
        let (local_parts, domains) = PARTS[which];
        (Just(which), select(local_parts), select(domains))
            .prop_map(|(which, local, domain)| (which, local.to_owned(), domain.to_owned()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_spelling_of_an_address_is_the_same_account(
        (which, local_part, domain) in writing(),
        route in select(&["", "@relay.example:", "@a.example,@b.example:"][..]),
        tag in select(&["", "+news"][..]),
    ) {
        let accounts = closed();
        let (local_parts, domains) = PARTS[which];
        let expected = name(&format!("{}@{}", local_parts[0], domains[0]));

        let login = user(&accounts, &format!("{local_part}@{domain}"));
        prop_assert_eq!(login.as_ref().and_then(Login::mailbox), Some(&expected));
        let login = login.unwrap();

        let tagged = match local_part.strip_suffix('"') {
            Some(open) => format!("{open}{tag}\""),
            None => format!("{local_part}{tag}"),
        };
        let path = format!("<{route}{tagged}@{domain}>");
        let host = Domain::localhost();
        let (forward_path, _) = parse_forward_path(&path, Charset::Utf8, &host).unwrap();
        prop_assert_eq!(recipient(&accounts, &forward_path), Some(expected));
        let (reverse_path, _) = parse_reverse_path(&path, Charset::Utf8, &host).unwrap();
        let ReversePath::Address(sender) = reverse_path else {
            panic!("it is an address");
        };
        prop_assert!(accounts.may_send_as(&login, &sender));
        for other in OTHERS {
            let other = user(&accounts, other).unwrap();
            prop_assert!(!accounts.may_send_as(&other, &sender), "{:?}", other);
        }
    }

    #[test]
    fn invisible_characters_are_not_allowed_in_an_address(
        (_, local_part, domain) in writing(),
        invisible in select(&INVISIBLE[..]),
        position in any::<prop::sample::Index>(),
    ) {
        let address = format!("{local_part}@{domain}");
        let places: Vec<usize> = address.char_indices().map(|(at, _)| at).collect();
        let at = places[position.index(places.len())];
        let (before, after) = address.split_at(at);
        let forged = format!("{before}{invisible}{after}");
        prop_assert!(Address::parse(&forged, Charset::Utf8).is_err(), "{:?}", forged);
        let accounts = closed();
        prop_assert!(user(&accounts, &forged).is_none(), "{:?}", forged);
    }

    #[test]
    fn there_is_one_form_of_each_local_part(text in "\\PC{0,12}|[a-hA-H\u{300}-\u{330}]{0,8}") {
        let folded = crate::mail::fold_local_part(&text);
        prop_assert_eq!(&crate::mail::fold_local_part(&folded), &folded);
        for form in crate::mail::local_part_forms(&text) {
            prop_assert_eq!(&crate::mail::fold_local_part(&form), &folded);
        }
    }
}

#[test]
fn an_address_that_only_looks_alike_is_another_one() {
    let accounts = closed();
    for other in OTHERS {
        let login = user(&accounts, other).unwrap();
        assert_eq!(login.mailbox(), Some(&name(other)));
        for (local_parts, domains) in PARTS {
            let own = format!("{}@{}", local_parts[0], domains[0]);
            let sender = Address::parse(&own, Charset::Utf8).unwrap();
            assert!(!accounts.may_send_as(&login, &sender), "{other} {own}");
        }
    }
}
