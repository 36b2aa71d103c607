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

/// A copy of a directory by `cp -a`; with a dot at the end of `from`, into the existing directory.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// Bob's mail; messages of one second have no order across a restart.
fn sorted_contents(program: &Program) -> Vec<String> {
    let mut contents = program.contents(BOB);
    contents.sort();
    contents
}

/// Sends a message, which must be refused temporarily.
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

/// Logs in, which must be refused temporarily.
fn login_is_refused(program: &Program) {
    let mut client = Client::connect(program.pop3);
    client.expect_prefix("+OK");
    client.say(&format!("USER {BOB}"));
    client.expect_prefix("+OK");
    client.say("PASS any");
    client.expect_prefix("-ERR [SYS/TEMP]");
}

/// A way to restore a backup: move the directory away, and put another in its place. With and
/// without the sandbox.
#[test]
fn a_replaced_mail_directory_accepts_no_mail_until_a_restart() {
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
            // The directory that was moved away has all mail that was acknowledged before.
            fs::remove_dir_all(&mail).unwrap();
            fs::rename(&moved, &mail).unwrap();
            let program = Program::start(directory.path());
            assert_eq!(program.contents(BOB), ["one\r\n", "two\r\n"]);
        }
    }
}

/// Another way: copy the backup of a running store over the existing files.
#[test]
fn a_mail_directory_under_a_restored_backup_accepts_no_mail_until_a_restart() {
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

/// I11. People tidy up.
#[test]
fn a_second_program_does_not_serve_whatever_happened_to_the_lock() {
    type CleanUp = fn(&Path);
    let clean_up: [(&str, CleanUp); 3] = [
        ("the lock is removed", |mail| {
            fs::remove_file(mail.join(".facteur/store.lock")).unwrap();
        }),
        ("the mail directory was replaced", |mail| {
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

/// A directory seen through bindfs, as long as this lives; `None` without FUSE.
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

/// Without FUSE, as in most containers, this tests nothing.
#[test]
fn the_mail_can_be_on_a_file_system_in_user_space() {
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
    // A new listing at each login, since the times of directories cannot be trusted.
    await_that("all messages are listed", || {
        program.contents(BOB).len() == 2
    });
    fs::rename(mount.join("mail"), mount.join("moved")).unwrap();
    copy(&mount.join("moved"), &mount.join("mail"));
    is_refused(&program);
    drop(program.stop());
    let program = Program::start(&mount);
    assert_eq!(program.contents(BOB).len(), 2);
    drop(program.stop());
    drop(fuse);
}

/// Like file systems of other systems, and what these share with a container: neither chmod nor a
/// subdirectory helps.
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
    assert!(
        !mount.join("mail").exists(),
        "the new directory is removed again"
    );
    drop(fuse);
}
