//! The search: breadth first, through every state that can be reached, so that the first
//! counterexample is a shortest one.
//!
//! Of the states that it has seen, it keeps 64 bits of a hash. Two states with the same hash would
//! hide what follows the second: with a million states, the chance is one in 30 million.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Something with states and steps.
pub(crate) trait Model {
    type State: Copy + Hash;
    type Step: Copy;

    fn begin(&self) -> Self::State;
    /// Adds the steps that are possible in `state`.
    fn steps(&self, state: &Self::State, steps: &mut Vec<Self::Step>);
    fn after(&self, state: &Self::State, step: Self::Step) -> Self::State;
    /// The promise that is broken in `state`.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;
    /// What happens in this step, in words.
    fn tell(&self, state: &Self::State, step: Self::Step) -> String;
}

/// What a search found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) states: usize,
    /// The length of the longest of the shortest ways to a state.
    pub(crate) depth: usize,
    pub(crate) counterexample: Option<Counterexample>,
}

#[derive(Debug)]
pub(crate) struct Counterexample {
    pub(crate) promise: &'static str,
    pub(crate) steps: Vec<String>,
}

impl Counterexample {
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (index, step) in self.steps.iter().enumerate() {
            text += &format!("{:3}. {step}\n", index + 1);
        }
        text + "     broken: " + self.promise
    }
}

/// Looks at all states, or at all until a promise is broken.
pub(crate) fn search<M: Model>(model: &M) -> Found {
    let begin = model.begin();
    let mut seen: HashSet<u64, BuildHasherDefault<Hashed>> = HashSet::default();
    seen.insert(hash(&begin));
    // Each state's way: the number of the state before, and the step from there.
    let mut ways: Vec<(u32, Option<M::Step>)> = vec![(0, None)];
    let (mut layer, mut next) = (vec![(begin, 0)], Vec::new());
    let mut steps = Vec::new();
    let mut depth = 0;
    loop {
        for (state, number) in layer.drain(..) {
            if let Some(promise) = model.broken(&state) {
                let counterexample = Some(Counterexample {
                    promise,
                    steps: way(model, &ways, number),
                });
                let states = ways.len();
                return Found {
                    states,
                    depth,
                    counterexample,
                };
            }
            steps.clear();
            model.steps(&state, &mut steps);
            for step in &steps {
                let after = model.after(&state, *step);
                if seen.insert(hash(&after)) {
                    next.push((after, u32::try_from(ways.len()).unwrap()));
                    ways.push((number, Some(*step)));
                }
            }
        }
        if next.is_empty() {
            let states = ways.len();
            return Found {
                states,
                depth,
                counterexample: None,
            };
        }
        depth += 1;
        std::mem::swap(&mut layer, &mut next);
    }
}

/// The steps to a state, in words.
fn way<M: Model>(model: &M, ways: &[(u32, Option<M::Step>)], number: u32) -> Vec<String> {
    let mut steps = Vec::new();
    let mut number = number;
    while let (before, Some(step)) = ways[usize::try_from(number).unwrap()] {
        steps.push(step);
        number = before;
    }
    let mut state = model.begin();
    let mut words = Vec::new();
    for step in steps.iter().rev() {
        words.push(model.tell(&state, *step));
        state = model.after(&state, *step);
    }
    words
}

fn hash(state: &impl Hash) -> u64 {
    let mut hasher = Mixer(0);
    state.hash(&mut hasher);
    hasher.finish()
}

/// A fast hash for short keys: multiply and fold, for each word.
struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9E37_79B9_7F4A_7C15)
            .wrapping_mul(0xD6E8_FEB8_6659_FD93_A5A3_564E_27F8_8693);
        let bytes = product.to_le_bytes();
        let (low, high) = bytes.split_at(8);
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        self.0 = number(low).rotate_left(29) ^ number(high);
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(u64::from_le_bytes(word.to_le_bytes()));
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        panic!("only hashes are kept");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
