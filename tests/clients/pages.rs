//! The README and the other pages, followed from top to bottom.
//!
//! An HTML comment before a fenced block says how it is tested, and every block of shell commands
//! has one:
//!
//! - `tested`: the block is a script that must succeed, in the directory of the daemon, with a
//!   password on its standard input. `tested in: …`: in the directory below it with this name.
//! - `prints`: the block is the output of the script before it.
//! - `typed: …`: the block is a dialogue with that command; `>` marks what is typed.
//! - `shown: …`: the block is what facteur prints with those arguments.
//! - `file: …`: the block is a file of that name, which another program reads.
//! - `elsewhere: …`: that file tests the block, by the name after a comma if there is one.
//!
//! `…` in an expected line stands for anything. The default ports are replaced by those of the
//! test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::daemon::{self, Service};
use crate::support::{Facteur, Typist, command, run};

const README: &str = include_str!("../../README.md");
const GUIDE: &str = include_str!("../../docs/guide.md");

/// Where pages are, the README first, which the others follow.
const DIRECTORIES: [&str; 5] = ["", "docs", "benches", "tests", "contrib"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages, with their paths.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = Vec::new();
    for directory in DIRECTORIES {
        let entries = std::fs::read_dir(repository().join(directory)).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
        paths.sort();
        for path in paths {
            let text = std::fs::read_to_string(&path).unwrap();
            pages.push((path, text));
        }
    }
    assert!(pages.len() > 5, "{pages:?}");
    pages
}

/// A fenced block with the comment before it, and its language.
#[derive(Debug)]
struct Block {
    comment: Option<String>,
    language: String,
    text: String,
}

/// All blocks of a Markdown text.
fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut comment = None;
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        let is_comment = |rest: &str| rest.strip_suffix(" -->").map(str::to_owned);
        let Some(language) = line.trim_start().strip_prefix("```") else {
            assert!(comment.is_none(), "no block after {comment:?}");
            comment = line.strip_prefix("<!-- ").and_then(is_comment);
            continue;
        };
        assert_eq!(line, format!("```{language}"), "an indented block");
        let text = lines.by_ref().take_while(|line| *line != "```");
        blocks.push(Block {
            comment: comment.take(),
            language: language.to_owned(),
            text: text.map(|line| line.to_owned() + "\n").collect(),
        });
    }
    blocks
}

/// The marked blocks, each with its comment.
fn marked_blocks(markdown: &str) -> impl Iterator<Item = (String, String)> {
    let marked = |block: Block| Some((block.comment?, block.text));
    blocks(markdown).into_iter().filter_map(marked)
}

/// Whether a line matches.
fn matches(line: &str, expected: &str) -> bool {
    let Some((begin, end)) = expected.split_once('…') else {
        return line == expected;
    };
    let rest = line.strip_prefix(begin);
    rest.and_then(|rest| rest.strip_suffix(end)).is_some()
}

fn expect(line: &str, expected: &str) {
    assert!(
        matches(line, expected),
        "{line:?} does not match {expected:?}"
    );
}

/// Types the dialogue of a block at a program.
fn converse(program: &str, dialogue: &str) {
    let mut words = program.split(' ');
    let mut typist = Typist::at(&mut command(words.next().unwrap(), words));
    for line in dialogue.lines() {
        match line.strip_prefix('>') {
            Some(typed) => typist.type_line(typed.strip_prefix(' ').unwrap_or(typed)),
            None => expect(&typist.line(), line),
        }
    }
    assert_eq!(typist.leave(), "", "the program showed more than the page");
}

/// Runs a script beside the mail of a daemon, with the program under test in the path.
fn script(text: &str, directory: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_facteur")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = command("sh", ["-eu", "-c", text]);
    shell.current_dir(directory).env("PATH", path);
    run(&mut shell, "sesame\n").succeeded()
}

/// Follows the marked blocks of a page.
fn follow(page: &str, facteur: &Facteur) -> usize {
    let mut printed = String::new();
    let mut n_done = 0;
    for (comment, text) in marked_blocks(page) {
        match comment.split_once(": ") {
            Some(("typed", program)) => converse(program, &text),
            Some(("tested in", name)) => {
                let directory = facteur.path(name);
                std::fs::create_dir(&directory).unwrap();
                printed = script(&text, &directory);
            }
            // Needs no daemon: see below.
            Some(("shown" | "file" | "elsewhere", _)) => continue,
            None if comment == "tested" => printed = script(&text, &facteur.path("")),
            None if comment == "prints" => {
                assert_eq!(printed.lines().count(), text.lines().count(), "{printed}");
                for (line, expected) in printed.lines().zip(text.lines()) {
                    expect(line, expected);
                }
            }
            _ => panic!("{comment} says nothing"),
        }
        n_done += 1;
    }
    n_done
}

#[test]
#[ignore = "needs nc, curl and python3 installed; .ci/run installs them"]
fn every_dialogue_and_script_does_what_the_pages_say() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("facteur.toml");
    std::fs::write(&configuration, "http = [\"127.0.0.1:0\"]\n").unwrap();
    let facteur = Facteur::start_in(directory);
    // The scripts make files of this name.
    std::fs::remove_file(configuration).unwrap();
    let ports = [
        ("65434", facteur.smtp().port()),
        ("65433", facteur.pop3().port()),
        ("65480", facteur.http().port()),
    ];
    let mut n_done = 0;
    for (_, page) in pages() {
        let page = ports.iter().fold(page, |text, (default, port)| {
            text.replace(default, &port.to_string())
        });
        n_done += follow(&page, &facteur);
    }
    assert!(n_done > 10, "{n_done}");
    facteur.stop();
}

#[test]
fn every_command_of_the_pages_is_tested_or_says_where() {
    let mut n_elsewhere = 0;
    for (path, page) in pages() {
        for block in blocks(&page) {
            let is_shell = ["sh", "bash", "console"].contains(&block.language.as_str());
            let Some(comment) = block.comment else {
                assert!(
                    !is_shell,
                    "{}: nothing tests {}",
                    path.display(),
                    block.text
                );
                continue;
            };
            let Some(place) = comment.strip_prefix("elsewhere: ") else {
                continue;
            };
            let (file, name) = place.split_once(", ").unwrap_or((place, ""));
            let test = std::fs::read_to_string(repository().join(file));
            let test = test.unwrap_or_else(|error| panic!("{file}: {error}"));
            let called = format!("\"{name}\"");
            assert!(name.is_empty() || test.contains(&called), "{file}: {name}");
            n_elsewhere += 1;
        }
    }
    assert!(n_elsewhere > 5, "{n_elsewhere}");
}

/// The anchors of the headings, as links name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| -> String {
        let title = line.trim_start_matches('#').trim_start().to_lowercase();
        let kept = title.chars().filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ => Some(character).filter(|character| character.is_alphanumeric()),
        });
        kept.collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    let mut n_links = 0;
    for (path, page) in pages() {
        for rest in page.split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            let wrong = format!("{}: {link}", path.display());
            assert!(target.exists(), "{wrong}");
            if !anchor.is_empty() {
                let target = std::fs::read_to_string(target).unwrap();
                assert!(anchors(&target).contains(anchor), "{wrong}");
            }
            n_links += 1;
        }
    }
    assert!(n_links > 30, "{n_links}");
}

#[test]
fn the_readme_is_short() {
    let n_lines = README.lines().count();
    assert!(
        n_lines <= 150,
        "{n_lines} lines: the guide has room for more"
    );
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
    for (comment, text) in marked_blocks(GUIDE) {
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

/// The block of the guide for the file with this name.
pub(crate) fn file(name: &str) -> String {
    let file = format!("file: {name}");
    let found = marked_blocks(GUIDE).find(|(comment, _)| *comment == file);
    found.unwrap().1
}

/// Runs facteur with the words from a file, and an existing configuration. It only needs to accept
/// the options, or to report that there is no daemon yet.
fn check_options<'a>(words: impl Iterator<Item = &'a str>, more: &[&str], status: i32) {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("facteur.toml");
    // A port that nobody listens on while this test holds it.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    drop(held);
    let text = format!("smtp = [\"127.0.0.1:{port}\"]\npop3 = []\nhttp = []\n");
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

/// The words of a line such as `KEY ["facteur", "--option"]`, after the program.
fn words_of<'a>(file: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let mut lines = file.lines().filter(move |line| line.starts_with(key));
    let (_, list) = lines.find_map(|line| line.split_once('[')).unwrap();
    let mut words = list.split('"').skip(1).step_by(2);
    assert_eq!(words.next(), Some("facteur"));
    words
}

#[test]
fn the_unit_and_the_containerfile_start_facteur_with_valid_options() {
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
    // Everything that cargo needs is copied.
    for part in ["src", "tests", "benches", "Cargo.toml", "Cargo.lock"] {
        assert!(container.contains(part), "{part}");
    }
    let directory = tempfile::tempdir().unwrap();
    let image = include_str!("../../contrib/container.toml");
    let configuration = directory.path().join("facteur.toml");
    std::fs::write(&configuration, image).unwrap();
    let configuration = configuration.to_str().unwrap();
    let checked = daemon::program::run(&["--config", configuration, "--check"]);
    assert_eq!(checked.status, Some(0), "{}", checked.errors);
    // The ports are those that the image serves.
    let compose = include_str!("../../contrib/compose.yaml");
    let exposed = container
        .lines()
        .find_map(|line| line.strip_prefix("EXPOSE "));
    let exposed: Vec<&str> = exposed.unwrap().split(' ').collect();
    for (port, published) in exposed.iter().zip(["1025", "1110", "8025"]) {
        let mapping = format!("127.0.0.1:{published}:{port}");
        assert!(compose.contains(&format!("- \"{mapping}\"\n")), "{mapping}");
        assert!(GUIDE.contains(&format!("-p {mapping} ")), "{mapping}");
        assert!(image.contains(&format!("\"0.0.0.0:{port}\"")), "{port}");
    }
    assert!(compose.contains(&format!("SMTP_PORT: \"{}\"\n", exposed[0])));
    // Its health check is that of the image.
    let mut lines = container
        .lines()
        .filter(|line| line.starts_with("HEALTHCHECK"));
    let (_, check) = lines.find_map(|line| line.split_once(" CMD [")).unwrap();
    assert!(
        compose.contains(&format!("test: [\"CMD\", {check}\n")),
        "{check}"
    );
    let version = format!("rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
    assert!(container.contains(&version), "{version}");
}

#[test]
fn the_configuration_of_the_package_serves_when_it_has_an_account_and_a_certificate() {
    let text = include_str!("../../contrib/facteur.toml");
    // The lines for a network, which are comments in the last part.
    let (before, network) = text.split_once("# For a network").unwrap();
    let network = network
        .replace("\n#smtp", "\nsmtp")
        .replace("\n#submission", "\nsubmission");
    let network = network.replace("\n#pop3", "\npop3");
    assert!(network.contains("\npop3 = \"off\""), "{network}");
    for text in [text.to_owned(), format!("{before}# {network}")] {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let (configuration, tls) = (path("facteur.toml"), path("tls"));
        let text = text.replace("/var/lib/facteur/mail", &path("mail"));
        std::fs::write(&configuration, text).unwrap();
        std::fs::write(path("accounts.toml"), "").unwrap();
        let facteur = |arguments: &[&str]| {
            let arguments = [arguments, &["--config", &configuration]].concat();
            daemon::program::run(&arguments)
        };
        let refused = facteur(&["--check"]);
        assert_eq!(refused.status, Some(2), "{}", refused.errors);
        let commands: [&[&str]; 3] = [
            &["account", "add", "bob@example.com", "--generate"],
            &["cert", "--dir", &tls],
            &["--check"],
        ];
        for command in commands {
            let ended = facteur(command);
            assert_eq!(ended.status, Some(0), "{command:?}: {}", ended.errors);
        }
    }
}

#[test]
fn every_file_of_the_package_is_there() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let package = &manifest["package"]["metadata"]["deb"];
    let assets = package["assets"].as_array().unwrap();
    assert!(assets.len() > 5, "{assets:?}");
    for asset in assets {
        let path = asset[0].as_str().unwrap();
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (begin, end) = name.split_once('*').unwrap_or((name, ""));
        let is_asset = |name: &str| name.starts_with(begin) && name.ends_with(end);
        let is_there = || {
            let mut entries = std::fs::read_dir(repository().join(directory)).unwrap();
            entries.any(|entry| is_asset(entry.unwrap().file_name().to_str().unwrap()))
        };
        assert!(path == "target/release/facteur" || is_there(), "{path}");
    }
    for script in ["postinst", "prerm", "postrm"] {
        let path = repository().join("contrib/debian").join(script);
        run(command("sh", ["-n"]).arg(path), "").succeeded();
    }
}

#[test]
#[ignore = "needs systemd-analyze installed; .ci/run installs it"]
fn systemd_accepts_the_units() {
    let directory = tempfile::tempdir().unwrap();
    let service = include_str!("../../contrib/facteur.service");
    // This machine has the program elsewhere, and may not have the user.
    let service = service.replace("/usr/bin/facteur", env!("CARGO_BIN_EXE_facteur"));
    let service = service.replace("User=facteur\n", "");
    let contrib = |name: &str| std::fs::read_to_string(repository().join("contrib").join(name));
    let sockets = ["facteur-smtp.socket", "facteur-pop3.socket"];
    let sockets = sockets.map(|name| (name, contrib(name).unwrap()));
    let units = sockets.into_iter().chain([("facteur.service", service)]);
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
