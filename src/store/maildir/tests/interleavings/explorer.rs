//! Runs a test under many schedules of its threads, or repeats one schedule.

use std::{
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use shuttle::{
    Config, Runner,
    scheduler::{
        PctScheduler, RandomScheduler, ReplayScheduler, Schedule, Scheduler, Task, TaskId,
        UncontrolledNondeterminismCheckScheduler,
    },
};

use super::{super::crash::patience, world::take_struck};
use crate::testing::rng::Rng;

/// The stack of a thread: several times what the store needs in a debug build. Only the used part
/// takes memory.
const STACK_OCTETS: usize = 1024 * 1024;

/// A schedule with more steps than this is considered endless: many times what a schedule has. When
/// threads wait forever, the checkpoint thread can keep looking at the clock.
const STEPS_MAX: usize = 20_000;

/// One in so many schedules lets a parked thread wake up for no reason.
const SPURIOUS: NonZeroU32 = NonZeroU32::new(4).unwrap();

/// The number of schedules of each kind in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Every next thread is chosen at random.
    pub(super) random: usize,
    /// The thread with the highest priority continues, and priorities change at a few steps.
    pub(super) by_priority: usize,
}

/// The number of priority changes in such a schedule: the number of steps that have to be in the
/// right order for the races that it searches for.
const DEPTHS: [usize; 2] = [2, 4];

/// Runs `test` under the schedules of `round`, multiplied by `FACTEUR_PATIENCE`; or under the one
/// in `FACTEUR_SCHEDULE`. If one fails, prints how to repeat it.
pub(super) fn explore(name: &str, round: Round, test: fn()) {
    if let Ok(schedule) = std::env::var("FACTEUR_SCHEDULE") {
        run(ReplayScheduler::new_from_encoded(&schedule), test);
        return;
    }
    let mut n_schedules = 0;
    for number in 0..patience() {
        let explored = catch_unwind(|| explore_round(number, round, test));
        n_schedules += explored.unwrap_or_else(|failure| {
            eprintln!(
                "to repeat it, put the failing schedule into FACTEUR_SCHEDULE:\n\
                 FACTEUR_SCHEDULE=... RUSTFLAGS='--cfg shuttle' \
                 cargo test --lib interleavings::{name}"
            );
            resume_unwind(failure)
        });
    }
    let n_struck = take_struck();
    println!("{n_schedules} schedules, {n_struck} with a mishap");
    let n_wanted = u64::try_from(round.random + round.by_priority).unwrap() * patience();
    assert_eq!(u64::try_from(n_schedules).unwrap(), n_wanted);
    assert!(n_struck > n_wanted / 4, "{n_struck}");
}

/// Runs the round with this number. Returns how many schedules it had.
pub(super) fn explore_round(number: u64, round: Round, test: fn()) -> usize {
    let seed = |kind: u64| Rng::new(number * 1000 + kind).next();
    let random = RandomScheduler::new_from_seed(seed(0), round.random);
    let mut n_schedules = run(Steady::new(random), test);
    for (kind, depth) in (1..).zip(DEPTHS) {
        let n = round.by_priority / DEPTHS.len();
        let by_priority = PctScheduler::new_from_seed(seed(kind), depth, n);
        n_schedules += run(Steady::new(by_priority), test);
    }
    n_schedules
}

fn run(scheduler: impl Scheduler + 'static, test: fn()) -> usize {
    let mut config = Config::new();
    config.stack_size = STACK_OCTETS;
    config.max_steps = shuttle::MaxSteps::FailAfter(STEPS_MAX);
    // The order of atomic operations is not explored, as documented.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(test)
}

/// A scheduler that wakes parked threads for no reason only in some schedules. In all others a lost
/// wake-up stays lost, and is found.
struct Steady<S> {
    scheduler: S,
    n_schedules: u32,
}

impl<S> Steady<S> {
    fn new(scheduler: S) -> Self {
        Self {
            scheduler,
            n_schedules: 0,
        }
    }
}

impl<S: Scheduler> Scheduler for Steady<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.n_schedules = self.n_schedules.wrapping_add(1);
        self.scheduler.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        if self.n_schedules % SPURIOUS == 0 {
            return self.scheduler.next_task(runnable, current, is_yielding);
        }
        let is_awake = |task: &&&Task| !task.can_spuriously_wakeup();
        let awake: Vec<&Task> = runnable.iter().filter(is_awake).copied().collect();
        self.scheduler.next_task(&awake, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.scheduler.next_u64()
    }
}

/// Runs `test` twice under each of `n` schedules. Fails if the second run differs.
pub(super) fn repeat_each(n: usize, test: fn()) {
    let random = Steady::new(RandomScheduler::new_from_seed(1, n));
    run(UncontrolledNondeterminismCheckScheduler::new(random), test);
}

/// The failure of `test` in one of the schedules of `round`, if it fails.
pub(super) fn failure(round: Round, test: fn()) -> Option<String> {
    let explored = catch_unwind(AssertUnwindSafe(|| explore_round(0, round, test)));
    let failure = explored.err()?;
    let complaint = failure.downcast_ref::<String>().cloned();
    Some(complaint.unwrap_or_else(|| "no message".to_owned()))
}
