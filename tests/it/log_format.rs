//! The JSON log: one object per line, whatever clients send.

use crate::support::json::{Json, parse};
use crate::support::program::Program;
use crate::support::{Client, HASH, Service, plain};

/// The fields of one line.
type Fields = Vec<(String, Json)>;

fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a Json> {
    let mut found = fields.iter().filter(|(key, _)| key == name);
    found.next().map(|(_, value)| value)
}

fn text(value: &str) -> Json {
    Json::Text(value.to_owned())
}

/// The names of a line's fields, without time and level.
fn names(fields: &Fields) -> Vec<&str> {
    let names = fields.iter().skip(2).map(|(name, _)| name.as_str());
    names.collect()
}

/// The fields of all lines; each begins with its time and its level.
fn read(lines: &[String]) -> Vec<Fields> {
    let objects = lines.iter().map(|line| {
        let line = line.strip_suffix('\n').expect("a whole line");
        let fields = parse(line).unwrap();
        let (Json::Text(time), "time") = (&fields[0].1, fields[0].0.as_str()) else {
            panic!("{line} does not begin with its time");
        };
        // 2026-11-23T07:50:32.123Z
        let form: String = time
            .chars()
            .map(|c| if c.is_ascii_digit() { '9' } else { c })
            .collect();
        assert_eq!(form, "9999-99-99T99:99:99.999Z");
        assert_eq!(fields[1].0, "level");
        fields
    });
    objects.collect()
}

/// The lines of an event.
fn events<'a>(lines: &'a [Fields], name: &str) -> Vec<&'a Fields> {
    let name = text(name);
    let is_it = |fields: &&Fields| field(fields, "event") == Some(&name);
    lines.iter().filter(is_it).collect()
}

#[test]
fn every_event_has_its_fields_under_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), "log_format = \"json\"\n");
    let mut client = program.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    client.transaction(&["bob@example.com", "carol@example.com"], "x\r\n");
    client.say("QUIT");
    client.expect("221 Fermeture connexion");
    let mut client = program.maildrop("bob@example.com");
    client.say("DELE 1");
    client.expect_prefix("+OK");
    client.say("QUIT");
    client.expect_prefix("+OK");
    let lines = read(&program.stop());
    let messages: Vec<&Json> = lines
        .iter()
        .filter_map(|line| field(line, "message"))
        .collect();
    for message in ["SIGTERM: stopping", "stopped"] {
        assert!(messages.contains(&&text(message)), "{messages:?}");
    }
    let accepted = events(&lines, "accepted")[0];
    assert_eq!(
        names(accepted),
        [
            "session",
            "event",
            "id",
            "from",
            "to",
            "recipients",
            "octets",
            "client"
        ]
    );
    for (name, value) in [
        ("level", text("info")),
        ("session", text("smtp-1")),
        ("from", text("<alice@example.com>")),
        ("to", text("<bob@example.com>")),
        ("recipients", Json::Number(2)),
        ("client", text("127.0.0.1")),
    ] {
        assert_eq!(field(accepted, name), Some(&value), "{accepted:?}");
    }
    let login = events(&lines, "login")[0];
    assert_eq!(
        names(login),
        ["session", "event", "mailbox", "messages", "client"]
    );
    assert_eq!(field(login, "mailbox"), Some(&text("bob@example.com")));
    assert_eq!(field(login, "messages"), Some(&Json::Number(1)));
    let removed = events(&lines, "removed")[0];
    assert_eq!(names(removed), ["session", "event", "messages", "client"]);
    for ended in events(&lines, "ended") {
        assert_eq!(names(ended), ["session", "event", "client", "reason"]);
        assert_eq!(field(ended, "reason"), Some(&text("quit")));
    }
    let counters = events(&lines, "counters")[0];
    for (name, value) in [
        ("sessions_smtp", 1),
        ("accepted_recipients", 2),
        ("sent_removed", 1),
        ("store_degraded", 0),
    ] {
        assert_eq!(field(counters, name), Some(&Json::Number(value)), "{name}");
    }
}

/// Characters that end a line or a string somewhere, or that control a terminal.
const NASTY: &[&str] = &[
    "\"",
    "\\",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{85}",
    "\u{9b}",
    "\u{2028}",
    "\u{202e}",
    "\u{feff}",
    "\u{fffd}",
    "é",
    "🐫",
    "\\u0022",
    "\",\"level\":\"error",
    "'",
    "}",
    "{",
    "%s",
    "\u{1}",
];

/// SEC-7.
#[test]
fn every_line_is_one_object_whatever_clients_send() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = format!(
        "log_format = \"json\"\nlog_level = \"trace\"\nlimits.refused_login_seconds = 0\n\
         [[accounts]]\naddress = \"bob@example.com\"\npassword = \"{HASH}\"\n"
    );
    let program = Program::start_with(directory.path(), &configuration);
    let mut users: Vec<String> = NASTY.iter().map(|nasty| format!("a{nasty}b")).collect();
    users.push("\u{2028}\"".repeat(40));
    for user in &users {
        let mut client = program.pop3_client();
        let login = plain(user, "wrong");
        client.say(&format!("AUTH PLAIN {login}"));
        client.expect_prefix("-ERR");
        let mut client = Client::connect(program.smtp);
        client.send(format!("EHLO {user}\r\nMAIL FROM:<{user}@example.com>\r\n").as_bytes());
        client.send(b"RCPT TO:<bob@example.com>\r\nDATA\r\n");
        client.half_close();
        client.read_to_end();
    }
    // A sender whose name must be quoted, and a long one.
    for sender in ["\"a\\\"b \\\\\"", &"x".repeat(60)] {
        let mut client = program.smtp_client();
        client.say("HELO test");
        client.expect("250 Ok");
        client.say(&format!("MAIL FROM:<{sender}@example.com>"));
        client.expect_prefix("250 ");
        client.say("RCPT TO:<bob@example.com>");
        client.expect_prefix("250 ");
        client.say("DATA");
        client.expect_prefix("354 ");
        client.send(b".\r\n");
        client.expect_prefix("250 ");
    }
    let lines = read(&program.stop());
    let refused: Vec<&Json> = events(&lines, "login refused")
        .into_iter()
        .map(|fields| field(fields, "user").unwrap())
        .collect();
    // A name with control characters is invalid, and is not logged at all.
    users.retain(|user| !user.contains(char::is_control));
    assert_eq!(refused.len(), users.len(), "{refused:?}");
    assert!(users.len() > 10);
    for (user, told) in users.iter().zip(refused) {
        let Json::Text(told) = told else {
            panic!("{told:?}");
        };
        let is_cut = told.ends_with('…') && user.starts_with(told.trim_end_matches('…'));
        assert!(told == user || is_cut, "{user:?} was logged as {told:?}");
    }
    assert_eq!(events(&lines, "accepted").len(), 2);
}
