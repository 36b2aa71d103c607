//! The example equals the defaults; a mistake is reported in one line that names its place.

use std::path::{Path, PathBuf};

use crate::http::Origin;
use crate::wire::BareOctets;

use super::*;
use super::{
    limits::MISTAKES_MAX,
    text::{key_at, line_at},
    values::Octets,
};

const EXAMPLE: &str = include_str!("../../config.example.toml");

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(Path::new("facteur.toml"), text)
}

/// Parses `text` and returns the error that the user would read.
fn complaint(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_example_equals_the_defaults() {
    assert_eq!(parse(EXAMPLE).unwrap(), Config::default());
    assert_eq!(parse("").unwrap(), Config::default());
}

/// The keys of a table, as the parser lists them for an unknown key.
fn known_keys(text_with_unknown_key: &str) -> Vec<String> {
    let complaint = complaint(text_with_unknown_key);
    let (_, listed) = complaint.split_once("expected ").unwrap();
    // "one of `a`, `b`, `c`", or "`a` or `b`".
    let keys = listed.split('`').skip(1).step_by(2);
    keys.map(str::to_owned).collect()
}

#[test]
fn the_example_shows_every_key_with_a_comment() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let top = known_keys("unknown = 1");
    let limits = known_keys("[limits]\nunknown = 1");
    let journal = known_keys("[journal]\nunknown = 1");
    assert!(top.contains(&"hostname".to_owned()) && limits.contains(&"errors".to_owned()));
    let tls = known_keys("[tls]\nunknown = 1");
    let store = known_keys("[store]\nunknown = 1");
    let tables = ["tls", "journal", "store", "limits"];
    let keys = top.iter().chain(&tls).chain(&journal).chain(&store);
    let keys = keys.chain(&limits);
    for key in keys.filter(|key| !tables.contains(&key.as_str())) {
        let is_this_key = |line: &&str| {
            line.trim_start_matches('#')
                .starts_with(&format!("{key} = "))
        };
        let position = lines.iter().position(is_this_key);
        let position = position.unwrap_or_else(|| panic!("{key} is not in the example"));
        // Keys that belong together share their explanation.
        let above = lines[..position].iter().rev();
        let explained = above.take_while(|line| !line.is_empty());
        assert!(
            explained.into_iter().any(|line| line.starts_with("# ")),
            "{key} is not explained"
        );
    }
    for table in tables {
        let header = format!("[{table}]");
        assert!(
            lines
                .iter()
                .any(|line| line.trim_start_matches('#') == header)
        );
    }
}

#[test]
fn every_line_of_the_example_is_read() {
    // Nonsense in any line is reported, so no line is ignored.
    for line in EXAMPLE
        .lines()
        .filter(|line| line.contains(" = ") && !line.starts_with('#'))
    {
        let (key, _) = line.split_once(" = ").unwrap();
        let changed = EXAMPLE.replace(line, &format!("{key} = {{ wrong = true }}"));
        let complaint = complaint(&changed);
        assert!(complaint.contains(key), "{line}: {complaint}");
    }
}

/// SEC-9.
#[test]
fn sessions_and_deliveries_share_the_octets_in_flight() {
    let config = parse("[limits]\nin_flight_octets = 1048577").unwrap();
    let octets = config.limits.in_flight_octets;
    let of_both = (octets.of_sessions(), octets.of_deliveries());
    assert_eq!(of_both, (524_289, 524_288));
}

/// Checks that `text` is the default configuration except for what `expect` changes.
fn check(text: &str, expect: impl FnOnce(&mut Config)) {
    let mut expected = Config::default();
    expect(&mut expected);
    assert_eq!(parse(text).unwrap(), expected, "{text}");
}

fn listen(text: &str) -> Listen {
    Listen::parse(text).unwrap()[0]
}

#[test]
fn values_are_read_from_the_file() {
    let host = |text: &str| HostName::try_from(text.to_owned()).unwrap();
    check("hostname = \"mail.example.com\"", |c| {
        c.hostname = host("mail.example.com");
    });
    check("mail = \"/var/mail/facteur\"", |c| {
        c.mail = PathBuf::from("/var/mail/facteur");
    });
    check("smtp = [\"127.0.0.1:0\"]", |c| {
        c.smtp = vec![listen("127.0.0.1:0")];
    });
    check("smtp = [\"[::ffff:127.0.0.1]:25\"]", |c| {
        c.smtp = vec![listen("[::ffff:127.0.0.1]:25")];
    });
    check("pop3 = [\n  \"127.9.9.9:1\",\n  \"[::1]:2\",\n]", |c| {
        c.pop3 = vec![listen("127.9.9.9:1"), listen("[::1]:2")];
    });
    check("pop3 = []", |c| c.pop3.clear());
    check("smtp = \"off\"", |c| c.smtp.clear());
    check("domains = [\"example.com\", \"bücher.example\"]", |c| {
        c.domains = vec![host("example.com"), host("bücher.example")];
    });
    check("subaddress = \"-\"", |c| {
        c.subaddress = Subaddress(Some('-'));
    });
    check("subaddress = \"off\"", |c| c.subaddress = Subaddress(None));
    check("subaddress = \"\"", |c| c.subaddress = Subaddress(None));
    check("log_level = \"off\"", |c| {
        c.log_level = LogLevel(log::LevelFilter::Off);
    });
    check("log_format = \"json\"", |c| c.log_format = LogFormat::Json);
    check("log_level = \"Debug\"", |c| {
        c.log_level = LogLevel(log::LevelFilter::Debug);
    });
    check("durability = \"none\"", |c| c.durability = Durability::None);
    check("durability = \"maildir\"", |c| {
        c.durability = Durability::Maildir;
    });
    check("user = \"facteur\"", |c| "facteur".clone_into(&mut c.user));
    check("sandbox = \"off\"", |c| c.sandbox = Sandbox::Off);
    check("sandbox = \"require\"", |c| c.sandbox = Sandbox::Required);
    check("[journal]\nsegment_octets = 1048576\nsegments = 2", |c| {
        c.journal.segment_octets = SegmentOctets(1_048_576);
        c.journal.segments = Segments(2);
    });
    check("limits.recipients = 5", |c| c.limits.recipients = Count(5));
}

#[test]
fn values_for_tls_and_clients_are_read_from_the_file() {
    check("smtps = [\"127.0.0.1:465\"]", |c| {
        c.smtps = vec![listen("127.0.0.1:465")];
    });
    check("pop3s = [\"127.0.0.1:995\"]", |c| {
        c.pop3s = vec![listen("127.0.0.1:995")];
    });
    check("submission = [\"[::1]:587\"]", |c| {
        c.submission = vec![listen("[::1]:587")];
    });
    check("http = [\"127.0.0.1:8025\"]", |c| {
        c.http = vec![listen("127.0.0.1:8025")];
    });
    check("http = \"off\"", |c| c.http.clear());
    check("https = [\"127.0.0.1:443\"]", |c| {
        c.https = vec![listen("127.0.0.1:443")];
    });
    check("http_names = [\"Mail.example.com\", \"mail\"]", |c| {
        c.http_names = vec!["mail.example.com".to_owned(), "mail".to_owned()];
    });
    check("http_origins = [\"http://localhost:3000\"]", |c| {
        c.http_origins = vec![Origin::parse("http://localhost:3000").unwrap()];
    });
    check("require_auth = true", |c| c.require_auth = true);
    check("open_to = [\"10.1.0.0/16\", \"fd00::1\"]", |c| {
        c.open_to = vec![
            "10.1.0.0/16".parse().unwrap(),
            "fd00::1/128".parse().unwrap(),
        ];
    });
    check("bare_lf = \"refuse\"", |c| {
        c.bare_lf = BareLf(BareOctets::Refuse);
    });
    check("pop3_utf8 = true", |c| c.pop3_utf8 = true);
    check("scram_plus = true", |c| c.scram_plus = true);
    check("tls = { certificate = \"a.pem\", key = \"/b.pem\" }", |c| {
        c.tls = Some(TlsFiles {
            certificate: PathBuf::from("a.pem"),
            key: PathBuf::from("/b.pem"),
            lines: [1, 1],
        });
    });
}

#[test]
fn relative_paths_start_at_the_directory_of_the_configuration() {
    let text = "[tls]\ncertificate = \"tls/a.pem\"\nkey = \"/b.pem\"\n";
    let tls = Config::parse(Path::new("/etc/facteur/facteur.toml"), text).unwrap();
    let tls = tls.tls.unwrap();
    assert_eq!(tls.certificate, Path::new("/etc/facteur/tls/a.pem"));
    assert_eq!(tls.key, Path::new("/b.pem"));
}

#[test]
fn immediate_tls_needs_a_certificate() {
    for key in ["smtps", "pop3s", "https"] {
        let text = format!("{key} = [\"127.0.0.1:0\"]\n");
        let config = parse(&text).unwrap();
        let error = super::check(&config).unwrap_err().to_string();
        assert!(error.starts_with(key) && error.contains("[tls]"), "{error}");
        let tls = "[tls]\ncertificate = \"a\"\nkey = \"b\"\n";
        super::check(&parse(&(text + tls)).unwrap()).unwrap();
    }
}

#[test]
fn limits_are_numbers_or_switched_off() {
    fn check(line: &str, expect: impl FnOnce(&mut Limits)) {
        let mut expected = Config::default();
        expect(&mut expected.limits);
        assert_eq!(
            parse(&format!("[limits]\n{line}")).unwrap(),
            expected,
            "{line}"
        );
    }
    check("message_octets = 1", |l| l.message_octets = Limit(Some(1)));
    check("message_octets = 0", |l| l.message_octets = Limit(None));
    check("message_octets = \"off\"", |l| {
        l.message_octets = Limit(None);
    });
    check("errors = \"off\"", |l| l.errors = Limit(None));
    check("session_seconds = 0", |l| l.session_seconds = Limit(None));
    check("connections = 0", |l| l.connections = 0);
    check("connections = 64", |l| l.connections = 64);
    check("connections_per_address = \"auto\"", |l| {
        l.connections_per_address = PerAddress::Auto;
    });
    check("connections_per_address = \"off\"", |l| {
        l.connections_per_address = PerAddress::Off;
    });
    check("connections_per_address = 0", |l| {
        l.connections_per_address = PerAddress::Off;
    });
    check("connections_per_address = 3", |l| {
        l.connections_per_address = PerAddress::AtMost(3);
    });
    check("smtp_idle_seconds = 1", |l| l.smtp_idle_seconds = Count(1));
    check("pop3_idle_seconds = 4294967295", |l| {
        l.pop3_idle_seconds = Count(u32::MAX);
    });
}

/// A text, the line and the key that must be named, and a part of the reason.
const WRONG_VALUES: &[(&str, &str, &str)] = &[
    (
        "smpt = []",
        "1: smpt",
        "unknown field `smpt`, did you mean `smtp`?",
    ),
    ("\n\nSMTP = []", "3: SMTP", "unknown field"),
    (
        "mail = \"x\"\n[limit]\nerrors = 1",
        "2: limit",
        "unknown field",
    ),
    (
        "[limits]\nerrors = 1\nfoo = 2",
        "3: limits.foo",
        "unknown field `foo`",
    ),
    ("mail = \"x\"\nmail = \"y\"", "2: mail", "duplicate key"),
    ("mail = 5", "1: mail", "integer `5`"),
    ("mail = \"\"", "1: mail", "is not a directory"),
    (
        "hostname = \"a b\"",
        "1: hostname",
        "\"a b\" is not a domain",
    ),
    ("hostname = \"\"", "1: hostname", "is not a domain"),
    (
        "domains = [\"a..b\"]",
        "1: domains",
        "\"a..b\" is not a domain",
    ),
    ("domains = \"a.b\"", "1: domains", "a list of domains"),
    ("smtp = \"127.0.0.1:25\"", "1: smtp", "a list of addresses"),
    (
        "lmtp = [\"127.0.0.1:25\"]",
        "1: lmtp",
        "has port 25, which is for SMTP alone",
    ),
    ("lmtp = [\"lmtp.sock\"]", "1: lmtp", "nor an absolute path"),
    (
        "pop3 = [\"nowhere:1\"]",
        "1: pop3",
        "is not an address and port",
    ),
    (
        "pop3 = [\"127.0.0.1\"]",
        "1: pop3",
        "is not an address and port",
    ),
    (
        "pop3 = [\"127.0.0.1:65536\"]",
        "1: pop3",
        "is not an address and port",
    ),
    (
        "# a = b\nsmtp = [\n\"[::1]:1\", # c = d\n\"x\"]",
        "2: smtp",
        "\"x\"",
    ),
    (
        "hostname = \"a b\"",
        "1: hostname",
        "\"a b\" is not a domain name such as mail.example.com",
    ),
    (
        "http_names = [\"mail.example.com:80\"]",
        "1: http_names",
        "\"mail.example.com:80\" is not the name of a host",
    ),
    (
        "http_names = [\"127.0.0.1\"]",
        "1: http_names",
        "is not the name of a host",
    ),
    ("http_names = \"a\"", "1: http_names", "a list of names"),
    (
        "http_origins = [\"localhost:3000\"]",
        "1: http_origins",
        "\"localhost:3000\" is not an origin such as http://localhost:3000",
    ),
    (
        "http_origins = [\"http://localhost/\"]",
        "1: http_origins",
        "without a path",
    ),
    ("[limit]", "1: limit", "did you mean `limits`?"),
    (
        "limits.mesage_octets = 5",
        "1: limits.mesage_octets",
        "did you mean `message_octets`?",
    ),
    (
        "[tls]\ncertficate = \"x\"",
        "2: tls.certficate",
        "did you mean `certificate`?",
    ),
    (
        "log_level = \"wran\"",
        "1: log_level",
        "\"warn\", \"info\", \"debug\", \"trace\"; did you mean \"warn\"?",
    ),
    (
        "sandbox = \"required\"",
        "1: sandbox",
        "did you mean \"require\"?",
    ),
    (
        "limits.message_octets = 50M",
        "1: limits.message_octets",
        "in quotes, as in \"50 MiB\"",
    ),
    (
        "limits.message_octets = \"50 apples\"",
        "1: limits.message_octets",
        "a string such as \"50 MiB\" or \"off\"",
    ),
    (
        "limits.in_flight_octets = \"1 KiB\"",
        "1: limits.in_flight_octets",
        "1024 is too small: use at least 1048576",
    ),
    ("subaddress = \"++\"", "1: subaddress", "punctuation mark"),
    ("subaddress = \"@\"", "1: subaddress", "punctuation mark"),
    (
        "log_level = \"loud\"",
        "1: log_level",
        "\"loud\" is not one of",
    ),
    (
        "log_format = \"xml\"",
        "1: log_format",
        "\"xml\" is not one of",
    ),
    (
        "durability = \"fsync\"",
        "1: durability",
        "\"fsync\" is not one of",
    ),
    (
        "[journal]\nsegment_octets = 5000000",
        "2: journal.segment_octets",
        "not a multiple of 4096 from 1048576",
    ),
    (
        "journal.segment_octets = 524288",
        "1: journal.segment_octets",
        "from 1048576 to 1073741824",
    ),
    (
        "journal.segments = 1",
        "1: journal.segments",
        "from 2 to 64",
    ),
    ("limits = 3", "1: limits", "integer `3`"),
    (
        "[limits]\n\nerrors = -1",
        "3: limits.errors",
        "integer `-1`",
    ),
    (
        "[limits] # x\nerrors = 1.5",
        "2: limits.errors",
        "floating point `1.5`",
    ),
    (
        "[limits]\nerrors = \"on\"",
        "2: limits.errors",
        "or \"off\"",
    ),
    (
        "[limits]\nrecipients = 0",
        "2: limits.recipients",
        "cannot be switched off",
    ),
    (
        "[limits]\nrecipients = \"off\"",
        "2: limits.recipients",
        "a non-negative integer",
    ),
    (
        "[limits]\nin_flight_octets = 1048575",
        "2: limits.in_flight_octets",
        "at least 1048576",
    ),
    (
        "[limits]\nconnections = 4294967296",
        "2: limits.connections",
        "too large",
    ),
    (
        "[limits]\nconnections = -4",
        "2: limits.connections",
        "integer `-4`",
    ),
    (
        "[limits]\nconnections_per_address = \"many\"",
        "2: limits.connections_per_address",
        "or \"auto\" or \"off\"",
    ),
    ("limits.errors = true", "1: limits.errors", "boolean `true`"),
];

#[test]
fn a_wrong_value_is_reported_with_file_line_and_key() {
    for (text, place, part) in WRONG_VALUES {
        let complaint = complaint(text);
        let begin = format!("facteur.toml:{place}: ");
        assert!(complaint.starts_with(&begin), "{text:?}: {complaint}");
        assert!(complaint.contains(part), "{text:?}: {complaint}");
        assert!(!complaint.contains('\n'), "{text:?}: {complaint}");
    }
}

#[test]
fn a_wrong_line_is_reported_with_file_and_line() {
    fn check(text: &str, begin: &str) {
        let complaint = complaint(text);
        assert!(complaint.starts_with(begin), "{text:?}: {complaint}");
        assert!(!complaint.contains('\n'), "{text:?}: {complaint}");
    }
    check("mail = \"x\"\nhello\n", "facteur.toml:2: ");
    check("mail = \"x\"\nhello", "facteur.toml:2: ");
    check("mail = [", "facteur.toml:1: mail: ");
    check("[limits", "facteur.toml:1: ");
    check("mail = x", "facteur.toml:1: mail: ");
    check("\u{feff}\u{feff}", "facteur.toml:1: ");
    check("é", "facteur.toml:1: ");
}

/// SEC-14, for each kind of listener: neither without accounts nor without TLS.
#[test]
fn an_address_that_others_can_reach_needs_accounts_and_tls() {
    let accounts = format!("[[accounts]]\naddress = \"bob@example.com\"\npassword = \"{HASH}\"\n");
    let tls = "[tls]\ncertificate = \"a\"\nkey = \"b\"\n";
    for address in [
        "0.0.0.0:25",
        "[::]:25",
        "192.0.2.1:25",
        "[2001:db8::1]:25",
        "[fe80::1]:25",
        "[::ffff:192.0.2.1]:25",
    ] {
        for key in ["smtp", "pop3", "http", "submission"] {
            let line = format!("{key} = [\"127.0.0.1:1\", \"{address}\"]\n");
            let open = [format!("{line}{tls}"), line.clone()];
            for text in open {
                let complaint = super::check(&parse(&text).unwrap())
                    .unwrap_err()
                    .to_string();
                let begin = format!("{key}: other machines can reach {address}, and anyone there");
                assert!(complaint.starts_with(&begin), "{complaint}");
                for way_out in ["127.0.0.1", "accounts", "TLS", "open_to"] {
                    assert!(complaint.contains(way_out), "{complaint}");
                }
                let text = format!("open_to = [\"172.16.0.0/12\"]\n{text}");
                super::check(&parse(&text).unwrap()).unwrap();
            }
            let text = format!("{line}{accounts}");
            let complaint = super::check(&parse(&text).unwrap())
                .unwrap_err()
                .to_string();
            let begin = format!("{key}: other machines can reach {address}, and passwords");
            assert!(complaint.starts_with(&begin), "{complaint}");
            let text_with_networks = format!("open_to = [\"172.16.0.0/12\"]\n{text}");
            let ignored = super::check(&parse(&text_with_networks).unwrap());
            assert_eq!(ignored.unwrap_err().to_string(), complaint);
            for way_out in ["127.0.0.1", "[tls]", "remove the listener"] {
                assert!(complaint.contains(way_out), "{complaint}");
            }
            let text = format!("{line}{accounts}{tls}");
            super::check(&parse(&text).unwrap()).unwrap();
        }
        for key in ["smtps", "pop3s", "https"] {
            let text = format!("{key} = [\"{address}\"]\n{tls}");
            let complaint = super::check(&parse(&text).unwrap())
                .unwrap_err()
                .to_string();
            assert!(complaint.starts_with(&format!("{key}: ")), "{complaint}");
        }
    }
}

#[test]
fn serving_nothing_is_an_error() {
    for http in ["", "http = \"off\"\n", "http = [\"127.0.0.1:8025\"]\n"] {
        let text = format!("smtp = []\npop3 = \"off\"\n{http}");
        let config = parse(&text).unwrap();
        assert!(matches!(super::check(&config), Err(Error::NoListener)));
    }
    assert!(super::check(&parse("smtp = []").unwrap()).is_ok());
}

#[test]
fn a_file_without_an_end_is_not_read_into_memory() {
    let error = Config::read(Path::new("/dev/zero")).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
    let error = complaint("accounts = \"/dev/zero\"");
    assert!(error.contains("larger than"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.toml");
    let error = Config::read(&missing).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot read {}", missing.display())
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn every_position_of_any_text_has_a_line() {
    for text in ["", "\n", "a = 1\n[t]\nb = [\n1\n]\n", "é = \r\n="] {
        for position in 0..=text.len() + 1 {
            let line = line_at(text, position);
            assert!(line >= 1 && line <= text.lines().count() + 1);
            // There may be a key or not, but no panic.
            drop(key_at(text, position));
        }
    }
}

/// A hash of the lowest possible cost.
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$\
                    pDWL6CL2u3TVMyYEQ2BHhN1IHwZ8s0kZzqXbUmBV1nY";

#[test]
fn octets_can_have_a_unit() {
    for (text, expected) in [
        ("0", Some(0)),
        ("52428800", Some(52_428_800)),
        ("50M", Some(50 << 20)),
        ("50 MiB", Some(50 << 20)),
        ("50mib", Some(50 << 20)),
        ("1_024 k", Some(1 << 20)),
        ("2G", Some(2 << 30)),
        ("5 MB", Some(5_000_000)),
        ("7 kB", Some(7_000)),
        ("9 octets", Some(9)),
        ("50 T", None),
        ("M", None),
        ("", None),
        ("-5M", None),
        ("5.5M", None),
        ("18446744073709551615k", None),
        ("99999999999999999999", None),
    ] {
        assert_eq!(Octets::parse(text), expected, "{text}");
    }
    check("limits.message_octets = \"10 MiB\"", |c| {
        c.limits.message_octets = Limit(Some(10 << 20));
    });
    check("limits.in_flight_octets = \"1G\"", |c| {
        c.limits.in_flight_octets = InFlightOctets(1 << 30);
    });
    check("journal.segment_octets = \"1M\"", |c| {
        c.journal.segment_octets = SegmentOctets(1 << 20);
    });
}

#[test]
fn a_bare_port_means_both_addresses_of_this_machine() {
    for text in ["2525", ":2525", "localhost:2525"] {
        check(&format!("smtp = [{text:?}, \"127.0.0.1:26\"]"), |c| {
            c.smtp = ["127.0.0.1:2525", "[::1]:2525", "127.0.0.1:26"]
                .map(listen)
                .to_vec();
        });
    }
}

#[test]
fn two_listeners_with_one_address_are_named() {
    for (text, expected) in [
        (
            "smtp = [\"127.0.0.1:25\"]\npop3 = [\"127.0.0.1:25\"]",
            Some("smtp and pop3 would both listen on 127.0.0.1:25: give one of them another port"),
        ),
        (
            "smtp = [\"[::1]:25\", \"[::1]:25\"]",
            Some("smtp names [::1]:25 twice: remove one of the two"),
        ),
        (
            "smtp = [\"0.0.0.0:25\"]\nsmtps = [\"127.0.0.1:25\"]",
            Some("smtp and smtps would both listen on 127.0.0.1:25: give one of them another port"),
        ),
        ("smtp = [\"127.0.0.1:0\"]\npop3 = [\"127.0.0.1:0\"]", None),
        (
            "smtp = [\"127.0.0.1:25\", \"[::1]:25\"]\npop3 = [\"127.0.0.2:25\"]",
            None,
        ),
    ] {
        let found = super::check(&parse(text).unwrap());
        assert_eq!(
            found.err().map(|error| error.to_string()).as_deref(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn all_mistakes_of_a_file_are_reported_together() {
    let text = "\
smpt = [\"127.0.0.1:25\"]
hostname = \"a b\"
pop3 = [
  \"x\",
]
[limit]
errors = 3
x = 4

[limits]
recipients = 0
errors = 5
";
    let Error::Several(errors) = parse(text).unwrap_err() else {
        panic!("there are several mistakes");
    };
    let found: Vec<String> = errors.iter().map(Error::to_string).collect();
    let begins = [
        "facteur.toml:1: smpt: unknown field `smpt`, did you mean `smtp`?",
        "facteur.toml:2: hostname: ",
        "facteur.toml:3: pop3: ",
        "facteur.toml:6: limit: unknown field `limit`, did you mean `limits`?",
        "facteur.toml:11: limits.recipients: ",
    ];
    assert_eq!(found.len(), begins.len(), "{found:#?}");
    for (found, begin) in found.iter().zip(begins) {
        assert!(found.starts_with(begin), "{found}");
    }
    // The consequences of a mistake are not reported, nor anything after a syntax error.
    for text in [
        "hostname = \"a b\"",
        "[[accounts]]\naddress = 5",
        "x = \ny = ",
    ] {
        let error = parse(text).unwrap_err();
        assert!(matches!(error, Error::Value { .. }), "{text}: {error}");
    }
    let endless = (0..100).fold(String::new(), |text, n| text + &format!("key{n} = 1\n"));
    let Error::Several(errors) = parse(&endless).unwrap_err() else {
        panic!("there are several mistakes");
    };
    assert_eq!(errors.len(), MISTAKES_MAX);
}

#[test]
fn changes_that_need_a_restart_are_named() {
    let before = parse("").unwrap();
    for (text, expected) in [
        ("", &[][..]),
        (
            "smtp = [\"127.0.0.1:1\"]\n[limits]\nerrors = 3",
            &["smtp", "limits.errors"],
        ),
        (
            "hostname = \"a.example\"\npop3s = [\"127.0.0.1:2\"]",
            &["hostname", "pop3s"],
        ),
        ("log_level = \"debug\"", &["log_level"]),
        // These are reloaded.
        ("tls = { certificate = \"a\", key = \"b\" }", &[]),
    ] {
        assert_eq!(changes(&before, &parse(text).unwrap()), expected, "{text}");
    }
}

#[test]
fn the_database_is_checked_where_the_program_has_one() {
    let table = |postgres: &str| format!("[store]\npostgres = \"{postgres}\"");
    let good = table("host=/run/postgresql dbname=mail user=facteur");
    if cfg!(feature = "postgres") {
        assert!(parse(&good).is_ok());
        let complaint = complaint(&table("host=db1 dbname=mail user=facteur"));
        assert!(complaint.contains("2: store.postgres"), "{complaint}");
        assert!(complaint.contains("sslmode is needed"), "{complaint}");
    } else {
        let complaint = complaint(&good);
        assert!(complaint.contains("2: store.postgres"), "{complaint}");
        assert!(
            complaint.contains("built without PostgreSQL"),
            "{complaint}"
        );
    }
}

/// [`Config::database`] reads files that the rest does not need.
#[cfg(feature = "postgres")]
#[test]
fn the_error_about_a_file_of_the_database_names_its_key() {
    for key in ["password_file", "ca", "certificate", "key"] {
        let text = format!(
            "[store]\npostgres = \"host=/run dbname=mail user=facteur\"\n{key} = \"/missing\"\n"
        );
        let error = parse(&text).unwrap().database().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("store.{key}: cannot read /missing")
        );
    }
    let text = "[store]\npostgres = \"host=/run dbname=mail user=facteur\"\nkey = \"/dev/null\"\n";
    let error = parse(text).unwrap().database().unwrap_err();
    assert_eq!(
        error.to_string(),
        "store.key: store.certificate is needed with it"
    );
}
