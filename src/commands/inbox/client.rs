//! The client's side of HTTP (RFC 9110, RFC 9112), as far as the commands need it: one request on
//! each connection.
//!
//! # Theory of operation
//! The daemon is found at the first request: by the control socket of the mail directory, or,
//! unless the user has named that, at the default address. Later requests go to the same place. The
//! answer ends where its length or its chunks say; if it has neither, with the connection.
//!
//! # Failures
//! [`Reason`]. Whatever sends the answer cannot make the client wait or store more than the limits.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;

use crate::{clock::Clock, store};

use super::{
    chunks::{Chunks, NoChunks},
    error::Reason,
    limits,
};

/// Where the daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the control socket.
    Control,
    /// At the default address.
    Address,
}

/// Asks the daemon that serves a mail directory.
#[derive(Debug)]
pub(super) struct Client<'a> {
    root: PathBuf,
    /// Whether the default address may be tried.
    tries_address: bool,
    place: Option<Place>,
    pub(super) clock: &'a Clock,
}

impl<'a> Client<'a> {
    /// A client of the daemon that serves the mail in `root`, which the user has named or not.
    pub(super) fn new(root: PathBuf, is_named: bool, clock: &'a Clock) -> Self {
        Self {
            root,
            // Another daemon has other mail.
            tries_address: !is_named,
            place: None,
            clock,
        }
    }

    /// Asks for what `target` names, for example `/api/cursor`.
    ///
    /// # Errors
    /// [`Reason::Refused`] for every status but 200 and 204; [`Reason::Away`], [`Reason::Lost`],
    /// [`Reason::Strange`].
    pub(super) fn get(&mut self, target: &str) -> Result<Response<'a>, Reason> {
        self.ask("GET", target, "", Duration::ZERO)
    }

    /// The same, when the daemon may take this time before it answers.
    pub(super) fn wait(&mut self, target: &str, time: Duration) -> Result<Response<'a>, Reason> {
        self.ask("GET", target, "", time)
    }

    /// Removes what `target` and `body` name.
    ///
    /// # Errors
    /// [`Reason::Busy`] if sessions have mailboxes open; otherwise the same.
    pub(super) fn delete(&mut self, target: &str, body: &str) -> Result<Response<'a>, Reason> {
        let mut answer = self.ask("DELETE", target, body, Duration::ZERO);
        if let Err(Reason::Refused { status: 409, text }) = &mut answer {
            return Err(Reason::Busy(std::mem::take(text)));
        }
        answer
    }

    fn ask(
        &mut self,
        method: &str,
        target: &str,
        body: &str,
        time: Duration,
    ) -> Result<Response<'a>, Reason> {
        let stream = self.connect()?;
        let place = match &stream {
            Stream::Control(_) => format!("the control socket of {}", self.root.display()),
            Stream::Address(_) => format!("http://{}", limits::DEFAULT_ADDRESS),
        };
        let mut connection = Connection {
            stream,
            deadline: self.clock.now(),
            clock: self.clock,
        };
        connection.extend(limits::ANSWER_TIMEOUT.saturating_add(time));
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}",
            limits::DEFAULT_ADDRESS
        );
        let sent = connection.send(request.as_bytes());
        // A daemon that has no place for a client answers before it reads anything, and closes.
        match (Response::receive(connection, place), sent) {
            (Err(Reason::Lost(_)), Err(error)) => Err(Reason::Lost(error)),
            (response, _) => response?.accepted(),
        }
    }

    fn connect(&mut self) -> Result<Stream, Reason> {
        let control = if self.place == Some(Place::Address) {
            Err(io::ErrorKind::NotFound.into())
        } else {
            store::connect_control(&self.root, limits::CONNECT_TIMEOUT)
        };
        let control = match control {
            Ok(stream) => {
                self.place = Some(Place::Control);
                return Ok(Stream::Control(stream));
            }
            Err(error) => error,
        };
        let address = limits::DEFAULT_ADDRESS;
        let connected = (self.tries_address && self.place != Some(Place::Control))
            .then(|| TcpStream::connect_timeout(&address, limits::CONNECT_TIMEOUT));
        match connected {
            Some(Ok(stream)) => {
                self.place = Some(Place::Address);
                Ok(Stream::Address(stream))
            }
            failed => Err(Reason::Away {
                root: self.root.clone(),
                control,
                address: failed.and_then(Result::err).map(|error| (address, error)),
            }),
        }
    }
}

#[derive(Debug)]
enum Stream {
    Control(UnixStream),
    Address(TcpStream),
}

/// A connection that is read and written until a deadline.
#[derive(Debug)]
struct Connection<'a> {
    stream: Stream,
    deadline: Instant,
    clock: &'a Clock,
}

impl Connection<'_> {
    /// Moves the deadline, but not back: this time from now.
    fn extend(&mut self, time: Duration) {
        let deadline = self.clock.now().checked_add(time);
        self.deadline = deadline.map_or(self.deadline, |it| it.max(self.deadline));
    }

    fn left(&self) -> io::Result<Duration> {
        match self.deadline.saturating_duration_since(self.clock.now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }

    fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        let left = Some(self.left()?);
        match &mut self.stream {
            Stream::Control(stream) => {
                stream.set_write_timeout(left)?;
                stream.write_all(octets)
            }
            Stream::Address(stream) => {
                stream.set_write_timeout(left)?;
                stream.write_all(octets)
            }
        }
    }

    /// Reads some octets; 0 at the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = Some(self.left()?);
            let read = match &mut self.stream {
                Stream::Control(stream) => {
                    stream.set_read_timeout(left)?;
                    stream.read(buffer)
                }
                Stream::Address(stream) => {
                    stream.set_read_timeout(left)?;
                    stream.read(buffer)
                }
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                other => return other,
            }
        }
    }
}

/// What the head of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    end: End,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// After so many octets.
    Octets(u64),
    /// By the last chunk.
    LastChunk,
    /// By the end of the connection.
    Close,
}

/// What is wrong with an answer.
type Fault = &'static str;

impl Head {
    /// Parses the head of an answer: `None` if it is not complete, otherwise with its length.
    fn parse(octets: &[u8]) -> Result<Option<(Self, usize)>, Fault> {
        let mut fields = [httparse::EMPTY_HEADER; limits::FIELDS_MAX];
        let mut answer = httparse::Response::new(&mut fields);
        let length = match answer.parse(octets) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if octets.len() < limits::HEAD_OCTETS_MAX => {
                return Ok(None);
            }
            Ok(httparse::Status::Partial) => return Err("sends too many fields"),
            Err(_) => return Err("does not speak HTTP"),
        };
        let status = answer.code.unwrap_or_default();
        let (mut size, mut is_chunked) = (None, false);
        for field in answer.headers.iter() {
            if field.name.eq_ignore_ascii_case("transfer-encoding") {
                if !field.value.eq_ignore_ascii_case(b"chunked") || is_chunked {
                    return Err("sends in an encoding that was not asked for");
                }
                is_chunked = true;
            }
            if field.name.eq_ignore_ascii_case("content-length") {
                let text = std::str::from_utf8(field.value).unwrap_or_default();
                let is_number = text.bytes().all(|octet| octet.is_ascii_digit());
                match text.parse() {
                    Ok(octets) if is_number && size.is_none_or(|size| size == octets) => {
                        size = Some(octets);
                    }
                    _ => return Err("sends a length that is none"),
                }
            }
        }
        let end = match (size, is_chunked) {
            // RFC 9110 §15.3.5.
            _ if status == 204 => End::Octets(0),
            (Some(_), true) => return Err("sends a length and chunks"),
            (Some(octets), false) => End::Octets(octets),
            (None, true) => End::LastChunk,
            (None, false) => End::Close,
        };
        Ok(Some((Self { status, end }, length)))
    }
}

/// A body that is being read.
#[derive(Debug)]
enum Body {
    /// So many octets are missing.
    Octets(u64),
    Chunks(Chunks),
    Close,
}

impl Body {
    fn of(end: End) -> Self {
        match end {
            End::Octets(octets) => Self::Octets(octets),
            End::LastChunk => Self::Chunks(Chunks::default()),
            End::Close => Self::Close,
        }
    }

    /// Appends the octets of the body to `out`.
    fn take(&mut self, arrived: &[u8], out: &mut Vec<u8>) -> Result<(), NoChunks> {
        match self {
            Self::Octets(left) => {
                let octets = usize::try_from(*left).unwrap_or(usize::MAX);
                let octets = arrived.get(..octets).unwrap_or(arrived);
                out.extend_from_slice(octets);
                let n_octets = u64::try_from(octets.len()).unwrap_or(u64::MAX);
                *left = left.saturating_sub(n_octets);
            }
            Self::Chunks(chunks) => chunks.take(arrived, out)?,
            Self::Close => out.extend_from_slice(arrived),
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        match self {
            Self::Octets(left) => *left == 0,
            Self::Chunks(chunks) => chunks.is_complete(),
            Self::Close => false,
        }
    }
}

/// An answer whose head was read.
#[derive(Debug)]
pub(super) struct Response<'a> {
    connection: Connection<'a>,
    place: String,
    head: Head,
    /// What was read behind the head.
    begun: Vec<u8>,
}

impl<'a> Response<'a> {
    fn receive(mut connection: Connection<'a>, place: String) -> Result<Self, Reason> {
        let mut begun = Vec::new();
        let mut buffer = vec![0; limits::HEAD_OCTETS_MAX];
        loop {
            match Head::parse(&begun) {
                Err(what) => return Err(Reason::Strange { place, what }),
                Ok(None) => {}
                Ok(Some((head, length))) => {
                    begun.drain(..length.min(begun.len()));
                    return Ok(Self {
                        connection,
                        place,
                        head,
                        begun,
                    });
                }
            }
            let n_read = connection.read(&mut buffer).map_err(Reason::Lost)?;
            if n_read == 0 {
                return Err(Reason::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            begun.extend(buffer.iter().take(n_read));
        }
    }

    /// The answer, if the daemon did what was asked.
    fn accepted(self) -> Result<Self, Reason> {
        if matches!(self.head.status, 200 | 204) {
            return Ok(self);
        }
        let status = self.head.status;
        let (text, _) = self.octets(limits::REFUSAL_OCTETS_MAX)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Err(Reason::Refused { status, text })
    }

    /// Whether there is something: the status is not 204.
    pub(super) fn has_content(&self) -> bool {
        self.head.status != 204
    }

    /// Passes the body to `visit` in pieces, until that returns false. Each piece may take
    /// the time of an answer.
    ///
    /// # Errors
    /// [`Reason::Lost`] if the body ends early; those of `visit`.
    pub(super) fn each_piece(
        self,
        visit: &mut dyn FnMut(&[u8]) -> Result<bool, Reason>,
    ) -> Result<(), Reason> {
        self.pieces(limits::ANSWER_TIMEOUT, visit)
    }

    /// The same; each piece extends the deadline to this time from then.
    fn pieces(
        mut self,
        time: Duration,
        visit: &mut dyn FnMut(&[u8]) -> Result<bool, Reason>,
    ) -> Result<(), Reason> {
        let mut body = Body::of(self.head.end);
        let mut buffer = vec![0; limits::PIECE_OCTETS];
        let begun = std::mem::take(&mut self.begun);
        let mut piece = Vec::new();
        let mut arrived = begun.as_slice();
        loop {
            piece.clear();
            if body.take(arrived, &mut piece).is_err() {
                let (place, what) = (self.place, "does not send what it announces");
                return Err(Reason::Strange { place, what });
            }
            if !piece.is_empty() && !visit(&piece)? || body.is_complete() {
                return Ok(());
            }
            let n_read = self.connection.read(&mut buffer).map_err(Reason::Lost)?;
            if n_read == 0 {
                return match body {
                    Body::Close => Ok(()),
                    Body::Octets(_) | Body::Chunks(_) => {
                        Err(Reason::Lost(io::ErrorKind::UnexpectedEof.into()))
                    }
                };
            }
            arrived = buffer.get(..n_read).unwrap_or_default();
            self.connection.extend(time);
        }
    }

    /// At most `max` octets of the body, and whether that is all.
    fn octets(self, max: usize) -> Result<(Vec<u8>, bool), Reason> {
        let mut octets = Vec::new();
        self.pieces(Duration::ZERO, &mut |piece| {
            octets.extend_from_slice(piece);
            Ok(octets.len() <= max)
        })?;
        let is_whole = octets.len() <= max;
        octets.truncate(max);
        Ok((octets, is_whole))
    }

    /// The JSON in the body.
    ///
    /// # Errors
    /// [`Reason::TooLarge`]; [`Reason::Strange`] if it is not UTF-8; [`Reason::Lost`].
    pub(super) fn document(self) -> Result<Document, Reason> {
        let place = self.place.clone();
        let (octets, is_whole) = self.octets(limits::DOCUMENT_OCTETS_MAX)?;
        if !is_whole {
            return Err(Reason::TooLarge);
        }
        match String::from_utf8(octets) {
            Ok(text) => Ok(Document { text, place }),
            Err(_) => Err(Reason::Strange {
                place,
                what: NO_JSON,
            }),
        }
    }
}

const NO_JSON: Fault = "does not answer in the expected form";

/// JSON as the daemon has sent it.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) text: String,
    place: String,
}

impl Document {
    /// The values in it.
    ///
    /// # Errors
    /// [`Reason::Strange`] if it has another form.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Reason> {
        // Where exactly the form differs says nothing to the user.
        serde_json::from_str(&self.text)
            .ok()
            .ok_or_else(|| Reason::Strange {
                place: self.place.clone(),
                what: NO_JSON,
            })
    }
}

/// A path and a query: each value is percent-encoded (RFC 3986 §2.1).
pub(super) fn target(path: &[&str], query: &[(&str, &str)]) -> String {
    let mut target = String::new();
    for segment in path {
        target.push('/');
        encode(segment, &mut target);
    }
    for (index, (name, value)) in query.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        encode(value, &mut target);
    }
    target
}

/// The path of a message, or of something that belongs to it.
pub(super) fn path_of(id: &str, part: &[&str]) -> String {
    target(&[&["api", "v1", "message", id], part].concat(), &[])
}

fn encode(text: &str, to: &mut String) {
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~') {
            to.push(char::from(octet));
        } else {
            to.extend([format!("%{octet:02X}")]);
        }
    }
}
