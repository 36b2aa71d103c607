//! Both modes: where addresses lead, who can log in, and that nobody learns who exists.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::mail::Charset;

fn accounts(domains: &[&str]) -> Accounts {
    let domain = |text: &str| Domain::parse(text, Charset::Utf8).unwrap();
    Accounts::open(&Settings {
        hostname: domain("localhost"),
        domains: domains.iter().map(|text| domain(text)).collect(),
        subaddress: Some('+'),
    })
}

fn resolve(accounts: &Accounts, address: &str, existing: &[&str]) -> String {
    let path = match address {
        "postmaster" => ForwardPath::Postmaster,
        _ => ForwardPath::Address(Address::parse(address, Charset::Utf8).unwrap()),
    };
    let exists =
        |mailbox: &MailboxName| Ok::<_, ()>(existing.contains(&mailbox.to_string().as_str()));
    match accounts.resolve(&path, exists).unwrap() {
        Resolution::Mailbox(mailbox) => mailbox.to_string(),
        Resolution::NotLocal => "not local".to_owned(),
        Resolution::Unknown => "unknown".to_owned(),
    }
}

#[test]
fn an_address_leads_to_its_canonical_mailbox() {
    let open = accounts(&[]);
    for (address, expected) in [
        ("Bob@Example.COM", "bob@example.com"),
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("postmaster", "postmaster@localhost"),
        ("bob+news@example.com", "bob@example.com"),
        ("bob+a+b@example.com", "bob@example.com"),
        ("+news@example.com", "+news@example.com"),
    ] {
        assert_eq!(resolve(&open, address, &[]), expected, "{address}");
    }
}

#[test]
fn a_mailbox_with_the_literal_name_wins_over_the_sub_address() {
    let open = accounts(&[]);
    let existing = ["bob+news@example.com"];
    assert_eq!(
        resolve(&open, "bob+news@example.com", &existing),
        "bob+news@example.com"
    );
    assert_eq!(
        resolve(&open, "bob+other@example.com", &existing),
        "bob@example.com"
    );
}

#[test]
fn only_local_domains_and_the_postmaster_are_accepted_when_domains_are_listed() {
    let listed = accounts(&["example.com", "bücher.example"]);
    for (address, expected) in [
        ("bob@EXAMPLE.com", "bob@example.com"),
        ("bob@xn--bcher-kva.example", "bob@xn--bcher-kva.example"),
        ("bob@example.net", "not local"),
        ("bob@localhost", "not local"),
        ("postmaster", "postmaster@example.com"),
        ("Postmaster@localhost", "postmaster@localhost"),
    ] {
        assert_eq!(resolve(&listed, address, &[]), expected, "{address}");
    }
}

/// Written as one character or as two, a letter means one mailbox; a mailbox that was created in
/// another form is found.
#[test]
fn a_composed_and_a_decomposed_letter_are_one_mailbox() {
    let (composed, decomposed) = ("zo\u{eb}@example.com", "zoe\u{308}@example.com");
    let (to_composed, to_decomposed) = (
        [(composed, composed), (decomposed, composed)],
        [(composed, decomposed), (decomposed, decomposed)],
    );
    let both = [(composed, composed), (decomposed, decomposed)];
    let open = accounts(&[]);
    for (existing, expected) in [
        (&[][..], to_composed),
        (&[composed], to_composed),
        (&[decomposed], to_decomposed),
        (&[composed, decomposed], both),
    ] {
        for (address, mailbox) in expected {
            assert_eq!(
                resolve(&open, address, existing),
                mailbox,
                "{address:?} {existing:?}"
            );
            let with_subaddress = address.replace('@', "+news@");
            let found = resolve(&open, &with_subaddress, existing);
            assert_eq!(found, mailbox, "{with_subaddress:?} {existing:?}");
        }
    }
    for name in [composed, decomposed] {
        let closed = closed(table(&[name]));
        for (address, mailbox) in to_composed {
            assert_eq!(resolve(&closed, address, &[]), mailbox);
            assert!(matches!(
                verify(&closed, address, "pencil"),
                Verdict::Accepted(_)
            ));
        }
        for (address, mailbox) in to_decomposed {
            assert_eq!(resolve(&closed, address, &[decomposed]), mailbox);
        }
        for local_part in ["zo\u{eb}", "zoe\u{308}", "ZOe\u{308}"] {
            assert!(matches!(
                verify(&closed, local_part, "pencil"),
                Verdict::Accepted(_)
            ));
        }
    }
    let mut one = table(&[composed]);
    let two = account(decomposed, password::tests::cheap("x"), None);
    assert_eq!(one.add(two), Err(TableError::Account(mailbox(composed))));
}

#[test]
fn a_user_name_is_an_address_or_a_local_part() {
    let open = accounts(&[]);
    assert_eq!(open.user("Bob"), UserName::LocalPart("Bob".to_owned()));
    assert!(matches!(open.user("bob@example.com"), UserName::Address(_)));
    assert_eq!(open.user("<bob@example.com>"), open.user("bob@example.com"));
    assert_eq!(open.user("bob@@example.com"), UserName::Unknown);
    assert!(matches!(
        open.user("b..ob.@example.com"),
        UserName::Address(_)
    ));
    assert_eq!(
        open.user("b..ob.@example.com"),
        open.user("\"b..ob.\"@example.com")
    );
}

fn mailbox(text: &str) -> MailboxName {
    MailboxName::from_address(&Address::parse(text, Charset::Utf8).unwrap()).unwrap()
}

fn account(name: &str, hash: PasswordHash, scram: Option<ScramSecret>) -> Account {
    Account {
        mailbox: mailbox(name),
        password: StoredPassword { hash, scram },
        send_as: SendAs::default(),
    }
}

/// A table of accounts whose passwords are all "pencil".
fn table(accounts: &[&str]) -> Table {
    let mut table = Table::default();
    for name in accounts {
        let scram = Some(scram::tests::pencil());
        let account = account(name, password::tests::cheap("pencil"), scram);
        table.add(account).unwrap();
    }
    table
}

fn closed(table: Table) -> Accounts {
    let domain = |text: &str| Domain::parse(text, Charset::Utf8).unwrap();
    let settings = Settings {
        hostname: domain("mail.example.com"),
        domains: vec![domain("example.org")],
        subaddress: Some('+'),
    };
    Accounts::closed(&settings, table, NonZeroUsize::MIN)
}

/// Verifies the password of a stranger.
fn verify(accounts: &Accounts, user: &str, password: &str) -> Verdict {
    let peer = [192, 0, 2, 1].into();
    let stranger = (peer, Standing::Stranger);
    accounts.verify(&credentials(user, password), stranger, || true)
}

fn credentials(user: &str, password: &str) -> Credentials {
    Credentials {
        user: user.to_owned(),
        password: Secret::new(password.to_owned()),
    }
}

#[test]
fn an_address_leads_to_its_account_or_to_nobody() {
    const BOB: &str = "bob@example.com";
    const ALICE: &str = "alice@example.com";
    let mut table = table(&["bob@example.com", "alice@example.com", "x+y@example.com"]);
    let bob = mailbox("bob@example.com");
    for alias in [
        "robert@example.com",
        "bob@bücher.example",
        "alice+bob@example.com",
    ] {
        table.add_alias(&mailbox(alias), &bob).unwrap();
    }
    let plain = closed(table.clone());
    let alice = mailbox("alice@example.com");
    table.set_abuse(&alice).unwrap();
    table
        .set_catch_all(CatchAll::Domain("example.com".to_owned()), &alice)
        .unwrap();
    table
        .set_catch_all(CatchAll::Domain("example.info".to_owned()), &alice)
        .unwrap();
    let caught = closed(table.clone());
    table.set_postmaster(&alice).unwrap();
    table.set_catch_all(CatchAll::AllDomains, &bob).unwrap();
    let all = closed(table);
    for (address, expected) in [
        ("BOB@Example.com", [BOB; 3]),
        ("bob+news@example.com", [BOB; 3]),
        ("Robert@example.com", [BOB; 3]),
        ("robert+news@example.com", [BOB; 3]),
        ("bob@xn--bcher-kva.example", [BOB; 3]),
        ("alice+bob@example.com", [BOB; 3]),
        ("alice+news@example.com", [ALICE; 3]),
        ("x+y@example.com", ["x+y@example.com"; 3]),
        ("x@example.com", ["unknown", ALICE, ALICE]),
        ("x+z@example.com", ["unknown", ALICE, ALICE]),
        ("x@bücher.example", ["unknown", "unknown", BOB]),
        ("x@example.org", ["unknown", "unknown", BOB]),
        ("x@example.info", ["not local", ALICE, ALICE]),
        ("x@example.net", ["not local"; 3]),
        ("bob@mail.example.com", ["not local"; 3]),
        ("postmaster", [BOB, BOB, ALICE]),
        ("Postmaster@example.com", [BOB, BOB, ALICE]),
        ("postmaster@example.org", [BOB, BOB, ALICE]),
        ("postmaster@mail.example.com", [BOB, BOB, ALICE]),
        ("postmaster@example.net", ["not local"; 3]),
        ("abuse@example.org", [BOB, ALICE, ALICE]),
        ("abuse@mail.example.com", ["not local"; 3]),
    ] {
        for (accounts, expected) in [&plain, &caught, &all].into_iter().zip(expected) {
            assert_eq!(resolve(accounts, address, &[]), expected, "{address}");
        }
    }
}

#[test]
fn an_account_named_postmaster_has_its_own_mail() {
    let mut table = table(&["bob@example.com", "postmaster@example.com"]);
    let abuse = mailbox("abuse@example.org");
    table
        .add_alias(&abuse, &mailbox("postmaster@example.com"))
        .unwrap();
    let closed = closed(table);
    for (address, expected) in [
        ("postmaster@example.com", "postmaster@example.com"),
        ("postmaster@example.org", "bob@example.com"),
        ("abuse@example.org", "postmaster@example.com"),
        ("abuse@example.com", "bob@example.com"),
    ] {
        assert_eq!(resolve(&closed, address, &[]), expected, "{address}");
    }
}

#[test]
fn a_name_can_be_used_only_once() {
    let mut table = table(&["bob@example.com"]);
    let bob = mailbox("bob@example.com");
    let robert = mailbox("robert@example.com");
    table.add_alias(&robert, &bob).unwrap();
    let before = table.clone();
    let account = |name: &str| account(name, password::tests::cheap("x"), None);
    assert_eq!(
        table.add(account("BOB@example.com")),
        Err(TableError::Account(bob.clone()))
    );
    assert_eq!(
        table.add(account("robert@example.com")),
        Err(TableError::AliasOf(bob.clone()))
    );
    assert_eq!(
        table.add_alias(&robert, &bob),
        Err(TableError::AliasOf(bob.clone()))
    );
    assert_eq!(
        table.add_alias(&bob, &bob),
        Err(TableError::Account(bob.clone()))
    );
    // An alias is not an account.
    let missing = || Err(TableError::NoAccount(robert.clone()));
    assert_eq!(
        table.add_alias(&mailbox("r@example.com"), &robert),
        missing()
    );
    assert_eq!(table.set_postmaster(&robert), missing());
    assert_eq!(table.set_abuse(&robert), missing());
    assert_eq!(
        table.set_catch_all(CatchAll::AllDomains, &robert),
        missing()
    );
    assert_eq!(table, before, "what was refused has changed nothing");
}

#[test]
fn a_user_is_an_address_or_the_only_local_part() {
    let mut table = table(&["bob@example.com", "eve@example.com", "eve@example.org"]);
    let bob = mailbox("bob@example.com");
    table
        .add_alias(&mailbox("robert@example.com"), &bob)
        .unwrap();
    let closed = closed(table);
    let refused = || None;
    let accepted = |name: &str| Some(mailbox(name));
    for (user, expected) in [
        ("bob@example.com", accepted("bob@example.com")),
        ("Bob@EXAMPLE.com", accepted("bob@example.com")),
        ("\"bob\"@example.com", accepted("bob@example.com")),
        ("bob", accepted("bob@example.com")),
        ("BOB", accepted("bob@example.com")),
        ("eve@example.org", accepted("eve@example.org")),
        ("eve", refused()), // two accounts have it
        ("robert", refused()),
        ("robert@example.com", refused()),
        ("bob+news@example.com", refused()),
        ("bob@example.org", refused()),
        ("bob@", refused()),
        ("", refused()),
    ] {
        let mailbox_of = |login: Login| login.mailbox().cloned();
        let accepted = match verify(&closed, user, "pencil") {
            Verdict::Accepted(login) => mailbox_of(login),
            Verdict::Refused | Verdict::Busy => None,
        };
        assert_eq!(accepted, expected, "{user}");
        let verdict = verify(&closed, user, "Pencil");
        assert_eq!(verdict, Verdict::Refused, "{user}");
        let proof = scram::tests::key("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let proven = closed.verify_proof(user, scram::tests::AUTH_MESSAGE.as_bytes(), &proof);
        let login = proven.and_then(|(_, login)| mailbox_of(login));
        assert_eq!(login, expected, "{user}");
    }
}

/// SEC-11: the work is counted, because time would depend on the machine.
#[test]
fn a_user_who_does_not_exist_is_as_much_work_as_one_who_does() {
    let strong = Cost {
        memory_kib: 16,
        passes: 2,
        lanes: 1,
    };
    let hash = PasswordHash::create(&Secret::new("pencil".to_owned()), strong, b"somesalt");
    let mut table = table(&["bob@example.com"]);
    let hash = hash.unwrap();
    table
        .add(account(
            "alice@example.com",
            hash,
            Some(scram::tests::pencil()),
        ))
        .unwrap();
    let closed = closed(table);
    let work = |user: &str, password: &str| {
        password::tests::COMPUTED.take();
        scram::tests::SIGNED.set(0);
        drop(verify(&closed, user, password));
        closed.scram_parameters(user);
        drop(closed.verify_proof(user, b"message", &[0; 32]));
        (password::tests::COMPUTED.take(), scram::tests::SIGNED.get())
    };
    let expected = work("alice@example.com", "pencil");
    assert_eq!(expected.0, [strong]);
    assert_eq!(work("alice@example.com", "wrong"), expected);
    for user in [
        "eve@example.com",
        "x@example.net",
        "@",
        "eve@",
        "bob@@example.com",
    ] {
        assert_eq!(work(user, "pencil"), expected, "{user}");
    }
    let expected = work("alice", "pencil");
    assert_eq!(expected.0, [strong]);
    for user in ["eve", "alice+news", ""] {
        assert_eq!(work(user, "pencil"), expected, "{user}");
    }
}

/// SEC-11.
#[test]
fn scram_parameters_do_not_reveal_who_exists() {
    let accounts = || {
        closed(table(&[
            "bob@example.com",
            "eve@example.com",
            "eve@example.org",
        ]))
    };
    let closed = accounts();
    assert!(closed.offers_scram());
    let parameters = |user: &str| closed.scram_parameters(user);
    let mut salts = std::collections::HashSet::new();
    for user in [
        "bob@example.com",
        "zed@example.com",
        "zed@example.org",
        "x@example.net",
    ] {
        let (salt, iterations) = parameters(user);
        assert_eq!((salt.len(), iterations), (16, 4_096), "{user}");
        assert_eq!(parameters(user), parameters(&user.to_uppercase()), "{user}");
        assert_eq!(
            parameters(user),
            accounts().scram_parameters(user),
            "{user}"
        );
        assert!(salts.insert(salt), "{user} has the salt of another");
    }
    // A local part by itself has the salt of an address, whether that exists or not.
    assert_eq!(parameters("bob"), parameters("bob@example.com"));
    for local_part in ["zed", "eve", "mallory", "trent"] {
        let full = ["example.com", "example.org"].map(|domain| {
            let user = format!("{local_part}@{domain}");
            parameters(&user)
        });
        assert!(full.contains(&parameters(local_part)), "{local_part}");
    }
    // Invalid names do not cause a panic.
    for user in ["", "@", "a@", "@a", "\"", "\u{0}", "é"] {
        assert_eq!(parameters(user).1, 4_096, "{user:?}");
    }
}

#[test]
fn scram_is_offered_when_all_have_a_secret_for_it() {
    assert!(!accounts(&[]).offers_scram());
    assert_eq!(accounts(&[]).scram_parameters("bob"), (vec![], 0));
    assert!(!closed(Table::default()).offers_scram());
    let mut table = table(&["bob@example.com"]);
    table
        .add(account(
            "eve@example.com",
            password::tests::cheap("x"),
            None,
        ))
        .unwrap();
    let closed = closed(table);
    assert!(!closed.offers_scram());
    assert_eq!(closed.verify_proof("eve@example.com", b"", &[0; 32]), None);
}

#[test]
fn a_user_may_send_from_addresses_that_lead_to_it_or_that_it_was_given() {
    let mut table = table(&["bob@example.com", "alice@example.com"]);
    let bob = mailbox("bob@example.com");
    table
        .add_alias(&mailbox("robert@example.com"), &bob)
        .unwrap();
    table
        .add_alias(&mailbox("alice+bob@example.com"), &bob)
        .unwrap();
    table.set_catch_all(CatchAll::AllDomains, &bob).unwrap();
    let mut eve = account("eve@example.com", password::tests::cheap("x"), None);
    let shared = ["list@example.net", "alice@example.com"].map(mailbox);
    eve.send_as = SendAs::Addresses(shared.to_vec());
    table.add(eve).unwrap();
    let mut robot = account("robot@example.com", password::tests::cheap("x"), None);
    robot.send_as = SendAs::Anyone;
    table.add(robot).unwrap();
    let closed = closed(table);
    let login = |user: &str| {
        let mailbox = MailboxName::from_canonical(user, "example.com");
        let account = account(
            &mailbox.unwrap().to_string(),
            password::tests::cheap("x"),
            None,
        );
        Login::Account(Grant::of(&account, 0))
    };
    for (user, address, expected) in [
        ("bob", "Bob@Example.com", true),
        ("bob", "bob+news@example.com", true),
        ("bob", "robert@example.com", true),
        ("bob", "robert+x@example.com", true),
        ("bob", "alice+bob@example.com", true),
        ("bob", "postmaster@example.com", true),
        ("bob", "alice@example.com", false),
        ("bob", "alice+news@example.com", false),
        ("bob", "anybody@example.com", false), // only by a catch-all
        ("bob", "postmaster@example.org", true),
        ("bob", "postmaster@mail.example.com", true),
        ("bob", "postmaster@example.net", false), // not local
        ("bob", "abuse@example.net", false),
        ("alice", "alice+bob@example.com", false),
        ("alice", "postmaster@example.com", false),
        ("eve", "list@example.net", true),
        ("eve", "List+x@example.net", true),
        ("eve", "alice+news@example.com", true),
        ("eve", "alice+bob@example.com", false), // that is bob's
        ("eve", "bob@example.com", false),
        ("eve", "other@example.net", false),
        ("robot", "bob@example.net", true),
        ("nobody", "bob@example.com", false),
    ] {
        let address = Address::parse(address, Charset::Utf8).unwrap();
        assert_eq!(
            closed.may_send_as(&login(user), &address),
            expected,
            "{user} {address}"
        );
    }
    let address = Address::parse("bob@example.com", Charset::Utf8).unwrap();
    assert!(accounts(&[]).may_send_as(&Login::Anyone, &address));
}

/// SEC-11.
#[test]
fn a_login_that_finds_all_turns_taken_gets_busy() {
    let mut closed = closed(table(&["bob@example.com"]));
    let Mode::Closed { turnstile, .. } = &mut closed.mode else {
        panic!("it is closed");
    };
    let patience = std::time::Duration::from_millis(1);
    **turnstile = Turnstile::new(NonZeroUsize::MIN, patience);
    let Mode::Closed { turnstile, .. } = &closed.mode else {
        panic!("it is closed");
    };
    let pass = turnstile.enter(Network::LOOPBACK, Standing::Stranger);
    let pass = pass.unwrap();
    let verify = |user| verify(&closed, user, "pencil");
    assert_eq!(verify("bob"), Verdict::Busy);
    assert_eq!(verify("nobody"), Verdict::Busy);
    drop(pass);
    assert!(matches!(verify("bob"), Verdict::Accepted(_)));
}

#[test]
fn new_accounts_replace_the_old_ones() {
    let closed = closed(table(&["bob@example.com"]));
    let old = closed.table().unwrap();
    let new = table(&["alice@example.net"]);
    closed.replace(new, NonZeroUsize::MIN).unwrap();
    assert_eq!(resolve(&closed, "bob@example.com", &[]), "not local");
    assert_eq!(
        resolve(&closed, "alice@example.net", &[]),
        "alice@example.net"
    );
    assert_eq!(verify(&closed, "bob", "pencil"), Verdict::Refused);
    assert_eq!(
        old.accounts().len(),
        1,
        "a login with the old table can finish"
    );
    assert_eq!(
        accounts(&[]).replace(Table::default(), NonZeroUsize::MIN),
        Err(OpenMode)
    );
}

/// A login by any mechanism becomes invalid when the account is removed or has another password,
/// and stays valid whatever happens to others.
#[test]
fn a_login_is_valid_as_long_as_the_account_and_its_password() {
    let replace = |accounts: &Accounts, table| accounts.replace(table, NonZeroUsize::MIN).unwrap();
    let proof = scram::tests::key("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    let message = scram::tests::AUTH_MESSAGE.as_bytes();
    let logins = |closed: &Accounts| {
        let Verdict::Accepted(by_password) = verify(closed, "bob", "pencil") else {
            panic!("it is right");
        };
        let (_, by_proof) = closed.verify_proof("bob", message, &proof).unwrap();
        [by_password, by_proof]
    };
    let before = table(&["bob@example.com", "alice@example.com"]);
    let mut other_password = table(&["alice@example.com"]);
    let hash = password::tests::cheap("another");
    let changed = account("bob@example.com", hash, Some(scram::tests::pencil()));
    other_password.add(changed).unwrap();
    let mut other_hash = table(&["alice@example.com"]);
    let scramless = account("bob@example.com", password::tests::cheap("pencil"), None);
    other_hash.add(scramless).unwrap();
    for (after, holds) in [
        (before.clone(), true),
        (table(&["bob@example.com", "eve@example.com"]), true),
        (table(&["alice@example.com"]), false),
        (table(&["bob@example.net"]), false),
        (other_password, false),
        (other_hash, false),
    ] {
        let closed = closed(before.clone());
        for mut login in logins(&closed) {
            assert!(closed.still_holds(&mut login));
            replace(&closed, after.clone());
            assert_eq!(closed.still_holds(&mut login), holds);
            // A second check finds the same, even after another identical replacement.
            replace(&closed, after.clone());
            assert_eq!(closed.still_holds(&mut login), holds);
            replace(&closed, before.clone());
        }
    }
    let open = accounts(&[]);
    assert!(open.still_holds(&mut Login::Anyone));
}

/// A login verified against the previous table must not count as one of the new table.
#[test]
fn a_login_that_ends_during_a_change_is_not_valid() {
    let closed = closed(table(&["bob@example.com"]));
    let replaced = |login: &mut Login| {
        let new = table(&["alice@example.com"]);
        closed.replace(new, NonZeroUsize::MIN).unwrap();
        closed.still_holds(login)
    };
    let here = (IpAddr::from([127, 0, 0, 1]), Standing::Stranger);
    let verdict = closed.verify(&credentials("bob", "pencil"), here, || {
        let new = table(&["bob@example.com"]);
        closed.replace(new, NonZeroUsize::MIN).unwrap();
        true
    });
    let Verdict::Accepted(mut login) = verdict else {
        panic!("it is right");
    };
    assert!(!replaced(&mut login));
}

#[test]
fn the_line_to_paste_verifies_the_password() {
    let line = |password: &str, secrets| {
        line_of(
            &Secret::new(password.to_owned()),
            secrets,
            password::tests::CHEAP,
        )
    };
    let texts = |line: &str| -> Vec<String> {
        let quoted = line.strip_prefix("password = ").unwrap().split('"');
        quoted.skip(1).step_by(2).map(str::to_owned).collect()
    };
    let plain = line("pencil", Secrets::Hash).unwrap();
    assert!(
        plain.starts_with("password = \"$argon2id$v=19$m=8,t=1,p=1$"),
        "{plain}"
    );
    let stored = StoredPassword::parse(&texts(&plain)).unwrap();
    assert_eq!(
        stored.hash.verify(&password::tests::secret("pencil")),
        Ok(true)
    );
    assert_eq!(stored.scram, None);
    let both = line("pencil", Secrets::HashAndScram).unwrap();
    assert!(
        both.starts_with("password = [\"$argon2id$") && both.ends_with("\"]"),
        "{both}"
    );
    let stored = StoredPassword::parse(&texts(&both)).unwrap();
    let (salt, iterations) = stored.scram.unwrap().parameters();
    assert_eq!((salt.len(), iterations), (16, limits::SCRAM_ITERATIONS));
    assert_ne!(
        line("pencil", Secrets::Hash),
        line("pencil", Secrets::Hash),
        "the salt is new"
    );
    for (password, secrets, expected) in [
        ("", Secrets::Hash, HashingError::Empty),
        ("a\tb", Secrets::Hash, HashingError::Control),
        ("a\0", Secrets::HashAndScram, HashingError::Control),
        ("pässword", Secrets::HashAndScram, HashingError::NotAscii),
    ] {
        assert_eq!(line(password, secrets), Err(expected), "{password:?}");
    }
    assert!(line("pässword with spaces", Secrets::Hash).is_ok());
}

#[test]
fn nothing_that_is_stored_is_shown() {
    let closed = closed(table(&["bob@example.com"]));
    let shown = format!("{closed:?}");
    assert!(shown.contains("bob"), "{shown}");
    // The salt of the hash represents everything beside it.
    let octets = format!("{:?}", b"somesalt");
    assert!(!shown.contains(octets.trim_matches(['[', ']'])), "{shown}");
}

/// Resolution with a list that is read from its beginning, once for each rule.
struct Naive {
    accounts: Vec<String>,
    aliases: Vec<(String, String)>,
    catch_all: Vec<(String, String)>,
}

impl Naive {
    fn resolve(&self, local_part: &str, domain: &str) -> String {
        let is_local = domain == "example.org"
            || self
                .accounts
                .iter()
                .any(|name| name.ends_with(&format!("@{domain}")))
            || self
                .aliases
                .iter()
                .any(|(name, _)| name.ends_with(&format!("@{domain}")))
            || self.catch_all.iter().any(|(name, _)| name == domain);
        if !is_local {
            return "not local".to_owned();
        }
        let base = match local_part.split_once('+') {
            Some(("", _)) | None => local_part,
            Some((base, _)) => base,
        };
        for part in [local_part, base] {
            let name = format!("{part}@{domain}");
            if self.accounts.contains(&name) {
                return name;
            }
            if let Some((_, account)) = self.aliases.iter().find(|(alias, _)| *alias == name) {
                return account.clone();
            }
        }
        if local_part == "postmaster" || local_part == "abuse" {
            return self.accounts[0].clone();
        }
        for which in [domain, "*"] {
            if let Some((_, account)) = self.catch_all.iter().find(|(name, _)| name == which) {
                return account.clone();
            }
        }
        "unknown".to_owned()
    }
}

const LOCAL_PARTS: &[&str] = &[
    "a",
    "b",
    "a+b",
    "b+a",
    "+a",
    "postmaster",
    "abuse",
    "abuse+a",
];
const DOMAINS: &[&str] = &["x.example", "y.example", "example.org", "z.example"];

proptest! {
    #[test]
    fn the_table_resolves_like_a_list(
        names in vec((select(LOCAL_PARTS), select(DOMAINS)), 1..4),
        aliases in vec((select(LOCAL_PARTS), select(DOMAINS), any::<Index>()), 0..4),
        catch_all in vec((option::of(select(DOMAINS)), any::<Index>()), 0..3),
    ) {
        let mut table = Table::default();
        let mut naive = Naive { accounts: vec![], aliases: vec![], catch_all: vec![] };
        for (local_part, domain) in names {
            let name = format!("{local_part}@{domain}");
            if table.add(account(&name, PasswordHash::dummy(None), None)).is_ok() {
                naive.accounts.push(name);
            }
        }
        for (local_part, domain, index) in aliases {
            let (name, owner) = (format!("{local_part}@{domain}"), index.get(&naive.accounts));
            if table.add_alias(&mailbox(&name), &mailbox(owner)).is_ok() {
                naive.aliases.push((name, owner.clone()));
            }
        }
        for (domain, index) in catch_all {
            let owner = index.get(&naive.accounts);
            let which = domain.map_or(CatchAll::AllDomains, |domain| {
                CatchAll::Domain(domain.to_owned())
            });
            if table.set_catch_all(which, &mailbox(owner)).is_ok() {
                naive.catch_all.insert(0, (domain.unwrap_or("*").to_owned(), owner.clone()));
            }
        }
        let closed = closed(table);
        for local_part in LOCAL_PARTS {
            for domain in DOMAINS {
                let address = format!("{local_part}@{domain}");
                let expected = naive.resolve(local_part, domain);
                prop_assert_eq!(resolve(&closed, &address, &[]), expected, "{}", address);
            }
        }
    }
}
