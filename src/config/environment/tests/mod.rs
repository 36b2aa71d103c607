//! A variable means what the same value in a file means, and mistakes name the variable.

#![expect(
    clippy::disallowed_methods,
    reason = "tests make their own configurations"
)]

use std::os::unix::ffi::OsStringExt as _;

use crate::config::{Listen, Role};

use super::*;

const EXAMPLE: &str = include_str!("../../../../config.example.toml");

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter();
    Environment::new(variables.map(|&(name, value)| (name.into(), value.into())))
}

fn read(variables: &[(&str, &str)]) -> Result<Config, Error> {
    environment(variables).configuration(None)
}

/// What the user would read about these variables.
fn complaint(variables: &[(&str, &str)]) -> String {
    read(variables).unwrap_err().to_string()
}

/// The configuration of a file with this text, without a trace of where a value came from.
fn of_file(text: &str) -> Config {
    without_origin(Config::parse(Path::new(""), text).unwrap())
}

fn without_origin(mut config: Config) -> Config {
    config.variables.clear();
    if let Some(tls) = &mut config.tls {
        tls.lines = [0, 0];
    }
    config
}

/// The name of the variable for a key.
fn name_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// The keys of a table as the parser lists them when it meets an unknown one.
fn known_keys(header: &str) -> Vec<String> {
    let text = format!("{header}unknown = 1\n");
    let error = Config::parse(Path::new("x"), &text).unwrap_err();
    let error = error.to_string();
    let (_, listed) = error.split_once("expected ").unwrap();
    let keys = listed.split('`').skip(1).step_by(2);
    keys.map(str::to_owned).collect()
}

#[test]
fn every_key_has_a_variable_or_is_a_table() {
    let tables = ["tls", "journal", "store", "limits"];
    let is_table = |key: &str| tables.contains(&key) || ONLY_IN_FILES.contains(&key);
    let mut keys = known_keys("");
    assert!(
        tables
            .iter()
            .all(|table| keys.iter().any(|key| key == table))
    );
    keys.retain(|key| !is_table(key));
    for table in tables {
        let own = known_keys(&format!("[{table}]\n"));
        keys.extend(own.iter().map(|key| format!("{table}.{key}")));
    }
    keys.sort();
    let mut found: Vec<&str> = VARIABLES.iter().map(|variable| variable.key).collect();
    found.sort_unstable();
    assert_eq!(found, keys);
    for variable in VARIABLES {
        assert_eq!(variable.name, name_of(variable.key));
        assert!(!is_injected(variable.name, "1"), "{}", variable.name);
    }
}

/// The keys of the example with their values, as one writes them in the environment.
fn example() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut table = "";
    for line in EXAMPLE.lines() {
        // The table of the certificate is a comment there.
        let line = match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c == '[' || c.is_alphabetic()) => rest,
            Some(_) => continue,
            None => line,
        };
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']');
        } else if let Some((key, value)) = line.split_once(" = ") {
            let (key, document) = if table.is_empty() {
                (key.to_owned(), format!("{line}\n"))
            } else {
                (format!("{table}.{key}"), format!("[{table}]\n{line}\n"))
            };
            let text = value.trim_matches(['[', ']']).replace('"', "");
            found.push((key, text, document));
        }
    }
    found
}

#[test]
fn the_values_of_the_example_mean_the_same_as_variables() {
    let mut all = Vec::new();
    for (key, text, document) in example() {
        if key == "catch_all" {
            continue;
        }
        if !key.starts_with("tls.") {
            let variables = [(&*name_of(&key), &*text)];
            let config = without_origin(read(&variables).unwrap());
            assert_eq!(config, of_file(&document), "{key}");
        }
        all.push((name_of(&key), text));
    }
    assert_eq!(all.len(), VARIABLES.len());
    let all: Vec<(&str, &str)> = all.iter().map(|(name, text)| (&**name, &**text)).collect();
    let tls = "[tls]\ncertificate = \"tls/certificate.pem\"\nkey = \"tls/key.pem\"\n";
    let config = read(&all).unwrap();
    // An empty value counts as not set.
    let set = all.iter().filter(|(_, text)| !text.is_empty());
    assert_eq!(config.variables.len(), set.count());
    assert_eq!(without_origin(config), of_file(tls));
}

/// Checks that a variable means the same as a document in TOML.
fn check_same(name: &str, text: &str, document: &str) {
    let name = format!("{PREFIX}{name}");
    let config = read(&[(&name, text)]).unwrap();
    assert_eq!(config.variables.len(), 1);
    let same = without_origin(config);
    assert_eq!(same, of_file(document), "{name}={text}");
}

#[test]
fn listeners_mean_the_same_as_in_a_file() {
    for (name, text, document) in [
        ("SMTP", "2525", "smtp = [\"2525\"]"),
        (
            "SMTP",
            "127.0.0.1:2525,[::1]:25",
            "smtp = [\"127.0.0.1:2525\", \"[::1]:25\"]",
        ),
        (
            "SMTP",
            " 127.0.0.1:1 , 2525, ",
            "smtp = [\"127.0.0.1:1\", \"2525\"]",
        ),
        ("POP3", "off", "pop3 = \"off\""),
        ("HTTP", "8025", "http = [\"8025\"]"),
        ("HTTPS", "127.0.0.1:1", "https = [\"127.0.0.1:1\"]"),
        (
            "HTTP_NAMES",
            "a,b.example",
            "http_names = [\"a\", \"b.example\"]",
        ),
        (
            "HTTP_ORIGINS",
            "http://localhost:3000,",
            "http_origins = [\"http://localhost:3000\"]",
        ),
        ("SMTPS", "2465", "smtps = [\"2465\"]"),
        ("SUBMISSION", ":587", "submission = [\":587\"]"),
    ] {
        check_same(name, text, document);
    }
}

#[test]
fn other_values_mean_the_same_as_in_a_file() {
    for (name, text, document) in [
        (
            "HOSTNAME",
            "mail.example.com",
            "hostname = \"mail.example.com\"",
        ),
        // A name is a text, even if it looks like a number or a word of TOML.
        ("HOSTNAME", "true", "hostname = \"true\""),
        (
            "MAIL",
            "/srv/\"mail\" of\\all",
            "mail = '/srv/\"mail\" of\\all'",
        ),
        ("REQUIRE_AUTH", "true", "require_auth = true"),
        ("POP3_UTF8", " true", "pop3_utf8 = true"),
        ("DOMAINS", "example.com", "domains = [\"example.com\"]"),
        (
            "DOMAINS",
            "example.com, bücher.example",
            "domains = [\"example.com\", \"bücher.example\"]",
        ),
        (
            "OPEN_TO",
            "10.1.0.0/16,private",
            "open_to = [\"10.1.0.0/16\", \"private\"]",
        ),
        ("SUBADDRESS", "-", "subaddress = \"-\""),
        ("SUBADDRESS", "off", "subaddress = \"off\""),
        ("LOG_LEVEL", "debug", "log_level = \"debug\""),
        (
            "LIMITS_MESSAGE_OCTETS",
            "1 MiB",
            "[limits]\nmessage_octets = \"1 MiB\"",
        ),
        (
            "LIMITS_MESSAGE_OCTETS",
            "1_000",
            "[limits]\nmessage_octets = 1_000",
        ),
        (
            "LIMITS_MESSAGE_OCTETS",
            "off",
            "[limits]\nmessage_octets = \"off\"",
        ),
        (
            "LIMITS_CONNECTIONS_PER_ADDRESS",
            "0",
            "[limits]\nconnections_per_address = 0",
        ),
        ("JOURNAL_SEGMENTS", "2", "[journal]\nsegments = 2"),
    ] {
        check_same(name, text, document);
    }
}

/// The reason for refusing a value is that of the file.
#[test]
fn a_mistake_names_the_variable_and_has_the_reason_of_a_file() {
    for (name, text, document) in [
        ("FACTEUR_SMTP", "a b:25", "smtp = [\"a b:25\"]"),
        ("FACTEUR_SMTP", "off,25", "smtp = [\"off\", \"25\"]"),
        ("FACTEUR_SMTP", "25,,26", "smtp = [\"25\", \"\", \"26\"]"),
        ("FACTEUR_DOMAINS", "a b", "domains = [\"a b\"]"),
        ("FACTEUR_HOSTNAME", "a\nb", "hostname = \"a\\nb\""),
        ("FACTEUR_REQUIRE_AUTH", "yes", "require_auth = \"yes\""),
        ("FACTEUR_REQUIRE_AUTH", "1", "require_auth = 1"),
        ("FACTEUR_DURABILITY", "jurnal", "durability = \"jurnal\""),
        ("FACTEUR_POSTMASTER", "bob", "postmaster = \"bob\""),
        (
            "FACTEUR_POSTMASTER",
            "bob@example.com",
            "postmaster = \"bob@example.com\"",
        ),
        ("FACTEUR_LIMITS_ERRORS", "-1", "[limits]\nerrors = -1"),
        ("FACTEUR_LIMITS_ERRORS", "1.5", "[limits]\nerrors = 1.5"),
        ("FACTEUR_LIMITS_ERRORS", "few", "[limits]\nerrors = \"few\""),
        ("FACTEUR_JOURNAL_SEGMENTS", "1", "[journal]\nsegments = 1"),
    ] {
        let of_file = Config::parse(Path::new("x"), document).unwrap_err();
        let Error::Value { reason, .. } = of_file else {
            panic!("{of_file}");
        };
        assert_eq!(complaint(&[(name, text)]), format!("{name}: {reason}"));
    }
    let meant = complaint(&[("FACTEUR_DURABILITY", "jurnal")]);
    assert!(meant.ends_with("did you mean \"journal\"?"), "{meant}");
}

#[test]
fn all_mistakes_are_reported() {
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("facteur.toml");
    std::fs::write(&file, "bare_lf = \"maybe\"\n").unwrap();
    let wrong = environment(&[("FACTEUR_LIMITS_ERRORS", "x"), ("FACTEUR_HOSTNAME", "a b")]);
    let errors = wrong.configuration(Some(&file)).unwrap_err().to_string();
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines.len(), 3, "{errors}");
    assert!(lines[0].starts_with("FACTEUR_HOSTNAME: "), "{errors}");
    assert!(lines[1].starts_with("FACTEUR_LIMITS_ERRORS: "), "{errors}");
    assert!(lines[2].contains("facteur.toml:1: bare_lf: "), "{errors}");
}

#[test]
fn a_value_that_is_not_unicode_is_a_mistake() {
    for variable in VARIABLES {
        let value = OsString::from_vec(b"\xff".to_vec());
        let wrong = Environment::new([(variable.name.into(), value)]);
        let error = wrong.configuration(None).unwrap_err().to_string();
        let expected = format!("{}: the value is not valid Unicode", variable.name);
        assert_eq!(error, expected);
    }
}

#[test]
fn variables_override_the_file_and_nothing_else() {
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("facteur.toml");
    let text = "hostname = \"a.example\"\nsmtp = [\"1\"]\npop3 = [\"2\"]\n\
                [limits]\nerrors = 3\nrecipients = 100\n";
    std::fs::write(&file, text).unwrap();
    let variables = [
        ("FACTEUR_SMTP", "127.0.0.1:7"),
        ("FACTEUR_LIMITS_ERRORS", "4"),
        ("FACTEUR_POP3", ""),
        ("PATH", "/bin"),
    ];
    let environment = environment(&variables);
    let mut config = environment.configuration(Some(&file)).unwrap();
    assert_eq!(
        environment.names(&config),
        ["FACTEUR_LIMITS_ERRORS", "FACTEUR_SMTP"]
    );
    assert_eq!(config.smtp, Listen::parse("127.0.0.1:7").unwrap());
    assert_eq!(config.path, Some(file));
    config.path = None;
    let text = text.replace("\"1\"", "\"127.0.0.1:7\"");
    let expected = of_file(&text.replace("errors = 3", "errors = 4"));
    assert_eq!(without_origin(config), expected);
}

/// An account that opens with no password that anybody knows.
const ACCOUNT: &str = "[[accounts]]\naddress = \"bob@example.com\"\n\
    password = \"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
    VQ4oBQy0wA0zFUmZsHfXTEGwZcVbZuqLAXpVX4JXeEw\"\n";

#[test]
fn the_accounts_are_those_of_the_variable() {
    let own = tempfile::tempdir().unwrap();
    let place = |name: &str| own.path().join(name);
    let accounts = place("elsewhere.toml");
    std::fs::write(&accounts, ACCOUNT).unwrap();
    std::fs::create_dir(place("etc")).unwrap();
    let file = place("etc/facteur.toml");
    std::fs::write(&file, "accounts = \"missing.toml\"\n").unwrap();
    let named = environment(&[("FACTEUR_ACCOUNTS", accounts.to_str().unwrap())]);
    for file in [None, Some(&*file)] {
        let config = named.configuration(file).unwrap();
        assert_eq!(config.table.as_ref().unwrap().accounts().len(), 1);
        assert!(config.files(file).contains(&accounts));
    }
    let off = environment(&[("FACTEUR_ACCOUNTS", "off")]);
    let config = off.configuration(Some(&file)).unwrap();
    assert_eq!(config.table, None);
    assert!(off.accounts().is_err() && !off.names_files());
    assert_eq!(named.accounts().unwrap(), Some(accounts));
    assert!(named.names_files());
    // The accounts of the file, and a role from the environment.
    std::fs::write(&file, ACCOUNT).unwrap();
    for (account, fault) in [
        ("bob@example.com", None),
        ("alice@example.com", Some("FACTEUR_POSTMASTER: ")),
    ] {
        let config = environment(&[("FACTEUR_POSTMASTER", account)]).configuration(Some(&file));
        match (config, fault) {
            (Ok(config), None) => assert_ne!(*config.postmaster.get_ref(), Role::Auto),
            (Err(error), Some(begin)) => {
                assert!(error.to_string().starts_with(begin), "{error}");
            }
            (config, _) => panic!("{config:?}"),
        }
    }
}

#[test]
fn a_file_of_accounts_that_is_missing_is_reported_with_the_variable() {
    let error = complaint(&[("FACTEUR_ACCOUNTS", "/no/such.toml")]);
    let begin = "FACTEUR_ACCOUNTS: cannot read /no/such.toml: No such file";
    assert!(error.starts_with(begin), "{error}");
    // A role belongs to the accounts, as in a file.
    let error = complaint(&[("FACTEUR_ABUSE", "bob@example.com")]);
    assert!(
        error.starts_with("FACTEUR_ABUSE: it needs accounts"),
        "{error}"
    );
}

#[test]
fn a_certificate_needs_its_key() {
    let both = [
        ("FACTEUR_TLS_CERTIFICATE", "a.pem"),
        ("FACTEUR_TLS_KEY", "no/b.pem"),
    ];
    let config = read(&both).unwrap();
    let tls = config.tls.as_ref().unwrap();
    // Relative to the current directory.
    assert_eq!(tls.certificate, Path::new("a.pem"));
    assert_eq!(tls.key, Path::new("no/b.pem"));
    let error = config.identity().unwrap_err().to_string();
    assert_eq!(error, "FACTEUR_TLS_CERTIFICATE: cannot read a.pem");
    for (one, [name, other]) in both.iter().zip(TLS) {
        let error = complaint(&[*one]);
        assert!(error.starts_with(&format!("{name}: ")), "{error}");
        assert!(error.contains(other), "{error}");
    }
    // Beside a file that names both, one variable is enough.
    let own = tempfile::tempdir().unwrap();
    let file = own.path().join("facteur.toml");
    std::fs::write(&file, "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n").unwrap();
    for (index, one) in both.iter().enumerate() {
        let config = environment(&[*one]).configuration(Some(&file)).unwrap();
        let tls = config.tls.unwrap();
        let own_key = own.path().join("k.pem");
        let own_certificate = own.path().join("c.pem");
        let (certificate, key) = if index == 0 {
            (Path::new("a.pem"), &*own_key)
        } else {
            (&*own_certificate, Path::new("no/b.pem"))
        };
        assert_eq!((&*tls.certificate, &*tls.key), (certificate, key));
    }
}

#[test]
fn an_unknown_variable_is_reported_with_what_may_have_been_meant() {
    for (name, part) in [
        ("FACTEUR_SMPT", "did you mean `FACTEUR_SMTP`?"),
        ("FACTEUR_CONFIGS", "did you mean `FACTEUR_CONFIG`?"),
        (
            "FACTEUR_MESSAGE_OCTETS",
            "did you mean `FACTEUR_LIMITS_MESSAGE_OCTETS`?",
        ),
        (
            "FACTEUR_LIMITS__ERRORS",
            "did you mean `FACTEUR_LIMITS_ERRORS`?",
        ),
        ("FACTEUR_CATCH_ALL", "catch_all is a table"),
        ("FACTEUR_QUOTA", "a key of config.example.toml"),
        ("FACTEUR_", "a key of config.example.toml"),
        ("FACTEUR_SMTP_PORT", "unknown variable"),
    ] {
        let environment = environment(&[(name, "2525")]);
        let unknown = environment.unknown();
        assert_eq!(unknown.len(), 1, "{name}");
        let text = unknown[0].to_string();
        assert!(text.starts_with(&format!("{name}: ")), "{text}");
        assert!(text.contains(part), "{text}");
        assert_eq!(environment.configuration(None).unwrap(), Config::default());
    }
    // A name cannot make a second line of the log.
    let unknown = environment(&[("FACTEUR_A\nB", "1")]).unknown();
    assert!(unknown[0].to_string().starts_with("FACTEUR_A\\nB: "));
    assert!(environment(&[("FACTEUR_QUOTA", "")]).unknown().is_empty());
    let names: Vec<String> = (0..100).map(|n| format!("FACTEUR_{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "1")).collect();
    assert_eq!(environment(&many).unknown().len(), MISTAKES_MAX);
    assert!(environment(&[("FACTEURS", "1")]).unknown().is_empty());
}

/// What Kubernetes sets in each container, for the services facteur and facteur-smtp.
#[test]
fn the_variables_of_kubernetes_are_ignored() {
    let names = [
        ("FACTEUR_PORT", "tcp://10.0.0.1:25"),
        ("FACTEUR_PORT_25_TCP", "tcp://10.0.0.1:25"),
        ("FACTEUR_PORT_25_TCP_PROTO", "tcp"),
        ("FACTEUR_SERVICE_HOST", "10.0.0.1"),
        ("FACTEUR_SERVICE_PORT", "25"),
        ("FACTEUR_SERVICE_PORT_SMTP", "25"),
        ("FACTEUR_SMTP_SERVICE_HOST", "10.0.0.1"),
        ("FACTEUR_SMTP_SERVICE_PORT", "25"),
        ("FACTEUR_SMTP_PORT", "tcp://10.0.0.1:25"),
        ("FACTEUR_SMTP_PORT_25_TCP_ADDR", "10.0.0.1"),
    ];
    let environment = environment(&names);
    assert!(environment.unknown().is_empty());
    let config = environment.configuration(None).unwrap();
    assert_eq!(config, Config::default());
    assert!(environment.names(&config).is_empty());
}

#[test]
fn the_file_of_the_environment_is_named() {
    let environment = environment(&[("FACTEUR_CONFIG", "a.toml")]);
    assert_eq!(environment.file(), Some(Path::new("a.toml")));
    assert_eq!(environment.names(&Config::default()), [CONFIG]);
    assert!(environment.names_files());
}
