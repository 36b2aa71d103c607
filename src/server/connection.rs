//! One client's socket: buffers, deadlines, and the order of reading and writing.
//!
//! It knows octets and lines, but no commands of any protocol; with TLS, it sees the decrypted
//! octets. Output is collected, and is sent only before waiting for input. So a pipelined group of
//! commands is read with one call and answered with one (RFC 2920 §3.2).
//!
//! A deadline covers a whole command, not one read: a client that trickles octets does not move it.
//! Long waits consist of slices, so that the socket's own timeout is set once and not for every
//! line; only a wait shorter than a slice sets it again. No buffer is held after the first, short
//! slice of a wait, nor, without TLS, while waiting for the first octet (NET-1).

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::Socket;

use crate::clock::Clock;
use crate::counters::Report;
use crate::mail::limits::PROXY_V2_OCTETS_MAX;
use crate::mail::proxy::{self, NotProxyHeader, ProxyHeader};
use crate::mail::{ChannelBindings, Closing, Ending, Foreign, Link, Tls};
use crate::wire::{LfPolicy, LineBuffer, LineEnding, Scan};

use super::allowance::Allowance;
use super::content_rate::ContentRate;
use super::deadlines::{Deadlines, Timeouts};
use super::handshakes::{Advance, Handshakes};
use super::limits;
use super::linger::Linger;
use super::muffler::Kind;
use super::registry::Ticket;
use super::session::{Interruption, NoPlace};
use super::tally::Tally;
use super::tls::{self, Lack, Tunnel, Written, is_pause, is_stuck};

/// The result of a read: see [`LineBuffer::scan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineRead {
    /// The line is in [`Connection::line`].
    Line,
    /// The line was too long and was discarded.
    TooLong,
    /// The line has a line ending that is not the session's own: its name.
    Fault(&'static str),
    /// The first octet of the connection is not a letter.
    Foreign,
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Activity {
    /// It has sent nothing (with TLS: nothing within it).
    Silence,
    /// It has sent something.
    Words,
    /// It has logged in or handed in a message.
    Achievement,
}

/// One client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Arc<Socket>,
    peer: IpAddr,
    ticket: Ticket,
    input: LineBuffer,
    output: Vec<u8>,
    /// Boxed, because most connections have none, and it is large.
    tunnel: Option<Box<Tunnel>>,
    allowance: Allowance,
    read_timeout: Duration,
    deadlines: Deadlines,
    is_local: bool,
    first_octet_seen: bool,
    progress: Activity,
}

impl Connection {
    /// Prepares a new socket.
    ///
    /// # Errors
    /// The system refuses a socket option: the connection cannot be used.
    pub(super) fn new(
        stream: Arc<Socket>,
        peer: IpAddr,
        ticket: Ticket,
        clock: Clock,
        timeouts: Timeouts,
    ) -> io::Result<Self> {
        let read_timeout = timeouts.idle.min(limits::BUFFERED_WAIT);
        stream.set_read_timeout(Some(read_timeout))?;
        stream.set_write_timeout(Some(limits::CLOCK_SLICE))?;
        let is_local = ticket.is_near();
        let allowance = Allowance::new(ticket.share(), ticket.share());
        Ok(Self {
            stream,
            peer,
            ticket,
            input: lines_from(is_local),
            output: Vec::new(),
            tunnel: None,
            allowance,
            read_timeout,
            deadlines: Deadlines::new(clock, timeouts),
            is_local,
            first_octet_seen: false,
            progress: Activity::Silence,
        })
    }

    /// Whether the client is on this machine, or counts as one that is.
    pub(super) fn is_local(&self) -> bool {
        self.is_local
    }

    /// The client's address.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The counters of all connections.
    pub(super) fn counters(&self) -> &Tally {
        self.ticket.counters()
    }

    /// Adds the counters to `report`.
    pub(super) fn report(&self, report: &mut Report) {
        self.ticket.report(report);
    }

    /// Records that the client has logged in.
    pub(super) fn logged_in(&self) {
        self.ticket.logged_in();
    }

    /// Records that the client has done what clients connect for.
    pub(super) fn achieved(&mut self) {
        self.progress = Activity::Achievement;
    }

    /// Whether [`achieved`](Self::achieved) was called.
    pub(super) fn has_achieved(&self) -> bool {
        self.progress == Activity::Achievement
    }

    /// Whether the client has sent anything yet. With TLS, only what follows the handshake counts.
    pub(super) fn has_spoken(&self) -> bool {
        self.progress != Activity::Silence
    }

    /// Whether another line of this kind may be logged about the client: `Some` with the number of
    /// lines that were not logged since the last one.
    pub(super) fn lets_through(&self, kind: Kind) -> Option<u64> {
        let now = self.deadlines.now();
        self.ticket.lets_through(self.peer, kind, now)
    }

    /// How large the buffers may be.
    pub(super) fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// The same, to ask for more.
    pub(super) fn allowance_mut(&mut self) -> &mut Allowance {
        &mut self.allowance
    }

    /// The TLS of the connection, once it has begun.
    pub(super) fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.as_deref()
    }

    /// What a proof can be bound to.
    pub(super) fn bindings(&self) -> ChannelBindings {
        ChannelBindings {
            exporter: self.tunnel().and_then(Tunnel::exporter),
        }
    }

    /// What a session must know about its connection; `offered` says whether TLS is offered.
    pub(super) fn link(&self, offered: bool) -> Link {
        Link {
            tls: match self.tunnel {
                Some(_) => Tls::Active(self.bindings()),
                None if offered => Tls::Offered,
                None => Tls::NotOffered,
            },
            is_local: self.is_local,
        }
    }

    /// Reads the header with which a proxy names its client, and none of the octets behind it.
    /// Returns the address of the client, or that of the proxy if the header names no other.
    ///
    /// # Errors
    /// [`Interruption`]: the connection can no longer be used.
    pub(super) fn read_proxy_header(&mut self) -> Result<IpAddr, Interruption> {
        let deadline = self.deadlines.of_what_takes(limits::PROXY_HEADER_TIMEOUT);
        let read = self.wait_undrained(|it| it.take_proxy_header(deadline));
        match read {
            Ok(client) => Ok(client.unwrap_or(self.peer)),
            Err(Interruption::Ended(Ending::IdleTimeout)) => {
                Err(Interruption::NoProxyHeader { is_late: true })
            }
            Err(other) => Err(other),
        }
    }

    /// Looks at the octets before it takes them: what follows the header may belong to TLS. Not
    /// inlined: the octets are on the stack (NET-1).
    #[inline(never)]
    fn take_proxy_header(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<IpAddr>, Interruption> {
        let mut octets = [0; PROXY_V2_OCTETS_MAX];
        let mut n_taken: usize = 0;
        loop {
            let left = self.deadlines.time_left(deadline)?;
            if !self.is_ready_within(PollFlags::IN, left)? {
                continue;
            }
            let room = octets.get_mut(n_taken..).unwrap_or_default();
            let n_seen = n_taken.saturating_add(self.receive(room, RecvFlags::PEEK)?);
            let seen = octets.get(..n_seen).unwrap_or_default();
            let header = proxy::parse(seen)
                .map_err(|NotProxyHeader| Interruption::NoProxyHeader { is_late: false })?;
            let (end, client) = match header {
                ProxyHeader::Begun => (n_seen, None),
                ProxyHeader::Whole { octets, client } => (octets, Some(client)),
            };
            while n_taken < end {
                let seen = octets.get_mut(n_taken..end).unwrap_or_default();
                n_taken = n_taken.saturating_add(self.receive(seen, RecvFlags::empty())?);
            }
            if let Some(client) = client {
                return Ok(client);
            }
        }
    }

    /// Receives octets that are there; none if a signal interrupts it.
    fn receive(&self, octets: &mut [u8], flags: RecvFlags) -> Result<usize, Interruption> {
        match recv(&*self.stream, octets, flags | RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Err(Interruption::Lost(None)),
            Ok((_, octets)) => Ok(octets),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(Interruption::Lost(Some(error.into()))),
        }
    }

    /// Takes the client to be at `peer`, counted as `counted_as`: a proxy says so.
    ///
    /// # Errors
    /// [`NoPlace`]: turn the client away.
    pub(super) fn move_to(&mut self, peer: IpAddr, counted_as: IpAddr) -> Result<(), NoPlace> {
        self.peer = peer;
        self.ticket.move_to(peer, counted_as)?;
        self.is_local = self.ticket.is_near();
        self.input = lines_from(self.is_local);
        Ok(())
    }

    /// Sends what is waiting and performs the TLS handshake, with its own time limit. Everything
    /// that was known from the client is forgotten (RFC 3207 §4.2, RFC 2595 §4).
    ///
    /// # Errors
    /// [`Interruption`]: the connection can no longer be used.
    pub(super) fn start_tls(&mut self, handshakes: &Handshakes) -> Result<(), Interruption> {
        if !self.input.unread().is_empty() {
            return Err(Interruption::OctetsBehindStartTls);
        }
        self.flush()?;
        let identity = handshakes.identity().get();
        let tunnel = Tunnel::new(&identity).map_err(|e| Interruption::Lost(Some(e)))?;
        self.tunnel = Some(Box::new(tunnel));
        self.allowance.tls_begins();
        self.input = lines_from(self.is_local);
        self.first_octet_seen = false;
        let deadline = self.deadlines.of_what_takes(limits::HANDSHAKE_TIMEOUT);
        let done = self.wait_undrained(|it| it.shake_hands(handshakes, deadline));
        if matches!(
            done,
            Err(Interruption::Lost(Some(_)) | Interruption::Tls(_))
        ) {
            // An alert may still have to arrive.
            self.linger();
        }
        match done {
            Err(Interruption::Ended(Ending::IdleTimeout)) => Err(Interruption::HandshakeTimeout {
                begun: self.tunnel().is_some_and(Tunnel::has_begun),
            }),
            Err(Interruption::Lost(error)) => Err(self.explain_loss(error)),
            other => other,
        }
    }

    /// Why a connection was lost during a handshake: the client may have ended it because of the
    /// server's part of the handshake.
    fn explain_loss(&self, error: Option<io::Error>) -> Interruption {
        match self.tunnel() {
            Some(tunnel) if tunnel.is_under_way() => Interruption::Tls(tunnel.broken_off()),
            Some(_) | None => Interruption::Lost(error),
        }
    }

    /// Performs the handshake: waits for the client here, and lets the workers compute every step.
    fn shake_hands(
        &mut self,
        handshakes: &Handshakes,
        deadline: Option<Instant>,
    ) -> Result<(), Interruption> {
        self.give_back();
        loop {
            let left = self.deadlines.time_left(deadline)?;
            let is_ready = match self.tunnel().map(Tunnel::lack) {
                Some(Lack::Nothing) => return Ok(()),
                Some(Lack::Step) => true,
                Some(Lack::Octets) => self.is_ready_within(PollFlags::IN, left)?,
                // A stop ends the reading side, which does not wake a wait for the writing side.
                Some(Lack::Room) => {
                    self.check_draining()?;
                    self.is_ready_within(PollFlags::OUT, left.min(limits::CLOCK_SLICE))?
                }
                None => return Err(Interruption::Lost(None)),
            };
            if is_ready {
                self.advance_handshake(handshakes)?;
            }
        }
    }

    /// Lets a worker compute one step of the handshake.
    fn advance_handshake(&mut self, handshakes: &Handshakes) -> Result<(), Interruption> {
        let tunnel = self.tunnel.take();
        let advanced = tunnel.and_then(|tunnel| handshakes.advance(tunnel, &self.stream));
        let Some((tunnel, result)) = advanced else {
            // Nothing may be sent unencrypted any more.
            self.stream.shutdown(Shutdown::Both).ok();
            let error = io::Error::other("the handshake was interrupted here");
            return Err(Interruption::Lost(Some(error)));
        };
        self.tunnel = Some(tunnel);
        match result {
            Advance::Done(Ok(true)) => Ok(()),
            Advance::Done(Ok(false)) => Err(Interruption::Lost(None)),
            Advance::Done(Err(error)) if is_pause(error.kind()) => Ok(()),
            Advance::Done(Err(error)) => Err(interruption(error)),
            Advance::Panicked(panic) => resume_unwind(panic),
        }
    }

    /// The buffer for replies and content to be sent.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        if self.output.capacity() == 0 {
            // Enough for most replies: growing in small steps would leave freed pieces behind.
            self.output.reserve_exact(limits::REPLY_OCTETS);
        }
        &mut self.output
    }

    /// The line ending of the session; CRLF until a line has arrived.
    pub(super) fn line_ending(&self) -> LineEnding {
        self.input.ending().unwrap_or(LineEnding::CrLf)
    }

    /// The line that [`Self::read_line`] found, without its ending.
    pub(super) fn line(&self) -> &[u8] {
        self.input.line()
    }

    /// The octets that were received and not consumed.
    pub(super) fn unread(&self) -> &[u8] {
        self.input.unread()
    }

    /// The protocol that the client's first octets suggest.
    pub(super) fn foreign(&self) -> Foreign {
        Foreign::of_octets(self.unread())
    }

    /// Removes the first `octets` of [`Self::unread`].
    pub(super) fn consume(&mut self, octets: usize) {
        self.input.consume(octets);
    }

    /// Reads until there is a whole line of at most `octets_max` octets. A stop and the end of the
    /// session take precedence over a line that is already there: a pipelined group must not
    /// outlast them.
    ///
    /// # Errors
    /// [`Interruption`]: tell the session.
    pub(super) fn read_line(&mut self, octets_max: usize) -> Result<LineRead, Interruption> {
        self.deadlines.check_session(self.deadlines.now())?;
        self.check_draining()?;
        self.input.set_line_octets_max(octets_max);
        let mut deadline = None;
        loop {
            if self.begins_foreign() {
                return Ok(LineRead::Foreign);
            }
            match self.input.scan() {
                Scan::Line => return Ok(LineRead::Line),
                Scan::TooLong => return Ok(LineRead::TooLong),
                Scan::Fault(fault) => return Ok(LineRead::Fault(fault.found())),
                Scan::Incomplete => {}
            }
            self.flush()?;
            let deadline = *deadline.get_or_insert_with(|| self.deadlines.of_command());
            self.wait_undrained(|it| it.wait(deadline, Self::read))?;
        }
    }

    /// Makes sure that there is something in [`unread`](Self::unread): waits for octets until
    /// `deadline` if there is nothing.
    ///
    /// # Errors
    /// [`Interruption`]: tell the session.
    pub(super) fn read_some(&mut self, deadline: Option<Instant>) -> Result<(), Interruption> {
        self.deadlines.check_session(self.deadlines.now())?;
        self.check_draining()?;
        if self.input.unread().is_empty() {
            self.flush()?;
            self.wait_undrained(|it| it.wait(deadline, Self::read))?;
        }
        self.first_octet_seen = true;
        self.progress = self.progress.max(Activity::Words);
        Ok(())
    }

    /// The deadline of something that may take `timeout`, but no longer than a command.
    pub(super) fn deadline_of(&self, timeout: Duration) -> Option<Instant> {
        self.deadlines.of_what_takes(timeout)
    }

    /// The time of the system's clock, in seconds since 1970.
    pub(super) fn unix_seconds(&self) -> u64 {
        self.deadlines.clock().unix_time().as_secs()
    }

    /// Checks that the client is still there, and that the session need not end, while it waits for
    /// something else than octets of its client. It may be displaced meanwhile.
    ///
    /// # Errors
    /// [`Interruption`]: tell the session.
    pub(super) fn check_client(&mut self) -> Result<(), Interruption> {
        self.check_draining()?;
        self.deadlines.check_session(self.deadlines.now())?;
        if !self.is_ready_within(PollFlags::IN, Duration::ZERO)? {
            return Ok(());
        }
        match recv(
            &*self.stream,
            &mut [0],
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        ) {
            Ok((_, 0)) => Err(Interruption::Lost(None)),
            // A pipelined request waits for its turn.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(Interruption::Lost(Some(error.into()))),
        }
    }

    /// Does `work`, during which the session can be ended for another.
    pub(super) fn while_waiting<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.ticket.begin_wait();
        let done = work();
        self.ticket.end_wait();
        done
    }

    /// Does `wait`, which ends when the daemon stops.
    fn wait_undrained<T>(
        &mut self,
        wait: impl FnOnce(&mut Self) -> Result<T, Interruption>,
    ) -> Result<T, Interruption> {
        self.ticket.begin_wait();
        let waited = self.check_draining().and_then(|()| wait(self));
        self.ticket.end_wait();
        // Checked before and after the wait: see the registry.
        self.check_draining()?;
        waited
    }

    /// SEC-13: whether the first octet of the connection cannot begin a command.
    fn begins_foreign(&mut self) -> bool {
        match self.input.unread().first() {
            Some(first) if !self.first_octet_seen => {
                self.first_octet_seen = true;
                self.progress = self.progress.max(Activity::Words);
                !first.is_ascii_alphabetic()
            }
            Some(_) | None => false,
        }
    }

    /// Calls `attempt` until it returns something, or until `deadline` or the session's end. Each
    /// attempt reads from the socket once, and so waits as long as the socket's timeout.
    fn wait<T>(
        &mut self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut Self) -> Result<Option<T>, Interruption>,
    ) -> Result<T, Interruption> {
        // The buffers are kept as long as there is something to do: the pieces of a large message,
        // or the replies to a group of commands, reuse them.
        self.release(limits::KEEP_OCTETS_MAX);
        // A client that has sent nothing may never do so, and the buffers of thousands of clients
        // that connect at the same time would leave holes in the memory. Octets that a tunnel has
        // read also count.
        let mut is_silent = !self.first_octet_seen && self.tunnel.is_none();
        if is_silent {
            self.give_back();
        }
        loop {
            let left = self.deadlines.time_left(deadline)?;
            if is_silent && !self.is_ready_within(PollFlags::IN, left)? {
                continue;
            }
            self.set_read_timeout(left.min(limits::BUFFERED_WAIT))?;
            if let Some(done) = attempt(self)? {
                return Ok(done);
            }
            if self.has_part_of_record() {
                self.release(0);
            } else {
                // A client that has been silent for this long does not need a buffer.
                self.give_back();
            }
            // The socket would not become readable again for octets that a tunnel has already read.
            is_silent = !self.has_part_of_record();
        }
    }

    /// Whether a read returned octets, but with TLS and not enough to decrypt any.
    fn has_part_of_record(&self) -> bool {
        self.tunnel
            .as_deref()
            .is_some_and(|tunnel| !tunnel.is_released())
    }

    /// Frees all memory except what is still to be used or sent.
    fn give_back(&mut self) {
        self.release(0);
        self.allowance.expect_little();
        self.shrink_input();
    }

    /// Gives the input's share of the common memory back, unless the input still holds a chunk that
    /// arrived before it was asked for.
    fn shrink_input(&mut self) {
        self.input.release();
        if self.input.capacity() <= limits::READ_OCTETS_FREE {
            self.allowance.end_receiving();
        }
    }

    /// Frees the buffers that are empty and have room for more than `octets`.
    fn release(&mut self, octets: usize) {
        if self.input.unread().is_empty() && self.input.capacity() > octets {
            self.input.release();
        }
        if self.output.is_empty() {
            if self.output.capacity() > octets {
                self.output = Vec::new();
            }
            self.allowance.end_sending();
        }
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.release();
        }
    }

    /// Waits until the socket is ready for `wanted`, or has ended; false if neither happens within
    /// `timeout`.
    fn is_ready_within(&self, wanted: PollFlags, timeout: Duration) -> Result<bool, Interruption> {
        let mut waiting = [PollFd::new(&*self.stream, wanted)];
        let timeout = Timespec::try_from(timeout).ok();
        match poll(&mut waiting, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(Interruption::Lost(Some(error.into()))),
        }
    }

    /// Makes the client wait for `time`, but no longer than its session and the daemon last.
    ///
    /// # Errors
    /// [`Interruption`]: tell the session.
    pub(super) fn pause(&self, time: Duration) -> Result<(), Interruption> {
        let begin = self.deadlines.now();
        let end = begin.checked_add(time).unwrap_or(begin);
        loop {
            self.check_draining()?;
            let now = self.deadlines.now();
            self.deadlines.check_session(now)?;
            if end <= now {
                return Ok(());
            }
            let until = self.deadlines.or_session(Some(end)).unwrap_or(end);
            let left = until.duration_since(now);
            self.ticket.pause(left.min(limits::CLOCK_SLICE));
        }
    }

    /// The rate of a message that begins now.
    pub(super) fn content_rate(&self) -> ContentRate {
        ContentRate::begin(self.deadlines.now())
    }

    /// Waits until there is memory for another message; false if there is none for a while.
    ///
    /// # Errors
    /// [`Interruption`]: tell the session.
    pub(super) fn wait_for_memory(&mut self) -> Result<bool, Interruption> {
        if self.ticket.has_room() {
            return Ok(true);
        }
        self.flush()?;
        self.give_back();
        // The client waits no longer than facteur would wait for it.
        let deadline = self.deadlines.of_what_takes(limits::ADMISSION_TIMEOUT);
        let deadline = self.deadlines.or_session(deadline);
        let clock = self.deadlines.clock();
        let has_room = self.ticket.wait_for_room(clock, deadline);
        self.check_draining()?;
        self.deadlines.check_session(self.deadlines.now())?;
        Ok(has_room)
    }

    /// Waits for more octets of a message, but no longer than for a whole command. While the client
    /// is silent, `put_away` is called to free the memory of its message.
    ///
    /// # Errors
    /// [`Interruption`]: tell the session; nothing of the content may be kept.
    pub(super) fn read_content(
        &mut self,
        rate: &mut ContentRate,
        mut put_away: impl FnMut(),
    ) -> Result<(), Interruption> {
        self.flush()?;
        self.allowance.expect_content();
        let read = |connection: &mut Self| {
            let read = connection.read()?;
            if read.is_none() && !connection.has_part_of_record() {
                put_away();
            }
            Ok(read)
        };
        let octets = match self.wait(self.deadlines.of_command(), read) {
            Ok(octets) => u64::try_from(octets).unwrap_or(u64::MAX),
            Err(Interruption::Ended(Ending::IdleTimeout)) => {
                return Err(Interruption::Ended(Ending::TooSlow));
            }
            Err(interruption) => {
                // At the end of a stop, sessions in the middle of a message are woken too.
                self.check_draining()?;
                return Err(interruption);
            }
        };
        if self.is_local || rate.keeps_pace(octets, self.deadlines.now()) {
            Ok(())
        } else {
            Err(Interruption::Ended(Ending::TooSlow))
        }
    }

    fn check_draining(&self) -> Result<(), Interruption> {
        if self.ticket.is_draining() {
            Err(Interruption::Ended(Ending::ShuttingDown))
        } else if self.ticket.is_displaced() {
            Err(Interruption::Ended(Ending::Displaced))
        } else if self.ticket.is_shut_out() {
            Err(Interruption::Ended(Ending::NotOpen))
        } else {
            Ok(())
        }
    }

    fn set_read_timeout(&mut self, timeout: Duration) -> Result<(), Interruption> {
        // The system does not accept a timeout of zero, and rounds one that is below its tick.
        let timeout = timeout.max(Duration::from_millis(1));
        if timeout != self.read_timeout {
            self.stream
                .set_read_timeout(Some(timeout))
                .map_err(|e| Interruption::Lost(Some(e)))?;
            self.read_timeout = timeout;
        }
        Ok(())
    }

    /// One read: how many octets arrived, or `None` if the socket's timeout passed.
    fn read(&mut self) -> Result<Option<usize>, Interruption> {
        if self.allowance.prepare_read() {
            self.shrink_input();
        }
        let octets = self.allowance.read_octets();
        let (room, read) = if self.reads_commands() {
            (octets, self.read_commands())
        } else {
            let space = self.input.space(octets);
            let room = space.len();
            let read = match &mut self.tunnel {
                Some(tunnel) => tunnel.read(&self.stream, space),
                None => (&*self.stream).read(space),
            };
            if let Ok(octets) = read {
                self.input.filled(octets);
            }
            (room, read)
        };
        match read {
            Ok(0) => Err(Interruption::Lost(None)),
            Ok(octets) => {
                self.allowance.has_read(octets, room);
                Ok(Some(octets))
            }
            Err(error) if is_pause(error.kind()) => Ok(None),
            Err(error) => Err(interruption(error)),
        }
    }

    /// Whether the next read is small, and there is no larger buffer that could be used.
    fn reads_commands(&self) -> bool {
        let octets = self.allowance.read_octets().max(self.input.capacity());
        self.tunnel.is_none() && octets <= limits::COMMAND_READ_OCTETS
    }

    /// One read of commands. Only what has arrived is kept, so that no freed buffers remain between
    /// the memory of thousands of sessions that wait (NET-1). Not inlined: the octets are on the
    /// stack.
    #[inline(never)]
    fn read_commands(&mut self) -> io::Result<usize> {
        let mut commands = [0; limits::COMMAND_READ_OCTETS];
        let octets = (&*self.stream).read(&mut commands)?;
        let commands = commands.get(..octets).unwrap_or_default();
        let space = self.input.space(octets);
        if let Some(space) = space.get_mut(..octets) {
            space.copy_from_slice(commands);
        }
        self.input.filled(octets);
        Ok(octets)
    }

    /// Sends what is waiting if it is more than a buffer should hold: a large group of commands is
    /// answered in large pieces, as long as there is memory for them.
    ///
    /// # Errors
    /// [`Interruption::Lost`].
    pub(super) fn flush_when_full(&mut self) -> Result<(), Interruption> {
        if self.output.len() < self.allowance.output_octets_max() || self.allowance.grow_output() {
            return Ok(());
        }
        self.flush()
    }

    /// The buffer for a message to be sent that is read in pieces of `piece` octets.
    pub(super) fn content_output(&mut self, piece: usize) -> &mut Vec<u8> {
        let waiting_max = self.allowance.content_octets_max(piece);
        if waiting_max > limits::WRITE_OCTETS_MAX {
            // Exactly, because growing in steps would end with more than was asked for.
            let encoded_max = limits::CONTENT_ENCODED_OCTETS.saturating_mul(2);
            let room = waiting_max.saturating_add(encoded_max);
            self.output
                .reserve_exact(room.saturating_sub(self.output.len()));
        }
        self.output()
    }

    /// Sends what is waiting if it is enough of a message that is read in pieces of `piece` octets.
    ///
    /// # Errors
    /// [`Interruption::Lost`].
    pub(super) fn flush_content(&mut self, piece: usize) -> Result<(), Interruption> {
        if self.output.len() < self.allowance.content_octets_max(piece) {
            return Ok(());
        }
        self.flush_when_full()
    }

    /// Sends what is waiting.
    ///
    /// # Errors
    /// [`Interruption::Lost`] if the client is gone, [`Interruption::NotReading`] if it does not
    /// read what is sent.
    pub(super) fn flush(&mut self) -> Result<(), Interruption> {
        if self.output.is_empty() {
            return Ok(());
        }
        let mut output = std::mem::take(&mut self.output);
        let sent = self.write_all(&output);
        output.clear();
        self.output = output;
        sent
    }

    /// Sends all of it. A client that reads usually accepts it immediately. Otherwise each further
    /// turn has waited for at most one slice of time, and checks the clock.
    fn write_all(&mut self, mut octets: &[u8]) -> Result<(), Interruption> {
        let mut deadline = None;
        loop {
            let written = match self.write(octets) {
                Ok(written) => written,
                Err(error) if is_pause(error.kind()) => Written {
                    taken: 0,
                    is_stuck: is_stuck(error.kind()),
                    is_done: false,
                },
                Err(error) => return Err(Interruption::Lost(Some(error))),
            };
            if written.is_done {
                return Ok(());
            }
            if written.is_stuck && self.check_draining().is_err() {
                // Neither a stop nor a new client waits for a client that does not read.
                return Err(Interruption::NotReading);
            }
            octets = octets.get(written.taken..).unwrap_or_default();
            // Not everything was sent: the client reads more slowly than facteur writes.
            let now = self.deadlines.now();
            let timeout = limits::WRITE_TIMEOUT;
            let deadline = *deadline.get_or_insert_with(|| now.checked_add(timeout));
            let deadline = self.deadlines.or_session(deadline);
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Interruption::NotReading);
            }
        }
    }

    /// One write.
    fn write(&mut self, octets: &[u8]) -> io::Result<Written> {
        if let Some(tunnel) = &mut self.tunnel {
            return tunnel.write(&self.stream, octets);
        }
        let taken = (&*self.stream).write(octets)?;
        Ok(Written {
            taken,
            is_stuck: taken == 0,
            is_done: taken == octets.len(),
        })
    }

    /// Sends what is waiting, before the connection closes. A client that asked for the end waits
    /// for the answer. But a client that sends more after its QUIT may need more time for it. So
    /// does every client with TLS, because it announces there that it will send no more.
    pub(super) fn close(&mut self, closing: Closing) {
        let is_over = self.tunnel.is_none() && self.input.unread().is_empty();
        if closing == Closing::Quit && is_over {
            // If this fails, there is nobody left to tell.
            self.flush().ok();
        } else {
            self.close_lingering();
        }
    }

    fn close_tunnel(&mut self) {
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.close(&self.stream);
        }
    }

    /// Sends what is waiting and makes sure that it arrives, before the connection closes: a socket
    /// that is closed with unread octets is reset, and the last reply could be lost with it. So
    /// what the client still sends is read for a while and discarded.
    pub(super) fn close_lingering(&mut self) {
        if self.flush().is_ok() {
            self.close_tunnel();
            self.linger();
        }
    }

    /// Ends the connection, which a test keeps.
    #[cfg(test)]
    pub(super) fn shut(&self) {
        self.stream.shutdown(Shutdown::Both).ok();
    }

    /// Reads what the client still sends, and discards it.
    fn linger(&mut self) {
        if self.stream.shutdown(Shutdown::Write).is_err()
            || self.set_read_timeout(limits::LINGER_TIMEOUT).is_err()
        {
            return;
        }
        let mut linger = Linger::begin(self.deadlines.now());
        let mut buffer = vec![0; limits::READ_OCTETS_MIN];
        while let Ok(octets) = (&*self.stream).read(&mut buffer)
            && linger.goes_on(octets, || self.deadlines.now())
        {}
    }
}

/// A buffer for the lines of a client about which nothing is known yet.
fn lines_from(is_local: bool) -> LineBuffer {
    let lf_policy = if is_local {
        LfPolicy::Accept
    } else {
        LfPolicy::Refuse
    };
    LineBuffer::new(limits::READ_OCTETS_MIN, lf_policy)
}

/// What an error of a read means: a TLS failure has its own error type.
fn interruption(error: io::Error) -> Interruption {
    if tls::is_failure(&error) {
        Interruption::Tls(error)
    } else {
        Interruption::Lost(Some(error))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::tests::{Ends, timeouts};
    use super::*;

    /// NET-1.
    #[test]
    fn waiting_for_a_silent_client_takes_no_buffer() {
        let mut ends = Ends::new("127.0.0.1", timeouts());
        ends.client.write_all(b"NOOP\r\n").unwrap();
        let connection = &mut ends.connection;
        assert_eq!(connection.read_line(100).unwrap(), LineRead::Line);
        connection.output().extend_from_slice(b"250 Ok\r\n");
        connection.flush().unwrap();
        let capacities = |it: &Connection| (it.input.capacity(), it.output.capacity());
        let busy = capacities(connection);
        assert!(busy.0 > 0 && busy.1 > 0, "{busy:?}");
        // The clock does not advance, so each turn waits only this long.
        let deadline = connection.deadlines.now().checked_add(TICK);
        let turns = std::cell::Cell::new(0);
        let silent = connection.wait(deadline, |connection| {
            turns.set(turns.get() + 1);
            if turns.get() == 2 {
                // The end of the silence came after the buffers were freed.
                return Ok(Some(capacities(connection)));
            }
            let read = connection.read()?;
            assert_eq!(read, None, "nothing came");
            (&ends.client).write_all(b"N").unwrap();
            Ok(None)
        });
        assert_eq!(silent.unwrap(), (0, 0));
    }

    /// NET-1: commands take the memory of their own octets, as long as there are few.
    #[test]
    fn a_command_takes_no_more_memory_than_it_needs() {
        let mut ends = Ends::new("127.0.0.1", timeouts());
        let connection = &mut ends.connection;
        for command in ["NOOP\r\n", "RSET\r\nNO", "OP\r\n"] {
            ends.client.write_all(command.as_bytes()).unwrap();
            assert_eq!(connection.read_line(100).unwrap(), LineRead::Line);
            assert_eq!(connection.line().len(), 4);
            assert!(connection.input.capacity() <= 8, "{command}");
        }
        let many = b"NOOP\r\n".repeat(limits::COMMAND_READ_OCTETS);
        ends.client.write_all(&many).unwrap();
        for _ in 0..limits::COMMAND_READ_OCTETS {
            assert_eq!(connection.read_line(100).unwrap(), LineRead::Line);
            assert_eq!(connection.line(), b"NOOP");
        }
        assert!(connection.unread().is_empty());
    }

    /// NET-1: nothing is read, and so no buffer is allocated, before there is something to read.
    #[test]
    fn waiting_for_the_first_octet_takes_no_buffer() {
        let mut ends = Ends::new("127.0.0.1", timeouts());
        let connection = &mut ends.connection;
        connection.output().extend_from_slice(b"220 Welcome\r\n");
        connection.flush().unwrap();
        assert!(connection.output.capacity() > 0);
        let (hands, mut client) = (&ends.hands, &ends.client);
        // The clock does not advance, so each turn waits only this long.
        let deadline = connection.deadlines.now().checked_add(TICK);
        let found = thread::scope(|scope| {
            let waiting = thread::Builder::new().spawn_scoped(scope, || {
                connection.wait(deadline, |it| {
                    it.stream.set_nonblocking(true).unwrap();
                    let peeked = recv(&it.stream, &mut [0], RecvFlags::PEEK);
                    let there = peeked.map_or(0, |(_, octets)| octets);
                    Ok(Some((there, it.input.capacity(), it.output.capacity())))
                })
            });
            let waiting = waiting.unwrap();
            hands.is_looked_at(3, || waiting.is_finished());
            client.write_all(b"N").unwrap();
            waiting.join().unwrap()
        });
        assert_eq!(found.unwrap(), (1, 0, 0));
    }

    /// With TLS, what counts is whether the client reads, not whether the tunnel accepts octets.
    #[test]
    fn a_client_is_stuck_when_its_socket_accepts_nothing() {
        let mut ends = Ends::new("127.0.0.1", timeouts());
        let _tls = ends.begin_tls();
        let Connection { stream, tunnel, .. } = &mut ends.connection;
        stream.set_nonblocking(true).unwrap();
        let tunnel = tunnel.as_mut().unwrap();
        while !tunnel.write(stream, &[b'x'; 1_024]).unwrap().is_stuck {}
        let is_writable = || {
            let mut waiting = [PollFd::new(&**stream, PollFlags::OUT)];
            poll(&mut waiting, Some(&Timespec::default())).unwrap() > 0
        };
        while !is_writable() {
            ends.client.read_exact(&mut [0; 1_024]).unwrap();
        }
        let written = tunnel.write(stream, &[]).unwrap();
        assert_eq!((written.taken, written.is_stuck), (0, false));
    }

    const TICK: Duration = Duration::from_millis(5);
}
