//! The configuration as environment variables, as containers and CI give it.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;

use crate::support::program::{Ended, Program, run_in};
use crate::support::{HASH, Service, tls};

/// Ports that are free, for SMTP and POP3.
const PORTS: [(&str, &str); 3] = [
    ("FACTEUR_SMTP", "127.0.0.1:0"),
    ("FACTEUR_POP3", "127.0.0.1:0"),
    ("FACTEUR_HTTP", "off"),
];

/// Starts the program in `directory` with free ports, these variables and no arguments.
fn start(directory: &Path, variables: &[(&str, &str)]) -> Program {
    Program::start_bare(directory, &[&PORTS[..], variables].concat(), &[])
}

/// Stops the program; returns the warnings about its configuration that no test has waited for.
fn warnings(program: Program) -> Vec<String> {
    let lines = program.stop().into_iter();
    let is_own = |line: &String| {
        line.contains("WARN")
            && ["environment", "FACTEUR_", "SIGHUP"]
                .iter()
                .any(|it| line.contains(it))
    };
    lines.filter(is_own).collect()
}

fn path_of(directory: &Path, name: &str) -> String {
    directory.join(name).to_str().unwrap().to_owned()
}

fn check_fails(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.status, Some(2), "{}", ended.errors);
    for part in parts {
        assert!(ended.errors.contains(part), "{part}: {}", ended.errors);
    }
}

/// Variables, flags, the directory of the mail, and the variables in use.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a str, &'a str);

#[test]
fn a_flag_overrides_a_variable_which_overrides_the_file() {
    let own = tempfile::tempdir().unwrap();
    let file = path_of(own.path(), "facteur.toml");
    std::fs::write(&file, "mail = \"of-the-file\"\n").unwrap();
    let variable = ("FACTEUR_MAIL", "of-the-variable");
    let named = ("FACTEUR_CONFIG", &*file);
    let flags = ["--mail", "of-the-flag"];
    let cases: [Case<'_>; 5] = [
        (
            &[],
            &[],
            "mail",
            "FACTEUR_HTTP, FACTEUR_POP3, FACTEUR_SMTP\n",
        ),
        (
            &[named],
            &[],
            "of-the-file",
            "FACTEUR_CONFIG, FACTEUR_HTTP, FACTEUR_POP3, FACTEUR_SMTP\n",
        ),
        (
            &[named, variable],
            &[],
            "of-the-variable",
            "FACTEUR_CONFIG, FACTEUR_HTTP, FACTEUR_MAIL, FACTEUR_POP3, FACTEUR_SMTP\n",
        ),
        (
            &[variable],
            &flags,
            "of-the-flag",
            "FACTEUR_HTTP, FACTEUR_POP3, FACTEUR_SMTP\n",
        ),
        // An empty value counts as not set.
        (
            &[named, ("FACTEUR_MAIL", "")],
            &[],
            "of-the-file",
            "FACTEUR_CONFIG, FACTEUR_HTTP, FACTEUR_POP3, FACTEUR_SMTP\n",
        ),
    ];
    for (variables, arguments, mail, names) in cases {
        let variables = [&PORTS[..], variables].concat();
        let program = Program::start_bare(own.path(), &variables, arguments);
        assert!(own.path().join(mail).join(".facteur").is_dir(), "{mail}");
        // The names, and never the values.
        let line = program.log_line("environment: ");
        assert!(line.ends_with(&format!("environment: {names}")), "{line}");
        assert_eq!(warnings(program), [""; 0]);
        std::fs::remove_dir_all(own.path().join(mail)).unwrap();
    }
}

#[test]
fn a_configuration_file_is_named_by_the_flag_first() {
    let own = tempfile::tempdir().unwrap();
    let file = path_of(own.path(), "facteur.toml");
    std::fs::write(&file, "").unwrap();
    let missing = [("FACTEUR_CONFIG", "/no/such.toml")];
    let checked = run_in(&missing, &["--check"]);
    check_fails(
        &checked,
        &["facteur: FACTEUR_CONFIG: cannot read /no/such.toml: No such file"],
    );
    let checked = run_in(&missing, &["--check", "--config", &file]);
    assert_eq!(checked.status, Some(0), "{}", checked.errors);
}

#[test]
fn variables_of_all_kinds_reach_the_daemon() {
    let own = tempfile::tempdir().unwrap();
    let program = start(
        own.path(),
        &[
            ("FACTEUR_DOMAINS", "example.com, example.org"),
            ("FACTEUR_POP3_UTF8", "true"),
            ("FACTEUR_LIMITS_RECIPIENTS", "1"),
            ("FACTEUR_LIMITS_MESSAGE_OCTETS", "1 MiB"),
        ],
    );
    let mut smtp = program.smtp_client();
    smtp.say("EHLO test");
    let offers = smtp.reply();
    let has = |wanted: &str| offers.iter().any(|line| line.ends_with(wanted));
    assert!(has("SIZE 1048576"), "{offers:?}");
    smtp.say("MAIL FROM:<a@example.net>");
    smtp.expect_prefix("250 ");
    smtp.say("RCPT TO:<bob@example.net>");
    smtp.expect_prefix("550 ");
    smtp.say("RCPT TO:<bob@example.org>");
    smtp.expect_prefix("250 ");
    smtp.say("RCPT TO:<bob@example.com>");
    smtp.expect_prefix("452 ");
    let mut pop3 = program.pop3_client();
    pop3.say("CAPA");
    assert!(pop3.multi_line().lines().any(|line| line == "UTF8"));
}

#[test]
fn a_mistake_names_the_variable() {
    let own = tempfile::tempdir().unwrap();
    let file = path_of(own.path(), "facteur.toml");
    std::fs::write(&file, "hostname = \"a b\"\n").unwrap();
    let wrong = [
        ("FACTEUR_CONFIG", &*file),
        ("FACTEUR_SMTP", "a b:25"),
        ("FACTEUR_LOG_LEVEL", "inof"),
    ];
    let checked = run_in(&wrong, &["--check"]);
    let parts = [
        "facteur: FACTEUR_SMTP: \"a b:25\" is not an address and port",
        "facteur: FACTEUR_LOG_LEVEL: \"inof\" is not one of",
        "did you mean \"info\"?",
        "facteur.toml:1: hostname: ",
    ];
    check_fails(&checked, &parts);
    assert_eq!(checked.errors.lines().count(), 3, "{}", checked.errors);
    // Every command that reads the configuration refuses it, too.
    for command in [
        &[][..],
        &["check-ready"],
        &["settings", "bob@example.com"],
        &["cert"],
        &["account", "list"],
    ] {
        check_fails(&run_in(&wrong, command), &parts);
    }
    std::fs::write(&file, "").unwrap();
    let config = ("FACTEUR_CONFIG", &*file);
    for (variables, text) in [
        (
            &[config, ("FACTEUR_SMTP", "0.0.0.0:0")][..],
            "facteur: FACTEUR_SMTP: other machines can reach 0.0.0.0:0",
        ),
        (
            &[("FACTEUR_SMTPS", "0")],
            "facteur: FACTEUR_SMTPS needs a certificate: name one in [tls]",
        ),
        (
            &[("FACTEUR_POP3", "127.0.0.1:65434")],
            "facteur: smtp and FACTEUR_POP3 would both listen on 127.0.0.1:65434",
        ),
        (
            &[("FACTEUR_TLS_KEY", "key.pem")],
            "facteur: FACTEUR_TLS_KEY: TLS needs a certificate and its key: set \
             FACTEUR_TLS_CERTIFICATE, too",
        ),
        (
            &[
                ("FACTEUR_TLS_KEY", "/no/such.key"),
                ("FACTEUR_TLS_CERTIFICATE", "/no/such.pem"),
            ],
            "facteur: FACTEUR_TLS_CERTIFICATE: cannot read /no/such.pem: No such file",
        ),
        (
            &[("FACTEUR_ACCOUNTS", "/no/such.toml")],
            "facteur: FACTEUR_ACCOUNTS: cannot read /no/such.toml: No such file",
        ),
    ] {
        check_fails(&run_in(variables, &["--check"]), &[text]);
    }
}

#[test]
fn an_unknown_variable_is_reported_and_those_of_kubernetes_are_not() {
    let own = tempfile::tempdir().unwrap();
    let injected = [
        ("FACTEUR_PORT", "tcp://10.0.0.1:25"),
        ("FACTEUR_PORT_25_TCP_ADDR", "10.0.0.1"),
        ("FACTEUR_SMTP_SERVICE_HOST", "10.0.0.1"),
    ];
    let checked = run_in(&injected, &["--check"]);
    assert_eq!(checked.status, Some(0), "{}", checked.errors);
    assert_eq!(checked.errors, "");
    let unknown = [&injected[..], &[("FACTEUR_SMPT", "25")]].concat();
    let reason = "FACTEUR_SMPT: unknown variable, did you mean `FACTEUR_SMTP`?";
    let checked = run_in(&unknown, &["--check"]);
    check_fails(&checked, &[&format!("facteur: {reason}")]);
    assert_eq!(checked.errors.lines().count(), 1, "{}", checked.errors);
    let printed = run_in(&unknown, &["settings", "bob@example.com"]);
    assert_eq!(printed.status, Some(0), "{}", printed.errors);
    assert_eq!(printed.errors, "");
    let program = start(own.path(), &unknown);
    let line = program.log_line(reason);
    assert!(line.contains("WARN"), "{line}");
    assert_eq!(warnings(program), [""; 0]);
}

#[test]
fn a_reload_keeps_the_variables() {
    let own = tempfile::tempdir().unwrap();
    let file = path_of(own.path(), "facteur.toml");
    std::fs::write(&file, "hostname = \"a.example\"\n").unwrap();
    let program = start(
        own.path(),
        &[
            ("FACTEUR_CONFIG", "facteur.toml"),
            ("FACTEUR_HOSTNAME", "mail.example.com"),
            ("FACTEUR_LIMITS_ERRORS", "3"),
        ],
    );
    program.signal("HUP");
    program.expect_log("SIGHUP: accounts and certificate have been reloaded");
    // What a variable overrides has not changed.
    let changed = "hostname = \"b.example\"\nlog_format = \"json\"\n[limits]\nerrors = 5\n";
    std::fs::write(&file, changed).unwrap();
    program.signal("HUP");
    program.expect_log("SIGHUP: these other changes need a restart: log_format\n");
    let mut greeting = String::new();
    let stream = TcpStream::connect(program.smtp).unwrap();
    BufReader::new(stream).read_line(&mut greeting).unwrap();
    assert!(greeting.contains(" mail.example.com "), "{greeting}");
    assert_eq!(warnings(program), [""; 0]);
}

#[test]
fn accounts_and_a_certificate_need_no_configuration_file() {
    let own = tempfile::tempdir().unwrap();
    tls::configure(own.path());
    let accounts = path_of(own.path(), "accounts.toml");
    let account = format!("[[accounts]]\naddress = \"bob@example.com\"\npassword = {HASH:?}\n");
    std::fs::write(&accounts, &account).unwrap();
    // Relative to the current directory.
    let variables = [
        ("FACTEUR_ACCOUNTS", "accounts.toml"),
        ("FACTEUR_TLS_CERTIFICATE", "certificate.pem"),
        ("FACTEUR_TLS_KEY", "key.pem"),
        ("FACTEUR_SMTPS", "127.0.0.1:0"),
        ("FACTEUR_POP3S", "127.0.0.1:0"),
    ];
    let program = start(own.path(), &variables);
    let is_known = |name: &str| {
        let mut client = program.smtp_client();
        client.say("HELO test");
        client.expect("250 Ok");
        client.say("MAIL FROM:<a@example.net>");
        client.expect("250 Sender OK");
        client.say(&format!("RCPT TO:<{name}@example.com>"));
        client.line() == "250 Recipient OK"
    };
    assert!(is_known("bob") && !is_known("alice"));
    let more = account.replace("bob@", "alice@");
    std::fs::write(&accounts, account + &more).unwrap();
    program.signal("HUP");
    program.expect_log("SIGHUP: accounts and certificate have been reloaded");
    assert!(is_known("alice"));
    let told = program.stop();
    let is_claimed = told.iter().any(|line| line.contains("need a restart"));
    assert!(!is_claimed, "{told:#?}");
}

/// Nothing is written that facteur would refuse at its start.
#[test]
fn an_account_is_not_written_if_a_variable_forbids_it() {
    let own = tempfile::tempdir().unwrap();
    let accounts = path_of(own.path(), "accounts.toml");
    let variables = [
        ("FACTEUR_ACCOUNTS", &*accounts),
        ("FACTEUR_POSTMASTER", "bob@example.com"),
    ];
    let add = ["account", "add", "--generate", "bob@example.com"];
    let refused = run_in(&variables, &add);
    check_fails(&refused, &["FACTEUR_POSTMASTER: it belongs in the file"]);
    assert!(!Path::new(&accounts).exists());
}

#[test]
fn the_commands_use_the_variables_of_the_daemon() {
    let own = tempfile::tempdir().unwrap();
    let accounts = path_of(own.path(), "accounts.toml");
    let mail = path_of(own.path(), "mail");
    let of_daemon = [("FACTEUR_ACCOUNTS", &*accounts), ("FACTEUR_MAIL", &*mail)];
    // The file is created, as a start needs it.
    let add = ["account", "add", "--generate", "bob@example.com"];
    let added = run_in(&of_daemon, &add);
    assert_eq!(added.status, Some(0), "{}", added.errors);
    let told = format!("added bob@example.com to {accounts}");
    assert!(added.output.contains(&told), "{}", added.output);
    let program = start(own.path(), &of_daemon);
    let add = ["account", "add", "--generate", "alice@example.com"];
    let added = run_in(&of_daemon, &add);
    let told = format!("asked the daemon (process {}) to reload", program.id());
    assert!(added.output.contains(&told), "{}", added.output);
    program.expect_log("SIGHUP: accounts and certificate have been reloaded");
    let listed = run_in(&of_daemon, &["account", "list"]);
    assert_eq!(listed.output, "bob@example.com\nalice@example.com\n");
    // One that would leave nobody is refused, as with a configuration file.
    let removal = ["account", "remove", "bob@example.com"];
    assert_eq!(run_in(&of_daemon, &removal).status, Some(0));
    let removal = ["account", "remove", "alice@example.com"];
    check_fails(&run_in(&of_daemon, &removal), &["there is no account"]);
    let off = [("FACTEUR_ACCOUNTS", "off")];
    check_fails(&run_in(&off, &add), &["FACTEUR_ACCOUNTS: \"off\""]);

    let (smtp, pop3) = (program.smtp.to_string(), program.pop3.to_string());
    let ports = [
        ("FACTEUR_SMTP", &*smtp),
        ("FACTEUR_POP3", &*pop3),
        ("FACTEUR_HTTP", "off"),
    ];
    let ready = run_in(&ports, &["check-ready"]);
    assert_eq!(ready.output, "ready: smtp, pop3\n", "{}", ready.errors);
    let name = [("FACTEUR_HOSTNAME", "mail.example.com"), ports[0], ports[1]];
    let certificate = [
        ("FACTEUR_TLS_CERTIFICATE", "/other/certificate.pem"),
        ("FACTEUR_TLS_KEY", "/other/key.pem"),
    ];
    let tls = path_of(own.path(), "tls");
    let made = run_in(&certificate, &["cert", "--dir", &tls]);
    let told =
        format!("\nFACTEUR_TLS_CERTIFICATE={tls}/certificate.pem\nFACTEUR_TLS_KEY={tls}/key.pem\n");
    assert!(made.output.contains(&told), "{}", made.output);
    let settings = run_in(&name, &["settings", "bob@example.com"]);
    let port = program.smtp.port().to_string();
    assert!(settings.output.contains(&port), "{}", settings.output);
}
