//! The networks of `open_to` at a reload. Which clients are served is tested in
//! `src/server/reach.rs`, and with real networks by `tests/containers.py`.

use crate::support::{HASH, program::Program};

const NETWORK: &str = "open_to = [\"10.0.0.0/8\"]\n";
const MEANING: &str = "open_to: without accounts, every client in 10.0.0.0/8 can read, send";

/// What the log says is true of the daemon, which needs a restart to have accounts.
#[test]
fn open_to_is_logged_as_it_is_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), NETWORK);
    program.expect_log(MEANING);
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).unwrap();
    };
    let account = format!("[[accounts]]\naddress = \"bob@example.com\"\npassword = \"{HASH}\"\n");
    write("accounts.toml", &account);
    write(
        "facteur.toml",
        &format!("accounts = \"accounts.toml\"\n{NETWORK}"),
    );
    program.signal("HUP");
    program.expect_log(MEANING);
    program.expect_log("a restart is needed to start using accounts");
}

/// SEC-14: a listener that other machines can reach cannot be closed without a restart, but it can
/// stop serving them.
#[test]
fn open_to_can_be_emptied_while_other_machines_can_reach_a_listener() {
    let directory = tempfile::tempdir().unwrap();
    let listener = "submission = [\"0.0.0.0:0\"]\n";
    let program = Program::start_with(directory.path(), &format!("{listener}{NETWORK}"));
    program.expect_log(MEANING);
    std::fs::write(directory.path().join("facteur.toml"), listener).unwrap();
    program.signal("HUP");
    program.expect_log("certificate and open_to stay as they were: ");
    program.expect_log("open_to is empty, so only this machine is served from now on");
}
