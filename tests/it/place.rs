//! What people do to the mail directory of a running program: replace it, restore a backup over it,
//! remove the lock, and keep it on a file system in user space.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{
    Client, Service, await_that,
    program::{Program, run_on},
};

const BOB: &str = "bob@example.com";

/// A copy of a directory as `cp -a` makes it; with a dot at the end of `from`, into what is there.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// What bob has: messages of one second have no order across a restart.
fn sorted_contents(program: &Program) -> Vec<String> {
    let mut contents = program.contents(BOB);
    contents.sort();
    contents
}

/// Sends a message that has to be refused for now.
fn is_refused(program: &Program) {
    let mut client = program.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    client.say("MAIL FROM:<>");
    client.expect("250 Sender OK");
    client.say(&format!("RCPT TO:<{BOB}>"));
    client.expect("250 Recipient OK");
    client.say("DATA");
    let reply = client.line();
    if reply.starts_with("354 ") {
        client.send(b"refused\r\n.\r\n");
        client.expect_prefix("451 ");
    } else {
        assert!(reply.starts_with("451 "), "{reply}");
    }
}

/// Logs in where that has to be refused for now.
fn login_is_refused(program: &Program) {
    let mut client = Client::connect(program.pop3);
    client.expect_prefix("+OK");
    client.say(&format!("USER {BOB}"));
    client.expect_prefix("+OK");
    client.say("PASS any");
    client.expect_prefix("-ERR [SYS/TEMP]");
}

/// How people restore a backup: move the directory away, and put another one there. In the sandbox
/// and out of it.
#[test]
fn a_mail_directory_that_was_replaced_takes_no_mail_until_a_restart() {
    for sandbox in ["on", "off"] {
        for durability in ["journal", "maildir"] {
            let directory = tempfile::tempdir().unwrap();
            let (mail, moved) = (
                directory.path().join("mail"),
                directory.path().join("moved"),
            );
            let configuration = format!("sandbox = \"{sandbox}\"\ndurability = \"{durability}\"\n");
            let program = Program::start_with(directory.path(), &configuration);
            program.deliver(BOB, "one\r\n");
            copy(&mail, &directory.path().join("backup"));
            program.deliver(BOB, "two\r\n");
            fs::rename(&mail, &moved).unwrap();
            is_refused(&program);
            fs::rename(directory.path().join("backup"), &mail).unwrap();
            is_refused(&program);
            program.expect_log("restart facteur");
            login_is_refused(&program);
            drop(program.stop());

            let program = Program::start(directory.path());
            assert_eq!(program.contents(BOB), ["one\r\n"]);
            program.deliver(BOB, "three\r\n");
            assert_eq!(sorted_contents(&program), ["one\r\n", "three\r\n"]);
            drop(program.stop());
            // And what was moved away has all that was acknowledged there.
            fs::remove_dir_all(&mail).unwrap();
            fs::rename(&moved, &mail).unwrap();
            let program = Program::start(directory.path());
            assert_eq!(program.contents(BOB), ["one\r\n", "two\r\n"]);
        }
    }
}

/// The other way: over what is there, with a backup of a store that was running.
#[test]
fn a_backup_that_is_copied_over_the_mail_directory_takes_no_mail_until_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (mail, backup) = (
        directory.path().join("mail"),
        directory.path().join("backup"),
    );
    let mut program = Program::start(directory.path());
    program.deliver(BOB, "one\r\n");
    copy(&mail, &backup);
    assert!(backup.join(".facteur/journal/id").exists());
    program.kill();
    let program = Program::start(directory.path());
    program.deliver(BOB, "two\r\n");
    copy(&backup.join("."), &mail);
    is_refused(&program);
    program.expect_log("restart facteur");
    is_refused(&program);
    drop(program.stop());
    let program = Program::start(directory.path());
    assert_eq!(sorted_contents(&program), ["one\r\n", "two\r\n"]);
    program.deliver(BOB, "three\r\n");
}

/// I11. People clean up.
#[test]
fn a_second_program_does_not_serve_whatever_became_of_the_lock() {
    type CleanUp = fn(&Path);
    let clean_up: [(&str, CleanUp); 3] = [
        ("the lock is removed", |mail| {
            fs::remove_file(mail.join(".facteur/store.lock")).unwrap();
        }),
        ("another directory is in its place", |mail| {
            fs::rename(mail.join(".facteur"), mail.join(".former")).unwrap();
            copy(&mail.join(".former"), &mail.join(".facteur"));
        }),
        ("there is none", |mail| {
            fs::remove_dir_all(mail.join(".facteur")).unwrap();
        }),
    ];
    for (what, clean_up) in clean_up {
        let directory = tempfile::tempdir().unwrap();
        let mail = directory.path().join("mail");
        let program = Program::start(directory.path());
        program.deliver(BOB, "one\r\n");
        clean_up(&mail);
        let second = run_on("127.0.0.1:0", &mail);
        assert_eq!(second.status, Some(75), "{what}: {}", second.errors);
        assert!(
            second.errors.contains("another facteur"),
            "{what}: {}",
            second.errors
        );
        drop(program.stop());
        let program = Program::start(directory.path());
        assert_eq!(program.contents(BOB), ["one\r\n"], "{what}");
    }
}

/// A directory as bindfs shows it, as long as this lives; `None` where there is no FUSE.
struct Fuse {
    mount: PathBuf,
}

impl Fuse {
    fn mount(below: &Path, mount: &Path, options: &[&str]) -> Option<Self> {
        fs::create_dir_all(below).unwrap();
        fs::create_dir_all(mount).unwrap();
        let mut bindfs = Command::new("bindfs");
        bindfs.args(options).args([below, mount]);
        let mounted = bindfs.stderr(Stdio::null()).status();
        mounted.ok().filter(std::process::ExitStatus::success)?;
        Some(Self {
            mount: mount.to_owned(),
        })
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let unmounted = Command::new("fusermount3")
            .arg("-uz")
            .arg(&self.mount)
            .status();
        drop(unmounted);
    }
}

/// Where there is no FUSE, as in most containers, there is nothing to be seen.
#[test]
fn the_mail_may_lie_on_a_file_system_in_user_space() {
    let directory = tempfile::tempdir().unwrap();
    let mount = directory.path().join("mount");
    let Some(fuse) = Fuse::mount(&directory.path().join("below"), &mount, &[]) else {
        return;
    };
    let mut program = Program::start(&mount);
    program.expect_log("is synced file by file");
    program.deliver(BOB, "one\r\n");
    program.deliver(BOB, "two\r\n");
    let mut client = program.maildrop(BOB);
    client.say("DELE 1");
    client.expect_prefix("+OK");
    client.say("QUIT");
    client.expect_prefix("+OK");
    program.kill();
    let program = Program::start(&mount);
    assert_eq!(program.contents(BOB), ["two\r\n"]);
    program.deliver(BOB, &"three\r\n".repeat(100_000));
    // A new listing at each login, since the times of directories say nothing.
    await_that("all is listed", || program.contents(BOB).len() == 2);
    fs::rename(mount.join("mail"), mount.join("moved")).unwrap();
    copy(&mount.join("moved"), &mount.join("mail"));
    is_refused(&program);
    drop(program.stop());
    let program = Program::start(&mount);
    assert_eq!(program.contents(BOB).len(), 2);
    drop(program.stop());
    drop(fuse);
}

/// As on the file systems of other systems, and on what they share with a container: neither chmod
/// nor another directory in it helps.
#[test]
fn a_file_system_without_permissions_is_named_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let mount = directory.path().join("mount");
    let below = directory.path().join("below");
    let Some(fuse) = Fuse::mount(&below, &mount, &["--perms=0777"]) else {
        return;
    };
    let ended = run_on("127.0.0.1:0", &mount.join("mail"));
    assert_eq!(ended.status, Some(1));
    let errors = ended.errors;
    assert!(
        errors.contains("does not keep the owner and the permissions"),
        "{errors}"
    );
    assert!(
        !errors.contains("--mail") && !errors.contains("chmod"),
        "{errors}"
    );
    assert!(!mount.join("mail").exists(), "what was made is removed");
    drop(fuse);
}
