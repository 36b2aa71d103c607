//! Warnings about configurations whose files other users could change.

#![expect(
    clippy::disallowed_methods,
    reason = "tests make their own configurations"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use super::*;

/// A directory with a configuration, accounts and mail.
fn place() -> (tempfile::TempDir, Config) {
    let own = tempfile::tempdir().unwrap();
    let directory = own.path().join("etc");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("facteur.toml");
    fs::write(&file, "accounts = \"accounts.toml\"\n").unwrap();
    let hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bM\
                CHGi/4";
    let accounts = format!("[[accounts]]\naddress = \"bob@example.com\"\npassword = \"{hash}\"\n");
    fs::write(directory.join("accounts.toml"), accounts).unwrap();
    fs::write(directory.join("key.pem"), "").unwrap();
    fs::create_dir(own.path().join("srv")).unwrap();
    for path in [
        "etc",
        "srv",
        "etc/facteur.toml",
        "etc/accounts.toml",
        "etc/key.pem",
    ] {
        change(&own.path().join(path), 0o700);
    }
    let mut config = Config::read(&file).unwrap();
    config.mail = own.path().join("srv/mail");
    config.tls = Some(crate::config::TlsFiles {
        certificate: directory.join("certificate.pem"),
        key: directory.join("key.pem"),
        lines: [0, 0],
    });
    (own, config)
}

fn change(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn private_files_cause_no_warning() {
    let (own, config) = place();
    assert_eq!(exposure(&config), Vec::<String>::new());
    // Others may read, and may write where the sticky bit is set.
    change(&own.path().join("etc/facteur.toml"), 0o644);
    change(&own.path().join("srv"), 0o1777);
    assert_eq!(exposure(&config), Vec::<String>::new());
}

#[test]
fn files_that_others_can_write_are_named_with_the_fix() {
    for (name, mode, what) in [
        ("etc/facteur.toml", 0o666, "the configuration,"),
        ("etc/accounts.toml", 0o602, "the accounts file,"),
        ("etc/key.pem", 0o602, "the private key,"),
        ("etc", 0o777, "which contains the configuration,"),
        ("srv", 0o777, "which contains the mail,"),
    ] {
        let (own, config) = place();
        let path = own.path().join(name);
        change(&path, mode);
        let path = path.display();
        let expected = format!(
            "{path}, {what} can be written by every user of this machine: run chmod o-w {path}"
        );
        assert_eq!(exposure(&config), [expected]);
    }
}

#[test]
fn the_target_of_a_link_is_checked_too() {
    let (own, mut config) = place();
    let elsewhere = own.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    change(&elsewhere, 0o777);
    fs::create_dir(elsewhere.join("mail")).unwrap();
    change(&elsewhere.join("mail"), 0o700);
    symlink(elsewhere.join("mail"), own.path().join("srv/mail")).unwrap();
    config.mail = own.path().join("srv/mail");
    let found = exposure(&config);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("/elsewhere, which contains the mail,"),
        "{found:?}"
    );
}

/// Only root can create such files.
#[test]
fn files_of_another_user_or_a_group_are_named() {
    let (own, mut config) = place();
    let accounts = own.path().join("etc/accounts.toml");
    if chown(&accounts, Some(54_321), Some(54_322)).is_err() {
        return;
    }
    let found = exposure(&config);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("belongs to user 54321, who can change it"),
        "{found:?}"
    );
    // Root will become that user.
    config.user = "facteur".to_owned();
    assert_eq!(exposure(&config), Vec::<String>::new());
    config.user = String::new();
    chown(&accounts, Some(0), Some(54_322)).unwrap();
    change(&accounts, 0o660);
    let found = exposure(&config);
    let path = accounts.display();
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = format!("the members of group 54322: run chmod g-w {path}");
    assert!(found[0].ends_with(&expected), "{found:?}");
}
