//! A failing disk: clients are told, nothing acknowledged is lost, and the service continues.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
};

use facteur::fs::{Entry, File, FileSystem, Fs, Held, Identity, Metadata, RealFs, Segment, Volume};
use parking_lot::Mutex;

use crate::support::{Client, Server, Service, await_some, dot_stuffed};

const BOB: &str = "bob@example.com";
const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EMFILE: i32 = 24;

/// The operations that a test can make fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Append,
    Confirm,
    CreateDir,
    CreateNew,
    FreeOctets,
    HardLink,
    Open,
    Read,
    ReadDir,
    Rename,
    SegmentSync,
    SegmentWrite,
    SyncDir,
    SyncFile,
    Unlink,
}

/// What happens instead of the operation.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Error(i32),
    /// The operation waits for the test twice: to report that it has been reached, and to continue.
    Meet,
    Panic,
}

/// The switch in the test's hands.
#[derive(Debug, Default)]
struct Switch {
    fault: Mutex<Option<(Operation, Fault)>>,
    met: AtomicUsize,
    meeting: Meeting,
}

/// Where the test and the operation meet.
#[derive(Debug)]
struct Meeting(Barrier);

impl Default for Meeting {
    fn default() -> Self {
        Self(Barrier::new(2))
    }
}

impl Switch {
    fn set(&self, operation: Operation, fault: Fault) {
        *self.fault.lock() = Some((operation, fault));
        self.met.store(0, Ordering::SeqCst);
    }

    /// Repairs the disk; the fault must have occurred.
    fn mend(&self) {
        *self.fault.lock() = None;
        assert!(
            self.met.load(Ordering::SeqCst) > 0,
            "the fault never occurred"
        );
    }

    fn pass(&self, operation: Operation) -> io::Result<()> {
        let fault = *self.fault.lock();
        // Faults in the journal are for the session of the test. The checkpoint thread also gets
        // there after some seconds.
        let is_session = std::thread::current().name() != Some("checkpoint");
        let is_journal = matches!(operation, Operation::SegmentSync | Operation::SegmentWrite)
            || matches!(fault, Some((_, Fault::Panic)));
        if is_journal && !is_session {
            return Ok(());
        }
        match fault {
            Some((failing, fault)) if failing == operation => {
                self.met.fetch_add(1, Ordering::SeqCst);
                match fault {
                    Fault::Error(errno) => Err(io::Error::from_raw_os_error(errno)),
                    Fault::Meet => {
                        self.meeting.0.wait();
                        self.meeting.0.wait();
                        Ok(())
                    }
                    Fault::Panic => panic!("a planted panic"),
                }
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The real file system with a switch.
#[derive(Debug)]
struct FaultyFs(Arc<Switch>);

#[derive(Debug)]
struct FaultyFile(Box<dyn File>, Arc<Switch>);

impl Fs for FaultyFs {
    fn confirm(&self, path: &Path) -> io::Result<()> {
        self.0.pass(Operation::Confirm)?;
        RealFs.confirm(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.pass(Operation::CreateDir)?;
        RealFs.create_dir(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.0.pass(Operation::CreateNew)?;
        Ok(Box::new(FaultyFile(
            RealFs.create_new(path)?,
            Arc::clone(&self.0),
        )))
    }

    fn exchange(&self, left: &Path, right: &Path) -> io::Result<()> {
        RealFs.exchange(left, right)
    }

    fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
        RealFs.file_system(path)
    }

    fn total_octets(&self, path: &Path) -> io::Result<u64> {
        RealFs.total_octets(path)
    }

    fn free_octets(&self, path: &Path) -> io::Result<u64> {
        // A full disk has no free space.
        self.0
            .pass(Operation::FreeOctets)
            .map_or(Ok(0), |()| RealFs.free_octets(path))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.pass(Operation::HardLink)?;
        RealFs.hard_link(from, to)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        RealFs.lock(path)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        RealFs.lock_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        RealFs.metadata(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.0.pass(Operation::Open)?;
        Ok(Box::new(FaultyFile(
            RealFs.open(path)?,
            Arc::clone(&self.0),
        )))
    }

    fn open_segment(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(FaultySegment(
            RealFs.open_segment(path)?,
            Arc::clone(&self.0),
        )))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.0.pass(Operation::ReadDir)?;
        RealFs.read_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealFs.remove_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.pass(Operation::Rename)?;
        RealFs.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.pass(Operation::SyncDir)?;
        RealFs.sync_dir(path)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.0.pass(Operation::Unlink)?;
        RealFs.unlink(path)
    }

    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>> {
        RealFs.volume(path)
    }
}

#[derive(Debug)]
struct FaultySegment(Box<dyn Segment>, Arc<Switch>);

impl Held for FaultySegment {
    fn identity(&self) -> io::Result<Identity> {
        self.0.identity()
    }

    fn is_linked(&self) -> io::Result<bool> {
        self.0.is_linked()
    }

    fn sign(&self) -> io::Result<()> {
        self.0.sign()
    }
}

impl Segment for FaultySegment {
    fn octets(&self) -> io::Result<u64> {
        self.0.octets()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.pass(Operation::SegmentSync)?;
        self.0.sync_data()
    }

    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        self.1.pass(Operation::SegmentWrite)?;
        self.0.write_at(octets, offset)
    }
}

impl File for FaultyFile {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.1.pass(Operation::Append)?;
        self.0.append(octets)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.pass(Operation::Read)?;
        self.0.read(buffer)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.pass(Operation::Read)?;
        self.0.read_at(buffer, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.pass(Operation::SyncFile)?;
        self.0.sync()
    }
}

/// A server that makes messages durable in the Maildirs.
fn server() -> (Server, Arc<Switch>) {
    server_with("durability = \"maildir\"")
}

fn server_with(configuration: &str) -> (Server, Arc<Switch>) {
    let switch = Arc::new(Switch::default());
    let fs = Arc::new(FaultyFs(Arc::clone(&switch)));
    let directory = tempfile::tempdir().unwrap();
    (Server::on(fs, configuration, directory), switch)
}

fn session(server: &Server) -> Client {
    let mut client = server.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    client
}

/// One transaction whose content is sent together with its commands; returns the last reply. A
/// server that refuses at DATA takes the content for commands, so the content is sent only after
/// 354.
fn attempt(client: &mut Client, recipients: &[&str], content: &str) -> String {
    client.say("MAIL FROM:<alice@example.com>");
    client.expect("250 Sender OK");
    for recipient in recipients {
        client.say(&format!("RCPT TO:<{recipient}>"));
        client.expect("250 Recipient OK");
    }
    client.say("DATA");
    let reply = client.line();
    if !reply.starts_with("354") {
        return reply;
    }
    client.send(dot_stuffed(content).as_bytes());
    client.line()
}

#[test]
fn a_delivery_that_the_disk_refuses_is_refused_and_the_next_one_is_accepted() {
    let large = "a line of some length that is repeated\r\n".repeat(10_000);
    for operation in [
        Operation::Append,
        Operation::Confirm,
        Operation::CreateDir,
        Operation::CreateNew,
        Operation::HardLink,
        Operation::Rename,
        Operation::SyncDir,
        Operation::SyncFile,
    ] {
        for (errno, code) in [(ENOSPC, "452"), (EIO, "451"), (EMFILE, "451")] {
            for content in ["small\r\n", &large] {
                let (server, switch) = server();
                let mut client = session(&server);
                let recipients = [BOB, "carol@example.com"];
                switch.set(operation, Fault::Error(errno));
                let reply = attempt(&mut client, &recipients, content);
                assert!(reply.starts_with(code), "{operation:?} {errno}: {reply}");
                switch.mend();
                for recipient in recipients {
                    assert_eq!(server.contents(recipient), [""; 0], "{operation:?} {errno}");
                }
                // The same session continues, and nothing of the first message appears.
                let reply = attempt(&mut client, &recipients, "second\r\n");
                assert_eq!(reply, "250 OK", "{operation:?} {errno}");
                for recipient in recipients {
                    assert_eq!(server.contents(recipient), ["second\r\n"], "{operation:?}");
                }
            }
        }
    }
}

/// A failed batch is refused to its sender, and the next one goes to another segment.
#[test]
fn a_message_that_the_journal_refuses_is_refused_and_the_next_one_is_accepted() {
    for operation in [
        Operation::CreateDir,
        Operation::SegmentSync,
        Operation::SegmentWrite,
    ] {
        for (errno, code) in [(ENOSPC, "452"), (EIO, "451")] {
            let (server, switch) = server_with("");
            let mut client = session(&server);
            switch.set(operation, Fault::Error(errno));
            let reply = attempt(&mut client, &[BOB], "first\r\n");
            assert!(reply.starts_with(code), "{operation:?} {errno}: {reply}");
            switch.mend();
            assert_eq!(server.contents(BOB), [""; 0], "{operation:?} {errno}");
            let reply = attempt(&mut client, &[BOB], "second\r\n");
            assert_eq!(reply, "250 OK", "{operation:?} {errno}");
            assert_eq!(server.contents(BOB), ["second\r\n"], "{operation:?}");
        }
    }
}

/// A message that is durable in the journal is acknowledged. As long as it cannot be put into its
/// mailbox, no more mail is accepted; once it can, it is there.
#[test]
fn a_message_that_finds_no_room_in_the_maildir_stays_in_the_journal() {
    for operation in [Operation::CreateNew, Operation::Append] {
        let (mut server, switch) = server_with("");
        let mut client = session(&server);
        assert_eq!(attempt(&mut client, &[BOB], "first\r\n"), "250 OK");
        switch.set(operation, Fault::Error(ENOSPC));
        let reply = attempt(&mut client, &[BOB], "second\r\n");
        assert_eq!(reply, "250 OK", "{operation:?}: it is durable");
        let reply = attempt(&mut client, &[BOB], "third\r\n");
        assert!(reply.starts_with("452"), "{operation:?}: {reply}");
        assert_eq!(server.contents(BOB), ["first\r\n"], "{operation:?}");
        let count = |name| server.counted(name);
        assert_eq!((count("store_kept"), count("store_degraded")), (1, 1));
        assert_eq!(count("refused_no_space"), 1);
        switch.mend();
        let expected = ["first\r\n", "second\r\n"];
        assert_eq!(server.contents(BOB), expected, "{operation:?}");
        assert_eq!((count("store_kept"), count("store_degraded")), (0, 0));
        assert_eq!(count("store_journaled"), 2);
        drop(client);
        server.restart();
        assert_eq!(server.contents(BOB), expected, "{operation:?}");
    }
}

/// A journal that has failed twice is out of order: mail is refused before its content is sent.
#[test]
fn a_journal_that_fails_again_accepts_no_mail() {
    let (server, switch) = server_with("");
    let mut client = session(&server);
    assert_eq!(attempt(&mut client, &[BOB], "first\r\n"), "250 OK");
    switch.set(Operation::SegmentSync, Fault::Error(EIO));
    for _ in 0..2 {
        let reply = attempt(&mut client, &[BOB], "refused\r\n");
        assert!(reply.starts_with("451"), "{reply}");
    }
    // Now and then one is let through, to see whether the journal works again.
    let mut n_tried = 0;
    loop {
        client.say("MAIL FROM:<alice@example.com>");
        client.expect("250 Sender OK");
        client.say(&format!("RCPT TO:<{BOB}>"));
        client.expect("250 Recipient OK");
        client.say("DATA");
        if client.line().starts_with("451") {
            break;
        }
        client.send(b"refused\r\n.\r\n");
        client.expect_prefix("451");
        n_tried += 1;
    }
    switch.mend();
    assert_eq!(server.contents(BOB), ["first\r\n"], "reading still works");
    let names = ["commits_failures", "refused_not_stored", "store_degraded"];
    let expected = [2 + n_tried, 3 + n_tried, 1];
    assert_eq!(names.map(|name| server.counted(name)), expected);
}

#[test]
fn a_full_disk_refuses_before_the_content_is_sent() {
    let (server, switch) = server();
    let mut client = session(&server);
    assert_eq!(attempt(&mut client, &[BOB], "first\r\n"), "250 OK");
    switch.set(Operation::FreeOctets, Fault::Error(ENOSPC));
    let reply = attempt(&mut client, &[BOB], "second\r\n");
    assert!(reply.starts_with("452 "), "{reply}");
    assert_eq!(
        server.contents(BOB),
        ["first\r\n"],
        "stored mail can be read"
    );
    switch.mend();
    assert_eq!(attempt(&mut client, &[BOB], "third\r\n"), "250 OK");
    assert_eq!(server.contents(BOB), ["first\r\n", "third\r\n"]);
}

#[test]
fn a_chunk_that_the_disk_refuses_is_consumed_and_the_session_goes_on() {
    let (server, switch) = server();
    let mut client = server.extended_client();
    let chunk = "a line\r\n".repeat(40_000);
    switch.set(Operation::Append, Fault::Error(ENOSPC));
    client.send(b"MAIL FROM:<>\r\nRCPT TO:<bob@example.com>\r\n");
    client.expect("250 2.1.0 Sender OK");
    client.expect("250 2.1.5 Recipient OK");
    client.send(format!("BDAT {}\r\n{chunk}", chunk.len()).as_bytes());
    client.expect_prefix("452 4.3.1");
    client.send(format!("BDAT {} LAST\r\n{chunk}RSET\r\n", chunk.len()).as_bytes());
    client.expect_prefix("503 5.5.1");
    client.expect("250 2.0.0 Ok");
    switch.mend();
    assert_eq!(server.contents(BOB), [""; 0]);
}

#[test]
fn a_removal_that_fails_is_not_acknowledged() {
    for operation in [Operation::Confirm, Operation::SyncDir, Operation::Unlink] {
        let (server, switch) = server();
        server.deliver(BOB, "one\r\n");
        let mut client = server.maildrop(BOB);
        client.say("DELE 1");
        client.expect_prefix("+OK");
        switch.set(operation, Fault::Error(EIO));
        client.say("QUIT");
        client.expect_prefix("-ERR [SYS/TEMP]");
        client.expect_end();
        switch.mend();
        server.deliver(BOB, "two\r\n");
        assert!(
            server.contents(BOB).ends_with(&["two\r\n".to_owned()]),
            "{operation:?}"
        );
    }
}

#[test]
fn a_maildrop_that_cannot_be_read_is_a_transient_error() {
    let (server, switch) = server();
    server.deliver(BOB, "one\r\n");
    switch.set(Operation::ReadDir, Fault::Error(EMFILE));
    let mut client = server.pop3_client();
    client.say(&format!("USER {BOB}"));
    client.expect_prefix("+OK");
    client.say("PASS any");
    client.expect_prefix("-ERR [SYS/TEMP]");
    switch.mend();
    let mut client = server.maildrop(BOB);
    for operation in [Operation::Open, Operation::Read] {
        switch.set(operation, Fault::Error(EIO));
        client.say("RETR 1");
        client.expect_prefix("-ERR [SYS/TEMP]");
        switch.mend();
    }
    assert!(client.retrieve(1).ends_with("one\r\n"));
}

/// SEC-17: a panic ends its own session, with a reply, and nothing else.
#[test]
fn a_panic_ends_one_session_only() {
    let (server, switch) = server();
    server.deliver(BOB, "one\r\n");
    let mut beside = session(&server);

    let mut client = session(&server);
    client.begin_content(&[BOB]);
    switch.set(Operation::SyncFile, Fault::Panic);
    client.send(b"x\r\n.\r\n");
    client.expect_prefix("421 ");
    client.expect_end();
    switch.mend();

    let mut client = server.maildrop(BOB);
    switch.set(Operation::Open, Fault::Panic);
    client.say("RETR 1");
    client.expect_prefix("-ERR [SYS/TEMP]");
    client.expect_end();
    switch.mend();

    assert_eq!(attempt(&mut beside, &[BOB], "two\r\n"), "250 OK");
    assert_eq!(
        server.contents(BOB),
        ["one\r\n", "two\r\n"],
        "the maildrop is free again"
    );
}

/// The same in a session that leads a commit: nobody waits for a leader that is gone.
#[test]
fn a_panic_in_the_journal_does_not_hold_up_others() {
    let (server, switch) = server_with("");
    server.deliver(BOB, "one\r\n");
    let mut client = session(&server);
    switch.set(Operation::SegmentSync, Fault::Panic);
    let reply = attempt(&mut client, &[BOB], "refused\r\n");
    assert!(reply.starts_with("451"), "{reply}");
    switch.mend();
    // A panic after the journal ends the session; its message was durable by then.
    switch.set(Operation::Rename, Fault::Panic);
    let reply = attempt(&mut client, &[BOB], "two\r\n");
    assert!(reply.starts_with("421"), "{reply}");
    switch.mend();
    let mut beside = session(&server);
    assert_eq!(attempt(&mut beside, &[BOB], "three\r\n"), "250 OK");
    let expected = ["one\r\n", "two\r\n", "three\r\n"];
    assert_eq!(server.contents(BOB), expected);
}

/// A client that pipelines RETR, DELE and QUIT and disconnects before anything reaches it keeps its
/// message (I3).
#[test]
fn nothing_is_removed_before_the_responses_are_sent() {
    let (server, switch) = server();
    server.deliver(BOB, "one\r\n");
    let mut client = server.maildrop(BOB);
    switch.set(Operation::Open, Fault::Meet);
    client.send(b"RETR 1\r\nDELE 1\r\nQUIT\r\n");
    switch.meeting.0.wait();
    let reset = Some(std::time::Duration::ZERO);
    socket2::SockRef::from(client.socket())
        .set_linger(reset)
        .unwrap();
    drop(client);
    switch.meeting.0.wait();
    switch.mend();
    let mut next = await_some("the maildrop is free again", || {
        let mut client = server.pop3_client();
        client.say(&format!("USER {BOB}"));
        client.expect_prefix("+OK");
        client.say("PASS any");
        client.line().starts_with("+OK").then_some(client)
    });
    assert_eq!(next.count(), 1, "the message is still there");
}
