//! The program as a person or a script uses it: flags, texts, exit codes, signals.

use crate::support::Service;
use crate::support::program::{Program, facteur, run, run_on};

#[test]
fn it_says_where_it_listens_and_where_the_mail_is() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(directory.path());
    let banner = &program.banner;
    assert!(banner[0].starts_with("facteur "), "{banner:?}");
    assert_eq!(banner[1], format!("SMTP {}", program.smtp));
    assert_eq!(banner[2], format!("POP3 {}", program.pop3));
    assert_eq!(banner[3], "HTTP off");
    assert_eq!(
        banner[4],
        format!("mail {}", directory.path().join("mail").display())
    );
    assert!(
        banner[5].contains(&format!("nc 127.0.0.1 {}", program.smtp.port())),
        "{banner:?}"
    );
    assert!(
        banner[6].contains(&format!("pop3://{}/1", program.pop3)),
        "{banner:?}"
    );
}

#[test]
fn a_signal_stops_it_with_status_0() {
    for signal in ["TERM", "INT"] {
        let directory = tempfile::tempdir().unwrap();
        let mut program = Program::start(directory.path());
        let mut idle = program.maildrop("bob@example.com");
        program.signal(signal);
        idle.expect_prefix("-ERR [SYS/TEMP]");
        idle.expect_end();
        assert_eq!(program.wait(), Some(0), "SIG{signal}");
    }
}

/// When there is nothing that could be reloaded.
#[test]
fn a_terminal_that_closes_stops_it_in_order() {
    // These tests may run under nohup themselves, and a shell cannot undo that.
    let with_hangups =
        "env --default-signal=HUP true && exec env --default-signal=HUP \"$0\" \"$@\"";
    let directory = tempfile::tempdir().unwrap();
    let mut program = Program::start_under(directory.path(), with_hangups);
    program.expect_log("ready");
    let mut idle = program.maildrop("bob@example.com");
    program.signal("HUP");
    program.expect_log("SIGHUP: stopping");
    idle.expect_prefix("-ERR [SYS/TEMP]");
    idle.expect_end();
    program.expect_log(" stopped");
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn a_terminal_that_closes_does_not_stop_it_with_a_configuration_or_nohup() {
    let with_file = tempfile::tempdir().unwrap();
    let with_file_program = Program::start_with(with_file.path(), "");
    let with_nohup = tempfile::tempdir().unwrap();
    let with_nohup_program = Program::start_under(with_nohup.path(), "trap '' HUP");
    with_nohup_program.expect_log("ready");
    for mut program in [with_file_program, with_nohup_program] {
        program.signal("HUP");
        program.deliver("bob@example.com", "still here\r\n");
        program.signal("TERM");
        program.expect_log("SIGTERM: stopping");
        assert_eq!(program.wait(), Some(0));
    }
}

/// I11.
#[test]
fn a_second_daemon_on_the_same_store_ends_with_status_75() {
    let directory = tempfile::tempdir().unwrap();
    let first = Program::start(directory.path());
    let mail = directory.path().join("mail");
    let second = run_on("127.0.0.1:0", &mail);
    assert_eq!(second.status, Some(75), "{}", second.errors);
    let process = first.id().to_string();
    let says = format!("another facteur serves this mail directory (process {process} holds ");
    assert!(second.errors.contains(&says), "{}", second.errors);
    let lock = std::fs::read_to_string(mail.join(".facteur/store.lock")).unwrap();
    assert_eq!(lock, process.clone() + "\n");
    // The usual case: the same ports.
    let second = run_on(&first.smtp.to_string(), &mail);
    assert_eq!(second.status, Some(1), "{}", second.errors);
    let says = format!("facteur already serves this mail directory, as process {process}");
    assert!(second.errors.contains(&says), "{}", second.errors);
    // It also works when somebody has removed the lock file.
    std::fs::remove_file(mail.join(".facteur/store.lock")).unwrap();
    let second = run_on("127.0.0.1:0", &mail);
    assert_eq!(second.status, Some(75), "{}", second.errors);
    assert_eq!(
        second
            .errors
            .lines()
            .filter(|line| line.starts_with("facteur: "))
            .count(),
        1
    );
}

#[test]
fn a_port_in_use_is_one_clear_line_and_status_1() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mail = directory.path().join("mail");
    let ended = run_on(&address, &mail);
    assert_eq!(ended.status, Some(1));
    let lines: Vec<&str> = ended.errors.lines().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains(&address) && lines[0].contains("in use"),
        "{lines:?}"
    );
    assert!(!mail.exists(), "nothing is created when the port is taken");
}

/// SEC-6.
#[test]
fn a_mail_directory_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let mail = directory.path().join("mail");
    std::fs::create_dir(&mail).unwrap();
    std::fs::set_permissions(&mail, std::fs::Permissions::from_mode(0o777)).unwrap();
    let ended = run_on("127.0.0.1:0", &mail);
    assert_eq!(ended.status, Some(1));
    let mail_path = mail.to_str().unwrap();
    let expected = format!(
        "facteur: {mail_path} can be written by others: run chmod go-w on it; or let facteur make \
         a directory in it that is private: --mail {mail_path}/mail\n"
    );
    assert_eq!(ended.errors, expected);
    assert!(
        !mail.join("mail").exists(),
        "nothing is created before that"
    );
    // This program keeps its mail there.
    let program = Program::start(&mail);
    program.deliver("bob@example.com", "one\r\n");
    assert_eq!(program.contents("bob@example.com"), ["one\r\n"]);
}

#[test]
fn a_mail_directory_that_cannot_be_created_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mail = file.join("mail");
    let ended = run_on("127.0.0.1:0", &mail);
    assert_eq!(ended.status, Some(1));
    assert!(
        ended.errors.contains(mail.to_str().unwrap()),
        "{}",
        ended.errors
    );
}

#[test]
fn a_bad_key_names_file_line_and_key_and_ends_with_status_2() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("facteur.toml");
    for (text, parts) in [
        ("hostname = \"x\"\nsmpt = []\n", vec![":2: ", "smpt"]),
        ("[limits]\n\nerrors = -1\n", vec![":3: ", "errors"]),
        ("smtp = [\"0.0.0.0:25\"]\n", vec!["smtp: ", "0.0.0.0:25"]),
        ("mail = [\n", vec![":"]),
    ] {
        std::fs::write(&file, text).unwrap();
        let ended = run(&["--check", "--config", file.to_str().unwrap()]);
        assert_eq!(ended.status, Some(2), "{text}");
        assert_eq!(ended.errors.lines().count(), 1, "{}", ended.errors);
        for part in parts {
            assert!(
                ended.errors.contains(part),
                "{part:?} is not in {}",
                ended.errors
            );
        }
        assert!(
            ended.errors.contains(file.to_str().unwrap()),
            "{}",
            ended.errors
        );
    }
}

#[test]
fn check_accepts_the_example_and_exits() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");
    let ended = run(&["--check", "--config", example]);
    assert_eq!(ended.status, Some(0), "{}", ended.errors);
    let missing = run(&["--check", "--config", "/no/such/file.toml"]);
    assert_eq!(missing.status, Some(2));
    assert!(
        missing.errors.contains("/no/such/file.toml"),
        "{}",
        missing.errors
    );
}

#[test]
fn usage_errors_end_with_status_2() {
    for arguments in [
        vec!["--smtp", "192.0.2.1:25"],
        vec!["--smtp", "off", "--pop3", "off"],
        vec!["--smtp", "off", "--pop3", "off", "--http", "0"],
        vec!["--unknown"],
        vec!["--log-level", "loud"],
    ] {
        let ended = run(&arguments);
        assert_eq!(ended.status, Some(2), "{arguments:?}: {}", ended.errors);
        assert_eq!(ended.errors.lines().count(), 1, "{}", ended.errors);
        assert!(ended.errors.starts_with("facteur: "), "{}", ended.errors);
    }
}

#[test]
fn help_and_version_are_complete() {
    let help = run(&["--help"]);
    assert_eq!(help.status, Some(0));
    for flag in [
        "--smtp",
        "--pop3",
        "--http",
        "--mail",
        "--config",
        "--check",
        "--log-level",
        "--version",
    ] {
        assert!(help.output.contains(flag), "{flag} is not in the help");
    }
    let version = run(&["--version"]);
    assert_eq!(
        version.output.trim(),
        concat!("facteur ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_second_signal_ends_it_immediately() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Program::start(directory.path());
    let mut client = program.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    client.begin_content(&["bob@example.com"]);
    program.signal("TERM");
    program.expect_log("stopping");
    program.signal("TERM");
    assert_eq!(program.wait(), Some(128 + 15));
}

/// A newcomer starts the program without arguments in some directory. Its ports are fixed, so this
/// checks only the texts.
#[test]
fn the_default_ports_are_the_documented_ones() {
    let help = facteur().arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for port in ["65434", "65433", "65480"] {
        assert!(help.contains(&format!("127.0.0.1:{port}")), "{help}");
    }
}

/// A paused terminal, or a pipe that nobody reads, must not delay the mail.
#[test]
fn a_log_that_nobody_reads_stops_neither_mail_nor_the_stop() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = "durability = \"none\"\n";
    std::fs::write(directory.path().join("facteur.toml"), configuration).unwrap();
    let mut program = Program::start_with_unread_log(directory.path());
    // Far more lines than a pipe holds.
    let mut client = program.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    for _ in 0..2_000 {
        client.transaction(&["bob@example.com"], "x\r\n");
    }
    client.say("QUIT");
    client.expect("221 Fermeture connexion");
    program.signal("TERM");
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn it_serves_even_if_standard_output_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = facteur()
        .args([
            "--smtp",
            "127.0.0.1:0",
            "--pop3",
            "off",
            "--http",
            "off",
            "--mail",
        ])
        .arg(directory.path().join("mail"))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let log = std::io::BufReader::new(child.stderr.take().unwrap());
    let ready = std::io::BufRead::lines(log).any(|line| line.unwrap().contains("] ready"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready);
}
