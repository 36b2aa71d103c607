//! Tests of `make`: on a disk, on one that loses power, and over the years.

#![expect(clippy::disallowed_methods, reason = "tests make their own files")]

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use crate::{
    fs::RealFs,
    testing::disk::{Fault, SimFs},
};

use super::*;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 60 * 60;

/// The name of the directory on a simulated disk.
const DIRECTORY: &str = "/tls";

fn names(texts: &[&str]) -> Vec<Name> {
    let more = texts.iter().map(|text| text.parse().unwrap());
    Name::of_this_machine().into_iter().chain(more).collect()
}

/// Whether an error is the expected one.
type Check = fn(&Error) -> bool;

/// A request for the names of this machine and `more`.
struct Asked {
    directory: PathBuf,
    names: Vec<Name>,
    renew: bool,
    now: u64,
}

impl Asked {
    fn new(directory: impl Into<PathBuf>, more: &[&str]) -> Self {
        Self {
            directory: directory.into(),
            names: names(more),
            renew: false,
            now: NOW,
        }
    }

    fn renewal(self) -> Self {
        Self {
            renew: true,
            ..self
        }
    }

    fn at(self, now: u64) -> Self {
        Self { now, ..self }
    }

    fn make(&self, fs: &dyn Fs) -> Result<Made, Error> {
        let Self {
            directory,
            names,
            renew,
            now,
        } = self;
        let request = Request {
            directory,
            names,
            renew: *renew,
            now: *now,
        };
        make(fs, &request)
    }
}

fn in_own_directory() -> (tempfile::TempDir, PathBuf) {
    let own = tempfile::tempdir().unwrap();
    let directory = own.path().join("tls");
    (own, directory)
}

/// The files in a directory of a file system, by name; none if there is no directory.
fn contents(fs: &dyn Fs, directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut contents = Vec::new();
    for entry in fs.read_dir(directory).unwrap_or_default() {
        let mut file = fs.open(&directory.join(&entry.name)).unwrap();
        let mut content = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let n_read = file.read(&mut buffer).unwrap();
            if n_read == 0 {
                break;
            }
            content.extend(&buffer[..n_read]);
        }
        contents.push((entry.name.into_string().unwrap(), content));
    }
    contents.sort();
    contents
}

fn content(fs: &dyn Fs, directory: &Path, name: &str) -> Option<Vec<u8>> {
    let mut all = contents(fs, directory).into_iter();
    all.find(|(found, _)| found == name)
        .map(|(_, content)| content)
}

fn der(fs: &dyn Fs, directory: &Path, name: &str) -> Vec<u8> {
    pem::decode(pem::CERTIFICATE, &content(fs, directory, name).unwrap()).unwrap()
}

/// SEC-6.
#[test]
fn the_files_are_for_their_owner_alone() {
    let (_own, directory) = in_own_directory();
    let made = Asked::new(&directory, &[]).make(&RealFs).unwrap();
    let permissions = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(permissions(&directory), 0o700);
    for path in [
        &made.authority,
        &made.certificate,
        &made.key,
        &directory.join("ca.key"),
    ] {
        assert_eq!(permissions(path), 0o600, "{path:?}");
    }
    let all: Vec<String> = contents(&RealFs, &directory)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let expected = [".lock", "ca.key", "ca.pem", "certificate.pem", "key.pem"];
    assert_eq!(all, expected);
}

#[test]
fn what_is_there_is_not_made_again() {
    let (_own, directory) = in_own_directory();
    let asked = Asked::new(&directory, &["mail.example.com"]);
    let first = asked.make(&RealFs).unwrap();
    assert!(!first.authority_was_there);
    assert_eq!(first.change, Change::Made);
    let before = contents(&RealFs, &directory);
    let later = asked.at(first.not_after);
    let second = later.make(&RealFs).unwrap();
    assert!(second.authority_was_there);
    assert_eq!(second.change, Change::Kept);
    assert_eq!(second.not_after, first.not_after);
    assert_eq!(second.fingerprint, first.fingerprint);
    assert_eq!(second.names, names(&["mail.example.com"]));
    assert_eq!(second.lacking, []);
    assert_eq!(contents(&RealFs, &directory), before);
}

#[test]
fn a_renewal_keeps_the_keys_the_ca_and_the_names() {
    let fs = SimFs::new();
    let directory = Path::new(DIRECTORY);
    let first = Asked::new(DIRECTORY, &["mail.example.com"]).make(&fs);
    let first = first.unwrap();
    let before = contents(&fs, directory);
    let again = Asked::new(DIRECTORY, &["imap.mail.example.com"]).renewal();
    let again = again.at(NOW + 100 * DAY).make(&fs).unwrap();
    assert_eq!(again.change, Change::Renewed);
    assert_eq!(again.not_after, first.not_after + 100 * DAY);
    assert_eq!(
        again.names,
        names(&["mail.example.com", "imap.mail.example.com"])
    );
    let after = contents(&fs, directory);
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(before == after, name != "certificate.pem", "{name}");
    }
}

#[test]
fn missing_names_are_reported() {
    let fs = SimFs::new();
    Asked::new(DIRECTORY, &["example.com"]).make(&fs).unwrap();
    let asked = Asked::new(DIRECTORY, &["mail.example.com"]);
    let kept = asked.make(&fs).unwrap();
    assert_eq!(kept.change, Change::Kept);
    assert_eq!(kept.names, names(&["example.com"]));
    assert_eq!(kept.lacking, ["mail.example.com".parse().unwrap()]);
}

#[test]
fn a_certificate_that_has_ended_is_renewed_unasked() {
    let fs = SimFs::new();
    let first = Asked::new(DIRECTORY, &[]).make(&fs).unwrap();
    let later = Asked::new(DIRECTORY, &[]).at(first.not_after + 1);
    assert_eq!(later.make(&fs).unwrap().change, Change::Renewed);
}

/// The limits of Apple's systems and of browsers: see `limits::CERTIFICATE_DAYS`.
#[test]
fn certificates_expire_when_the_limits_say() {
    let fs = SimFs::new();
    let directory = Path::new(DIRECTORY);
    let made = Asked::new(DIRECTORY, &[]).make(&fs).unwrap();
    let end = expiry(&der(&fs, directory, "certificate.pem")).unwrap();
    assert_eq!(end, made.not_after);
    assert_eq!(end % DAY, 0);
    assert!((NOW + 395 * DAY..NOW + 397 * DAY).contains(&end));
    let end = expiry(&der(&fs, directory, "ca.pem")).unwrap();
    assert!((NOW + 3_650 * DAY..NOW + 3_653 * DAY).contains(&end));
}

#[test]
fn no_certificate_outlives_its_ca_and_an_old_ca_signs_nothing() {
    let fs = SimFs::new();
    let directory = Path::new(DIRECTORY);
    Asked::new(DIRECTORY, &[]).make(&fs).unwrap();
    let end = expiry(&der(&fs, directory, "ca.pem")).unwrap();
    let asked = Asked::new(DIRECTORY, &[]).renewal().at(end - 30 * DAY);
    assert_eq!(asked.make(&fs).unwrap().not_after, end);
    let asked = asked.at(end + 1);
    let error = asked.make(&fs).unwrap_err();
    assert!(matches!(error, Error::AuthorityExpired { .. }), "{error}");
}

/// RFC 5280 §4.2.1.10: clients would refuse a certificate that the CA may not sign.
#[test]
fn the_ca_signs_only_for_the_names_it_was_made_with_and_those_below() {
    let fs = SimFs::new();
    Asked::new(DIRECTORY, &["example.com", "192.0.2.7"])
        .make(&fs)
        .unwrap();
    for (name, is_permitted) in [
        ("mail.example.com", true),
        ("facteur.localhost", true),
        ("127.9.9.9", true),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("::2", false),
        ("example.org", false),
        ("badexample.com", false),
    ] {
        // It is reported immediately, and not only when somebody follows the advice to renew.
        let asked = Asked::new(DIRECTORY, &[name]).make(&fs);
        assert_eq!(asked.is_ok(), is_permitted, "{name}");
        let renewed = Asked::new(DIRECTORY, &[name]).renewal().make(&fs);
        match renewed {
            Ok(_) => assert!(is_permitted, "{name}"),
            Err(Error::NotPermitted { name: refused, .. }) => {
                assert!(!is_permitted, "{name}");
                assert_eq!(refused.to_string(), name);
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
}

/// Some clients refuse a certificate with the serial number of another one from the same CA, and
/// others a negative number or one with leading zeros (RFC 5280 §4.1.2.2).
#[test]
fn serial_numbers_are_positive_and_differ() {
    let fs = SimFs::new();
    let directory = Path::new(DIRECTORY);
    let mut numbers = Vec::new();
    for _ in 0..20 {
        let asked = Asked::new(DIRECTORY, &[]).renewal();
        asked.make(&fs).unwrap();
        let der = der(&fs, directory, "certificate.pem");
        // After the version, which comes first.
        let version = [0xa0, 3, 2, 1, 2, 2, 16];
        let at = der.windows(version.len()).position(|it| it == version);
        let number = &der[at.unwrap() + version.len()..][..16];
        assert!((0x40..0x80).contains(&number[0]), "{number:x?}");
        numbers.push(number.to_vec());
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 20);
}

#[test]
fn the_key_of_the_ca_is_needed_only_to_sign() {
    let (_own, directory) = in_own_directory();
    let asked = Asked::new(&directory, &[]);
    asked.make(&RealFs).unwrap();
    let kept_elsewhere = directory.with_file_name("kept.key");
    std::fs::rename(directory.join("ca.key"), &kept_elsewhere).unwrap();
    assert_eq!(asked.make(&RealFs).unwrap().change, Change::Kept);
    let asked = asked.renewal();
    let error = asked.make(&RealFs).unwrap_err();
    assert!(matches!(error, Error::NoAuthorityKey { .. }), "{error}");
    assert!(!directory.join("ca.key").exists());
    std::fs::rename(&kept_elsewhere, directory.join("ca.key")).unwrap();
    assert_eq!(asked.make(&RealFs).unwrap().change, Change::Renewed);
}

#[test]
fn foreign_files_are_left_alone() {
    let (own, directory) = in_own_directory();
    let other = own.path().join("other");
    let asked = Asked::new(&directory, &[]);
    asked.make(&RealFs).unwrap();
    Asked::new(&other, &[]).make(&RealFs).unwrap();
    let file = |name: &str| directory.join(name);
    let is_foreign = |error: &Error| matches!(error, Error::Foreign { .. });
    let is_mismatch = |error: &Error| matches!(error, Error::Mismatch { .. });
    let is_other = |error: &Error| matches!(error, Error::OtherAuthority { .. });
    let cases: [(&str, Option<&str>, Check); 8] = [
        ("certificate.pem", None, is_foreign),
        ("certificate.pem", Some("certificate.pem"), is_other),
        ("certificate.pem", Some("key.pem"), is_foreign),
        ("key.pem", None, is_foreign),
        ("key.pem", Some("key.pem"), is_mismatch),
        ("ca.pem", None, is_foreign),
        ("ca.pem", Some("ca.pem"), is_other),
        ("ca.key", Some("ca.key"), is_mismatch),
    ];
    for (name, from, is_expected) in cases {
        let before = std::fs::read(file(name)).unwrap();
        let content = match from {
            Some(from) => std::fs::read(other.join(from)).unwrap(),
            None => b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
        };
        std::fs::write(file(name), &content).unwrap();
        let changed = contents(&RealFs, &directory);
        let asked = Asked::new(&directory, &[]).renewal();
        let error = asked.make(&RealFs).unwrap_err();
        assert!(is_expected(&error), "{name} {from:?}: {error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
        assert_eq!(contents(&RealFs, &directory), changed);
        std::fs::write(file(name), before).unwrap();
    }
    std::fs::remove_file(file("ca.pem")).unwrap();
    assert!(is_foreign(&asked.make(&RealFs).unwrap_err()));
}

/// SEC-6.
#[test]
fn an_unsafe_directory_is_refused() {
    let (own, directory) = in_own_directory();
    let asked = Asked::new(&directory, &[]);
    let refused = |what: &str| {
        let error = asked.make(&RealFs).unwrap_err();
        assert!(matches!(error, Error::Unsafe { .. }), "{what}: {error}");
    };
    let real = own.path().join("real");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &directory).unwrap();
    refused("a link instead of the directory");
    std::fs::remove_file(&directory).unwrap();
    std::fs::write(&directory, "").unwrap();
    refused("a file instead of the directory");
    std::fs::remove_file(&directory).unwrap();
    std::fs::create_dir(&directory).unwrap();
    let chmod = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for mode in [0o770, 0o707] {
        chmod(&directory, mode);
        refused("a directory that others can write to");
    }
    chmod(&directory, 0o755);
    let elsewhere = own.path().join("elsewhere");
    for name in ["certificate.pem", "ca.pem", "ca.key", "key.pem"] {
        let link = directory.join(name);
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        // A dangling link cannot be opened, and must not be written through.
        asked.make(&RealFs).unwrap_err();
        assert!(!elsewhere.exists(), "{name}");
        std::fs::remove_file(&link).unwrap();
    }
    asked.make(&RealFs).unwrap();
    chmod(&directory.join("ca.key"), 0o640);
    let error = Asked::new(&directory, &[]).renewal().make(&RealFs);
    assert!(matches!(error, Err(Error::Unsafe { .. })), "{error:?}");
}

#[test]
fn two_commands_never_share_a_directory() {
    let fs = SimFs::new();
    Asked::new(DIRECTORY, &[]).make(&fs).unwrap();
    let _other = Files::open(&fs, Path::new(DIRECTORY));
    let error = Asked::new(DIRECTORY, &[]).make(&fs).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
}

#[test]
fn the_parent_directory_is_not_made() {
    let (own, _) = in_own_directory();
    let directory = own.path().join("missing/tls");
    let error = Asked::new(&directory, &[]).make(&RealFs).unwrap_err();
    assert!(
        error.to_string().contains(directory.to_str().unwrap()),
        "{error}"
    );
    assert!(!own.path().join("missing").exists());
}

/// Checks what a crash left, and what the next run does with it.
fn check_found(found: &SimFs, is_renewal: bool) {
    let before = contents(found, Path::new(DIRECTORY));
    let has = |name: &str| before.iter().any(|(found, _)| found == name);
    assert!(has("certificate.pem") || !is_renewal);
    assert!(has("key.pem") || !has("certificate.pem"));
    assert!(has("ca.pem") || !has("key.pem"));
    assert!(has("ca.key") || !has("ca.pem"));
    let made = Asked::new(DIRECTORY, &["mail.example.com"]).make(found);
    let made = made.unwrap();
    let expected = if has("certificate.pem") {
        Change::Kept
    } else {
        Change::Made
    };
    assert_eq!(made.change, expected);
    assert_eq!(made.authority_was_there, has("ca.pem"));
    let after = contents(found, Path::new(DIRECTORY));
    for (name, content) in before.iter().filter(|(name, _)| !name.starts_with('.')) {
        assert!(after.contains(&(name.clone(), content.clone())), "{name}");
    }
    let left_over = after.iter().any(|(name, _)| name.contains(".new"));
    assert!(!left_over, "{after:?}");
}

/// Whenever the power fails, each file is complete or missing, the existing files fit together, and
/// the next run makes the rest without changing a key or the CA.
#[test]
fn a_power_cut_leaves_files_that_fit_together() {
    let directory = Path::new(DIRECTORY);
    let mut n_cuts = 0;
    for is_renewal in [false, true] {
        for at in 1.. {
            let fs = SimFs::new();
            let mut asked = Asked::new(DIRECTORY, &["mail.example.com"]);
            if is_renewal {
                asked.make(&fs).unwrap();
                asked = asked.renewal();
            }
            fs.cut_at(fs.n_operations() + at);
            if asked.make(&fs).is_ok() {
                break;
            }
            for seed in 0..12 {
                let found = fs.power_cut(seed);
                check_found(&found, is_renewal);
                n_cuts += 1;
            }
            // The process can also die without the machine.
            check_found(&fs.kill(), is_renewal);
        }
    }
    assert!(n_cuts > 200, "{n_cuts}");

    // After a completed run the directory is complete.
    let fs = SimFs::new();
    Asked::new(DIRECTORY, &[]).make(&fs).unwrap();
    assert_eq!(contents(&fs.power_cut(0), directory).len(), 5);
}

#[test]
fn a_failed_call_is_reported_and_can_be_retried() {
    use rustix::io::Errno;
    for at in 1.. {
        let fs = SimFs::new();
        fs.fail(Fault {
            at,
            errno: Errno::NOSPC,
            is_done: false,
        });
        let asked = Asked::new(DIRECTORY, &[]);
        match asked.make(&fs) {
            Ok(_) => break,
            Err(Error::Io { path, .. }) => {
                assert!(path.starts_with(DIRECTORY) || path == Path::new("/"));
            }
            Err(other) => panic!("{at}: {other}"),
        }
        let fs = fs.kill();
        asked.make(&fs).unwrap();
        assert_eq!(asked.make(&fs).unwrap().change, Change::Kept);
    }
}

/// The report is for people: it has the paths that matter, and no key.
#[test]
fn the_report_says_what_to_do_and_no_secret() {
    let (_own, directory) = in_own_directory();
    let made = Asked::new(&directory, &["mail.example.com"]).make(&RealFs);
    let made = made.unwrap();
    let lines = configuration_lines(&made).unwrap();
    let text = format!("{made}{}{lines}{made:?}", Instructions(&made));
    for part in [
        directory.join("ca.pem").to_str().unwrap(),
        directory.join("certificate.pem").to_str().unwrap(),
        &made.fingerprint,
        "for localhost, 127.0.0.1, ::1, mail.example.com\n",
        "valid until 2028-02-",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(made.fingerprint.len(), 32 * 3 - 1);
    for name in ["ca.key", "key.pem"] {
        let key = String::from_utf8(content(&RealFs, &directory, name).unwrap()).unwrap();
        assert!(!text.contains(key.lines().nth(1).unwrap()), "{name}");
    }
}
