//! Counts how often things happened recently, for any number of things in a fixed amount of memory.
//!
//! A count-min sketch: each thing has one counter in every row, and its count is the lowest of
//! them. Others can share some of its counters, so the count can be too high, but is never too low.
//! Nothing is ever evicted to make room, so a very active client cannot cause others to be
//! forgotten; it only raises every count a little. The counters that two things share are random at
//! each start, and cannot be chosen.
//!
//! There are two generations of counters. An event is remembered for at least one generation and at
//! most two.

use std::hash::{BuildHasher as _, Hash};
use std::time::{Duration, Instant};

use super::limits;

/// Determines which counters a thing has: random at each start.
#[cfg(not(test))]
type Keys = std::hash::RandomState;
/// The same in every test; otherwise the shared counters would differ from run to run.
#[cfg(test)]
type Keys = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// Counters, by the thing that is counted.
#[derive(Debug)]
pub(super) struct Sketch {
    generation: Duration,
    /// Row after row; empty before the first event.
    current: Vec<u16>,
    previous: Vec<u16>,
    since: Option<Instant>,
    keys: Keys,
}

impl Sketch {
    /// Without any events.
    pub(super) fn new(generation: Duration) -> Self {
        Self {
            generation,
            current: Vec::new(),
            previous: Vec::new(),
            since: None,
            keys: Keys::default(),
        }
    }

    /// Counts the thing once more. Returns how often it happened recently.
    pub(super) fn add(&mut self, thing: &impl Hash, now: Instant) -> u32 {
        self.turn(now);
        if self.current.is_empty() {
            let counters = limits::SKETCH_COUNTERS.saturating_mul(limits::SKETCH_ROWS);
            self.current = vec![0; counters];
            self.previous = vec![0; counters];
        }
        for place in self.places(thing) {
            if let Some(counter) = self.current.get_mut(place) {
                *counter = counter.saturating_add(1);
            }
        }
        self.count(thing, now)
    }

    /// How often it happened recently.
    pub(super) fn count(&mut self, thing: &impl Hash, now: Instant) -> u32 {
        self.turn(now);
        let of = |counters: &[u16], place| u32::from(counters.get(place).copied().unwrap_or(0));
        let places = self.places(thing);
        let counts =
            places.map(|place| of(&self.current, place).saturating_add(of(&self.previous, place)));
        counts.into_iter().min().unwrap_or(0)
    }

    /// Subtracts `times` from its count, which is at least that.
    pub(super) fn take_back(&mut self, thing: &impl Hash, times: u32, now: Instant) {
        let times = times.min(self.count(thing, now));
        for place in self.places(thing) {
            let mut left = u16::try_from(times).unwrap_or(u16::MAX);
            for counters in [&mut self.current, &mut self.previous] {
                if let Some(counter) = counters.get_mut(place) {
                    let less = left.min(*counter);
                    *counter = counter.saturating_sub(less);
                    left = left.saturating_sub(less);
                }
            }
        }
    }

    /// Starts a new generation when it is due.
    fn turn(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age < self.generation {
            return;
        }
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.fill(0);
        if age >= self.generation.saturating_mul(2) {
            self.previous.fill(0);
        }
        self.since = Some(now);
    }

    /// Its counter in each row.
    fn places(&self, thing: &impl Hash) -> [usize; limits::SKETCH_ROWS] {
        std::array::from_fn(|row| {
            let hash = self.keys.hash_one((row, thing));
            let hash = usize::try_from(hash).unwrap_or(usize::MAX);
            let place = hash.checked_rem(limits::SKETCH_COUNTERS).unwrap_or(0);
            row.saturating_mul(limits::SKETCH_COUNTERS)
                .saturating_add(place)
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to begin with"
    )]

    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const GENERATION: Duration = Duration::from_secs(100);

    #[test]
    fn an_event_is_remembered_for_a_generation_or_two() {
        let mut sketch = Sketch::new(GENERATION);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(sketch.count(&"a", at(0)), 0);
        assert_eq!(sketch.add(&"a", at(0)), 1);
        assert_eq!(sketch.add(&"a", at(99)), 2);
        assert_eq!(sketch.add(&"a", at(199)), 3, "another generation");
        assert_eq!(sketch.count(&"a", at(298)), 3);
        assert_eq!(sketch.count(&"a", at(299)), 1);
        assert_eq!(sketch.count(&"b", at(299)), 0);
        assert_eq!(sketch.count(&"a", at(1_000)), 0);
    }

    #[test]
    fn what_is_taken_back_is_taken_from_both_generations() {
        let mut sketch = Sketch::new(GENERATION);
        let begin = Instant::now();
        let later = begin + GENERATION;
        for now in [begin, begin, later] {
            sketch.add(&"a", now);
        }
        sketch.take_back(&"a", 2, later);
        assert_eq!(sketch.count(&"a", later), 1);
        sketch.take_back(&"a", 2, later);
        assert_eq!(sketch.count(&"a", later), 0);
    }

    /// A hundred thousand others do not cause anybody to be forgotten, and the memory does not
    /// grow.
    #[test]
    fn no_flood_makes_it_forget() {
        let mut sketch = Sketch::new(GENERATION);
        let now = Instant::now();
        for _ in 0..20 {
            sketch.add(&"bob", now);
        }
        let before = sketch.current.capacity();
        for n in 0..100_000_u32 {
            sketch.add(&n, now);
        }
        assert!(sketch.count(&"bob", now) >= 20);
        assert_eq!(sketch.current.capacity(), before);
        let few = sketch.count(&"alice", now);
        assert!(few < 10, "100,000 others count as {few} of hers");
    }

    proptest! {
        #[test]
        fn no_count_is_too_low_and_few_things_do_not_collide(
            things in vec(0_u8..20, 0..200), taken_back in vec(0_u8..20, 0..50),
        ) {
            let now = Instant::now();
            let mut sketch = Sketch::new(GENERATION);
            let mut exact: HashMap<u8, u32> = HashMap::new();
            for thing in things {
                sketch.add(&thing, now);
                let count = exact.entry(thing).or_default();
                *count = count.saturating_add(1);
            }
            for thing in taken_back {
                sketch.take_back(&thing, 1, now);
                let count = exact.entry(thing).or_default();
                *count = count.saturating_sub(1);
            }
            for (thing, count) in exact {
                prop_assert_eq!(sketch.count(&thing, now), count);
            }
        }
    }
}
