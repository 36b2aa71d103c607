//! A daemon for one test, and clients that wait for exact lines with a deadline.

pub(crate) mod json;
pub(crate) mod program;
pub(crate) mod tls;
pub(crate) mod user;

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use facteur::{
    clock::Clock,
    config::{self, Config},
    counters::Report,
    daemon::{Daemon, Renewable, Sockets, store_settings},
    fs::{Fs, RealFs},
    mail::{self, Door},
    store::{self, MessageStore},
};
use tls::Wire;

/// Longest wait of a client: far longer than any step takes on a busy machine, so that only a hang
/// reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_mins(5);

/// A hash of "password", a test vector of argon2's reference implementation.
pub(crate) const HASH: &str =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

/// Waits until a condition holds.
pub(crate) fn await_that(what: &str, is_so: impl Fn() -> bool) {
    await_some(what, || is_so().then_some(()));
}

/// Waits until there is a value; returns it.
pub(crate) fn await_some<T>(what: &str, seek: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = seek() {
            return found;
        }
        assert!(begin.elapsed() < DEADLINE, "{what}");
        look_again();
    }
}

/// Pauses before a test checks a condition again: what it waits for needs the processor.
pub(crate) fn look_again() {
    std::thread::park_timeout(Duration::from_millis(1));
}

/// Prints this, even when the test passes.
pub(crate) fn not_tested(why: &str) {
    let mut errors = std::io::stderr();
    writeln!(errors, "not tested: {why}").unwrap();
}

/// A short path to a directory: the address of a socket has at most 107 octets, and the path of the
/// temporary directory can be longer.
pub(crate) struct ShortWay(std::fs::File);

impl ShortWay {
    pub(crate) fn into(directory: &Path) -> Self {
        Self(std::fs::File::open(directory).unwrap())
    }

    /// The path of a file there, which works for other processes too.
    pub(crate) fn to(&self, name: &str) -> PathBuf {
        let (process, descriptor) = (std::process::id(), self.0.as_raw_fd());
        format!("/proc/{process}/fd/{descriptor}/{name}").into()
    }
}

/// An address of this machine that only the tests of this process listen on: elsewhere, another
/// process may have taken a free port by the time that a test checks it.
pub(crate) fn own_address() -> String {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    format!("127.{}.{middle}.{low}", high | 64)
}

/// Puts a message, one line repeated many times, into the maildrop of `mailbox` as another program
/// would. Its name contains its sizes, so that a login need not read it.
pub(crate) fn place_lines(mail: &Path, mailbox: &str, line: &str, times: usize) {
    place(mail, mailbox, 1, line.repeat(times));
    let (local_part, domain) = mailbox.split_once('@').unwrap();
    let new = mail.join(domain).join(local_part).join("new");
    let (octets, with_cr) = (line.len() * times, (line.len() + 1) * times);
    let sized = new.join(format!("1.M1.test,S={octets},W={with_cr}"));
    std::fs::rename(new.join("1.M1.test"), sized).unwrap();
}

/// Puts a message into the maildrop of `mailbox` as another program would, as number `number`.
pub(crate) fn place(mail: &Path, mailbox: &str, number: usize, content: impl AsRef<[u8]>) {
    let (local_part, domain) = mailbox.split_once('@').unwrap();
    let maildir = mail.join(domain).join(local_part);
    for directory in ["tmp", "new", "cur"] {
        std::fs::create_dir_all(maildir.join(directory)).unwrap();
    }
    let file = maildir.join(format!("new/{number}.M1.test"));
    std::fs::write(file, content).unwrap();
}

/// What a client sends for PLAIN (RFC 4616), in base64.
pub(crate) fn plain(user: &str, password: &str) -> String {
    STANDARD.encode(format!("\0{user}\0{password}"))
}

/// A daemon in this process, with its own directory.
pub(crate) struct Server {
    daemon: Option<Daemon>,
    store: Option<Arc<MessageStore>>,
    directory: tempfile::TempDir,
    pub(crate) smtp: SocketAddr,
    pub(crate) pop3: SocketAddr,
}

impl Server {
    /// A daemon with the default configuration.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// A daemon with this text as its configuration; ports and directory are the test's.
    pub(crate) fn with(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::on(Arc::new(RealFs), configuration, directory)
    }

    /// A daemon with this text as its configuration, which also offers TLS in every way.
    pub(crate) fn with_tls(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tls = tls::configure(directory.path());
        Self::on(Arc::new(RealFs), &(tls + configuration), directory)
    }

    /// A daemon whose store is on this file system.
    pub(crate) fn on(fs: Arc<dyn Fs>, configuration: &str, directory: tempfile::TempDir) -> Self {
        let (daemon, store) = serve(fs, &directory.path().join("mail"), configuration);
        let (smtp, pop3) = (daemon.smtp()[0], daemon.pop3()[0]);
        Self {
            daemon: Some(daemon),
            store: Some(store),
            directory,
            smtp,
            pop3,
        }
    }

    /// Where clients of a protocol connect, for each way to begin TLS.
    pub(crate) fn address(&self, service: mail::Service, door: Door) -> SocketAddr {
        self.daemon.as_ref().unwrap().addresses(service, door)[0]
    }

    /// The counter with this name.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        let mut report = Report::default();
        self.daemon.as_ref().unwrap().sessions().report(&mut report);
        self.store.as_ref().unwrap().report(&mut report);
        let found = log::kv::Source::get(&report, name.into());
        found.and_then(|value| value.to_u64()).unwrap()
    }

    /// Where the mail is.
    pub(crate) fn mail(&self) -> PathBuf {
        self.directory.path().join("mail")
    }

    /// Stops the daemon and starts another on the same store.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let (daemon, store) = serve(Arc::new(RealFs), &self.mail(), "");
        (self.smtp, self.pop3) = (daemon.smtp()[0], daemon.pop3()[0]);
        (self.daemon, self.store) = (Some(daemon), Some(store));
    }

    /// Stops the daemon; returns the number of sessions that did not end.
    pub(crate) fn stop(&mut self) -> usize {
        let n_left = self.daemon.take().map_or(0, Daemon::stop);
        if let Some(store) = self.store.take() {
            store.close().unwrap();
            // The thread of an ended session releases the store at the very end.
            while n_left == 0 && Arc::strong_count(&store) > 1 {
                look_again();
            }
        }
        n_left
    }
}

fn serve(fs: Arc<dyn Fs>, mail: &Path, configuration: &str) -> (Daemon, Arc<MessageStore>) {
    let file = mail.with_file_name("test.toml");
    let mut config = Config::parse(&file, configuration).unwrap();
    mail.clone_into(&mut config.mail);
    for listens in [&mut config.smtp, &mut config.pop3] {
        listens.truncate(1);
        listens[0].address.set_port(0);
    }
    if config.http == Config::default().http {
        config.http.clear();
    }
    let clock = Clock::system();
    config::check(&config).unwrap();
    let renewable = Renewable::load(&config).unwrap();
    let sockets = Sockets::open(&config).unwrap();
    let settings = store_settings(&config, sockets.system());
    // A program that another test starts also has this process's locks until it is executed.
    let of_store = clock.clone();
    let opened = await_some("the store is free", move || {
        let opened = MessageStore::open_on(Arc::clone(&fs), settings.clone(), of_store.clone());
        (!matches!(opened, Err(store::Error::StoreInUse { .. }))).then_some(opened)
    });
    let store = Arc::new(opened.unwrap());
    let daemon = Daemon::start(&config, renewable, sockets, &store, &clock).unwrap();
    (daemon, store)
}

/// What tests need from a daemon, in this process or in another.
pub(crate) trait Service {
    /// Where SMTP listens.
    fn smtp(&self) -> SocketAddr;

    /// Where POP3 listens.
    fn pop3(&self) -> SocketAddr;

    /// A client of the SMTP port that has read the greeting.
    fn smtp_client(&self) -> Client {
        let mut client = Client::connect(self.smtp());
        client.expect("220 localhost ESMTP facteur");
        client
    }

    /// A client of the SMTP port that has sent EHLO.
    fn extended_client(&self) -> Client {
        let mut client = self.smtp_client();
        client.say("EHLO test");
        client.reply();
        client
    }

    /// A client of the POP3 port that has read the greeting.
    fn pop3_client(&self) -> Client {
        let mut client = Client::connect(self.pop3());
        client.expect_prefix("+OK");
        client
    }

    /// A POP3 client that is logged in to the maildrop of `user`.
    fn maildrop(&self, user: &str) -> Client {
        let mut client = self.pop3_client();
        client.log_in(user);
        client
    }

    /// Sends one message, given with CRLF line endings and not dot-stuffed.
    fn deliver(&self, recipient: &str, content: &str) {
        let mut client = self.smtp_client();
        client.say("HELO test");
        client.expect("250 Ok");
        client.transaction(&[recipient], content);
        client.say("QUIT");
        client.expect("221 Fermeture connexion");
        // Its place is free after that.
        client.expect_end();
    }

    /// The contents of all messages of `user`, without their trace headers, in CRLF form.
    fn contents(&self, user: &str) -> Vec<String> {
        let contents = self.contents_octets(user).into_iter();
        contents
            .map(|content| String::from_utf8(content).unwrap())
            .collect()
    }

    /// The same for contents that may not be text.
    fn contents_octets(&self, user: &str) -> Vec<Vec<u8>> {
        let mut client = self.pop3_client();
        client.log_in(user);
        let numbers = 1..=client.count();
        let contents = numbers.map(|number| after_trace(&client.retrieve_octets(number)).to_vec());
        let contents = contents.collect();
        client.say("QUIT");
        client.expect_prefix("+OK");
        contents
    }
}

impl Service for Server {
    fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    fn pop3(&self) -> SocketAddr {
        self.pop3
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A message as it was sent, after the Return-Path and Received fields in front of it.
pub(crate) fn without_trace(message: &str) -> &str {
    str::from_utf8(after_trace(message.as_bytes())).unwrap()
}

fn after_trace(message: &[u8]) -> &[u8] {
    let mut rest = message;
    for field in [b"Return-Path:".as_slice(), b"Received:"] {
        assert!(rest.starts_with(field), "the trace headers come first");
        loop {
            let end = rest
                .iter()
                .position(|octet| *octet == b'\n')
                .expect("the headers end");
            rest = &rest[end + 1..];
            if !rest.starts_with(b"\t") {
                break;
            }
        }
    }
    rest
}

/// A client with a deadline.
pub(crate) struct Client {
    stream: BufReader<Wire>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// A client that connects from another address of this machine.
    pub(crate) fn connect_from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    /// A client with an open connection.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(Wire::Plain(stream)),
        }
    }

    /// Begins TLS, as a client that trusts these tests' authority.
    pub(crate) fn begin_tls(self) -> Self {
        assert_eq!(self.stream.buffer(), b"", "nothing is left from before");
        Self {
            stream: BufReader::new(self.stream.into_inner().into_tls()),
        }
    }

    /// Begins TLS as this client.
    pub(crate) fn begin_tls_of(self, config: &Arc<rustls::ClientConfig>) -> Self {
        Self {
            stream: BufReader::new(self.stream.into_inner().into_tls_of(config)),
        }
    }

    /// The kind of handshake.
    pub(crate) fn handshake_kind(&self) -> rustls::HandshakeKind {
        match self.stream.get_ref() {
            Wire::Plain(_) => panic!("there is no TLS"),
            Wire::Tls(tls) => tls.conn.handshake_kind().unwrap(),
        }
    }

    /// A value that only the two ends of this connection know (RFC 9266).
    pub(crate) fn exporter(&self) -> Vec<u8> {
        let Wire::Tls(tls) = self.stream.get_ref() else {
            panic!("there is no TLS");
        };
        let label = b"EXPORTER-Channel-Binding";
        let exported = tls.conn.export_keying_material([0; 32], label, Some(&[]));
        exported.unwrap().to_vec()
    }

    /// Whether reading fails because the client itself gives up.
    pub(crate) fn fails(&mut self) -> bool {
        self.stream.fill_buf().is_err()
    }

    /// Reads all octets until the server closes.
    pub(crate) fn read_octets_to_end(&mut self, octets: &mut Vec<u8>) {
        self.stream.read_to_end(octets).unwrap();
    }

    /// The next octets, as many as that.
    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        self.stream.read_exact(&mut octets).unwrap();
        octets
    }

    /// The lines of one SMTP reply, without their code.
    pub(crate) fn reply(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            lines.push(line[4..].to_owned());
            if line.as_bytes()[3] == b' ' {
                return lines;
            }
        }
    }

    /// Sends octets as they are.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).unwrap();
    }

    /// Sends octets that the server may refuse to read.
    pub(crate) fn try_send(&mut self, octets: &[u8]) -> bool {
        self.stream.get_mut().write_all(octets).is_ok()
    }

    /// Sends a line.
    pub(crate) fn say(&mut self, line: &str) {
        self.send(format!("{line}\r\n").as_bytes());
    }

    /// The next line, without its CRLF.
    pub(crate) fn line(&mut self) -> String {
        String::from_utf8(self.line_octets()).unwrap()
    }

    fn line_octets(&mut self) -> Vec<u8> {
        let line = self.try_line_octets().expect("a line, not the end");
        line.strip_suffix(b"\r\n")
            .expect("lines of the server end in CRLF")
            .to_vec()
    }

    /// The next line as it arrived; `None` at the end of the connection.
    pub(crate) fn try_line(&mut self) -> Option<String> {
        self.try_line_octets()
            .map(|line| String::from_utf8(line).unwrap())
    }

    fn try_line_octets(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(line),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            // The connection ended without an end of TLS.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
            Err(error) => panic!("no line within the deadline: {error}"),
        }
    }

    pub(crate) fn expect(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    pub(crate) fn expect_prefix(&mut self, prefix: &str) -> String {
        let line = self.line();
        assert!(
            line.starts_with(prefix),
            "{line:?} does not begin with {prefix:?}"
        );
        line
    }

    /// Reads to the end of the connection: nothing else may arrive.
    pub(crate) fn expect_end(&mut self) {
        let line = self.try_line();
        assert_eq!(line, None, "the server should have closed the connection");
    }

    /// Reads everything until the server closes.
    pub(crate) fn read_to_end(&mut self) -> String {
        let mut all = String::new();
        while let Some(line) = self.try_line() {
            all.push_str(&line);
        }
        all
    }

    /// Closes the sending side.
    pub(crate) fn half_close(&mut self) {
        self.stream.get_mut().end();
        // The server may have closed already.
        drop(self.socket().shutdown(Shutdown::Write));
    }

    /// Where the server listens.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.socket().peer_addr().unwrap()
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref().socket()
    }

    /// Logs in to the maildrop of `user`.
    pub(crate) fn log_in(&mut self, user: &str) {
        self.say(&format!("USER {user}"));
        self.expect_prefix("+OK");
        self.say("PASS any");
        self.expect_prefix("+OK");
    }

    /// One SMTP transaction in a HELO session, up to its 250.
    pub(crate) fn transaction(&mut self, recipients: &[&str], content: &str) {
        self.begin_content(recipients);
        self.send(dot_stuffed(content).as_bytes());
        self.expect("250 OK");
    }

    /// MAIL, RCPT and DATA, up to the 354.
    pub(crate) fn begin_content(&mut self, recipients: &[&str]) {
        self.say("MAIL FROM:<alice@example.com>");
        self.expect("250 Sender OK");
        for recipient in recipients {
            self.say(&format!("RCPT TO:<{recipient}>"));
            self.expect("250 Recipient OK");
        }
        self.say("DATA");
        self.expect("354 Envoyez votre mail");
    }

    /// The number of messages that STAT reports.
    pub(crate) fn count(&mut self) -> usize {
        self.say("STAT");
        let line = self.expect_prefix("+OK ");
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// A multi-line response after its first line, dot-stuffing removed, CRLF kept.
    pub(crate) fn multi_line(&mut self) -> String {
        String::from_utf8(self.multi_line_octets()).unwrap()
    }

    fn multi_line_octets(&mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        loop {
            let line = self.line_octets();
            if line == b"." {
                return lines;
            }
            lines.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            lines.extend_from_slice(b"\r\n");
        }
    }

    /// RETR: the message as stored, with CRLF line endings; its size is what LIST said.
    pub(crate) fn retrieve(&mut self, number: usize) -> String {
        String::from_utf8(self.retrieve_octets(number)).unwrap()
    }

    fn retrieve_octets(&mut self, number: usize) -> Vec<u8> {
        self.say(&format!("LIST {number}"));
        let listed = self.expect_prefix("+OK ");
        let octets: usize = listed.split(' ').nth(2).unwrap().parse().unwrap();
        self.say(&format!("RETR {number}"));
        self.expect_prefix("+OK");
        let message = self.multi_line_octets();
        assert_eq!(
            message.len(),
            octets,
            "RETR sends as many octets as LIST says"
        );
        message
    }
}

/// Content ready to send: dot-stuffed, with the final dot.
pub(crate) fn dot_stuffed(content: &str) -> String {
    let mut wire = String::new();
    for line in content.split_inclusive("\r\n") {
        if line.starts_with('.') {
            wire.push('.');
        }
        wire.push_str(line);
    }
    wire + ".\r\n"
}
