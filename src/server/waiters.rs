//! How many sessions wait for mail at the same time.
//!
//! A wait holds a place and a thread for up to a minute, and a client may begin another one
//! immediately. So those that wait have a part of the places only: SMTP and POP3 never starve
//! because of them. Over TCP each address has a share of that part.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

use super::limits;

/// See the module.
#[derive(Debug)]
pub struct Waiters {
    /// For those over TCP, and again for those over the control socket.
    sessions_max: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    over_control: usize,
    over_tcp: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A session that waits. Dropping it ends the wait.
#[derive(Debug)]
pub(super) struct Waiter {
    waiters: Arc<Waiters>,
    /// `None` over the control socket.
    peer: Option<IpAddr>,
}

impl Waiters {
    /// Waiters of a server with this many places.
    pub fn of(places: usize) -> Arc<Self> {
        Arc::new(Self {
            sessions_max: (places / limits::WAITERS_PART).max(1),
            waiting: Mutex::default(),
        })
    }

    /// How many sessions wait.
    #[cfg(test)]
    pub(super) fn n_waiting(&self) -> usize {
        let waiting = self.waiting.lock();
        waiting.over_control.saturating_add(waiting.over_tcp)
    }

    /// Begins a wait for a client at `peer`, which is `None` over the control socket; `None` if
    /// there are too many.
    pub(super) fn begin(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<Waiter> {
        let mut waiting = self.waiting.lock();
        match peer {
            None => {
                let more = waiting.over_control.checked_add(1)?;
                if more > self.sessions_max {
                    return None;
                }
                waiting.over_control = more;
            }
            Some(peer) => {
                let of_address = waiting.by_address.get(&peer).copied().unwrap_or(0);
                let (of_address, more) =
                    (of_address.checked_add(1)?, waiting.over_tcp.checked_add(1)?);
                if of_address > limits::WAITERS_PER_ADDRESS_MAX || more > self.sessions_max {
                    return None;
                }
                waiting.over_tcp = more;
                waiting.by_address.insert(peer, of_address);
            }
        }
        drop(waiting);
        let waiters = Arc::clone(self);
        Some(Waiter { waiters, peer })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.waiters.waiting.lock();
        let Some(peer) = self.peer else {
            waiting.over_control = waiting.over_control.saturating_sub(1);
            return;
        };
        waiting.over_tcp = waiting.over_tcp.saturating_sub(1);
        if let Some(of_address) = waiting.by_address.get_mut(&peer) {
            *of_address = of_address.saturating_sub(1);
            if *of_address == 0 {
                waiting.by_address.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_a_part_of_the_places_and_each_address_a_share_of_it() {
        let waiters = Waiters::of(1_000);
        let [one, other, third, fourth] = [1, 2, 3, 4].map(|n| Some(IpAddr::from([192, 0, 2, n])));
        let begin = |peer, times: usize| -> Vec<Waiter> {
            (0..times).filter_map(|_| waiters.begin(peer)).collect()
        };
        let of_one = begin(one, 100);
        assert_eq!(of_one.len(), limits::WAITERS_PER_ADDRESS_MAX);
        let (of_other, of_third) = (begin(other, 100), begin(third, 100));
        assert_eq!((of_other.len(), of_third.len()), (64, 64));
        let of_fourth = begin(fourth, 100);
        assert_eq!(of_fourth.len(), 250 - 3 * 64, "all over TCP together");
        let over_control = begin(None, 1_000);
        assert_eq!(over_control.len(), 250, "these have a part of their own");
        drop(of_one);
        assert_eq!(begin(fourth, 100).len(), 6, "up to its share");
        drop((of_other, of_third, of_fourth, over_control));
        let waiting = waiters.waiting.lock();
        assert_eq!((waiting.over_control, waiting.over_tcp), (0, 0));
        assert!(waiting.by_address.is_empty());
        drop(waiting);
    }
}
