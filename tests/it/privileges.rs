//! The user that the program continues as. Only root can test this completely; as another user, the
//! tests check the refusal.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::Service;
use crate::support::program::{Program, facteur, forget_variables};
use crate::support::user::{Place, User, is_root, owner_of};

/// A user that every system has.
const USER: &str = "nobody";

/// Runs the program with `user` in its configuration.
fn run_as(user: &str, directory: &Path, program: &mut Command) -> Output {
    let file = directory.join("facteur.toml");
    write_for_all(&file, &format!("user = \"{user}\"\n"));
    program
        .args([
            "--smtp",
            "127.0.0.1:0",
            "--pop3",
            "off",
            "--http",
            "off",
            "--config",
        ])
        .arg(&file)
        .arg("--mail")
        .arg(directory.join("mail"));
    program.output().unwrap()
}

fn run(user: &str, directory: &Path) -> Output {
    run_as(user, directory, &mut facteur())
}

/// Writes a file that everybody can read, whatever the umask.
fn write_for_all(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

fn check_refused(output: &Output, status: i32, reason: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with("facteur: user: "), "{errors}");
    assert!(errors.contains(reason), "{errors}");
}

#[test]
fn root_opens_the_ports_and_another_user_serves() {
    if !is_root() {
        let directory = tempfile::tempdir().unwrap();
        check_refused(&run(USER, directory.path()), 1, "only root");
        return;
    }
    let user = User::named(USER);
    let Some(place) = Place::of(user) else { return };
    let configuration = place.path().join("facteur.toml");
    write_for_all(&configuration, &format!("user = \"{USER}\"\n"));
    let mut program = Program::start(place.path());
    program.deliver("bob@example.com", "one\r\n");
    assert_eq!(program.contents("bob@example.com"), ["one\r\n"]);
    assert_eq!(owner_of(&place.path().join("mail")), user);
    for (name, status) in &program.threads_with(&["log"]) {
        for (key, id) in [("Uid", user.id), ("Gid", user.group)] {
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
    program.expect_log("have been reloaded");
    program.signal("TERM");
    assert_eq!(program.wait(), Some(0));
}

/// An empty volume of a container belongs to root, and everybody can write there.
#[test]
fn in_a_directory_that_all_can_write_the_mail_gets_its_own_directory() {
    if !is_root() {
        return;
    }
    let Some(place) = Place::of(User::named(USER)) else {
        return;
    };
    let volume = place.path().join("mail");
    fs::create_dir(&volume).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
    let output = run(USER, place.path());
    let errors = String::from_utf8_lossy(&output.stderr);
    let volume_path = volume.to_str().unwrap();
    let expected = format!(
        "{volume_path} belongs to another user: run as that user, or give it to your user with \
         chown; or let facteur make a directory in it that is private: --mail {volume_path}/mail"
    );
    assert!(errors.contains(&expected), "{errors}");

    write_for_all(
        &volume.join("facteur.toml"),
        &format!("user = \"{USER}\"\n"),
    );
    let program = Program::start(&volume);
    program.deliver("bob@example.com", "one\r\n");
    assert_eq!(program.contents("bob@example.com"), ["one\r\n"]);
}

#[test]
fn an_impossible_user_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    check_refused(&run("no-such-user", directory.path()), 2, "no-such-user");
    check_refused(&run("root", directory.path()), 2, "is root");
    let mail = directory.path().join("mail");
    assert!(!mail.exists(), "nothing is created before");
}

#[test]
fn only_root_can_continue_as_another_user() {
    if !is_root() {
        let directory = tempfile::tempdir().unwrap();
        check_refused(&run("daemon", directory.path()), 1, "only root");
        return;
    }
    let user = User::named(USER);
    let Some(place) = Place::of(user) else { return };
    let mut program = Command::new(place.program());
    forget_variables(&mut program);
    let output = run_as("daemon", place.path(), user.starts(&mut program));
    check_refused(&output, 1, "only root");
}

#[test]
fn a_configuration_that_the_user_cannot_read_is_reported_at_the_start() {
    if !is_root() || !User::named(USER).can_be_had() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(directory.path(), closed).unwrap();
    let output = run(USER, directory.path());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("cannot read"), "{errors}");
}
