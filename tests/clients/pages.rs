//! The README and the pages of docs, followed from top to bottom.
//!
//! An HTML comment before a fenced block says what is to be done with it: `tested`, the block is a
//! script that must succeed; `prints`, the block is what the script before it printed; `typed: …`,
//! the block is a dialogue with that command, in which `>` stands before what is typed; `shown: …`,
//! the block is what facteur prints with those arguments; `file: …`, the block is a file of that
//! name, which another program reads. `…` in an expected line stands for anything. The default
//! ports are replaced by those of the test.

use crate::daemon::{self, Service};
use crate::support::{Facteur, Typist, command, run};

const README: &str = include_str!("../../README.md");
const GUIDE: &str = include_str!("../../docs/guide.md");

/// All of them in one.
fn pages() -> String {
    README.to_owned() + GUIDE
}

/// A fenced block with what the comment before it says.
#[derive(Debug)]
struct Block {
    comment: String,
    text: String,
}

/// The marked blocks of a Markdown text.
fn marked_blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        let comment = line
            .strip_prefix("<!-- ")
            .and_then(|rest| rest.strip_suffix(" -->"));
        let Some(comment) = comment else { continue };
        let fence = lines.next().unwrap_or_default();
        assert!(fence.starts_with("```"), "no block after {line}");
        let text = lines.by_ref().take_while(|line| *line != "```");
        let text = text.map(|line| line.to_owned() + "\n").collect();
        blocks.push(Block {
            comment: comment.to_owned(),
            text,
        });
    }
    blocks
}

/// Whether a line is as expected.
fn matches(line: &str, expected: &str) -> bool {
    let Some((begin, end)) = expected.split_once('…') else {
        return line == expected;
    };
    let rest = line.strip_prefix(begin);
    rest.and_then(|rest| rest.strip_suffix(end)).is_some()
}

fn expect(line: &str, expected: &str) {
    assert!(matches(line, expected), "{line:?} is not {expected:?}");
}

/// Has the dialogue of a block with a program.
fn converse(program: &str, dialogue: &str) {
    let mut words = program.split(' ');
    let mut typist = Typist::at(&mut command(words.next().unwrap(), words));
    for line in dialogue.lines() {
        match line.strip_prefix('>') {
            Some(typed) => typist.type_line(typed.strip_prefix(' ').unwrap_or(typed)),
            None => expect(&typist.line(), line),
        }
    }
    assert_eq!(typist.leave(), "", "there was more than the page says");
}

#[test]
#[ignore = "needs nc, curl, swaks and python3 installed; .ci/run installs them"]
fn every_dialogue_and_script_does_what_the_pages_say() {
    let facteur = Facteur::start();
    let ports = [
        ("65434", facteur.smtp().port()),
        ("65433", facteur.pop3().port()),
    ];
    let pages = ports.iter().fold(pages(), |text, (default, port)| {
        text.replace(default, &port.to_string())
    });
    let mut printed = String::new();
    let blocks = marked_blocks(&pages);
    assert!(blocks.len() > 10, "{blocks:#?}");
    for Block { comment, text } in blocks {
        match comment.split_once(": ") {
            Some(("typed", program)) => converse(program, &text),
            // Needs no daemon: see below.
            Some(("shown" | "file", _)) => {}
            None if comment == "tested" => {
                let mut shell = command("sh", ["-eu", "-c", &text]);
                printed = run(shell.current_dir(facteur.path("")), "").succeeded();
            }
            None if comment == "prints" => {
                assert_eq!(printed.lines().count(), text.lines().count(), "{printed}");
                for (line, expected) in printed.lines().zip(text.lines()) {
                    expect(line, expected);
                }
            }
            _ => panic!("{comment} says nothing"),
        }
    }
    let configuration = facteur.path("facteur.toml");
    let checked = daemon::program::run(&["--check", "--config", configuration.to_str().unwrap()]);
    assert_eq!(checked.status, Some(0), "{}", checked.errors);
    facteur.stop();
}

#[test]
fn the_readme_shows_what_the_program_prints() {
    let facteur = Facteur::start();
    let [smtp, pop3] = [facteur.smtp(), facteur.pop3()].map(|address| address.port().to_string());
    for line in facteur.banner().iter().filter(|line| line.contains(": ")) {
        let line = line.replace(&smtp, "65434").replace(&pop3, "65433");
        assert!(README.contains(&line), "{line} is not in the README");
    }
    facteur.stop();
}

#[test]
fn the_guide_shows_what_the_commands_print() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("facteur.toml");
    std::fs::write(&file, "hostname = \"mail.example.com\"\n").unwrap();
    let mut n_shown = 0;
    for Block { comment, text } in marked_blocks(GUIDE) {
        let Some(("shown", arguments)) = comment.split_once(": ") else {
            continue;
        };
        let mut facteur = command(env!("CARGO_BIN_EXE_facteur"), arguments.split(' '));
        let printed = run(facteur.current_dir(directory.path()), "").succeeded();
        let printed = printed.replace(directory.path().to_str().unwrap(), "/home/you/facteur");
        assert_eq!(printed.lines().count(), text.lines().count(), "{printed}");
        for (line, expected) in printed.lines().zip(text.lines()) {
            expect(line, expected);
        }
        n_shown += 1;
    }
    assert_eq!(n_shown, 2);
}

#[test]
fn the_guide_lists_every_key_of_the_example_with_its_default() {
    let mut table = String::new();
    for line in include_str!("../../config.example.toml").lines() {
        let header = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'));
        if let Some(name) = header {
            table = format!("{name}.");
        }
        let Some((key, default)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let row = format!("| `{table}{key}` | `{default}` |");
        assert!(GUIDE.contains(&row), "{row} is not in the guide");
    }
}

/// The block of the guide that is the file of this name.
pub(crate) fn file(name: &str) -> String {
    let mut blocks = marked_blocks(GUIDE).into_iter();
    let file = format!("file: {name}");
    blocks.find(|block| block.comment == file).unwrap().text
}

/// Runs facteur with these words of a file, and a configuration that is there; it is only to say
/// that it knows the options, or that no daemon is there yet.
fn check_options<'a>(words: impl Iterator<Item = &'a str>, more: &[&str], status: i32) {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("facteur.toml");
    // A port that nobody listens on while this test holds it.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    drop(held);
    let text = format!("smtp = [\"127.0.0.1:{port}\"]\npop3 = []\n");
    std::fs::write(&configuration, text).unwrap();
    let configuration = configuration.to_str().unwrap();
    let words = words.map(|word| word.replace("/etc/facteur/facteur.toml", configuration));
    let words: Vec<String> = words
        .chain(more.iter().map(|&word| word.to_owned()))
        .collect();
    assert!(words.iter().any(|word| word == configuration), "{words:?}");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ended = daemon::program::run(&words);
    assert_eq!(ended.status, Some(status), "{words:?}: {}", ended.errors);
}

/// The words of a line such as `KEY ["facteur", "--option"]`, behind the program.
fn words_of<'a>(file: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let mut lines = file.lines().filter(move |line| line.starts_with(key));
    let (_, list) = lines.find_map(|line| line.split_once('[')).unwrap();
    let mut words = list.split('"').skip(1).step_by(2);
    assert_eq!(words.next(), Some("facteur"));
    words
}

#[test]
fn the_unit_and_the_containerfile_start_facteur_with_options_that_there_are() {
    let unit = include_str!("../../contrib/facteur.service");
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let mut words = start.unwrap().split(' ');
    assert_eq!(words.next(), Some("/usr/bin/facteur"));
    check_options(words, &["--check"], 0);
    let container = include_str!("../../contrib/Containerfile");
    check_options(words_of(container, "ENTRYPOINT"), &["--check"], 0);
    check_options(words_of(container, "HEALTHCHECK"), &[], 1);
    // All that cargo needs is copied.
    for part in ["src", "tests", "benches", "Cargo.toml", "Cargo.lock"] {
        assert!(container.contains(part), "{part}");
    }
    let version = format!("rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
    assert!(container.contains(&version), "{version}");
}

#[test]
#[ignore = "needs systemd-analyze installed; .ci/run installs it"]
fn systemd_takes_the_units() {
    let directory = tempfile::tempdir().unwrap();
    let service = include_str!("../../contrib/facteur.service");
    // This machine has the program elsewhere, and need not have the user.
    let service = service.replace("/usr/bin/facteur", env!("CARGO_BIN_EXE_facteur"));
    let service = service.replace("User=facteur\n", "");
    let units = [
        ("facteur.service", service),
        (
            "facteur-smtp.socket",
            include_str!("../../contrib/facteur-smtp.socket").to_owned(),
        ),
    ];
    let mut verify = command("systemd-analyze", ["verify", "--man=no"]);
    for (name, unit) in units {
        let path = directory.path().join(name);
        std::fs::write(&path, unit).unwrap();
        verify.arg(path);
    }
    let verified = run(&mut verify, "");
    let is_ours = |line: &&str| line.contains("facteur");
    assert_eq!(verified.errors.lines().find(is_ours), None);
    verified.succeeded();
}
