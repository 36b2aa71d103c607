//! The user that the program goes on as. Only root can test this to the end; for others the tests
//! look at the refusal.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use crate::support::Service;
use crate::support::program::Program;

/// A user whom every system has.
const USER: &str = "nobody";

fn id_of(user: &str) -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users
        .lines()
        .find(|line| line.starts_with(&format!("{user}:")));
    let fields: Vec<&str> = line.unwrap().split(':').collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}

fn is_root(directory: &tempfile::TempDir) -> bool {
    fs::metadata(directory.path()).unwrap().uid() == 0
}

/// Runs the program as `user`, which it is to refuse.
fn refused(directory: &tempfile::TempDir, user: &str, started_by: Option<u32>) -> Output {
    let file = directory.path().join("facteur.toml");
    fs::write(&file, format!("user = \"{user}\"\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_facteur"));
    command
        .args(["--smtp", "127.0.0.1:0", "--pop3", "off", "--config"])
        .arg(&file)
        .arg("--mail")
        .arg(directory.path().join("mail"));
    if let Some(id) = started_by {
        chown(directory.path(), Some(id), None).unwrap();
        command.uid(id).gid(id);
    }
    command.output().unwrap()
}

fn check_refused(output: &Output, reason: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with("facteur: user: "), "{errors}");
    assert!(errors.contains(reason), "{errors}");
}

#[test]
fn root_opens_the_ports_and_another_user_serves() {
    let directory = tempfile::tempdir().unwrap();
    if !is_root(&directory) {
        check_refused(&refused(&directory, USER, None), "only root");
        return;
    }
    let (user, group) = id_of(USER);
    chown(directory.path(), Some(user), Some(group)).unwrap();
    let configuration = format!("user = \"{USER}\"\n");
    let mut program = Program::start_with(directory.path(), &configuration);
    program.deliver("bob@example.com", "one\r\n");
    assert_eq!(program.contents("bob@example.com"), ["one\r\n"]);
    let mail = fs::metadata(directory.path().join("mail")).unwrap();
    assert_eq!((mail.uid(), mail.gid()), (user, group));
    let threads = program.threads();
    assert!(threads.contains_key("log"), "{:?}", threads.keys());
    for (name, status) in &threads {
        for (key, id) in [("Uid", user), ("Gid", group)] {
            let line = format!("{key}:\t{id}\t{id}\t{id}\t{id}\n");
            assert!(status.contains(&line), "{name}: {status}");
        }
        let groups = status.lines().find(|line| line.starts_with("Groups:"));
        let groups = groups.unwrap().split_whitespace().skip(1);
        assert!(groups.into_iter().all(|id| id != "0"), "{name}: {status}");
        for key in ["CapPrm", "CapEff", "CapAmb"] {
            let line = format!("{key}:\t0000000000000000\n");
            assert!(status.contains(&line), "{name}: {status}");
        }
    }
    program.signal("HUP");
    program.expect_log("are read anew");
    program.signal("TERM");
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn a_user_who_cannot_be_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    check_refused(&refused(&directory, "no-such-user", None), "no-such-user");
    check_refused(&refused(&directory, "root", None), "is root");
    let mail = directory.path().join("mail");
    assert!(!mail.exists(), "nothing is made before");
}

#[test]
fn who_is_not_root_cannot_be_another_user() {
    let directory = tempfile::tempdir().unwrap();
    let started_by = is_root(&directory).then(|| id_of(USER).0);
    check_refused(&refused(&directory, "daemon", started_by), "only root");
}

#[test]
fn a_configuration_that_the_user_cannot_read_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    if !is_root(&directory) {
        return;
    }
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(directory.path(), closed).unwrap();
    let output = refused(&directory, USER, None);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("cannot read"), "{errors}");
}
