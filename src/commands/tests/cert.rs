//! `facteur cert` and the configuration that it changes.

#![expect(
    clippy::disallowed_methods,
    reason = "tests make their own configurations"
)]

use crate::certificate;
use std::path::{Path, PathBuf};

use crate::config::{self, Config};

use super::*;

/// A directory for certificates, with a configuration that has this text.
struct Place {
    own: tempfile::TempDir,
    file: PathBuf,
    directory: PathBuf,
}

impl Place {
    fn new(text: &str) -> Self {
        let own = tempfile::tempdir().unwrap();
        let file = own.path().join("facteur.toml");
        std::fs::write(&file, text).unwrap();
        let directory = own.path().join("tls");
        Self {
            own,
            file,
            directory,
        }
    }

    fn cert(&self, more: &[&str]) -> Result<String, Error> {
        let (file, directory) = (
            self.file.to_str().unwrap(),
            self.directory.to_str().unwrap(),
        );
        let mut arguments = vec!["--config", file, "cert", "--dir", directory];
        arguments.extend(more);
        run_with(&arguments)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }

    fn lines(&self) -> String {
        let directory = self.directory.display();
        format!(
            "[tls]\ncertificate = \"{directory}/certificate.pem\"\nkey = \"{directory}/key.pem\"\n"
        )
    }
}

#[test]
fn the_two_lines_are_added_to_the_configuration_once() {
    for (before, between) in [
        ("", ""),
        ("hostname = \"mail.example.com\"\n", "\n"),
        ("[limits]\nerrors = 3", "\n\n"),
        ("smtps = [\"127.0.0.1:0\"]\n# [tls]\n", "\n"),
    ] {
        let place = Place::new(before);
        let printed = place.cert(&[]).unwrap();
        let lines = place.lines();
        let expected = format!("Added to {}:\n\n{lines}", place.file.display());
        assert!(printed.contains(&expected), "{printed}");
        let text = place.text();
        assert_eq!(text, format!("{before}{between}{lines}"));
        let config = Config::read(&place.file).unwrap();
        config::check(&config).unwrap();
        config.identity().unwrap().unwrap();

        let printed = place.cert(&[]).unwrap();
        assert!(printed.contains("already names these files"), "{printed}");
        assert_eq!(place.text(), text);
    }
}

#[test]
fn a_configuration_that_names_other_files_is_left_alone() {
    let before = "[tls]\ncertificate = \"mine.pem\"\nkey = \"mine.key\"\n";
    let place = Place::new(before);
    let printed = place.cert(&[]).unwrap();
    assert!(printed.contains("names other files"), "{printed}");
    assert!(printed.contains(&place.lines()), "{printed}");
    assert_eq!(place.text(), before);
}

/// A symbolic link could lead to a file of any user.
#[test]
fn lines_that_cannot_be_added_are_shown() {
    let place = Place::new("");
    let real = place.own.path().join("real.toml");
    std::fs::rename(&place.file, &real).unwrap();
    std::os::unix::fs::symlink(&real, &place.file).unwrap();
    let printed = place.cert(&[]).unwrap();
    assert!(printed.contains("Add these lines to "), "{printed}");
    assert!(printed.contains(&place.lines()), "{printed}");
    assert_eq!(place.text(), "");
}

#[test]
fn the_certificate_has_the_host_name_and_every_further_name_once() {
    let place = Place::new("hostname = \"Mail.Example.com\"\n");
    let further = ["::1", "mail.example.com", "192.0.2.7", "mail.example.com"];
    let printed = place.cert(&further).unwrap();
    let expected = "  for localhost, 127.0.0.1, ::1, mail.example.com, 192.0.2.7\n";
    assert!(printed.contains(expected), "{printed}");
}

#[test]
fn without_a_configuration_the_lines_are_shown() {
    let place = Place::new("");
    let directory = place.directory.to_str().unwrap();
    let printed = run_with(&["cert", "--dir", &format!("{directory}/")]).unwrap();
    assert!(printed.contains("Add these lines to the configuration:"));
    assert!(printed.contains(&place.lines()), "{printed}");
}

#[test]
fn mistakes_are_distinguished_from_failures() {
    let place = Place::new("smpt = []\n");
    assert!(place.cert(&[]).unwrap_err().is_usage());
    assert!(!place.directory.exists());
    let place = Place::new("");
    let missing = place.own.path().join("missing/tls");
    let error = run_with(&["cert", "--dir", missing.to_str().unwrap()]);
    assert!(!error.unwrap_err().is_usage());
}

/// A trailing slash would follow the link.
#[test]
fn a_link_in_place_of_the_directory_is_refused_even_with_a_slash() {
    let place = Place::new("");
    let link = place.own.path().join("link");
    std::os::unix::fs::symlink(place.own.path(), &link).unwrap();
    let error = run_with(&["cert", "--dir", &format!("{}/", link.display())]);
    assert!(
        matches!(
            error,
            Err(Error::Certificate(certificate::Error::Unsafe { .. }))
        ),
        "{error:?}"
    );
    assert!(!Path::new(&link).join("ca.key").exists());
}
