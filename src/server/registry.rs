//! All open sessions: their places, and how they end when the daemon stops.
//!
//! Every session holds a [`Ticket`] while it exists; dropping the ticket frees its place. A stop
//! wakes the sessions that wait for a command (it shuts down the reading side of their sockets) and
//! lets the others continue to their next wait, so that they finish a message or an update.
//!
//! `shares.rs` computes how many places each network may have. A session that is displaced by a new
//! client ends whatever it is doing: unlike at a stop, a message that is being received is cut off
//! without an acknowledgement; a message that is being committed gets its reply first.
//!
//! The lock is held for look-ups in maps, never during a system call (NET-7).

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use socket2::Socket;

use crate::clock::Clock;
use crate::counters::Report;
use crate::mail::Network;

use super::budget::{Budget, Share};
use super::limits;
use super::muffler::{Kind, Muffler};
use super::reach::Reach;
use super::session::NoPlace;
use super::shares::{Caps, Full, Harm, Shares};
use super::tally::Tally;

/// All sessions of the daemon, and their counters.
#[derive(Debug)]
pub struct Registry {
    draining: AtomicBool,
    sessions: Mutex<Places>,
    emptied: Condvar,
    stopped: Condvar,
    counters: Tally,
    budget: Arc<Budget>,
    muffler: Mutex<Muffler>,
}

#[derive(Debug)]
struct Places {
    next_id: u64,
    open: HashMap<u64, Open>,
    shares: Shares,
    /// It changes under the same lock, so no client is admitted by the reach of before.
    reach: Reach,
}

#[derive(Debug)]
struct Open {
    peer: IpAddr,
    stream: Arc<Socket>,
    state: Arc<State>,
}

impl Open {
    /// Takes its place away; returns its socket.
    fn displace(&self) -> Arc<Socket> {
        self.state.displaced.store(true, Ordering::SeqCst);
        Arc::clone(&self.stream)
    }
}

/// Flags of a session, which it sets itself or which others set for it.
#[derive(Debug, Default)]
struct State {
    /// The session is waiting for a command.
    waiting: AtomicBool,
    /// A user has logged in.
    logged_in: AtomicBool,
    /// Its place now belongs to another session.
    displaced: AtomicBool,
    /// Its client is no longer served.
    shut_out: AtomicBool,
}

impl State {
    /// How much harm ending the session now would do.
    fn harm(&self) -> Harm {
        if self.logged_in.load(Ordering::SeqCst) {
            Harm::Much
        } else if self.waiting.load(Ordering::SeqCst) {
            Harm::Little
        } else {
            Harm::Some
        }
    }
}

/// A session's place; dropping it frees the place.
#[derive(Debug)]
pub(super) struct Ticket {
    registry: Arc<Registry>,
    id: u64,
    address: Network,
    is_near: bool,
    state: Arc<State>,
}

impl Registry {
    /// A registry without sessions, which serves everybody. Its sessions together may hold
    /// `in_flight_octets` besides what each of them has of its own (SEC-9).
    pub fn new(caps: Caps, in_flight_octets: u64) -> Self {
        Self {
            draining: AtomicBool::new(false),
            sessions: Mutex::new(Places {
                next_id: 0,
                open: HashMap::new(),
                shares: Shares::new(caps),
                reach: Reach::Everybody,
            }),
            emptied: Condvar::new(),
            stopped: Condvar::new(),
            counters: Tally::default(),
            budget: Arc::new(Budget::new(in_flight_octets)),
            muffler: Mutex::default(),
        }
    }

    /// Gives a place to a client at `peer`.
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        stream: &Arc<Socket>,
    ) -> Result<Ticket, NoPlace> {
        let address = |reach: &Reach| reach.serves(peer).then(|| reach.network_of(peer));
        self.admit_as(peer, stream, address)
    }

    /// Gives a place to a proxy at `peer`, until it has named its client. It is served whatever the
    /// reach is, and has the share of this machine: it connects for many clients.
    pub(super) fn admit_proxy(
        self: &Arc<Self>,
        peer: IpAddr,
        stream: &Arc<Socket>,
    ) -> Result<Ticket, NoPlace> {
        self.admit_as(peer, stream, |_| Some(Network::of_near(peer)))
    }

    /// Gives a place to a client at `peer` that is counted by this address, if there is one.
    fn admit_as(
        self: &Arc<Self>,
        peer: IpAddr,
        stream: &Arc<Socket>,
        address: impl FnOnce(&Reach) -> Option<Network>,
    ) -> Result<Ticket, NoPlace> {
        if self.is_draining() {
            return Err(NoPlace::ShuttingDown);
        }
        let state = Arc::new(State::default());
        let open = Open {
            peer,
            stream: Arc::clone(stream),
            state: Arc::clone(&state),
        };
        let mut sessions = self.sessions.lock();
        let address = address(&sessions.reach).ok_or(NoPlace::NotOpen)?;
        let added = sessions.add(address, open);
        drop(sessions);
        let (id, displaced) = added.map_err(NoPlace::TooMany)?;
        wake(displaced.into_iter().collect());
        Ok(Ticket {
            registry: Arc::clone(self),
            id,
            address,
            is_near: address.is_loopback(),
            state,
        })
    }

    /// Changes which clients are served, and ends the sessions of those that no longer are.
    pub fn set_reach(&self, reach: Reach) {
        let mut sessions = self.sessions.lock();
        let is_shut_out = |open: &Open| !reach.serves(open.peer);
        for open in sessions.open.values().filter(|open| is_shut_out(open)) {
            open.state.shut_out.store(true, Ordering::SeqCst);
        }
        let streams = sessions.streams(is_shut_out);
        sessions.reach = reach;
        drop(sessions);
        self.budget.wake();
        wake(streams);
    }

    /// The counters.
    pub(super) fn counters(&self) -> &Tally {
        &self.counters
    }

    /// Whether another line of this kind may be logged about a client: see
    /// [`Muffler::lets_through`].
    pub(super) fn lets_through(&self, peer: IpAddr, kind: Kind, now: Instant) -> Option<u64> {
        self.muffler.lock().lets_through(peer, kind, now)
    }

    /// The memory of all sessions.
    #[cfg(test)]
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Adds the counters to `report`.
    pub fn report(&self, report: &mut Report) {
        let now = self.sessions.lock().open.len();
        self.counters.report(now, &self.budget, report);
    }

    /// Waits until every session is waiting for its client, so that a stop would wake it.
    #[cfg(test)]
    pub(crate) fn until_everyone_waits(&self) {
        let is_waiting = |open: &Open| open.state.waiting.load(Ordering::SeqCst);
        let clock = Clock::system();
        let begin = clock.now();
        while !self.sessions.lock().open.values().all(is_waiting) {
            let waited = clock.now().duration_since(begin);
            assert!(waited < Duration::from_mins(5), "no session comes to wait");
            crate::clock::look_again();
        }
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Ends the sessions that are waiting for a command; the others end at their next wait.
    pub fn stop(&self) {
        self.draining.store(true, Ordering::SeqCst);
        let waiting = |open: &Open| open.state.waiting.load(Ordering::SeqCst);
        // A pausing session checks the flag under the lock: it sees the flag, or is notified.
        let streams = self.sessions.lock().streams(waiting);
        self.stopped.notify_all();
        self.budget.wake();
        wake(streams);
    }

    /// Also ends the sessions that are in the middle of a message.
    pub fn stop_all(&self) {
        wake(self.sessions.lock().streams(|_| true));
    }

    /// Waits until no session is left, but at most for `timeout`; returns the number that is left.
    pub fn wait_until_empty(&self, timeout: Duration, clock: &Clock) -> usize {
        let begin = clock.now();
        let mut sessions = self.sessions.lock();
        while !sessions.open.is_empty() {
            let left = timeout.saturating_sub(clock.now().duration_since(begin));
            if left.is_zero() {
                break;
            }
            self.emptied
                .wait_for(&mut sessions, left.min(limits::CLOCK_SLICE));
        }
        sessions.open.len()
    }
}

impl Places {
    fn streams(&self, wanted: impl Fn(&Open) -> bool) -> Vec<Arc<Socket>> {
        let wanted = self.open.values().filter(|open| wanted(open));
        wanted.map(|open| Arc::clone(&open.stream)).collect()
    }

    /// Counts the open session `id` by another address, that of the client at `peer`. Returns the
    /// socket of the session that must end for it, if any. If there is no place, the session has
    /// none any more.
    fn count_anew(
        &mut self,
        id: u64,
        (before, address): (Network, Network),
        peer: IpAddr,
    ) -> Result<Option<Arc<Socket>>, Full> {
        self.shares.end(before, id);
        let open = &self.open;
        let harm = |id| open.get(&id).map_or(Harm::Much, |open| open.state.harm());
        let displaced = self.shares.admit(address, id, harm)?;
        if let Some(open) = self.open.get_mut(&id) {
            open.peer = peer;
        }
        let displaced = displaced.and_then(|id| self.open.get(&id));
        Ok(displaced.map(Open::displace))
    }

    /// Returns the number of the session, and the socket of the session that must end for it, if
    /// any.
    fn add(&mut self, address: Network, session: Open) -> Result<(u64, Option<Arc<Socket>>), Full> {
        let id = self.next_id.saturating_add(1);
        let open = &self.open;
        // Every session that the shares know is open.
        let harm = |id| open.get(&id).map_or(Harm::Much, |open| open.state.harm());
        let displaced = self.shares.admit(address, id, harm)?;
        let displaced = displaced.and_then(|id| self.open.get(&id));
        let displaced = displaced.map(Open::displace);
        self.next_id = id;
        self.open.insert(id, session);
        Ok((id, displaced))
    }

    /// Removes the session. Dropping the returned value may close the socket, so that is left until
    /// the lock is released.
    fn remove(&mut self, id: u64, address: Network) -> Option<Open> {
        self.shares.end(address, id);
        self.open.remove(&id)
    }
}

/// Ends the reading side of `streams`, which wakes sessions that wait there.
fn wake(streams: Vec<Arc<Socket>>) {
    for stream in streams {
        // A session that has just ended needs no waking.
        stream.shutdown(Shutdown::Read).ok();
    }
}

impl Ticket {
    /// Counts the session by the address of its client, which a proxy has named, and no longer by
    /// that of the proxy. The address `peer` has to be served, and `counted_as` is the one whose
    /// share is used.
    ///
    /// # Errors
    /// [`NoPlace`]: the client is turned away.
    pub(super) fn move_to(&mut self, peer: IpAddr, counted_as: IpAddr) -> Result<(), NoPlace> {
        let mut sessions = self.registry.sessions.lock();
        if !sessions.reach.serves(peer) {
            return Err(NoPlace::NotOpen);
        }
        let address = sessions.reach.network_of(counted_as);
        let before = std::mem::replace(&mut self.address, address);
        let counted = sessions.count_anew(self.id, (before, address), peer);
        drop(sessions);
        self.is_near = address.is_loopback();
        wake(counted.map_err(NoPlace::TooMany)?.into_iter().collect());
        Ok(())
    }

    /// The number of the session, unique within this run of the daemon.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The counters.
    pub(super) fn counters(&self) -> &Tally {
        &self.registry.counters
    }

    /// Adds the counters to `report`.
    pub(super) fn report(&self, report: &mut Report) {
        self.registry.report(report);
    }

    /// Whether another line of this kind may be logged about a client: see
    /// [`Muffler::lets_through`].
    pub(super) fn lets_through(&self, peer: IpAddr, kind: Kind, now: Instant) -> Option<u64> {
        self.registry.lets_through(peer, kind, now)
    }

    /// An empty share of the common memory.
    pub(super) fn share(&self) -> Share {
        Share::of(&self.registry.budget)
    }

    /// Whether there is memory for another message.
    pub(super) fn has_room(&self) -> bool {
        self.registry.budget.has_room()
    }

    /// Waits for memory for another message until `deadline`, or until the daemon stops; false if
    /// there was none.
    pub(super) fn wait_for_room(&self, clock: &Clock, deadline: Option<Instant>) -> bool {
        let is_over = || self.is_draining() || self.is_displaced() || self.is_shut_out();
        let budget = &self.registry.budget;
        budget.wait_for_room(clock, deadline, is_over)
    }

    /// Declares that the session waits for a command and can be ended. It must check
    /// [`Self::is_draining`] after this and again after [`Self::end_wait`].
    ///
    /// Each side writes its flag before it reads the other's, in one total order. So either the
    /// session sees the stop before it waits, or the stop sees it waiting and wakes it. And a
    /// session that sees no stop after its wait was not waiting when the stop looked, so its socket
    /// is not closed in the middle of its next action.
    pub(super) fn begin_wait(&self) {
        self.state.waiting.store(true, Ordering::SeqCst);
    }

    /// Declares that the session is working and must not be disturbed.
    pub(super) fn end_wait(&self) {
        self.state.waiting.store(false, Ordering::SeqCst);
    }

    /// Declares that a user has logged in.
    pub(super) fn logged_in(&self) {
        self.state.logged_in.store(true, Ordering::SeqCst);
    }

    /// Whether the session must end because its place belongs to another. From that moment on, its
    /// socket returns no more input.
    pub(super) fn is_displaced(&self) -> bool {
        self.state.displaced.load(Ordering::SeqCst)
    }

    /// Whether the session must end because its client is no longer served.
    pub(super) fn is_shut_out(&self) -> bool {
        self.state.shut_out.load(Ordering::SeqCst)
    }

    /// Whether the client counts as one of this machine.
    pub(super) fn is_near(&self) -> bool {
        self.is_near
    }

    /// Does nothing for at most `time`, or until the daemon stops.
    pub(super) fn pause(&self, time: Duration) {
        let registry = &self.registry;
        let mut sessions = registry.sessions.lock();
        // Checked under the lock: the stop happens before this and is seen, or after and wakes us.
        if !registry.is_draining() {
            registry.stopped.wait_for(&mut sessions, time);
        }
    }

    /// Whether the daemon is stopping.
    pub(super) fn is_draining(&self) -> bool {
        self.registry.is_draining()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut sessions = self.registry.sessions.lock();
        let open = sessions.remove(self.id, self.address);
        let is_empty = sessions.open.is_empty();
        drop(sessions);
        drop(open);
        if is_empty {
            self.registry.emptied.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use crate::clock::Hands;

    use super::super::shares::PerAddress;
    use super::*;

    /// A registry with three places.
    fn registry() -> Arc<Registry> {
        registry_of(3, PerAddress::Unlimited)
    }

    fn registry_of(total: usize, per_address: PerAddress) -> Arc<Registry> {
        Arc::new(Registry::new(Caps { total, per_address }, 0))
    }

    /// A socket for a session; nobody needs to be at its other end.
    fn stream() -> Arc<Socket> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Arc::new(stream.into())
    }

    fn admit(registry: &Arc<Registry>, peer: &str) -> Result<Ticket, NoPlace> {
        registry.admit(peer.parse().unwrap(), &stream())
    }

    /// NET-4, NET-5.
    #[test]
    fn caps_hold_in_all_and_for_each_address() {
        let full = |network: &str| {
            let network = Network::of(network.parse().unwrap());
            NoPlace::TooMany(Full(network))
        };
        let registry = registry_of(3, PerAddress::AtMost(2));
        let first = admit(&registry, "192.0.2.1").unwrap();
        let _second = admit(&registry, "192.0.2.1").unwrap();
        let refused = admit(&registry, "::ffff:192.0.2.1").unwrap_err();
        assert_eq!(
            refused,
            full("192.0.2.1"),
            "a mapped address counts as the IPv4 address"
        );
        let _local = admit(&registry, "127.0.0.1").unwrap();
        let refused = admit(&registry, "127.0.0.1").unwrap_err();
        assert_eq!(refused, NoPlace::TooMany(Full(Network::EVERYTHING)));
        drop(first);
        admit(&registry, "192.0.2.1").expect("its place was given back");
    }

    /// NET-5: a displaced session is told to end, and until then counts against the new client's
    /// place. A waiting session is displaced before a working one.
    #[test]
    fn a_new_client_displaces_a_waiting_session() {
        let registry = registry_of(16, PerAddress::AtMost(16));
        let tickets: Vec<Ticket> = (0..12)
            .map(|_| admit(&registry, "192.0.2.1").unwrap())
            .collect();
        let kept = ["127.0.0.1", "198.51.100.1", "203.0.113.1"]
            .map(|peer| admit(&registry, peer).unwrap());
        tickets[5].begin_wait();
        tickets[4].begin_wait();
        tickets[4].logged_in();
        let other = admit(&registry, "2001:db8::1").unwrap();
        let displaced: Vec<usize> = (0..12).filter(|n| tickets[*n].is_displaced()).collect();
        assert_eq!(displaced, [5]);
        // There are 16 now, and the displaced one has not ended yet.
        let refused = admit(&registry, "100.64.0.1").unwrap_err();
        assert_eq!(refused, NoPlace::TooMany(Full(Network::EVERYTHING)));
        drop(tickets);
        drop((kept, other));
        assert!(registry.sessions.lock().shares.is_empty());
    }

    /// SEC-14: and the share of this machine is also theirs.
    #[test]
    fn without_accounts_only_near_clients_get_a_place() {
        let near = |network: &str| Reach::Near(vec![network.parse().unwrap()]);
        let registry = registry_of(4, PerAddress::AtMost(4));
        registry.set_reach(near("172.16.0.0/12"));
        let tickets = ["127.0.0.1", "172.17.0.1", "172.18.0.1"]
            .map(|peer| admit(&registry, peer).expect("it is near"));
        assert!(tickets.iter().all(Ticket::is_near));
        let networks = tickets.iter().map(|ticket| ticket.address.wider());
        assert!(networks.eq([Some(Network::LOOPBACK); 3]));
        let refused = admit(&registry, "192.0.2.1").unwrap_err();
        assert_eq!(refused, NoPlace::NotOpen);
        registry.set_reach(near("172.18.0.0/16"));
        let shut_out = tickets.each_ref().map(Ticket::is_shut_out);
        assert_eq!(shut_out, [false, true, false]);
        let refused = admit(&registry, "172.17.0.1").unwrap_err();
        assert_eq!(refused, NoPlace::NotOpen);
        registry.set_reach(Reach::Everybody);
        let far = admit(&registry, "172.18.0.1").unwrap();
        assert!(!far.is_near());
        drop((tickets, far));
        assert!(registry.sessions.lock().shares.is_empty());
    }

    /// NET-5, SEC-14: a proxy is counted as one of this machine until it has named its client, and
    /// the client by its own address from then on.
    #[test]
    fn a_client_of_a_proxy_is_counted_by_its_own_address() {
        let registry = registry_of(16, PerAddress::AtMost(2));
        let proxy = "203.0.113.1".parse().unwrap();
        let client: IpAddr = "192.0.2.1".parse().unwrap();
        let connect = || registry.admit_proxy(proxy, &stream());
        let mut first = connect().unwrap();
        assert!(first.is_near());
        first.move_to(client, client).unwrap();
        assert!(!first.is_near());
        let _direct = admit(&registry, "192.0.2.1").unwrap();
        // It is full now, but the proxy still has places.
        let mut second = connect().unwrap();
        let refused = second.move_to(client, client).unwrap_err();
        assert_eq!(refused, NoPlace::TooMany(Full(Network::of(client))));
        drop(second);
        let mut third = connect().unwrap();
        let other = "198.51.100.2".parse().unwrap();
        third.move_to(other, other).unwrap();
        let _pending = [connect().unwrap(), connect().unwrap()];
        let refused = connect().unwrap_err();
        assert_eq!(refused, NoPlace::TooMany(Full(Network::of_near(proxy))));
        registry.set_reach(Reach::Near(Vec::new()));
        assert!(first.is_shut_out() && third.is_shut_out());
        drop((first, third));
        assert_eq!(registry.sessions.lock().open.len(), 3);
    }

    /// SEC-14: the proxy is served, and the client only if it would be without the proxy.
    #[test]
    fn without_accounts_clients_of_a_proxy_must_be_near_too() {
        let registry = registry_of(4, PerAddress::AtMost(4));
        registry.set_reach(Reach::Near(vec!["172.16.0.0/12".parse().unwrap()]));
        let proxy = "203.0.113.1".parse().unwrap();
        for (peer, is_served) in [
            ("172.17.0.1", true),
            ("127.0.0.1", true),
            ("192.0.2.1", false),
        ] {
            let mut ticket = registry.admit_proxy(proxy, &stream()).unwrap();
            let peer = peer.parse().unwrap();
            let moved = ticket.move_to(peer, peer);
            let expected = if is_served {
                Ok(())
            } else {
                Err(NoPlace::NotOpen)
            };
            assert_eq!(moved, expected, "{peer}");
        }
        assert!(registry.sessions.lock().shares.is_empty());
    }

    #[test]
    fn a_place_is_given_back_and_leaves_nothing_behind() {
        let registry = registry();
        for _ in 0..10 {
            drop(admit(&registry, "192.0.2.1").unwrap());
        }
        assert_eq!(registry.sessions.lock().open.len(), 0);
        assert!(registry.sessions.lock().shares.is_empty());
    }

    #[test]
    fn a_stop_wakes_waiting_sessions_and_leaves_working_ones() {
        use std::io::Read;
        let registry = registry();
        let (listener, mut peers) = (TcpListener::bind("127.0.0.1:0").unwrap(), Vec::new());
        let mut session = || {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            peers.push(listener.accept().unwrap().0);
            let stream = Arc::new(Socket::from(stream));
            let peer = [127, 0, 0, 1].into();
            (registry.admit(peer, &stream).unwrap(), stream)
        };
        let ((waiting, waiting_stream), (working, working_stream)) = (session(), session());
        waiting.begin_wait();
        working.begin_wait();
        working.end_wait();
        registry.stop();
        assert!(waiting.is_draining() && working.is_draining());
        assert_eq!((&*waiting_stream).read(&mut [0]).unwrap(), 0, "woken");
        working_stream.set_nonblocking(true).unwrap();
        let undisturbed = (&*working_stream).read(&mut [0]).unwrap_err();
        assert_eq!(undisturbed.kind(), std::io::ErrorKind::WouldBlock);
        registry.stop_all();
        assert_eq!(
            (&*working_stream).read(&mut [0]).unwrap(),
            0,
            "woken at the end"
        );
        let refused = admit(&registry, "127.0.0.1").unwrap_err();
        assert_eq!(refused, NoPlace::ShuttingDown);
    }

    #[test]
    fn a_pause_ends_in_time_or_with_the_daemon() {
        let registry = registry();
        let ticket = admit(&registry, "127.0.0.1").unwrap();
        ticket.pause(Duration::ZERO);
        let pausing = std::thread::Builder::new()
            .spawn(move || ticket.pause(Duration::from_hours(1)))
            .unwrap();
        registry.stop();
        pausing.join().unwrap();
    }

    #[test]
    fn waiting_for_the_end_returns_how_many_are_left() {
        let registry = registry();
        let ticket = admit(&registry, "127.0.0.1").unwrap();
        let hands = Arc::new(Hands::new());
        let clock = Clock::turned_by(Arc::clone(&hands));
        assert_eq!(registry.wait_until_empty(Duration::ZERO, &clock), 1);
        let long = Duration::from_hours(1);
        let waiting = {
            let (registry, clock) = (Arc::clone(&registry), clock.clone());
            std::thread::Builder::new()
                .spawn(move || registry.wait_until_empty(long, &clock))
                .unwrap()
        };
        assert!(hands.is_looked_at(2, || waiting.is_finished()));
        hands.pass(long);
        assert_eq!(waiting.join().unwrap(), 1);
        drop(ticket);
        assert_eq!(registry.wait_until_empty(long, &clock), 0);
    }
}
