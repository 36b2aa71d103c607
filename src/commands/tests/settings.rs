//! `facteur settings` and the configuration.

#![expect(
    clippy::disallowed_methods,
    reason = "tests make their own configurations"
)]

use super::*;

#[test]
fn the_settings_follow_the_configuration_and_the_command_line() {
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("facteur.toml");
    let text = "\
hostname = \"mail.example.com\"
smtps = [\"127.0.0.1:465\"]
pop3 = [\"127.0.0.1:110\"]
[tls]
certificate = \"not there\"
key = \"not there\"
";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let printed = run_with(&["--config", file, "settings", "bob@example.com"]).unwrap();
    let dots = run_with(&["--config", file, "settings", "b..ob.@example.com"]).unwrap();
    assert!(dots.contains(" \"b..ob.\"@example.com\n"), "{dots}");
    let encryptions: Vec<&str> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("  Encryption      "))
        .collect();
    assert_eq!(encryptions, ["STARTTLS", "SSL/TLS"]);
    assert!(printed.contains("Any password is accepted"), "{printed}");
    let typed = ["--pop3", "127.0.0.1:2110", "settings", "bob@example.com"];
    let printed = run_with(&[&["--config", file][..], &typed].concat()).unwrap();
    assert!(printed.contains("  Port            2110\n"), "{printed}");
}

#[test]
fn the_autoconfig_file_is_printed_and_nothing_else() {
    let printed = run_with(&["settings", "bob@example.com", "--autoconfig"]).unwrap();
    assert!(printed.starts_with("<?xml "), "{printed}");
    assert!(printed.ends_with("</clientConfig>\n"), "{printed}");
    let off = ["--pop3", "off", "settings", "bob@example.com"];
    assert!(run_with(&off).unwrap().contains("POP3 is switched off"));
    let error = run_with(&[&off[..], &["--autoconfig"]].concat()).unwrap_err();
    assert!(
        error.is_usage() && error.to_string().contains("POP3"),
        "{error}"
    );
}

#[test]
fn with_accounts_only_their_own_addresses_have_settings() {
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("facteur.toml");
    let password = run_with_password("hunter2");
    let account = "[[accounts]]\naddress = \"bob@example.com\"\naliases = [\"rob@example.com\"]";
    std::fs::write(&file, format!("{account}\n{password}")).unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, permissions).unwrap();
    let settings = |address| run_with(&["--config", file.to_str().unwrap(), "settings", address]);
    let printed = settings("Bob@Example.com").unwrap();
    assert!(printed.contains("The password is that of the account."));
    for address in ["rob@example.com", "eve@example.com"] {
        let error = settings(address).unwrap_err();
        assert!(
            error.is_usage() && error.to_string().contains(address),
            "{error}"
        );
    }
}

/// The line of `facteur hash-password`.
fn run_with_password(password: &str) -> String {
    let password = crate::mail::Secret::new(password.to_owned());
    crate::accounts::hash_password(&password, crate::accounts::Secrets::Hash).unwrap()
}
