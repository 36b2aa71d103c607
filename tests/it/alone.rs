//! One mailbox that cannot be written, on the real file system: mail for others is accepted and
//! read, a start succeeds and names the mailbox that waits, and once it is repaired nothing is
//! missing or duplicated.
//!
//! Only root can create mounts and other users' files; without root the tests do what they can.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::program::Program;
use crate::support::{Client, Service};

const BOB: &str = "bob@example.com";
const ANN: &str = "ann@example.com";

/// A message for the journal, and one that is too large for it.
fn sizes() -> [String; 2] {
    [
        "a line\r\n".to_owned(),
        "a line of some length that is repeated\r\n".repeat(10_000),
    ]
}

/// A place to keep mail, as a user other than root if possible.
struct Place {
    directory: tempfile::TempDir,
    /// The mounts in it.
    mounted: Vec<PathBuf>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        if is_root() {
            let (user, group) = nobody();
            chown(directory.path(), Some(user), Some(group)).unwrap();
            fs::write(directory.path().join("facteur.toml"), "user = \"nobody\"\n").unwrap();
        }
        Self {
            directory,
            mounted: Vec::new(),
        }
    }

    fn start(&self) -> Program {
        Program::start(self.directory.path())
    }

    /// A part of bob's mailbox.
    fn bob(&self, part: &str) -> PathBuf {
        self.directory
            .path()
            .join("mail/example.com/bob")
            .join(part)
    }

    /// The directory of its domain.
    fn domain(&self) -> PathBuf {
        self.directory.path().join("mail/example.com")
    }

    /// Mounts a small file system.
    fn mount(&mut self, path: &Path, kibioctets: u64) {
        let (user, group) = nobody();
        let options = format!("size={kibioctets}k,mode=700,uid={user},gid={group}");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path);
        assert!(mount.status().unwrap().success());
        self.mounted.push(path.to_owned());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for path in self.mounted.iter().rev() {
            // If this fails, the test has failed already.
            drop(Command::new("umount").arg("-l").arg(path).status());
        }
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The number of a user that every system has, and of its group.
fn nobody() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("nobody:"));
    let fields: Vec<&str> = line.unwrap().split(':').collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}

/// Sends a message to several recipients; returns the replies to RCPT, and the last one.
fn send(program: &Program, recipients: &[&str], content: &str) -> (Vec<String>, String) {
    let mut client: Client = program.smtp_client();
    client.say("EHLO test");
    while client.line().starts_with("250-") {}
    client.say("MAIL FROM:<alice@example.com>");
    client.expect_prefix("250 ");
    let replies = recipients.iter().map(|recipient| {
        client.say(&format!("RCPT TO:<{recipient}>"));
        client.line()
    });
    let replies: Vec<String> = replies.collect();
    client.say("DATA");
    let reply = client.line();
    if !reply.starts_with("354") {
        return (replies, reply);
    }
    client.send(crate::support::dot_stuffed(content).as_bytes());
    (replies, client.line())
}

/// Breaks bob's mailbox in one way, and returns what repairs it.
type Break = fn(&Place) -> Box<dyn FnOnce()>;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Replaces a directory with something else.
fn displace(path: &Path, make: impl FnOnce(&Path)) -> Box<dyn FnOnce()> {
    let aside = path.with_extension("aside");
    fs::rename(path, &aside).unwrap();
    make(path);
    let path = path.to_owned();
    Box::new(move || {
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    })
}

fn ways() -> Vec<(&'static str, Break)> {
    let mut ways: Vec<(&'static str, Break)> = vec![
        ("a file instead of new", |place| {
            displace(&place.bob("new"), |path| fs::write(path, "").unwrap())
        }),
        ("a dangling link instead of new", |place| {
            displace(&place.bob("new"), |path| symlink("nowhere", path).unwrap())
        }),
        ("a dangling link instead of the mailbox", |place| {
            let mailbox = place.domain().join("bob");
            displace(&mailbox, |path| symlink("nowhere", path).unwrap())
        }),
    ];
    if is_root() {
        ways.push(("new belongs to root", |place| {
            let new = place.bob("new");
            chown(&new, Some(0), Some(0)).unwrap();
            set_mode(&new, 0o755);
            Box::new(move || chown(&new, Some(nobody().0), Some(nobody().1)).unwrap())
        }));
        ways.push(("cur cannot be read", |place| {
            let [new, cur] = ["new", "cur"].map(|part| place.bob(part));
            set_mode(&cur, 0);
            set_mode(&new, 0o500);
            Box::new(move || {
                set_mode(&cur, 0o700);
                set_mode(&new, 0o700);
            })
        }));
        ways.push(("the domain belongs to root", |place| {
            let domain = place.domain();
            chown(&domain, Some(0), Some(0)).unwrap();
            set_mode(&domain, 0o700);
            Box::new(move || chown(&domain, Some(nobody().0), Some(nobody().1)).unwrap())
        }));
    }
    ways
}

#[test]
fn a_broken_mailbox_harms_no_other_mailbox() {
    for (way, spoil) in ways() {
        // A broken domain is broken for all its mailboxes.
        let other = if way.starts_with("the domain") {
            "ann@example.net"
        } else {
            ANN
        };
        for content in sizes() {
            let place = Place::new();
            let mut program = place.start();
            program.deliver(BOB, "first\r\n");
            // The mailbox exists when the client names its recipients, and breaks after that.
            let mut client = program.smtp_client();
            client.say("HELO test");
            client.expect("250 Ok");
            client.begin_content(&[BOB, other]);
            let mend = spoil(&place);
            client.send(crate::support::dot_stuffed(&content).as_bytes());
            assert_eq!(client.line(), "250 OK", "{way}");
            // Perhaps not the first line: the error can be reported before something waits.
            let line = program.log_line("; 1 message waits for it");
            let of_bob = "no mail can be put into the mailbox bob@example.com";
            assert!(line.contains(of_bob), "{way}: {line}");
            assert!(line.contains("example.com/bob"), "{way}: {line}");

            let (replies, last) = send(&program, &[BOB, other], "second\r\n");
            assert!(replies[0].starts_with("451 4.2.0 "), "{way}: {replies:?}");
            assert_eq!(last, "250 2.0.0 OK", "{way}: {replies:?}");
            assert_eq!(program.contents(other), [&*content, "second\r\n"], "{way}");

            // A crash, and a start that must report it.
            program.kill();
            drop(program);
            let program = place.start();
            let line = program.log_line("no mail can be put into the mailbox bob@example.com");
            assert!(line.contains(" wait"), "{way}: {line}");
            program.deliver(other, "third\r\n");

            mend();
            program.deliver(BOB, "fourth\r\n");
            // Within one second the order between two runs of the program is not kept.
            let sorted = |program: &Program, user: &str, expected: [&str; 3]| {
                let mut found = program.contents(user);
                found.sort();
                let mut expected = expected;
                expected.sort_unstable();
                assert_eq!(found, expected, "{way}");
            };
            sorted(&program, BOB, ["first\r\n", &content, "fourth\r\n"]);
            drop(program);
            let program = place.start();
            // Nothing is duplicated.
            sorted(&program, BOB, ["first\r\n", &content, "fourth\r\n"]);
            sorted(&program, other, [&content, "second\r\n", "third\r\n"]);
        }
    }
}

/// A login cannot wait for a repair, and need not harm others.
#[test]
fn an_unreadable_mailbox_is_a_permanent_error() {
    let place = Place::new();
    let program = place.start();
    program.deliver(BOB, "one\r\n");
    program.deliver(ANN, "one\r\n");
    let mend = displace(&place.bob("new"), |path| fs::write(path, "").unwrap());
    let mut client = program.pop3_client();
    for command in ["USER bob@example.com", "PASS any"] {
        client.say(command);
        let line = client.line();
        assert_eq!(
            line.starts_with("+OK"),
            command.starts_with("USER"),
            "{line}"
        );
        assert!(
            line.starts_with("+OK") || line.starts_with("-ERR [SYS/PERM] "),
            "{line}"
        );
    }
    program.expect_log("example.com/bob/new");
    assert_eq!(program.contents(ANN), ["one\r\n"]);
    mend();
    assert_eq!(program.contents(BOB), ["one\r\n"]);
}

#[test]
fn an_unreadable_domain_does_not_lock_out_users_of_others() {
    let place = Place::new();
    let program = place.start();
    program.deliver("bob@example.net", "one\r\n");
    program.deliver(ANN, "one\r\n");
    let domain = place.domain();
    if is_root() {
        chown(&domain, Some(0), Some(0)).unwrap();
    }
    set_mode(&domain, 0);
    assert_eq!(program.contents("bob"), ["one\r\n"]);
    if is_root() {
        chown(&domain, Some(nobody().0), Some(nobody().1)).unwrap();
    }
    set_mode(&domain, 0o700);
}

/// Files cannot be renamed or linked from the store to there, since it is another disk.
#[test]
fn a_mailbox_can_be_a_separate_file_system() {
    if !is_root() {
        return;
    }
    for part in ["", "new"] {
        let mut place = Place::new();
        let program = place.start();
        program.deliver(ANN, "first\r\n");
        let path = place.bob(part);
        for directory in [&place.bob(""), &path] {
            fs::create_dir_all(directory).unwrap();
            chown(directory, Some(nobody().0), Some(nobody().1)).unwrap();
        }
        place.mount(&path, 2_000);
        let [small, large] = sizes();
        for content in [&small, &large] {
            let (_, last) = send(&program, &[BOB, ANN], content);
            assert_eq!(last, "250 2.0.0 OK", "{part}");
        }
        assert_eq!(program.contents(BOB), [&*small, &*large], "{part}");
        // It is full, which must not affect other mailboxes.
        let filler = path.join("filler");
        let written = fs::write(&filler, vec![0; 4_000_000]);
        assert!(written.is_err(), "{part}");
        let (_, last) = send(&program, &[BOB, ANN], &large);
        assert_eq!(last, "250 2.0.0 OK", "{part}: it waits for bob");
        program.expect_log("; 1 message waits for it");
        let (replies, last) = send(&program, &[BOB, ANN], &small);
        assert!(replies[0].starts_with("452 4.2.2 "), "{part}: {replies:?}");
        assert_eq!(last, "250 2.0.0 OK", "{part}");
        drop(program);
        let program = place.start();
        program.expect_log("; 1 message waits for it");
        let expected = ["first\r\n", &*small, &*large, &*large, &*small];
        assert_eq!(program.contents(ANN), expected, "{part}");
        fs::remove_file(filler).unwrap();
        program.deliver(BOB, &small);
        // Messages of one second are listed in the order of their names, which another start
        // chooses.
        let mut contents = program.contents(BOB);
        contents.sort();
        let mut expected = [&*small, &*large, &*large, &*small];
        expected.sort_unstable();
        assert_eq!(contents, expected, "{part}");
        assert_eq!(fs::read_dir(place.bob("tmp")).map_or(0, Iterator::count), 0);
    }
}

/// `chattr +i`, if the file system has it.
#[test]
fn an_immutable_mailbox_waits_for_chattr() {
    let place = Place::new();
    let program = place.start();
    program.deliver(BOB, "first\r\n");
    let chattr = |change: &str| {
        let mut chattr = Command::new("chattr");
        let done = chattr.arg(change).arg(place.bob("new")).output();
        done.is_ok_and(|done| done.status.success())
    };
    let mut client = program.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    client.begin_content(&[BOB]);
    if !chattr("+i") {
        return;
    }
    client.send(b"second\r\n.\r\n");
    let reply = client.line();
    let line = program.log_line("no mail can be put into the mailbox bob@example.com");
    let (replies, _) = send(&program, &[BOB], "refused\r\n");
    assert!(chattr("-i"));
    assert_eq!(reply, "250 OK");
    assert!(line.contains("chattr -i"), "{line}");
    assert!(replies[0].starts_with("451 4.2.0 "), "{replies:?}");
    program.deliver(BOB, "third\r\n");
    assert_eq!(
        program.contents(BOB),
        ["first\r\n", "second\r\n", "third\r\n"]
    );
}
