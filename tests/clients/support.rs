//! The program under test in its own directory, and other programs, run with a deadline.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use crate::daemon::program::{Program, forget_variables};
use crate::daemon::{DEADLINE, Service};

/// A content that a careless program would change: lines that begin with dots or with `From`,
/// blanks at the end of a line, empty lines, a line longer than any traditional limit, UTF-8.
pub(crate) fn letter() -> String {
    format!(
        "{LETTER_HEADER}\r\n{LETTER_BODY}{}\r\nlast line\r\n",
        "long ".repeat(240)
    )
}

/// The same without the parts that need 8-bit transport.
pub(crate) fn ascii_letter() -> String {
    letter().replace(|character: char| !character.is_ascii(), "?")
}

const LETTER_HEADER: &str = "From: Alice <alice@example.com>\r\n\
     To: Bob <bob@example.com>\r\n\
     Subject: A letter for Bob\r\n\
     Message-ID: <letter-1@example.com>\r\n\
     Date: Mon, 01 Jan 2024 12:00:00 +0000\r\n\
     MIME-Version: 1.0\r\n\
     Content-Type: text/plain; charset=utf-8\r\n\
     Content-Transfer-Encoding: 8bit\r\n";

const LETTER_BODY: &str = ".a dot first\r\n\
     ..two\r\n\
     .\r\n\
     ...\r\n\
     From here on\r\n\
     >From there\r\n\
     \ttab and blanks  \r\n\
     \r\n\
     \r\n\
     bücher, 日本語\r\n";

/// The facteur program, serving its own directory.
pub(crate) struct Facteur {
    program: Program,
    directory: tempfile::TempDir,
}

impl Facteur {
    /// Starts it and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    /// Starts it in this directory.
    pub(crate) fn start_in(directory: tempfile::TempDir) -> Self {
        let program = Program::start(directory.path());
        Self { program, directory }
    }

    /// A path in the test's directory, beside the mail.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file there that only its owner can read: some programs insist on it.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.path(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.unwrap().write_all(content.as_bytes()).unwrap();
        path
    }

    /// The Maildir of a user of example.com.
    pub(crate) fn maildir(&self, local_part: &str) -> PathBuf {
        self.path("mail").join("example.com").join(local_part)
    }

    /// The names of the message files in one directory (`new` or `cur`) of that Maildir, sorted.
    pub(crate) fn names(&self, local_part: &str, directory: &str) -> Vec<String> {
        file_names(&self.maildir(local_part).join(directory))
    }

    /// The first message of `user`, complete with trace headers.
    pub(crate) fn message(&self, user: &str) -> String {
        let mut client = self.maildrop(user);
        let message = client.retrieve(1);
        client.say("QUIT");
        client.expect_prefix("+OK");
        message
    }

    /// The unique-ids of all messages of `user`.
    pub(crate) fn unique_ids(&self, user: &str) -> Vec<String> {
        let mut client = self.maildrop(user);
        client.say("UIDL");
        client.expect_prefix("+OK");
        let listing = client.multi_line();
        client.say("QUIT");
        client.expect_prefix("+OK");
        let ids = listing
            .lines()
            .map(|line| line.split_once(' ').unwrap().1.to_owned());
        ids.collect()
    }

    /// Asserts that `user` has exactly this one message.
    pub(crate) fn expect_only(&self, user: &str, content: &str) {
        assert_eq!(self.contents(user), [content]);
    }

    /// Where HTTP listens, if it is not off.
    pub(crate) fn http(&self) -> SocketAddr {
        self.program.http()
    }

    /// The program's output when it started.
    pub(crate) fn banner(&self) -> &[String] {
        &self.program.banner
    }

    /// Stops the program with a signal, as a service manager does; it must end successfully.
    pub(crate) fn stop(mut self) {
        self.program.signal("TERM");
        assert_eq!(self.program.wait(), Some(0));
    }
}

impl Service for Facteur {
    fn smtp(&self) -> SocketAddr {
        self.program.smtp
    }

    fn pop3(&self) -> SocketAddr {
        self.program.pop3
    }
}

/// The names of the files in a directory, sorted.
pub(crate) fn file_names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Text with the line endings of files.
pub(crate) fn with_lf(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// A program with its arguments.
pub(crate) fn command<A: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(program);
    forget_variables(&mut command);
    command.args(arguments);
    command
}

/// The results of a program that has ended.
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Ended {
    /// Asserts that the program succeeded; returns its output.
    pub(crate) fn succeeded(self) -> String {
        let Self {
            status,
            output,
            errors,
        } = self;
        assert_eq!(status, Some(0), "{output}\n{errors}");
        output
    }
}

/// Runs a program to its end with `input`; it is killed at the deadline.
pub(crate) fn run(command: &mut Command, input: &str) -> Ended {
    let mut child = spawn(command);
    let pid = child.id();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    thread::Builder::new()
        .spawn(move || {
            // A program may close its input early.
            drop(stdin.write_all(input.as_bytes()));
        })
        .unwrap();
    let (ended_out, ended_in) = channel();
    thread::Builder::new()
        .spawn(move || ended_out.send(child.wait_with_output()))
        .unwrap();
    let Ok(ended) = ended_in.recv_timeout(DEADLINE) else {
        kill(pid);
        panic!("{command:?} did not end in time");
    };
    let ended = ended.unwrap();
    Ended {
        status: ended.status.code(),
        output: String::from_utf8(ended.stdout).unwrap(),
        errors: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

fn spawn(command: &mut Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap_or_else(|error| {
        panic!(
            "{}: {error}; .ci/run installs it",
            command.get_program().display()
        )
    })
}

fn kill(pid: u32) {
    let killed = Command::new("kill")
        .args(["-s", "KILL", &pid.to_string()])
        .status();
    // It may have ended at this moment.
    drop(killed);
}

/// A program at which lines are typed and whose answers are read, as by a person.
pub(crate) struct Typist {
    child: Child,
    keyboard: Option<ChildStdin>,
    screen: Receiver<String>,
}

impl Typist {
    /// Starts a program.
    pub(crate) fn at(command: &mut Command) -> Self {
        let mut child = spawn(command);
        let keyboard = child.stdin.take();
        let screen = follow(child.stdout.take().unwrap());
        Self {
            child,
            keyboard,
            screen,
        }
    }

    /// Types a line and the Enter key.
    pub(crate) fn type_line(&mut self, line: &str) {
        let keyboard = self.keyboard.as_mut().unwrap();
        keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Reads the next line.
    pub(crate) fn line(&mut self) -> String {
        match self.screen.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(error) => panic!("no further line: {error}"),
        }
    }

    /// The next line must be this one.
    pub(crate) fn expect(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    /// Reads on until this line appears.
    pub(crate) fn expect_sometime(&mut self, expected: &str) {
        while self.line() != expected {}
    }

    /// Leaves the program and returns the rest of its output. Some programs end when the server
    /// closes the connection, others when their input ends.
    pub(crate) fn leave(mut self) -> String {
        self.keyboard = None;
        let mut rest = String::new();
        loop {
            match self.screen.recv_timeout(DEADLINE) {
                Ok(line) => rest.extend([&line, "\n"]),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the program does not end"),
            }
        }
        self.child.wait().unwrap();
        rest
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        // If all went well, it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The lines of a program's output, without their endings.
fn follow(output: impl Read + Send + 'static) -> Receiver<String> {
    let (line_out, line_in) = channel();
    thread::Builder::new()
        .spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line_out
                    .send(line.trim_end_matches('\r').to_owned())
                    .is_err()
                {
                    break;
                }
            }
        })
        .unwrap();
    line_in
}
