//! `facteur account` and the files that it changes.

#![expect(
    clippy::disallowed_methods,
    reason = "tests make their own configurations"
)]

use crate::{config, mail::Address};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap::Parser as _;

use crate::{
    commands::account,
    config::Config,
    mail::{Credentials, Secret},
};

use super::hash_password::Fed;
use super::*;

/// A directory with a configuration of this text, or without one.
struct Place {
    own: tempfile::TempDir,
    configuration: PathBuf,
    file: PathBuf,
}

impl Place {
    fn new(configuration: Option<&str>, accounts: Option<&str>) -> Self {
        let own = tempfile::tempdir().unwrap();
        let place = Self {
            configuration: own.path().join("facteur.toml"),
            file: own.path().join("accounts.toml"),
            own,
        };
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        configuration.inspect(|text| write(&place.configuration, text));
        accounts.inspect(|text| write(&place.file, text));
        place
    }

    /// Runs `facteur account` with these lines on standard input.
    fn account(&self, arguments: &[&str], typed: &[&'static [u8]]) -> Result<String, Error> {
        let mail = self.own.path().join("mail");
        let configuration = self.configuration.to_str().unwrap();
        let mut all = vec!["facteur", "--mail", mail.to_str().unwrap(), "account"];
        all.extend(arguments);
        all.extend(["--config", configuration]);
        let arguments = Arguments::try_parse_from(all).unwrap();
        let Some(Command::Account(asked)) = &arguments.command else {
            panic!("{arguments:?}");
        };
        let mut input = Fed {
            is_terminal: false,
            rest: typed.to_vec(),
            prompts: Vec::new(),
        };
        let mut output = Vec::new();
        account::run(asked, &arguments, (&RealFs, &mut input), &mut output)?;
        Ok(String::from_utf8(output).unwrap())
    }

    fn accounts(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }

    /// Whether this user can log in with this password, with the configuration as it is now.
    fn is_right(&self, user: &str, password: &str) -> bool {
        let config = Config::read(&self.configuration).unwrap();
        let table = config.table.unwrap();
        let settings = crate::accounts::Settings {
            hostname: config.hostname.0,
            domains: Vec::new(),
            subaddress: None,
        };
        let accounts =
            crate::accounts::Accounts::closed(&settings, table, std::num::NonZeroUsize::MIN);
        let credentials = Credentials {
            user: user.to_owned(),
            password: Secret::new(password.to_owned()),
        };
        let here = std::net::IpAddr::from([127, 0, 0, 1]);
        let verdict = accounts.verify(
            &credentials,
            (here, crate::accounts::Standing::Stranger),
            || true,
        );
        matches!(verdict, crate::accounts::Verdict::Accepted(_))
    }
}

#[test]
fn one_command_creates_both_files_and_the_account() {
    for configuration in [None, Some("# mine\n[limits]\nerrors = 3\n")] {
        let place = Place::new(configuration, None);
        let printed = place.account(&["add", "bob@example.com"], &[b"hunter2"]);
        let printed = printed.unwrap();
        for part in [
            "added bob@example.com to ",
            "facteur.toml now refers to that file",
            "  User name       bob@example.com\n",
            "The password is that of the account.\n",
        ] {
            assert!(printed.contains(part), "{part:?} is not in {printed}");
        }
        let config = std::fs::read_to_string(&place.configuration).unwrap();
        let kept = configuration.unwrap_or_default();
        assert_eq!(config, format!("accounts = \"accounts.toml\"\n{kept}"));
        assert!(
            place
                .accounts()
                .starts_with("[[accounts]]\naddress = \"bob@example.com\"\n")
        );
        assert!(place.is_right("bob", "hunter2") && !place.is_right("bob", "hunter3"));
        for file in [&place.configuration, &place.file] {
            let mode = std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
            let is_old = configuration.is_some() && *file == place.configuration;
            assert!(mode == 0o600 || is_old, "{mode:o}");
        }
        let mut names: Vec<_> = std::fs::read_dir(place.own.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["accounts.toml", "facteur.toml"]);
    }
}

/// Root creates the file, and the daemon then runs as another user.
#[test]
fn the_user_of_the_daemon_has_to_be_able_to_read_a_new_file() {
    let place = Place::new(Some("user = \"facteur\"\n"), None);
    let add = |address| place.account(&["add", address, "--generate"], &[]).unwrap();
    let expected = format!("read it: chown facteur {}", place.file.display());
    assert!(add("bob@example.com").contains(&expected));
    assert!(!add("al@example.com").contains(&expected));
}

#[test]
fn accounts_come_change_and_go_and_comments_stay() {
    let place = Place::new(Some("accounts = \"accounts.toml\"\n"), None);
    let comment = "# our accounts\n\n";
    std::fs::write(&place.file, comment).unwrap();
    place
        .account(&["add", "bob@example.com"], &[b"hunter2"])
        .unwrap();
    let alias = [
        "add",
        "Al@Example.com",
        "--alias",
        "alan@example.com",
        "--generate",
    ];
    let printed = place.account(&alias, &[]).unwrap();
    let generated = printed
        .lines()
        .find_map(|line| line.strip_prefix("password: "));
    let generated = generated.unwrap();
    assert_eq!(generated.len(), 23, "{generated}");
    assert!(!place.accounts().contains(generated));
    assert!(place.is_right("al", generated));
    let listed = place.account(&["list"], &[]).unwrap();
    assert_eq!(listed, "bob@example.com\nal@example.com alan@example.com\n");

    let changed = place.account(
        &["password", "BOB@example.com", "--no-scram"],
        &[b"hunter3"],
    );
    let changed = changed.unwrap();
    assert!(
        changed.starts_with("changed the password of BOB@example.com\n"),
        "{changed}"
    );
    assert!(place.is_right("bob", "hunter3") && !place.is_right("bob", "hunter2"));

    let removed = place.account(&["remove", "bob@example.com"], &[]).unwrap();
    assert!(
        removed.starts_with("removed bob@example.com; its mail is kept\n"),
        "{removed}"
    );
    let listed = place.account(&["list"], &[]).unwrap();
    assert_eq!(listed, "al@example.com alan@example.com\n");
    assert!(
        place.accounts().starts_with(comment),
        "{}",
        place.accounts()
    );
}

#[test]
fn accounts_within_the_configuration_stay_there() {
    let line = crate::accounts::hash_password(
        &Secret::new("hunter2".to_owned()),
        crate::accounts::Secrets::Hash,
    );
    let before = format!(
        "hostname = \"h.example\" # ours\n\n[[accounts]]\naddress = \"bob@example.com\"\n{}\n\n\
         [limits]\nerrors = 3\n",
        line.unwrap()
    );
    let place = Place::new(Some(&before), None);
    place
        .account(&["add", "al@example.com", "--generate"], &[])
        .unwrap();
    let text = std::fs::read_to_string(&place.configuration).unwrap();
    let (above, below) = before.split_at(before.find("\n[limits]").unwrap());
    assert!(text.starts_with(above) && text.ends_with(below), "{text}");
    assert!(!place.file.exists());
    place.account(&["remove", "al@example.com"], &[]).unwrap();
    assert_eq!(
        std::fs::read_to_string(&place.configuration).unwrap(),
        before
    );
}

/// A refused change leaves the files as they were.
#[test]
fn nothing_is_written_that_a_start_would_refuse() {
    let named = "accounts = \"accounts.toml\"\n";
    let place = Place::new(Some(named), None);
    let bob = [
        "add",
        "bob@example.com",
        "--alias",
        "rob@example.com",
        "--generate",
    ];
    place.account(&bob, &[]).unwrap();
    place
        .account(&["add", "zed@example.com", "--generate"], &[])
        .unwrap();
    let with_role = format!("postmaster = \"bob@example.com\"\n{}", place.accounts());
    std::fs::write(&place.file, &with_role).unwrap();
    for (arguments, part) in [
        (
            &["add", "Bob@example.com", "--generate"][..],
            "there is already an account bob@example.com: `facteur account password`",
        ),
        (
            &["add", "rob@example.com", "--generate"],
            "there is already an account rob@example.com",
        ),
        (
            &[
                "add",
                "c@example.com",
                "--alias",
                "bob@example.com",
                "--generate",
            ],
            "already",
        ),
        (
            &["password", "rob@example.com"],
            "there is no account rob@example.com",
        ),
        (
            &["remove", "eve@example.com"],
            "`facteur account list` shows all accounts",
        ),
        (
            &["remove", "bob@example.com"],
            "is not the address of an account",
        ),
    ] {
        let error = place.account(arguments, &[]).unwrap_err();
        assert!(error.to_string().contains(part), "{arguments:?}: {error}");
        assert!(error.is_usage(), "{error}");
        assert_eq!(place.accounts(), with_role);
    }
    std::fs::write(&place.file, with_role.replace("postmaster", "#")).unwrap();
    place.account(&["remove", "zed@example.com"], &[]).unwrap();
    let error = place
        .account(&["remove", "bob@example.com"], &[])
        .unwrap_err();
    assert!(
        error.to_string().contains("there is no account: add"),
        "{error}"
    );
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    // A file that the configuration does not name might be meant for something else.
    let place = Place::new(Some(""), Some("[[accounts]]\n"));
    let error = place
        .account(&["add", "bob@example.com", "--generate"], &[])
        .unwrap_err();
    assert!(
        error.to_string().contains("add the line accounts = "),
        "{error}"
    );
    assert_eq!(place.accounts(), "[[accounts]]\n");
    for action in [&["list"][..], &["remove", "b@a"], &["password", "b@a"]] {
        let error = place.account(action, &[]).unwrap_err();
        assert!(error.to_string().contains("has no accounts"), "{error}");
    }
    // A mistake that was already there is reported with its line.
    let place = Place::new(Some("accounts = \"accounts.toml\"\n"), Some("x = \n"));
    let error = place
        .account(&["add", "bob@example.com", "--generate"], &[])
        .unwrap_err();
    assert!(error.to_string().contains("accounts.toml:1: "), "{error}");
    let place = Place::new(Some("smpt = []\n"), None);
    let error = place
        .account(&["add", "bob@example.com", "--generate"], &[])
        .unwrap_err();
    assert!(
        error.to_string().contains("facteur.toml:1: smpt: "),
        "{error}"
    );
    let error = run_with(&["account", "list"]).unwrap_err();
    assert!(
        error.is_usage() && error.to_string().contains("--config"),
        "{error}"
    );
}

/// A symbolic link to a configuration kept elsewhere: the link stays, and its target changes.
#[test]
fn links_stay_and_what_root_lets_a_group_read_stays_readable() {
    let place = Place::new(Some("accounts = \"link.toml\"\n"), None);
    let link = place.own.path().join("link.toml");
    std::os::unix::fs::symlink(&place.file, &link).unwrap();
    std::fs::write(&place.file, "").unwrap();
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(&place.file, mode).unwrap();
    let before = std::fs::metadata(&place.file).unwrap();
    place
        .account(&["add", "bob@example.com", "--generate"], &[])
        .unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let after = std::fs::metadata(&place.file).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!((before.uid(), before.gid()), (after.uid(), after.gid()));
    // The group is that of the user who runs the test.
    let expected = if after.uid() == 0 && after.gid() != 0 {
        0o640
    } else {
        0o600
    };
    assert_eq!(after.mode() & 0o777, expected);
    if after.uid() != 0 {
        return;
    }
    // Root's file, which the daemon's group can read.
    std::os::unix::fs::chown(&place.file, Some(0), Some(54_321)).unwrap();
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(&place.file, mode).unwrap();
    place
        .account(&["add", "al@example.com", "--generate"], &[])
        .unwrap();
    let after = std::fs::metadata(&place.file).unwrap();
    assert_eq!(
        (after.uid(), after.gid(), after.mode() & 0o777),
        (0, 54_321, 0o640)
    );
    // A file that belongs to another user.
    std::os::unix::fs::chown(&place.file, Some(54_322), Some(54_321)).unwrap();
    place
        .account(&["add", "eve@example.com", "--generate"], &[])
        .unwrap();
    let after = std::fs::metadata(&place.file).unwrap();
    assert_eq!(
        (after.uid(), after.gid(), after.mode() & 0o777),
        (54_322, 54_321, 0o600)
    );
}

/// Two people change the accounts at the same time: the second gets an error, and nothing is lost.
#[test]
fn a_file_that_another_program_changes_is_not_overwritten() {
    let place = Place::new(Some("accounts = \"accounts.toml\"\n"), None);
    place
        .account(&["add", "bob@example.com", "--generate"], &[])
        .unwrap();
    let held = std::fs::File::open(&place.file).unwrap();
    held.try_lock().unwrap();
    let before = place.accounts();
    let error = place
        .account(&["add", "al@example.com", "--generate"], &[])
        .unwrap_err();
    assert!(error.to_string().contains("try again"), "{error}");
    assert_eq!(place.accounts(), before);
    drop(held);

    let address = |text| Address::parse(text, crate::mail::Charset::Ascii).unwrap();
    let mut slow = config::Book::open(&place.configuration).unwrap();
    let line = "password = \"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7T\
                KyQwu9U1bMCHGi/4\"";
    slow.add(&address("eve@example.com"), line, &[]).unwrap();
    place
        .account(&["add", "al@example.com", "--generate"], &[])
        .unwrap();
    let error = slow.write(&RealFs).unwrap_err();
    assert!(error.to_string().contains("try again"), "{error}");
    let listed = place.account(&["list"], &[]).unwrap();
    assert_eq!(listed, "bob@example.com\nal@example.com\n");

    // Two programs create the file at the same time.
    let place = Place::new(Some("accounts = \"accounts.toml\"\n"), None);
    let mut slow = config::Book::open(&place.configuration).unwrap();
    slow.add(&address("eve@example.com"), line, &[]).unwrap();
    place
        .account(&["add", "bob@example.com", "--generate"], &[])
        .unwrap();
    let error = slow.write(&RealFs).unwrap_err();
    assert!(error.to_string().contains("try again"), "{error}");
    let listed = place.account(&["list"], &[]).unwrap();
    assert_eq!(listed, "bob@example.com\n");
}
