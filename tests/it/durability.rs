//! The program itself, killed: everything that was acknowledged is there afterwards.

use std::collections::BTreeSet;

use crate::support::{Client, Service, program::Program};

/// I1 and I5.
#[test]
fn a_kill_right_after_250_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..5 {
        let mut program = Program::start(directory.path());
        let mut client = Client::connect(program.smtp);
        client.expect("220 localhost ESMTP facteur");
        client.say("HELO test");
        client.expect("250 Ok");
        for number in 0..4 {
            let content = format!(
                "Subject: {round}-{number}\r\n\r\n..\r\n{}\r\n",
                "x".repeat(2_000)
            );
            client.transaction(&["bob@example.com", "carol@example.com"], &content);
            expected.push(content);
        }
        // And one that is not acknowledged: none of it may appear.
        client.begin_content(&["bob@example.com"]);
        client.send(&b"never finished\r\n".repeat(10_000));
        program.kill();
    }
    let program = Program::start(directory.path());
    // Within one second the order between two runs of the program is not kept.
    expected.sort();
    for user in ["bob@example.com", "carol@example.com"] {
        let mut contents = program.contents(user);
        contents.sort();
        assert!(contents == expected, "{user}: {} messages", contents.len());
    }
}

/// I2 and I3.
#[test]
fn a_kill_before_quit_deletes_nothing_and_one_after_quit_restores_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Program::start(directory.path());
    program.deliver("bob@example.com", "Subject: one\r\n\r\n");
    program.deliver("bob@example.com", "Subject: two\r\n\r\n");
    let mut client = program.maildrop("bob@example.com");
    client.say("DELE 1");
    client.expect_prefix("+OK");
    program.kill();

    let mut program = Program::start(directory.path());
    let mut client = program.maildrop("bob@example.com");
    assert_eq!(client.count(), 2);
    client.say("DELE 1");
    client.expect_prefix("+OK");
    client.say("QUIT");
    client.expect_prefix("+OK");
    program.kill();

    let program = Program::start(directory.path());
    assert_eq!(
        program.contents("bob@example.com"),
        ["Subject: two\r\n\r\n"]
    );
}

/// I6.
#[test]
fn unique_ids_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Program::start(directory.path());
    for number in 0..3 {
        program.deliver("bob@example.com", &format!("Subject: {number}\r\n\r\n"));
    }
    let before = unique_ids(&program);
    program.kill();
    let program = Program::start(directory.path());
    assert_eq!(unique_ids(&program), before);
    program.deliver("bob@example.com", "Subject: new\r\n\r\n");
    let after = unique_ids(&program);
    assert_eq!(after.len(), 4, "{after:?}");
    assert!(before.is_subset(&after), "{before:?} {after:?}");
}

fn unique_ids(program: &Program) -> BTreeSet<String> {
    let mut client = program.maildrop("bob@example.com");
    client.say("UIDL");
    client.expect_prefix("+OK");
    let listing = client.multi_line();
    client.say("QUIT");
    client.expect_prefix("+OK");
    client.expect_end();
    listing
        .lines()
        .map(|line| line.split(' ').nth(1).unwrap().to_owned())
        .collect()
}
