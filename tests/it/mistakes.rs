//! What the program says about mistakes, and about changes without effect.

use std::path::Path;

use crate::support::program::{Ended, Program, facteur, run};
use crate::support::{Service, tls};

/// Runs `--check` on a configuration with this text.
fn check(directory: &Path, text: &str) -> Ended {
    let file = directory.join("facteur.toml");
    std::fs::write(&file, text).unwrap();
    run(&["--check", "--config", file.to_str().unwrap()])
}

#[test]
fn all_mistakes_of_a_configuration_are_reported_in_one_run() {
    let own = tempfile::tempdir().unwrap();
    let ended = check(
        own.path(),
        "hostnam = \"x\"\nlog_level = \"loud\"\n[limits]\nerror = 3\n",
    );
    assert_eq!(ended.status, Some(2));
    let lines: Vec<&str> = ended.errors.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for (begin, part) in [
        ("facteur.toml:1: hostnam: ", "did you mean `hostname`?"),
        ("facteur.toml:2: log_level: ", "\"loud\" is not one of"),
        ("facteur.toml:4: limits.error: ", "did you mean `errors`?"),
    ] {
        let is_told = |line: &&&str| line.contains(begin) && line.contains(part);
        assert!(
            lines.iter().any(|line| is_told(&line)),
            "{begin}: {lines:#?}"
        );
    }
    assert!(
        lines.iter().all(|line| line.starts_with("facteur: ")),
        "{lines:#?}"
    );
}

#[test]
fn contradictions_are_reported_with_the_fix() {
    let own = tempfile::tempdir().unwrap();
    for (text, part) in [
        (
            "user = \"no such user\"\n",
            "there is no user \"no such user\"",
        ),
        ("user = \"root\"\n", "name another user"),
        (
            "smtp = [\"127.0.0.1:2525\"]\npop3 = [\"2525\"]\n",
            "smtp and pop3 would both listen on 127.0.0.1:2525: give one of them another port",
        ),
        (
            "[tls]\ncertificate = \"/no/such.pem\"\nkey = \"/no/such.key\"\n",
            "facteur.toml:2: tls.certificate: cannot read /no/such.pem: No such file",
        ),
        (
            "smtp = [\"a b:25\"]\n",
            "nor a port on this machine such as \"65434\"",
        ),
        (
            "hostname = \"a b\"\n",
            "\"a b\" is not a domain name such as mail.example.com\n",
        ),
    ] {
        let ended = check(own.path(), text);
        assert_eq!(ended.status, Some(2), "{text}");
        assert!(
            ended.errors.contains(part),
            "{part:?} is not in {}",
            ended.errors
        );
    }
    let tls = tls::configure(own.path());
    let key = own.path().join("not-a-key.pem");
    std::fs::write(&key, "").unwrap();
    let wrong = tls.replace("\"key.pem\"", "\"not-a-key.pem\"");
    let ended = check(own.path(), &wrong);
    assert!(
        ended.errors.contains("facteur.toml:1: tls.key: "),
        "{}",
        ended.errors
    );
}

#[test]
fn directories_above_the_mail_are_created() {
    let own = tempfile::tempdir().unwrap();
    let mail = own.path().join("srv/of/facteur");
    let configuration = format!("mail = {mail:?}\nsmtp = [\"0\"]\npop3 = [\"0\"]\nhttp = []\n");
    std::fs::write(own.path().join("facteur.toml"), configuration).unwrap();
    let file = own.path().join("facteur.toml");
    let mut child = facteur()
        .args(["--config", file.to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut banner = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    while !lines.contains("fetch:") {
        let octets = std::io::BufRead::read_line(&mut banner, &mut lines).unwrap();
        assert!(octets > 0, "{lines}");
    }
    assert!(mail.join(".facteur").is_dir());
    assert!(lines.contains(mail.to_str().unwrap()), "{lines}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_log_says_which_configuration_is_read_and_what_needs_a_restart() {
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("facteur.toml");
    let program = Program::start_with(own.path(), "domains = [\"example.net\"]\n");
    program.expect_log(&format!("configuration: {}", file.display()));
    // The examples can be typed unchanged.
    assert!(
        program
            .banner
            .iter()
            .any(|line| line.contains("RCPT TO:<bob@example.net>")),
        "{:?}",
        program.banner
    );
    let changed = "hostname = \"other.example\"\n[limits]\nerrors = 3\n";
    std::fs::write(&file, changed).unwrap();
    program.signal("HUP");
    program.expect_log("SIGHUP: these other changes need a restart: hostname, domains, limits");
    std::fs::write(&file, "hostnam = \"x\"\nlog_level = \"loud\"\n").unwrap();
    program.signal("HUP");
    let line = program.log_line("accounts, certificate and open_to stay as they were");
    assert!(
        line.contains("`hostname`?; ") && line.contains("\"loud\""),
        "{line}"
    );
}

#[test]
fn files_that_others_can_change_are_named_at_the_start_and_on_sighup() {
    use std::os::unix::fs::PermissionsExt;
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("facteur.toml");
    let expected = format!(
        "{0}, the configuration, can be written by every user of this machine: run chmod o-w {0}",
        file.display()
    );
    let change = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&file, mode).unwrap();
    };
    std::fs::write(&file, "").unwrap();
    change(0o666);
    let checked = run(&["--check", "--config", file.to_str().unwrap()]);
    assert_eq!(checked.status, Some(0), "{}", checked.errors);
    assert!(checked.errors.contains(&expected), "{}", checked.errors);
    let program = Program::start_unready(own.path());
    program.expect_log(&expected);
    program.expect_log("ready");
    change(0o600);
    program.signal("HUP");
    program.expect_log("accounts and certificate have been reloaded");
    change(0o666);
    program.signal("HUP");
    program.expect_log(&expected);
}

/// Libraries that use STARTTLS whenever it is offered fail if they do not trust the CA.
#[test]
fn without_starttls_only_the_tls_listeners_have_tls() {
    let own = tempfile::tempdir().unwrap();
    let tls = tls::configure(own.path());
    for (key, is_offered) in [("", true), ("starttls = \"off\"\n", false)] {
        let configuration = format!("{key}{tls}");
        let program = Program::start_with(own.path(), &configuration);
        let mut smtp = program.smtp_client();
        smtp.say("EHLO test");
        let offers = smtp.reply().iter().any(|line| line.ends_with("STARTTLS"));
        assert_eq!(offers, is_offered);
        let mut pop3 = program.pop3_client();
        pop3.say("CAPA");
        let mut offers = false;
        loop {
            let line = pop3.line();
            offers |= line == "STLS";
            if line == "." {
                break;
            }
        }
        assert_eq!(offers, is_offered);
        assert!(
            program
                .banner
                .iter()
                .any(|line| line.starts_with("SMTP with TLS "))
        );
        let told = program.stop();
        let is_warned = told.iter().any(|line| line.contains("fail without the CA"));
        assert_eq!(is_warned, is_offered, "{told:#?}");
    }
}
