//! The program itself, as a child process.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::{DEADLINE, Service, await_some};

/// The threads of an idle program.
pub(crate) const OWN_THREADS: [&str; 6] = [
    "facteur",
    "log",
    "checkpoint",
    "smtp-listener",
    "pop3-listener",
    "http-listener",
];

/// A running program; it is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    log: Receiver<String>,
    /// Log lines that no test has waited for yet.
    unasked: RefCell<Vec<String>>,
    /// What it printed on standard output.
    pub(crate) banner: Vec<String>,
    pub(crate) smtp: SocketAddr,
    pub(crate) pop3: SocketAddr,
}

/// What a program left when it ended.
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// The address on the line of the banner that begins with this name.
fn address(banner: &[String], name: &str) -> SocketAddr {
    let mut addresses = banner.iter().filter_map(|line| {
        let address = line.strip_prefix(name)?.strip_prefix(' ')?;
        address.parse().ok()
    });
    addresses.next().unwrap()
}

/// Puts a copy of the program there, which everybody can execute. Another process writes it: a
/// process that another test starts would inherit a file that is open for writing here for a
/// moment, and the system does not execute such a file.
pub(crate) fn copy_program(path: &Path) {
    let program = env!("CARGO_BIN_EXE_facteur");
    let mut install = Command::new("install");
    let installed = install.args(["-m", "755", program]).arg(path).status();
    assert!(installed.unwrap().success());
}

/// A command that runs the program.
pub(crate) fn facteur() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_facteur"));
    forget_variables(&mut command);
    command
}

/// Keeps the variables that configure the program, and those that configure tests, from a command.
pub(crate) fn forget_variables(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FACTEUR_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    run_with(arguments, "")
}

/// Runs the program to its end with this standard input.
pub(crate) fn run_with(arguments: &[&str], input: &str) -> Ended {
    finish(facteur().args(arguments), input)
}

/// Runs the program to its end with these variables in its environment.
pub(crate) fn run_in(environment: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = facteur();
    finish(
        command.envs(environment.iter().copied()).args(arguments),
        "",
    )
}

fn finish(command: &mut Command, input: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that reads no input can have ended by now.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    Ended {
        status: output.status.code(),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the program with SMTP at `address` and the mail in `mail`; it must refuse to serve.
pub(crate) fn run_on(address: &str, mail: &Path) -> Ended {
    let mail = mail.to_str().unwrap();
    run(&["--smtp", address, "--pop3", "off", "--mail", mail])
}

/// The beginning of the last line that the program prints on standard output when it is ready.
const BANNER_END: &str = "fetch:";

impl Program {
    /// Starts the program with the mail in `directory`/mail and, if it exists, the configuration in
    /// `directory`/facteur.toml; waits until it is ready.
    pub(crate) fn start(directory: &Path) -> Self {
        let program = Self::start_unready(directory);
        program.expect_log("ready");
        program
    }

    /// Starts the program in the same way, except for its address.
    pub(crate) fn start_at(directory: &Path, address: &str) -> Self {
        Self::ready(&mut command_at(directory, address))
    }

    fn ready(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = follow(child.stderr.take().unwrap());
        let program = Self::with(child, log);
        program.expect_log("ready");
        program
    }

    /// Starts the program in the same way with this text as its configuration file.
    pub(crate) fn start_with(directory: &Path, configuration: &str) -> Self {
        std::fs::write(directory.join("facteur.toml"), configuration).unwrap();
        Self::start(directory)
    }

    /// Starts the program in the same way, and leaves reading its log to the caller.
    pub(crate) fn start_unready(directory: &Path) -> Self {
        let mut child = spawn(directory);
        let log = follow(child.stderr.take().unwrap());
        Self::with(child, log)
    }

    /// Starts the program in the same way with these variables in its environment.
    pub(crate) fn start_in(directory: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = command(directory);
        Self::ready(command.envs(environment.iter().copied()))
    }

    /// Starts the program in `directory` with only these arguments, and with these variables in its
    /// environment.
    pub(crate) fn start_bare(
        directory: &Path,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Self {
        let mut command = facteur();
        command.current_dir(directory).args(arguments);
        Self::ready(piped(command.envs(environment.iter().copied())))
    }

    /// Starts the program in the same way, after a shell has run these commands for its own
    /// process.
    pub(crate) fn start_under(directory: &Path, limits: &str) -> Self {
        let program = command(directory);
        let mut shell = Command::new("sh");
        forget_variables(&mut shell);
        shell.args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")]);
        shell.arg(program.get_program()).args(program.get_args());
        let mut child = piped(&mut shell).spawn().unwrap();
        let log = follow(child.stderr.take().unwrap());
        Self::with(child, log)
    }

    /// Starts the program in the same way, but nobody reads its log.
    pub(crate) fn start_with_unread_log(directory: &Path) -> Self {
        let (_nobody, log) = channel();
        Self::with(spawn(directory), log)
    }

    fn with(mut child: Child, log: Receiver<String>) -> Self {
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut banner = Vec::new();
        for line in output.lines().map(Result::unwrap) {
            let is_end = line.starts_with(BANNER_END);
            banner.push(line);
            if is_end {
                break;
            }
        }
        let (smtp, pop3) = (address(&banner, "SMTP"), address(&banner, "POP3"));
        Self {
            child,
            log,
            unasked: RefCell::default(),
            banner,
            smtp,
            pop3,
        }
    }

    /// Where SMTP listens with TLS.
    pub(crate) fn smtps(&self) -> SocketAddr {
        address(&self.banner, "SMTP with TLS")
    }

    /// Where POP3 listens with TLS.
    pub(crate) fn pop3s(&self) -> SocketAddr {
        address(&self.banner, "POP3 with TLS")
    }

    /// Where HTTP listens.
    pub(crate) fn http(&self) -> SocketAddr {
        address(&self.banner, "HTTP")
    }

    /// Where HTTP listens with TLS.
    pub(crate) fn https(&self) -> SocketAddr {
        address(&self.banner, "HTTP with TLS")
    }

    /// Where LMTP listens.
    pub(crate) fn lmtp(&self) -> SocketAddr {
        address(&self.banner, "LMTP")
    }

    /// Where mail is submitted.
    pub(crate) fn submission(&self) -> SocketAddr {
        address(&self.banner, "submission")
    }

    /// Waits for a log line with `text`, which may be there already; each line is found once.
    pub(crate) fn expect_log(&self, text: &str) {
        self.log_line(text);
    }

    /// Waits in the same way; returns the line.
    pub(crate) fn log_line(&self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        let mut unasked = self.unasked.borrow_mut();
        if let Some(position) = unasked.iter().position(|line| line.contains(text)) {
            return unasked.remove(position);
        }
        loop {
            match self
                .log
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => unasked.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} did not appear in the log: {unasked:#?}")
                }
            }
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Kills the program as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The name and the status of each current thread of the program, as proc(5) describes them. A
    /// new thread has the name of the one that started it until it names itself: see
    /// [`Self::threads_with`].
    pub(crate) fn threads(&self) -> Vec<(String, String)> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        // A thread can end in the meantime.
        let read = |task: std::io::Result<std::fs::DirEntry>| {
            let task = task.ok()?.path();
            let name = std::fs::read_to_string(task.join("comm")).ok()?;
            let status = std::fs::read_to_string(task.join("status")).ok()?;
            Some((name.trim().to_owned(), status))
        };
        tasks.filter_map(read).collect()
    }

    /// Waits until the program has threads with all these names; returns all its threads at that
    /// time.
    pub(crate) fn threads_with(&self, names: &[&str]) -> Vec<(String, String)> {
        await_some(&format!("threads named {names:?}"), || {
            let threads = self.threads();
            let has = |wanted: &&str| threads.iter().any(|(name, _)| name == wanted);
            names.iter().all(has).then_some(threads)
        })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The program's directory in proc(5).
    pub(crate) fn proc(&self) -> PathBuf {
        format!("/proc/{}", self.child.id()).into()
    }

    /// The numbers of the program's open descriptors.
    pub(crate) fn descriptors(&self) -> BTreeSet<u64> {
        let open = std::fs::read_dir(self.proc().join("fd")).unwrap();
        let number = |entry: std::io::Result<std::fs::DirEntry>| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.parse().unwrap()
        };
        open.map(number).collect()
    }

    /// How many sockets the program has open.
    pub(crate) fn sockets(&self) -> usize {
        let open = std::fs::read_dir(self.proc().join("fd")).unwrap();
        let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let is_socket = |target: &PathBuf| target.to_string_lossy().starts_with("socket:");
        targets.filter(is_socket).count()
    }

    /// Sets a limit of the program to `current`; returns the old limit.
    pub(crate) fn limit(&self, resource: Resource, current: u64) -> Rlimit {
        // Its hard limits come from this process.
        let maximum = getrlimit(resource).maximum;
        let current = Some(current);
        self.restore(resource, Rlimit { current, maximum })
    }

    /// Sets this limit of the program; returns the old one.
    pub(crate) fn restore(&self, resource: Resource, limit: Rlimit) -> Rlimit {
        let pid = Pid::from_child(&self.child);
        prlimit(Some(pid), resource, limit).unwrap()
    }

    /// Octets of memory that the program holds.
    pub(crate) fn resident_octets(&self) -> u64 {
        self.octets_of("VmRSS:")
    }

    /// Octets that the program has mapped, with or without memory behind them.
    pub(crate) fn mapped_octets(&self) -> u64 {
        self.octets_of("VmSize:")
    }

    fn octets_of(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc().join("status")).unwrap();
        let mut lines = status.lines();
        let line = lines.find(|line| line.starts_with(field)).unwrap();
        let kibioctets: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kibioctets * 1024
    }

    /// Stops the program; returns all lines of its log that no test has waited for.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.signal("TERM");
        let mut lines = self.unasked.take();
        while let Ok(line) = self.log.recv_timeout(DEADLINE) {
            lines.push(line);
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        lines
    }

    /// Waits for the program to end by itself; returns its status.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let end = Instant::now() + DEADLINE;
        // The log ends with the program.
        while Instant::now() < end {
            match self.log.recv_timeout(Duration::from_secs(1)) {
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.child.wait().unwrap().code()
    }
}

impl Service for Program {
    fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    fn pop3(&self) -> SocketAddr {
        self.pop3
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(directory: &Path) -> Child {
    command(directory).spawn().unwrap()
}

fn command(directory: &Path) -> Command {
    command_at(directory, "127.0.0.1")
}

fn command_at(directory: &Path, address: &str) -> Command {
    let mut command = facteur();
    let configuration = directory.join("facteur.toml");
    let text = std::fs::read_to_string(&configuration).unwrap_or_default();
    if configuration.exists() {
        command.arg("--config").arg(configuration);
    }
    // Only one process can have the default port.
    if !text.lines().any(|line| line.starts_with("http = ")) {
        command.args(["--http", "off"]);
    }
    let address = format!("{address}:0");
    command
        .args(["--smtp", &address, "--pop3", &address, "--mail"])
        .arg(directory.join("mail"));
    piped(&mut command);
    command
}

fn piped(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

fn follow(errors: ChildStderr) -> Receiver<String> {
    let (line_out, line_in) = channel();
    thread::Builder::new()
        .spawn(move || {
            let mut errors = BufReader::new(errors);
            let mut line = String::new();
            while errors.read_line(&mut line).is_ok_and(|octets| octets > 0) {
                if line_out.send(std::mem::take(&mut line)).is_err() {
                    break;
                }
            }
            // Nobody listens any more, but the program must not get a closed pipe.
            drop(errors.read_to_end(&mut Vec::new()));
        })
        .unwrap();
    line_in
}

/// The content of a report, by section and name.
pub(crate) type Counts = BTreeMap<String, u64>;

/// The sections of a report, in their order.
const SECTIONS: &[&str] = &[
    "sessions",
    "memory",
    "ended",
    "accepted",
    "refused",
    "sent",
    "logins",
    "tls",
    "store",
    "commits",
    "batches",
    "checkpoints",
];

/// Waits for a report of the counters in the log.
pub(crate) fn report(program: &Program) -> Counts {
    program.expect_log(" counters:");
    let mut counts = Counts::new();
    for section in SECTIONS {
        let line = program.log_line(&format!("    {section} "));
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some(*section));
        for word in words {
            let (name, value) = word.split_once('=').unwrap();
            counts.insert(format!("{section}_{name}"), value.parse().unwrap());
        }
    }
    counts
}
