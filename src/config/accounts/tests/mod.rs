//! Every way of writing accounts is read; a mistake is reported with file, line and account.
#![expect(clippy::disallowed_methods, reason = "tests make their own files")]

use super::*;
use crate::config::Config;

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(Path::new("facteur.toml"), text)
}

/// Parses `text` and returns the error that the user would read.
fn complaint(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// A hash of the lowest possible cost.
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$\
                    pDWL6CL2u3TVMyYEQ2BHhN1IHwZ8s0kZzqXbUmBV1nY";

const SCRAM: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                     WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                     wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

/// An account with this name.
fn account(address: &str) -> String {
    format!("[[accounts]]\naddress = \"{address}\"\npassword = \"{HASH}\"\n")
}

fn table(text: &str) -> Table {
    parse(text).unwrap().table.unwrap()
}

#[test]
fn without_accounts_there_is_no_table() {
    assert_eq!(parse("accounts = \"off\"").unwrap().table, None);
}

#[test]
fn accounts_are_read_from_the_configuration() {
    let text = format!(
        "postmaster = \"alice@example.com\"\nabuse = \"bob@example.com\"\n\
         catch_all.\"*\" = \"bob@example.com\"\n{}\
         aliases = [\"robert@example.com\", \"bob@bücher.example\"]\n{}\
         send_as = [\"list@example.com\"]\n{}send_as = [\"*\"]\n",
        account("Bob@example.com"),
        account("alice@example.com").replace('\n', "\n\n"),
        account("robot@example.com"),
    );
    let table = table(&text);
    let names = table.accounts().iter().map(|a| a.mailbox.to_string());
    let names: Vec<String> = names.collect();
    assert_eq!(
        names,
        ["bob@example.com", "alice@example.com", "robot@example.com"]
    );
    let send_as = |n: usize| table.accounts()[n].send_as.clone();
    assert_eq!(send_as(0), SendAs::default());
    assert!(matches!(send_as(1), SendAs::Addresses(list) if list.len() == 1));
    assert_eq!(send_as(2), SendAs::Anyone);
    // All ways of writing it mean the same.
    let inline = format!(
        "accounts = [{{ address = \"bob@example.com\", password = [\"{HASH}\", '{SCRAM}'] }}]"
    );
    let tables = format!(
        "[[accounts]]\naddress = 'bob@example.com'\npassword = [\n'{SCRAM}',\n'{HASH}',\n]\n"
    );
    assert_eq!(
        table_of_file(&inline),
        parse(&tables).unwrap().table.unwrap()
    );
    assert_eq!(parse(&inline).unwrap().table, parse(&tables).unwrap().table);
}

/// The table of a configuration that names a file with this text.
fn table_of_file(text: &str) -> Table {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("conf")).unwrap();
    std::fs::write(directory.path().join("conf/accounts.toml"), text).unwrap();
    let path = directory.path().join("facteur.toml");
    let config = Config::parse(&path, "accounts = \"conf/accounts.toml\"").unwrap();
    config.table.unwrap()
}

/// The error for an accounts file with this text, without the path.
fn complaint_of_file(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("accounts.toml");
    std::fs::write(&file, text).unwrap();
    let path = directory.path().join("facteur.toml");
    let error = Config::parse(&path, "accounts = \"accounts.toml\"").unwrap_err();
    let error = error.to_string();
    let path = format!("{}:", file.display());
    error
        .strip_prefix(&path)
        .expect("the error begins with the path of the file")
        .to_owned()
}

#[test]
fn an_accounts_file_has_the_same_keys() {
    let text = format!(
        "postmaster = \"alice@example.com\"\nabuse = \"bob@example.com\"\n\
         catch_all = {{ \"example.net\" = \"bob@example.com\" }}\n{}{}",
        account("bob@example.com"),
        account("alice@example.com")
    );
    assert_eq!(table_of_file(&text), table(&text));
    assert_ne!(
        table_of_file(&text),
        table(&text.replace("example.net", "example.info"))
    );
}

/// A text after an account bob@example.com of three lines, the expected place, and a part of the
/// reason.
const WRONG_ACCOUNTS: &[(&str, &str, &str)] = &[
    (
        "hash = 1",
        "4: accounts.hash of bob@example.com",
        "unknown field `hash`",
    ),
    (
        "aliases = \"x@y\"",
        "4: accounts.aliases of bob@example.com",
        "a list of addresses",
    ),
    (
        "aliases = [\n\n\"x\"]",
        "4: accounts.aliases of bob@example.com",
        "\"x\" is not an address",
    ),
    (
        "aliases = [\n\"x@example.com\",\n\"Bob@example.com\"]",
        "6: accounts.aliases of bob@example.com",
        "there is already an account bob@example.com",
    ),
    (
        "aliases = [\"x@example.com\",\n\"x@example.com\"]",
        "5: accounts.aliases of bob@example.com",
        "already an alias of bob@example.com",
    ),
    (
        "send_as = [\"list\"]",
        "4: accounts.send_as of bob@example.com",
        "\"list\" is not an address",
    ),
    (
        "[[accounts]]\naddress = \"eve\"",
        "5: accounts.address",
        "\"eve\" is not an address",
    ),
    (
        "[[accounts]]\naddress = \"\\\"\\\"@a.b\"",
        "5: accounts.address",
        "is not an address",
    ),
    (
        "[[accounts]]\n\naddress = \"eve@example.com\"",
        "4: accounts of eve@example.com",
        "missing field `password`",
    ),
    (
        "[[accounts]]\npassword = \"hunter2\"",
        "5: accounts.password",
        "not an argon2id hash",
    ),
    (
        "[[accounts]]\npassword = \"hunter2\"\naddress = \"eve@example.com\"",
        "5: accounts.password of eve@example.com",
        "run `facteur hash-password`",
    ),
    (
        "[[accounts]]\naddress = \"eve@example.com\"\npassword = 31337",
        "6: accounts.password of eve@example.com",
        "not a string in quotes",
    ),
    (
        "[[accounts]]\naddress = \"eve@example.com\"\npassword = [\n31337.5]",
        "7: accounts of eve@example.com",
        "not a string in quotes",
    ),
    (
        "[[accounts]]\naddress = \"eve@example.com\"\npassword = [[\"hunter2\"]]",
        "6: accounts.password of eve@example.com",
        "not a string in quotes",
    ),
    (
        "[[accounts]]\naddress = \"eve@example.com\"\npassword = { a = \"hunter2\" }",
        "6: accounts.password of eve@example.com",
        "not a string in quotes",
    ),
    (
        "[[accounts]]\naddress = \"eve@example.com\"\npassword = hunter2",
        "6: accounts.password of eve@example.com",
        "quoted",
    ),
    (
        "[[accounts]]\naddress = \"eve@example.com\"\npassword = []",
        "6: accounts.password of eve@example.com",
        "an argon2id hash is missing",
    ),
    (
        "[[accounts]]\naddress = \"eve@example.com\"\n\
         password = \"$argon2id$v=19$m=999999,t=1,p=1$c29tZXNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng\"",
        "6: accounts.password of eve@example.com",
        "m= must be from 8 to 262144",
    ),
    (
        "[[accounts]]\naddress = \"eve@example.com\"\npassword = \"$2b$12$abcdefg\"",
        "6: accounts.password of eve@example.com",
        "a kind other than argon2id",
    ),
    (
        "[catch_all]\n\"a.b\" = \"eve@example.com\"",
        "5: catch_all.a.b",
        "not the address of an account",
    ),
    (
        "[catch_all]\n\"a..b\" = \"bob@example.com\"",
        "5: catch_all.a..b",
        "is not a domain name",
    ),
    (
        "[catch_all]\n\"*\" = \"bob\"",
        "5: catch_all.\"*\"",
        "is not an address",
    ),
    (
        "[catch_all]\n\"*\" = 5",
        "5: catch_all.\"*\"",
        "integer `5`",
    ),
];

#[test]
fn a_mistake_in_an_account_is_reported_with_file_line_and_account() {
    for (text, place, part) in WRONG_ACCOUNTS {
        let text = account("bob@example.com") + text;
        for complaint in [
            complaint(&text)
                .strip_prefix("facteur.toml:")
                .unwrap()
                .to_owned(),
            complaint_of_file(&text),
        ] {
            assert!(
                complaint.starts_with(&format!("{place}: ")),
                "{text}: {complaint}"
            );
            assert!(complaint.contains(part), "{text}: {complaint}");
            assert!(!complaint.contains('\n'), "{text}: {complaint}");
            for secret in ["hunter2", "31337"] {
                assert!(!complaint.contains(secret), "{text}: {complaint}");
            }
        }
    }
}

#[test]
fn contradictory_accounts_are_reported_with_file_and_line() {
    let bob = account("bob@example.com");
    for (text, begin, part) in [
        (String::new(), "1: ", "there is no account"),
        (
            "accounts = []".to_owned(),
            "1: accounts: ",
            "there is no account",
        ),
        (
            "accounts = \"x.toml\"".to_owned(),
            "1: accounts: ",
            "a list of [[accounts]]",
        ),
        ("smtp = []".to_owned(), "1: smtp: ", "unknown field"),
        (
            bob.clone() + &bob,
            "5: accounts.address: ",
            "there is already an account bob@example.com",
        ),
        (
            format!("postmaster = \"x@example.com\"\n{bob}"),
            "1: postmaster: ",
            "x@example.com is not the address of an account",
        ),
        (
            format!(
                "[catch_all]\n\"A.B\" = \"bob@example.com\"\n\"a.b\" = \"bob@example.com\"\n{bob}"
            ),
            "3: catch_all.a.b: ",
            "a.b already has a catch-all",
        ),
        (
            format!("\nabuse = \"bob\"\n{bob}"),
            "2: abuse: ",
            "is not an address",
        ),
        (
            format!("\nabuse = \"r@x.y\"\n{bob}aliases = [\"r@x.y\"]"),
            "2: abuse: ",
            "r@x.y is not the address of an account",
        ),
        (
            format!(
                "{bob}aliases = [\"eve@example.com\"]\n{}",
                account("eve@example.com")
            ),
            "4: accounts.aliases of bob@example.com: ",
            "there is already an account eve@example.com",
        ),
    ] {
        let complaint = complaint_of_file(&text);
        assert!(complaint.starts_with(begin), "{text}: {complaint}");
        assert!(complaint.contains(part), "{text}: {complaint}");
    }
}

#[test]
fn a_wrong_value_of_accounts_is_reported_with_its_line() {
    for (text, begin, part) in [
        (
            "mail = \"x\"\naccounts = []",
            "2: accounts: ",
            "there is no account",
        ),
        (
            "accounts = \"\"",
            "1: accounts: ",
            "the path of an accounts file",
        ),
        (
            "accounts = true",
            "1: accounts: ",
            "the path of an accounts file",
        ),
        (
            "\naccounts = \"missing.toml\"",
            "2: accounts: ",
            "cannot read missing.toml: No such file",
        ),
        // The error is one line, whatever the path.
        (
            "accounts = \"miss\\ning\"",
            "1: accounts: ",
            "cannot read miss\\ning: No such file",
        ),
        (
            "postmaster = \"bob@example.com\"",
            "1: postmaster: ",
            "it needs accounts",
        ),
        (
            "[catch_all]\n\"*\" = \"bob@example.com\"",
            "2: catch_all: ",
            "it needs accounts",
        ),
        (
            "accounts = \"x.toml\"\nabuse = \"a@b\"",
            "2: abuse: ",
            "it belongs in the file x.toml",
        ),
    ] {
        let complaint = complaint(text);
        let begin = format!("facteur.toml:{begin}");
        assert!(complaint.starts_with(&begin), "{text}: {complaint}");
        assert!(complaint.contains(part), "{text}: {complaint}");
    }
}

/// SEC-6: hashes are secrets.
#[test]
fn weak_hashes_and_a_file_that_others_can_read_cause_warnings() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("facteur.toml");
    let strong = HASH.replace("m=8,t=1", "m=19456,t=2");
    let text = account("bob@example.com") + &account("eve@example.com").replace(HASH, &strong);
    let warnings = |text: &str, mode| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Config::read(&path).unwrap().warnings
    };
    let all = warnings(&text, 0o640);
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(
        all[0].contains("facteur.toml") && all[0].contains("(mode 640)"),
        "{all:?}"
    );
    assert!(all[1].contains("bob@example.com has a low cost"), "{all:?}");
    assert!(
        all[2].contains("bob@example.com has a lower cost than others"),
        "{all:?}"
    );
    assert_eq!(warnings(&text.replace(HASH, &strong), 0o600), [""; 0]);
    // Without accounts there is no secret in the file.
    assert_eq!(warnings("", 0o644), [""; 0]);
}

/// SEC-11: a login for an unknown account takes as long as for the strongest hash.
#[test]
fn a_hash_that_takes_more_than_a_second_causes_a_warning() {
    for (cost, is_slow) in [
        ("m=19456,t=2", false),
        ("m=262144,t=7", false),
        ("m=262144,t=32", true),
    ] {
        let hash = HASH.replace("m=8,t=1", cost);
        let text = account("bob@example.com").replace(HASH, &hash);
        let found = parse(&text).unwrap().warnings;
        let is_warned = found
            .iter()
            .any(|it| it.contains("bob@example.com takes more than a second"));
        assert_eq!(is_warned, is_slow, "{cost}: {found:?}");
    }
}

#[test]
fn more_iterations_than_cyrus_sasl_accepts_cause_a_warning() {
    let strong = HASH.replace("m=8,t=1", "m=19456,t=2");
    let warnings = |iterations: &str| {
        let scram = SCRAM.replace("$4096:", iterations);
        let both = format!("[\"{strong}\", \"{scram}\"]");
        let text = account("bob@example.com").replace(&format!("\"{HASH}\""), &both);
        parse(&text).unwrap().warnings
    };
    assert_eq!(warnings("$65536:"), [""; 0]);
    let found = warnings("$65537:");
    assert_eq!(found.len(), 1, "{found:?}");
    for part in ["bob@example.com", "65536", "Cyrus SASL", "hash-password"] {
        assert!(found[0].contains(part), "{found:?}");
    }
}

/// SEC-11: SCRAM for an unknown user is answered with the parameters of the first account.
#[test]
fn scram_secrets_that_reveal_who_exists_cause_a_warning() {
    let strong = HASH.replace("m=8,t=1", "m=19456,t=2");
    let warnings = |secrets: &[&str]| {
        let accounts = secrets.iter().enumerate().map(|(number, scram)| {
            let address = format!("user{number}@example.com");
            account(&address).replace(
                &format!("\"{HASH}\""),
                &format!("[\"{strong}\", \"{scram}\"]"),
            )
        });
        parse(&accounts.collect::<String>()).unwrap().warnings
    };
    let more = SCRAM.replace("$4096:", "$8192:");
    let longer = SCRAM.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0SNY7soEsUEjb6gQAA");
    assert_eq!(warnings(&[SCRAM, SCRAM]), [""; 0]);
    for other in [&more, &longer] {
        let found = warnings(&[SCRAM, SCRAM, other]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("the SCRAM secret of user2@example.com"),
            "{found:?}"
        );
    }
}
