//! SEC-16: what the sandbox forbids, what it permits, and that the program is in it.
//!
//! On a kernel without Landlock the tests say so, and check how the program behaves there.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use facteur::system::sandbox::{Missing, Rules, State, enter};

use crate::support::{
    Service, ShortWay, not_tested,
    program::{OWN_THREADS, Program, copy_program, run, run_with},
};

/// Calls `test` in a new thread inside a sandbox; false if there is no sandbox.
fn within(writable: &Path, readable: &[&Path], test: impl FnOnce() + Send) -> bool {
    let rules = Rules {
        writable,
        readable,
        connects: &[],
        sockets: &[],
    };
    within_rules(&rules, test)
}

/// The same, with these rules.
fn within_rules(rules: &Rules<'_>, test: impl FnOnce() + Send) -> bool {
    let enter_and_test = || match enter(rules) {
        State::Enforced { .. } => {
            test();
            true
        }
        State::Missing(why) => {
            assert!(!matches!(why, Missing::Refused(_)), "{why}");
            not_tested(&why.to_string());
            false
        }
    };
    thread::scope(|scope| scope.spawn(enter_and_test).join().unwrap())
}

fn is_whole() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let rules = Rules {
        writable: directory.path(),
        readable: &[],
        connects: &[],
        sockets: &[],
    };
    thread::scope(|scope| scope.spawn(|| enter(&rules).is_whole()).join().unwrap())
}

fn denied<T>(result: std::io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

#[test]
fn nothing_outside_can_be_opened_made_linked_or_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (inside, outside) = (directory.path().join("mail"), directory.path().join("else"));
    for directory in [&inside, &outside] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("file"), "text").unwrap();
    }
    let file = outside.join("file");
    let way = ShortWay::into(&outside);
    within(&inside, &[], || {
        assert!(denied(File::open(&file)));
        assert!(denied(File::options().append(true).open(&file)));
        assert!(denied(File::open("/etc/passwd")));
        assert!(denied(fs::read_dir(&outside)));
        assert!(denied(fs::write(outside.join("new"), "")));
        assert!(denied(fs::create_dir(outside.join("new"))));
        assert!(denied(fs::remove_file(&file)));
        for (from, to) in [
            (&file, inside.join("taken")),
            (&inside.join("file"), outside.join("given")),
        ] {
            assert!(fs::hard_link(from, &to).is_err(), "{}", to.display());
            assert!(fs::rename(from, &to).is_err(), "{}", to.display());
        }
        // A path that leads outside is refused.
        assert!(denied(File::open(inside.join("../else/file"))));
        // Only files, directories and sockets can be created, and no socket outside.
        assert!(denied(std::os::unix::fs::symlink("/", inside.join("link"))));
        let socket = std::os::unix::net::UnixListener::bind(way.to("socket"));
        assert!(denied(socket.map(drop)));
        // Processes that it starts are in the sandbox too.
        let inherited = thread::scope(|scope| scope.spawn(|| denied(File::open(&file))).join());
        assert!(inherited.unwrap());
    });
    assert_eq!(fs::read_to_string(&file).unwrap(), "text");
}

#[test]
fn everything_that_a_maildir_needs_is_permitted() {
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path();
    let way = ShortWay::into(mail);
    within(mail, &[], || {
        std::os::unix::net::UnixListener::bind(way.to("control")).unwrap();
        fs::remove_file(mail.join("control")).unwrap();
        let (tmp, new) = (mail.join("tmp"), mail.join("example.com/bob/new"));
        fs::create_dir(&tmp).unwrap();
        fs::create_dir_all(&new).unwrap();
        fs::write(tmp.join("1"), "one").unwrap();
        // Between directories: the oldest Landlock forbids this.
        fs::hard_link(tmp.join("1"), new.join("1")).unwrap();
        fs::rename(tmp.join("1"), new.join("2")).unwrap();
        let file = File::options().write(true).open(new.join("1")).unwrap();
        file.set_len(1).unwrap();
        File::open(&new).unwrap().sync_all().unwrap();
        assert_eq!(fs::read_to_string(new.join("2")).unwrap(), "o");
        assert_eq!(fs::read_dir(&new).unwrap().count(), 2);
        fs::remove_file(new.join("1")).unwrap();
        fs::remove_dir_all(mail.join("example.com")).unwrap();
    });
}

#[test]
fn replaced_files_can_be_read_but_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let (mail, settings) = (directory.path().join("mail"), directory.path().join("etc"));
    fs::create_dir(&mail).unwrap();
    fs::create_dir(&settings).unwrap();
    let (file, next) = (settings.join("file"), settings.join("next"));
    fs::write(&file, "old").unwrap();
    fs::write(&next, "new").unwrap();
    let missing = directory.path().join("missing");
    within(&mail, &[&settings, &missing], || {
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        // A process outside replaces the file.
        let other = Command::new("mv").arg(&next).arg(&file).status();
        assert!(denied(other));
        assert!(denied(File::options().write(true).open(&file)));
        assert!(denied(fs::rename(&next, &file)));
    });
    if fs::rename(&next, &file).is_ok() {
        within(&mail, &[&settings], || {
            assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        });
    }
}

#[test]
fn only_the_servers_of_a_database_can_be_connected_to() {
    if !is_whole() {
        not_tested("this kernel cannot restrict connecting");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let sockets = tempfile::tempdir().unwrap();
    let way = ShortWay::into(sockets.path());
    let _local = std::os::unix::net::UnixListener::bind(way.to("database")).unwrap();
    let [database, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let address = database.local_addr().unwrap();
    let rules = Rules {
        writable: directory.path(),
        readable: &[],
        connects: &[address.port()],
        sockets: &[sockets.path()],
    };
    within_rules(&rules, || {
        TcpStream::connect(address).unwrap();
        std::os::unix::net::UnixStream::connect(way.to("database")).unwrap();
        assert!(denied(TcpStream::connect(other.local_addr().unwrap())));
        assert!(denied(TcpListener::bind("127.0.0.1:0")));
    });
}

#[test]
fn no_program_can_be_executed() {
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join("program");
    copy_program(&own);
    let runs = |program: &Path| Command::new(program).arg("--version").output().map(drop);
    runs(&own).unwrap();
    within(directory.path(), &[], || {
        assert!(denied(runs(&own)));
        assert!(denied(runs(Path::new("/bin/sh"))));
    });
}

#[test]
fn no_port_can_be_connected_or_bound_but_open_sockets_still_work() {
    if !is_whole() {
        not_tested("this kernel does not restrict TCP");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    within(directory.path(), &[], || {
        assert!(denied(TcpStream::connect(address)));
        assert!(denied(TcpListener::bind("127.0.0.1:0")));
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.write_all(b"hello").unwrap();
    });
    let mut greeting = String::new();
    client.read_to_string(&mut greeting).unwrap();
    assert_eq!(greeting, "hello");
}

/// The store checks the directories of a mailbox only once, and would not notice that one of them
/// is later replaced with a link to elsewhere. So this fails for a program without the sandbox.
/// Reading would also succeed if the sessions had only the sandbox of `main`, which may read beside
/// its configuration.
#[test]
fn the_program_cannot_be_lured_out_of_its_mail_directory() {
    for (sandbox, reply, response) in [("off", "250 OK", "+OK"), ("on", "451 ", "-ERR")] {
        let directory = tempfile::tempdir().unwrap();
        let configuration = format!("durability = \"maildir\"\nsandbox = \"{sandbox}\"");
        let program = Program::start_with(directory.path(), &configuration);
        program.deliver("bob@example.com", "one\r\n");
        let mut maildrop = program.maildrop("bob@example.com");
        let (domain, outside) = (
            directory.path().join("mail/example.com"),
            directory.path().join("elsewhere"),
        );
        fs::rename(&domain, &outside).unwrap();
        std::os::unix::fs::symlink(&outside, &domain).unwrap();
        if sandbox == "on" && !is_whole() {
            not_tested("there is no sandbox here");
            return;
        }
        let mut client = program.smtp_client();
        client.say("HELO test");
        client.expect("250 Ok");
        client.begin_content(&["bob@example.com"]);
        client.say(".");
        client.expect_prefix(reply);
        maildrop.say("RETR 1");
        maildrop.expect_prefix(response);
    }
}

/// No thread is left out, whether it serves clients or not: entering the sandbox sets this flag of
/// a thread, and only threads that it starts inherit it.
#[test]
fn every_thread_of_the_program_is_in_the_sandbox() {
    let flag = |sandbox: &str| {
        let directory = tempfile::tempdir().unwrap();
        let configuration = format!("sandbox = \"{sandbox}\"");
        let program = Program::start_with(directory.path(), &configuration);
        let _clients = (program.smtp_client(), program.pop3_client());
        let threads = program.threads_with(&[&OWN_THREADS[..], &["smtp-1", "pop3-2"]].concat());
        let in_there = |(_, status): &&(String, String)| status.contains("NoNewPrivs:\t1");
        let n_in = threads.iter().filter(in_there).count();
        (n_in, threads.len())
    };
    let (n_in, _) = flag("off");
    assert_eq!(n_in, 0);
    let (n_in, n_threads) = flag("on");
    assert_eq!(n_in, n_threads);
}

#[test]
fn the_log_describes_the_sandbox_and_require_is_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), "sandbox = \"off\"");
    program.expect_log("sandbox: off, as configured");
    drop(program);
    let file = directory.path().join("facteur.toml");
    fs::write(&file, "sandbox = \"require\"\nsmtp = [\"127.0.0.1:0\"]\n").unwrap();
    if is_whole() {
        let program = Program::start(directory.path());
        program.expect_log("sandbox: Landlock ABI ");
    } else {
        let mail = directory.path().join("mail");
        let arguments = ["--pop3", "off", "--mail", mail.to_str().unwrap()];
        let arguments = [&["--config", file.to_str().unwrap()][..], &arguments].concat();
        let ended = run(&arguments);
        assert_eq!(ended.status, Some(1), "{}", ended.errors);
        assert!(ended.errors.starts_with("facteur: sandbox: "));
        assert_eq!(ended.errors.lines().count(), 1, "{}", ended.errors);
    }
}

/// An editor, or whoever renews a certificate, replaces the file or changes a link.
#[test]
fn replaced_files_can_be_reloaded() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("accounts.toml");
    let archive = directory.path().join("archive");
    fs::create_dir(&archive).unwrap();
    let account = |name: &str| {
        let hashed = run_with(&["hash-password"], "secret\n");
        format!("[[accounts]]\naddress = \"{name}\"\n{}", hashed.output)
    };
    fs::write(archive.join("1"), account("alice@example.com")).unwrap();
    fs::write(archive.join("2"), account("bob@example.com")).unwrap();
    std::os::unix::fs::symlink("archive/1", &file).unwrap();
    let program = Program::start_with(directory.path(), "accounts = \"accounts.toml\"\n");
    let next = directory.path().join("next");
    std::os::unix::fs::symlink("archive/2", &next).unwrap();
    fs::rename(&next, &file).unwrap();
    program.signal("HUP");
    program.expect_log("have been reloaded");
    program.deliver("bob@example.com", "two\r\n");
    fs::write(&next, account("carol@example.com")).unwrap();
    fs::rename(&next, &file).unwrap();
    program.signal("HUP");
    program.expect_log("have been reloaded");
    program.deliver("carol@example.com", "three\r\n");
}

/// The content of the mail directory can be removed at any time; the sandbox depends on the
/// directory itself.
#[test]
fn all_mail_can_be_removed_under_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(directory.path());
    let mail = directory.path().join("mail");
    for content in ["one\r\n", "two\r\n"] {
        program.deliver("bob@example.com", content);
        assert_eq!(program.contents("bob@example.com"), [content]);
        for entry in fs::read_dir(&mail).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        assert_eq!(program.contents("bob@example.com"), [""; 0]);
    }
}

/// No mail is acknowledged that cannot be stored, and the next start creates the directory.
#[test]
fn a_removed_mail_directory_accepts_no_mail_until_the_next_start() {
    for durability in ["journal", "maildir", "none"] {
        let directory = tempfile::tempdir().unwrap();
        let configuration = format!("durability = \"{durability}\"");
        let mut program = Program::start_with(directory.path(), &configuration);
        program.deliver("bob@example.com", "one\r\n");
        fs::remove_dir_all(directory.path().join("mail")).unwrap();
        assert_eq!(program.contents("bob@example.com"), [""; 0]);
        if is_whole() {
            let mut client = program.smtp_client();
            client.say("HELO test");
            client.expect("250 Ok");
            client.say("MAIL FROM:<>");
            client.expect("250 Sender OK");
            client.say("RCPT TO:<bob@example.com>");
            client.expect("250 Recipient OK");
            client.say("DATA");
            client.expect_prefix("451 ");
        } else {
            program.deliver("bob@example.com", "two\r\n");
        }
        program.kill();
        let program = Program::start(directory.path());
        program.deliver("bob@example.com", "three\r\n");
    }
}
