//! Rules of style and of security about the source itself that no lint checks. (`house.rs` has
//! those of structure.)

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms with only values and decisions.
const PURE: &[&str] = &[
    "mail",
    "wire",
    "smtp",
    "pop3",
    "http",
    "accounts",
    "client_settings",
    "mime",
    "page",
];

pub(super) fn source_files(directory: &str) -> BTreeMap<PathBuf, String> {
    files(directory, "rs")
}

fn files(directory: &str, wanted: &str) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == wanted)
            {
                let text = std::fs::read_to_string(&path).unwrap();
                files.insert(path, text);
            }
        }
    }
    assert!(!files.is_empty());
    files
}

/// The code of a file: lines that are not comments.
pub(super) fn code(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.fold(String::new(), |code, line| code + line + "\n")
}

/// Whether the file is in a directory with one of these names.
fn is_below(path: &Path, names: &[&str]) -> bool {
    path.iter()
        .any(|part| names.iter().any(|name| part == *name))
}

fn room_of(path: &Path) -> String {
    let below = path
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap();
    let first = below
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.strip_suffix(".rs").unwrap_or(first).to_owned()
}

#[test]
fn pure_rooms_do_no_io_and_do_not_log() {
    let forbidden = [
        "std::net",
        "std::fs",
        "std::io",
        "std::thread",
        "std::time",
        "log::",
        "rustix",
    ];
    let mut faults = Vec::new();
    for (path, text) in source_files("src") {
        let is_test =
            path.ends_with("tests.rs") || path.components().any(|c| c.as_os_str() == "tests");
        let room = room_of(&path);
        if is_test || !PURE.contains(&room.as_str()) {
            continue;
        }
        let code = code(&text);
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for word in forbidden {
            // Addresses and times are values. Only these two rooms hold times; they do not read the
            // clock, which a lint checks.
            let mut code = code
                .replace("std::net::IpAddr", "")
                .replace("net::Ipv6Addr", "");
            if ["accounts", "http"].contains(&room.as_str()) {
                code = code
                    .replace("std::time::{Duration, Instant};", "")
                    .replace("std::time::Duration;", "");
            }
            if code.contains(word) {
                faults.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_file_system_of_the_store_touches_files() {
    for (path, text) in source_files("src") {
        let code = code(&text);
        let writes = ["File::options", "OpenOptions", "fs::write", "rustix::fs::"];
        let is_fs = path.ends_with("fs/mod.rs") || path.ends_with("fs/socket.rs");
        let may = is_fs || path.components().any(|c| c.as_os_str() == "tests");
        let found = writes.iter().find(|word| code.contains(*word));
        assert!(may || found.is_none(), "{}: {found:?}", path.display());
    }
}

/// Defaults and limits are in `limits.rs`, with their reasons; no number that could be one is
/// elsewhere in the configuration. Units, permissions, addresses and ports are not limits.
#[test]
fn the_numbers_of_the_configuration_stand_with_the_limits() {
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let mut faults = Vec::new();
    for (path, text) in source_files("src/config") {
        let is_test =
            path.ends_with("tests.rs") || path.components().any(|c| c.as_os_str() == "tests");
        if is_test || path.ends_with("limits.rs") || path.ends_with("endpoint.rs") {
            continue;
        }
        let code = code(&text);
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code: String = code.replace("\\\"", "").split('"').step_by(2).collect();
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        for number in words.filter(is_number).filter(|it| !it.starts_with("0o")) {
            let digits: String = number.chars().filter(char::is_ascii_digit).collect();
            let is_unit = ["127", "1000", "1000000", "1000000000", "4096"].contains(&&*digits);
            if digits.len() > 2 && !is_unit {
                faults.push(format!("{}: {number}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// SEC-4 and SEC-10: no program is started, and no connection opened but to a database, which is
/// opened in one file. MIME is parsed only where mail is shown, and the parser of messages by
/// others is in one file, which gives it no message.
#[test]
fn nothing_starts_a_program_connects_or_parses_mime() {
    for (path, text) in source_files("src") {
        let is_test = path.ends_with("tests.rs") || is_below(&path, &["tests", "testing"]);
        let code = code(&text);
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for word in [
            "process::Command",
            "TcpStream::connect",
            "connect_timeout(",
            "Content-Type",
            "multipart",
            "mail_parser",
        ] {
            // Other processes: they check whether the daemon greets, hand it a message, and ask it
            // for messages.
            let clients = ["commands/inbox/client.rs", "commands/local.rs"];
            let is_link = path.ends_with("postgres/connection/link.rs");
            let is_client = clients.iter().any(|client| path.ends_with(client));
            // HTTP has a field with this name, too: our own responses need it.
            let is_reader = match word {
                "Content-Type" => ["http", "mime"].contains(&room_of(&path).as_str()),
                "multipart" => room_of(&path) == "mime",
                "mail_parser" => path.ends_with("mime/guarded.rs"),
                _ => false,
            };
            let connects = ["TcpStream::connect", "connect_timeout("].contains(&word);
            let may = is_reader || connects && (is_client || is_link);
            assert!(
                is_test || may || !code.contains(word),
                "{}: {word}",
                path.display()
            );
        }
    }
}

#[test]
fn every_file_begins_with_its_purpose_and_follows_the_style() {
    let mut faults = Vec::new();
    let all = ["src", "tests", "benches"]
        .into_iter()
        .flat_map(source_files);
    for (path, text) in all {
        let name = path.display();
        let is_test_module = path.ends_with("tests.rs");
        if !text.starts_with("//! ") && !is_test_module {
            faults.push(format!("{name}: no module header"));
        }
        for (index, line) in text.lines().enumerate() {
            let place = format!("{name}:{}", index + 1);
            if line.chars().count() > 100 {
                faults.push(format!("{place}: longer than 100 characters"));
            }
            let open_end = ["TO", "DO"].concat();
            let fix_me = ["FIX", "ME"].concat();
            if line.contains(&open_end) || line.contains(&fix_me) {
                faults.push(format!("{place}: something is unfinished"));
            }
            if line.contains(&["thread::", "sleep"].concat()) {
                faults.push(format!("{place}: waits without a condition"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What made tests fail by chance, or only for some users and directories, and what to do instead.
/// Each text is in two parts, so that it is not found here.
const BY_CHANCE: [(&str, &str, &str); 7] = [
    (
        "elapsed() ",
        "< ",
        "await_that and await_some wait, with the deadline of all tests",
    ),
    (
        "elapsed() ",
        "> ",
        "await_that and await_some wait, with the deadline of all tests",
    ),
    (
        "threads().",
        "contains",
        "a thread names itself when it runs: threads_with waits for it",
    ),
    (
        "assert_eq!(program.",
        "threads()",
        "threads come and go: await_that waits for the number",
    ),
    (
        "assert_eq!(program.",
        "descriptors()",
        "they come and go: await_that waits for the number",
    ),
    (
        "fs::copy(env!",
        "(",
        "a process of another test may have the copy open: copy_program",
    ),
    (
        "::bind(directory",
        ".",
        "a socket's path must be short, a directory's may be long: ShortWay",
    ),
];

/// Each of these was a test that failed on a busy machine, or in another directory.
#[test]
fn no_test_depends_on_luck() {
    let mut faults = Vec::new();
    for (path, text) in ["tests/it", "tests/clients"]
        .into_iter()
        .flat_map(source_files)
    {
        if path.components().any(|part| part.as_os_str() == "support") {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            for (begin, rest, instead) in BY_CHANCE {
                if line.contains(&[begin, rest].concat()) {
                    faults.push(format!("{}:{}: {instead}", path.display(), index + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn scripts_begin_with_their_purpose_and_follow_the_style() {
    let mut faults = Vec::new();
    let scripts = files("tests", "py");
    for script in ["attacks", "attacks_dialogues", "scenarios", "survival"] {
        let name = format!("{script}.py");
        assert!(scripts.keys().any(|path| path.ends_with(&name)), "{name}");
    }
    for (path, text) in scripts {
        let name = path.display();
        let begin = text.trim_start_matches("#!/usr/bin/env python3\n");
        if !begin.starts_with("\"\"\"") {
            faults.push(format!("{name}: no purpose"));
        }
        for (index, line) in text.lines().enumerate() {
            if line.chars().count() > 100 || line.ends_with(' ') {
                let place = format!("{name}:{}", index + 1);
                faults.push(format!("{place}: too long, or ends in a space"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// SEC-18: each dependency has its reason beside it, and there are few.
#[test]
fn every_dependency_has_its_reason() {
    let manifest = include_str!("../../Cargo.toml");
    let mut table = "";
    let mut counts = BTreeMap::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            table = line;
        } else if table.ends_with("dependencies]") && !line.is_empty() {
            assert!(line.contains(" # "), "no reason beside {line}");
            // One is not for our code: it only chooses how another is built. Others are only for a
            // feature.
            if !line.starts_with("idna_adapter") && !line.contains("optional = true") {
                *counts.entry(table).or_insert(0) += 1;
            }
        }
    }
    let expected = [
        "[dependencies]",
        "[dev-dependencies]",
        "[target.'cfg(shuttle)'.dev-dependencies]",
    ];
    assert!(counts.keys().eq(&expected), "{counts:?}");
    assert!((1..=30).contains(&counts["[dependencies]"]), "{counts:?}");
}

/// SEC-18: every dependency, direct or indirect, is one release from the public registry, with a
/// checksum; also for tests and other systems.
#[test]
fn every_dependency_comes_from_the_registry_with_a_checksum() {
    const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
    for (lock, own) in [
        (include_str!("../../Cargo.lock"), vec!["facteur"]),
        (
            include_str!("../fuzz/Cargo.lock"),
            vec!["facteur", "facteur-fuzz"],
        ),
    ] {
        let lock: toml::Table = lock.parse().unwrap();
        let packages = lock["package"].as_array().unwrap();
        let (mut n_own, mut n_others) = (0, 0);
        for package in packages {
            let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
            let name = text("name").unwrap();
            if own.contains(&name) {
                n_own += 1;
                continue;
            }
            n_others += 1;
            assert_eq!(text("source"), Some(REGISTRY), "{name}");
            let checksum = text("checksum").unwrap_or_default();
            assert_eq!(checksum.len(), 64, "{name}");
        }
        assert!(n_own == own.len() && n_others > 0);
    }
}

/// SEC-18: the crates that are built into the program, or run during its build, on this system. The
/// lock file does not show that: it knows no features, and includes what tests and other systems
/// need.
#[test]
fn the_program_is_built_of_few_crates() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,build"])
        .args(["--prefix", "none", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let tree = String::from_utf8(output.stdout).unwrap();
    // A crate that several others need appears several times, with a mark.
    let crates = tree.lines().map(|line| {
        let mut words = line.split(' ');
        (words.next(), words.next())
    });
    let crates: BTreeSet<_> = crates.collect();
    let others = crates.len() - 1;
    assert!((20..=130).contains(&others), "{others} crates: {tree}");
}

/// SEC-17: there is no `unsafe` in any part of the package, and a panic unwinds to where it is
/// caught.
#[test]
fn there_is_no_unsafe_code_and_a_panic_unwinds() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let lint = &manifest["lints"]["rust"]["unsafe_code"];
    assert_eq!(lint.as_str(), Some("forbid"));
    let profiles = manifest["profile"].as_table().unwrap();
    for (name, profile) in profiles {
        let panic = profile.get("panic").and_then(toml::Value::as_str);
        assert!(matches!(panic, None | Some("unwind")), "{name}");
    }
}

/// SEC-19: there is a fuzzer for every input from outside, and the gate runs all of them.
#[test]
fn all_fuzzers_exist_and_are_run_by_the_gate() {
    let fuzzers = [
        "smtp", "pop3", "http", "content", "journal", "names", "address", "config", "mime",
        "document", "proxy",
    ];
    let manifest: toml::Table = include_str!("../fuzz/Cargo.toml").parse().unwrap();
    let bins = manifest["bin"].as_array().unwrap().iter();
    let names: Vec<&str> = bins.map(|bin| bin["name"].as_str().unwrap()).collect();
    // The last one writes the seeds for the others.
    assert_eq!(names.split_last(), Some((&"seeds", &fuzzers[..])));
    let run = include_str!("../fuzz/run");
    assert!(run.contains(&format!("targets=({})\n", fuzzers.join(" "))));
    let gate = include_str!("../../.ci/run");
    let is_fuzzing = |line: &str| line.starts_with("step ") && line.contains(" tests/fuzz/run ");
    assert!(gate.lines().any(is_fuzzing));
}

/// The test code of all files: whole files, and modules within others.
fn test_code() -> String {
    let mut tests = String::new();
    for (path, text) in source_files("src") {
        let is_test =
            path.ends_with("tests.rs") || path.components().any(|c| c.as_os_str() == "tests");
        let begin = if is_test {
            Some(0)
        } else {
            text.find("#[cfg(test)]\nmod tests {")
        };
        tests.extend(begin.map(|begin| &text[begin..]));
    }
    for (path, text) in source_files("tests") {
        // This one names them all.
        if !path.ends_with("tidy.rs") {
            tests += &text;
        }
    }
    tests
        + include_str!("tidy.rs")
            .split("#[test]\nfn every_promise")
            .next()
            .unwrap()
}

/// Every promise of the crate about security and threads has a test that names it.
#[test]
fn every_promise_has_a_test_that_names_it() {
    let tests = test_code();
    let mut words: BTreeSet<&str> = BTreeSet::new();
    words.extend(tests.split(|c: char| !c.is_ascii_alphanumeric() && c != '-'));
    // One number was never assigned.
    let security = (1..=20).filter(|n| *n != 15).map(|n| format!("SEC-{n}"));
    let threads = (1..=7).map(|n| format!("NET-{n}"));
    let invariants = (1..=12).map(|n| format!("I{n}"));
    let ids = security.chain(threads).chain(invariants);
    let missing: Vec<String> = ids.filter(|id| !words.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}
