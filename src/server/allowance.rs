//! How much memory a connection may use for its buffers (SEC-9): a little of its own, and more as
//! long as there is common memory left.

use super::budget::{Purpose, Share};
use super::limits;

/// How large the buffers of a connection may be.
#[derive(Debug)]
pub(super) struct Allowance {
    /// How many octets the next read asks for, judging by the last ones.
    read_octets: usize,
    /// How often each octet is held: with TLS, encrypted and decrypted.
    copies: usize,
    /// The share of the common memory for a large read.
    receiving: Share,
    /// The share for large pieces of output.
    sending: Share,
}

impl Allowance {
    /// An allowance with these two shares, which are empty.
    pub(super) fn new(receiving: Share, sending: Share) -> Self {
        Self {
            read_octets: limits::COMMAND_READ_OCTETS,
            copies: 1,
            receiving,
            sending,
        }
    }

    /// Called when TLS begins.
    pub(super) fn tls_begins(&mut self) {
        self.copies = 2;
    }

    /// Another, empty share of the same memory.
    pub(super) fn share(&self) -> Share {
        self.receiving.another()
    }

    /// How many octets the next read asks for.
    pub(super) fn read_octets(&self) -> usize {
        self.read_octets
    }

    /// Gets memory for the next read, which is small if there is none. Returns whether a buffer
    /// that is larger than necessary must be freed, because the client has become slower.
    pub(super) fn prepare_read(&mut self) -> bool {
        if self.read_octets <= limits::READ_OCTETS_FREE {
            return !self.receiving.is_empty();
        }
        let octets = self.read_octets.saturating_mul(self.copies);
        if !self.receiving.grow_to(octets, Purpose::Receiving) {
            // As many octets as before.
            self.read_octets /= 2;
        }
        false
    }

    /// A read into `room` returned this many octets. The next is as large as that suggests:
    /// commands are short, messages can be long.
    pub(super) fn has_read(&mut self, octets: usize, room: usize) {
        let next = if octets == room {
            self.read_octets.saturating_mul(2)
        } else {
            octets.next_power_of_two()
        };
        self.read_octets = next.clamp(limits::COMMAND_READ_OCTETS, limits::READ_OCTETS_MAX);
    }

    /// The next read is of a message.
    pub(super) fn expect_content(&mut self) {
        self.read_octets = self.read_octets.max(limits::READ_OCTETS_MIN);
    }

    /// The next read must not need common memory.
    pub(super) fn expect_little(&mut self) {
        self.read_octets = self.read_octets.min(limits::READ_OCTETS_FREE);
    }

    /// The input no longer needs common memory.
    pub(super) fn end_receiving(&mut self) {
        self.receiving.give_back();
    }

    /// Nothing is waiting to be sent.
    pub(super) fn end_sending(&mut self) {
        self.sending.give_back();
    }

    /// Asks for memory to send something in pieces of `octets`, until it is sent. Returns how large
    /// the pieces may be.
    pub(super) fn ask_to_send(&mut self, octets: usize) -> usize {
        if octets <= limits::RETRIEVED_OCTETS_FREE {
            return octets;
        }
        // The output that is waiting, and the piece as it is sent, at worst twice as large.
        let output = limits::WRITE_OCTETS_MAX.saturating_add(octets.saturating_mul(2));
        let output = output.saturating_mul(self.copies);
        if self
            .sending
            .grow_to(output.saturating_add(octets), Purpose::Keeping)
        {
            octets
        } else {
            limits::RETRIEVED_OCTETS_FREE
        }
    }

    /// How much output may wait to be sent.
    pub(super) fn output_octets_max(&self) -> usize {
        if self.sending.is_empty() {
            limits::WRITE_OCTETS_FREE
        } else {
            limits::WRITE_OCTETS_MAX
        }
    }

    /// How much of a message may wait to be sent that is read in pieces of `piece` octets, as
    /// [`ask_to_send`](Self::ask_to_send) has allowed. Pieces of the full size come with memory for
    /// more, because they are encoded in parts. With TLS, more at a time takes longer to send.
    pub(super) fn content_octets_max(&self, piece: usize) -> usize {
        if piece < limits::CONTENT_OCTETS_MAX || self.copies > 1 {
            self.output_octets_max()
        } else {
            limits::CONTENT_WRITE_OCTETS
        }
    }

    /// Asks for memory to let more output wait; false if there is none, or if it was already
    /// granted.
    pub(super) fn grow_output(&mut self) -> bool {
        let octets = limits::WRITE_OCTETS_MAX.saturating_mul(self.copies.saturating_mul(2));
        self.sending.is_empty() && self.sending.grow_to(octets, Purpose::Keeping)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::budget::Budget;
    use super::*;

    fn allowance(octets: u64) -> Allowance {
        let budget = Arc::new(Budget::new(octets));
        Allowance::new(Share::of(&budget), Share::of(&budget))
    }

    /// Reads as much as it asks for, this many times.
    fn read(allowance: &mut Allowance, times: usize) -> usize {
        for _ in 0..times {
            assert!(!allowance.prepare_read());
            let room = allowance.read_octets();
            allowance.has_read(room, room);
        }
        allowance.prepare_read();
        allowance.read_octets()
    }

    #[test]
    fn reads_grow_with_the_input_as_long_as_there_is_memory() {
        let plenty = u64::try_from(limits::READ_OCTETS_MAX).unwrap() * 4;
        assert_eq!(read(&mut allowance(plenty), 20), limits::READ_OCTETS_MAX);
        assert!(read(&mut allowance(0), 20) <= limits::READ_OCTETS_FREE);
    }

    #[test]
    fn the_buffer_of_a_client_that_has_become_slower_is_freed() {
        let mut allowance = allowance(u64::MAX);
        read(&mut allowance, 20);
        allowance.has_read(1, limits::READ_OCTETS_MAX);
        assert_eq!(allowance.read_octets(), limits::COMMAND_READ_OCTETS);
        assert!(allowance.prepare_read());
        allowance.end_receiving();
        assert!(!allowance.prepare_read());
    }

    #[test]
    fn output_waits_in_large_pieces_only_with_memory_for_them() {
        let mut none = allowance(0);
        assert_eq!(none.ask_to_send(100), 100);
        let piece = limits::CONTENT_OCTETS_MAX;
        let small = none.ask_to_send(piece);
        assert_eq!(small, limits::RETRIEVED_OCTETS_FREE);
        assert_eq!(none.content_octets_max(small), limits::WRITE_OCTETS_FREE);
        assert!(!none.grow_output());
        let mut some = allowance(u64::MAX);
        assert_eq!(some.output_octets_max(), limits::WRITE_OCTETS_FREE);
        assert!(some.grow_output() && !some.grow_output());
        assert_eq!(some.output_octets_max(), limits::WRITE_OCTETS_MAX);
        // Memory for output was granted, but none for large pieces of a message.
        assert_eq!(some.content_octets_max(small), limits::WRITE_OCTETS_MAX);
        assert_eq!(some.ask_to_send(piece), piece);
        let output = limits::CONTENT_WRITE_OCTETS;
        assert_eq!(some.content_octets_max(piece), output);
        // If each octet becomes two, there is still memory for all of it.
        let most = output + 2 * limits::CONTENT_ENCODED_OCTETS;
        assert!(most <= limits::WRITE_OCTETS_MAX + 2 * piece);
        some.tls_begins();
        assert_eq!(some.ask_to_send(piece), piece);
        assert_eq!(some.content_octets_max(piece), limits::WRITE_OCTETS_MAX);
        some.end_sending();
        assert_eq!(some.output_octets_max(), limits::WRITE_OCTETS_FREE);
    }
}
