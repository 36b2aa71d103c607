//! The manual page and the shell completions, compared with the program.
//!
//! After a change of the command line, `FACTEUR_WRITE=1 cargo test --test clients completions`
//! writes the completions.

use std::collections::BTreeSet;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use facteur::{cli::Arguments, system::exit};

use crate::support::{command, run};

const MANUAL: &str = include_str!("../../docs/facteur.8");
const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The first names of the items in a section of the manual, after the macro `macro_name`.
fn items(section: &str, macro_name: &str) -> Vec<&'static str> {
    let begin = format!(".Sh {section}\n");
    let text = MANUAL.split(begin.as_str()).nth(1).unwrap();
    let text = text.split("\n.Sh ").next().unwrap();
    let begin = format!(".It {macro_name}");
    let items = text.lines().filter_map(|line| line.strip_prefix(&begin));
    let items: Vec<&str> = items.map(str::trim_start).collect();
    assert!(!items.is_empty(), "{section}");
    items
}

/// A command and its subcommands according to clap, each with its options.
fn of_clap(command: &clap::Command, path: &str, found: &mut BTreeSet<String>) {
    for argument in command.get_arguments() {
        // clap adds these two itself, and passes the global one down.
        let is_everywhere = ["help", "version"].contains(&argument.get_id().as_str());
        let is_of_above = argument.is_global_set() && !path.is_empty();
        match argument.get_long() {
            Some(_) if is_everywhere || is_of_above => {}
            Some(long) => assert!(found.insert(format!("{path} --{long}"))),
            None => assert!(argument.is_positional(), "{argument:?}"),
        }
    }
    for command in command.get_subcommands() {
        let path = format!("{path} {}", command.get_name());
        if command.has_subcommands() {
            of_clap(command, &path, found);
            continue;
        }
        assert!(found.insert(path.clone()));
        of_clap(command, &path, found);
    }
}

/// The same according to the manual: the items of two sections.
fn of_the_manual() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut command = String::new();
    let items = [items("OPTIONS", ""), items("COMMANDS", "")].concat();
    for item in items {
        if ["h , Fl Fl help", "V , Fl Fl version"].contains(&item.trim_start_matches("Fl ")) {
            continue;
        }
        let word = |word: &&str| !["Ar", "Op"].contains(word);
        if let Some(option) = item.strip_prefix("Fl Fl ") {
            let option = option.split(' ').next().unwrap();
            assert!(found.insert(format!("{command} --{option}")), "{item}");
        } else {
            let name = item.strip_prefix("Cm ").unwrap().split(' ');
            command = name
                .take_while(word)
                .fold(String::new(), |all, word| all + " " + word);
            assert!(found.insert(command.clone()), "{item}");
        }
    }
    // clap adds this one.
    assert!(found.remove(" help"));
    found
}

#[test]
fn the_manual_names_the_options_and_the_commands_of_the_program() {
    let mut known = BTreeSet::new();
    of_clap(&Arguments::command(), "", &mut known);
    assert!(known.contains(" account add --alias"), "{known:#?}");
    assert_eq!(of_the_manual(), known);
    // The synopsis has each of them too.
    let synopsis = MANUAL.split(".Sh DESCRIPTION").next().unwrap();
    for name in known {
        let option = name.split("--").nth(1);
        let wanted = match option {
            Some(option) => format!("Fl Fl {option}"),
            None => format!(".Cm{name}\n"),
        };
        assert!(synopsis.contains(&wanted), "{name}");
    }
}

#[test]
fn the_manual_names_the_keys_of_the_example() {
    let mut keys = Vec::new();
    let mut table = String::new();
    for line in EXAMPLE.lines() {
        // The table of the certificate is a comment there.
        let line = match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(char::is_alphabetic) || rest.starts_with('[') => rest,
            Some(_) => continue,
            None => line,
        };
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            table = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.push(format!("{table}{key}"));
        }
    }
    assert!(keys.contains(&"limits.recipients".to_owned()), "{keys:?}");
    assert_eq!(items("CONFIGURATION", "Va "), keys);
}

/// The whole source, except tests.
fn source() -> String {
    let mut text = String::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let file = std::fs::read_to_string(path).unwrap();
                text += file.split("#[cfg(test)]").next().unwrap();
            }
        }
    }
    text
}

/// The part of the source between these two.
fn between<'a>(source: &'a str, begin: &str, end: char) -> BTreeSet<&'a str> {
    let found = source.split(begin).skip(1);
    let found = found.filter_map(|rest| rest.split_once(end));
    found.map(|(name, _)| name).collect()
}

#[test]
fn the_manual_names_the_exit_codes_and_the_counters() {
    let source = source();
    let told: Vec<u8> = items("EXIT STATUS", "")
        .into_iter()
        .map(|code| code.parse().unwrap())
        .collect();
    assert_eq!(told, exit::ALL);
    let counters = between(&source, "report.add(\"", '"');
    let told: BTreeSet<&str> = items("DIAGNOSTICS", "Cm ").into_iter().collect();
    assert_eq!(told, counters);
}

#[test]
#[ignore = "needs mandoc installed; .ci/run installs it"]
fn the_manual_is_well_formed() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/facteur.8");
    let linted = run(&mut command("mandoc", ["-T", "lint", manual]), "");
    assert_eq!(linted.succeeded(), "");
}

#[test]
fn the_completions_are_those_of_the_program() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/completions");
    let files = [
        (Shell::Bash, "facteur.bash"),
        (Shell::Fish, "facteur.fish"),
        (Shell::Zsh, "_facteur"),
    ];
    for (shell, name) in files {
        let mut generated = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "facteur", &mut generated);
        let generated = String::from_utf8(generated).unwrap();
        let path = directory.join(name);
        if std::env::var_os("FACTEUR_WRITE").is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == generated,
            "{} does not match the command line",
            path.display()
        );
    }
}
