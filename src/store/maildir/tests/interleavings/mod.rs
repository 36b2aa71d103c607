//! Runs the store's threads in many orders, with a mishap of the disk at any point.
//!
//! `shuttle` chooses which thread continues at every lock, wait, atomic operation and disk
//! operation. In each schedule some clients deliver, log in and remove, while the checkpoint thread
//! and other programs run. In most schedules the power fails, the process is killed or the disk
//! reports an error at some step. Then the naive model judges the result. A thread that waits
//! forever is found as a deadlock.
//!
//! # Known limits
//! A disk operation is one step. Schedules are chosen at random, so none is certain to be tried.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

mod explorer;
mod world;

use explorer::{Round, explore, failure, repeat_each};
use world::{World, play};

use crate::{
    store::maildir::checkpoint,
    testing::{
        bugs::{self, Bug},
        rng::Rng,
    },
};

/// The schedules of each test in an ordinary run.
const ROUND: Round = Round {
    random: 850,
    by_priority: 450,
};

/// The number of tests.
const N_TESTS: usize = 9;
const _: () = assert!(N_TESTS * (ROUND.random + ROUND.by_priority) >= 10_000);

fn nothing(_: &World, _: &mut Rng) {}

/// Puts some messages into the first mailbox.
fn some_messages(world: &World, rng: &mut Rng) {
    for _ in 0..=rng.below(3) {
        world.deliver(0, rng);
    }
    if rng.chance(50) {
        checkpoint::checkpoint(&world.store.maildirs().open).unwrap();
    }
}

fn deliver(world: &World, rng: &mut Rng) {
    for _ in 0..=rng.below(2) {
        world.deliver(rng.below(2), rng);
    }
}

fn deliver_to_first(world: &World, rng: &mut Rng) {
    world.deliver(0, rng);
}

fn deliver_many(world: &World, rng: &mut Rng) {
    for _ in 0..3 {
        world.deliver(rng.below(3), rng);
    }
}

fn log_in(world: &World, rng: &mut Rng) {
    for _ in 0..2 {
        drop(world.log_in(rng.below(2), rng));
    }
}

fn log_in_and_remove(world: &World, rng: &mut Rng) {
    if let Some(session) = world.log_in(0, rng) {
        session.remove_some(rng);
    }
}

fn tidy_up(world: &World, rng: &mut Rng) {
    for _ in 0..3 {
        world.tidy_up(0, rng);
    }
}

fn move_carefully(world: &World, rng: &mut Rng) {
    for _ in 0..3 {
        world.move_carefully(0, rng);
    }
}

fn fill_the_disk_for_a_while(world: &World, _: &mut Rng) {
    world.refuse_files(true);
    for _ in 0..10 {
        shuttle::thread::yield_now();
    }
    world.refuse_files(false);
}

fn insist(world: &World, rng: &mut Rng) {
    world.insist(0, rng);
}

fn wait_for_mail(world: &World, rng: &mut Rng) {
    world.wait_for_mail(0, rng);
}

fn close(world: &World, _: &mut Rng) {
    // A failure is judged by what is left on disk.
    world.store.close().unwrap_or_default();
}

fn group_commit() {
    play(nothing, &[("a", deliver), ("b", deliver), ("c", deliver)]);
}

#[test]
fn deliveries_share_a_batch() {
    explore("deliveries_share_a_batch", ROUND, group_commit);
}

fn small_journal() {
    play(some_messages, &[("a", deliver_many), ("b", deliver_many)]);
}

#[test]
fn checkpoints_make_room_for_deliveries() {
    explore("checkpoints_make_room_for_deliveries", ROUND, small_journal);
}

fn logins() {
    play(
        some_messages,
        &[("a", deliver), ("b", deliver), ("c", log_in)],
    );
}

#[test]
fn logins_list_what_was_acknowledged() {
    explore("logins_list_what_was_acknowledged", ROUND, logins);
}

fn removals() {
    play(
        some_messages,
        &[
            ("a", log_in_and_remove),
            ("b", log_in_and_remove),
            ("c", deliver_to_first),
        ],
    );
}

#[test]
fn removals_are_final_and_one_at_a_time() {
    explore("removals_are_final_and_one_at_a_time", ROUND, removals);
}

fn other_programs() {
    play(
        some_messages,
        &[
            ("other", tidy_up),
            ("a", log_in_and_remove),
            ("b", deliver_to_first),
        ],
    );
}

#[test]
fn other_programs_may_rename_and_remove() {
    explore(
        "other_programs_may_rename_and_remove",
        ROUND,
        other_programs,
    );
}

fn moves() {
    play(
        some_messages,
        &[
            ("other", move_carefully),
            ("a", deliver_to_first),
            ("b", deliver_to_first),
            ("c", log_in),
        ],
    );
}

#[test]
fn checkpoints_find_what_other_programs_move() {
    explore("checkpoints_find_what_other_programs_move", ROUND, moves);
}

fn full_disk() {
    play(
        nothing,
        &[
            ("full", fill_the_disk_for_a_while),
            ("a", deliver),
            ("b", deliver),
            ("c", log_in),
        ],
    );
}

#[test]
fn messages_that_cannot_be_applied_are_kept_and_retried() {
    explore(
        "messages_that_cannot_be_applied_are_kept_and_retried",
        ROUND,
        full_disk,
    );
}

fn stop() {
    play(
        some_messages,
        &[
            ("stop", close),
            ("a", deliver),
            ("b", deliver),
            ("c", log_in_and_remove),
        ],
    );
}

#[test]
fn a_store_may_be_closed_at_any_moment() {
    explore("a_store_may_be_closed_at_any_moment", ROUND, stop);
}

fn waits() {
    play(
        some_messages,
        &[
            ("a", insist),
            ("b", deliver),
            ("c", wait_for_mail),
            ("d", wait_for_mail),
        ],
    );
}

/// Mail that comes before, while and after somebody takes a cursor, lists and watches.
#[test]
fn those_that_wait_are_told_of_all_that_they_have_not_listed() {
    explore(
        "those_that_wait_are_told_of_all_that_they_have_not_listed",
        ROUND,
        waits,
    );
}

/// Searches for `bug` in as many schedules as an ordinary run has. Returns the failure.
fn find(bug: Bug, test: fn()) -> String {
    bugs::plant(Some(bug));
    let failure = failure(ROUND, test);
    bugs::plant(None);
    failure.unwrap_or_else(|| panic!("{bug:?} is not found"))
}

#[test]
fn a_lost_wake_up_is_found() {
    let failure = find(Bug::FollowersAreMissed, group_commit);
    let is_stuck = failure.contains("deadlock") || failure.contains("max_steps");
    assert!(is_stuck, "{failure}");
}

#[test]
fn a_bell_that_rings_before_the_change_is_there_is_found() {
    let failure = find(Bug::BellsRingEarly, waits);
    let is_stuck = failure.contains("deadlock") || failure.contains("max_steps");
    assert!(is_stuck || failure.contains("seen: "), "{failure}");
}

#[test]
fn a_claim_that_ends_before_the_removal_is_found() {
    let failure = find(Bug::ClaimsEndBeforeRemovals, removals);
    assert!(failure.contains("two sessions"), "{failure}");
}

/// A schedule can be repeated only if the test behaves the same each time.
#[test]
fn schedules_can_be_repeated() {
    for test in [small_journal, other_programs, full_disk, stop, waits] {
        repeat_each(100, test);
    }
}

/// Bugs that `crash.rs` also finds, where threads take turns only between whole actions.
#[test]
fn bugs_that_a_mishap_reveals_are_found() {
    let planted: [(Bug, fn()); 4] = [
        (Bug::CheckpointsCountTheUnapplied, logins),
        (Bug::RemovalsAreNotJournaled, removals),
        (Bug::SegmentsAreReusedEarly, small_journal),
        (Bug::MovedFilesAreMissed, moves),
    ];
    for (bug, test) in planted {
        println!("{bug:?}: {}", find(bug, test));
    }
}
