//! The rules of the store on PostgreSQL as a small model, and a search through all its states.
//!
//! Two nodes (A and B) run facteur, and a primary P has the standbys S1 and S2. One or two messages
//! are delivered to one mailbox, which up to two sessions claim, list and empty, and which somebody
//! looks at without a claim. The search finds out what can happen in any order with a few failures,
//! and whether a promise of the store is broken anywhere. Each rule is also broken on purpose: then
//! the search must find a way to break a promise.
//!
//! # What is modelled
//! - The write-ahead log of each server, record by record. A standby receives and confirms records
//!   at any time. A commit waits until the standbys that the names ask for have confirmed its
//!   record; until then nobody sees it, and it holds its locks. What has no row to write has no
//!   record and does not wait.
//! - `synchronous_standby_names` are emptied and set again; the checkpointer notices later. Waits
//!   are cancelled, with a warning. A primary crashes and starts again, and shows what no standby
//!   has.
//! - A failover comes at any time, also when nothing is wrong, and the old primary lives on beside
//!   the new one; only what the setting makes sure of may be promoted. The failover manager may
//!   name other standbys: who is removed may not be promoted any longer, and who is added may be as
//!   soon as it has everything.
//! - An old primary returns as a standby and keeps its own log, so that what it says to have is
//!   not what it was sent; later it is rewound.
//! - Connections are lost before a statement arrives (it may arrive later), while it waits, before
//!   its answer, and in the proof. Statements with unknown outcome are repeated, at any primary.
//! - Nodes stand still, for example in QUIT. Leases end when a node does not renew them, and at any
//!   time after a failover, since another clock judges them then.
//!
//! # What is not
//! - Partitions need no steps of their own: a server or a node that nobody reaches is one whose
//!   steps do not come. A node that has given up, or is dead, also takes no step.
//! - Confirming is one step with receiving, because what is confirmed late only delays. The old
//!   primary keeps what a standby has confirmed after the standby has gone, as it does until
//!   `wal_sender_timeout`.
//! - A statement sees the names as they were when it began, and changes of the names reach all
//!   processes of a server at once, except for the checkpointer.
//! - Transactions are atomic: no parts of messages, no failed statements. Contents are not removed.
//! - Time is only in leases: a node that runs and has a session renews in time.
//!
//! # How large it is
//! The ordinary run sees eight million states and takes five to ten seconds on two cores. With
//! `FACTEUR_PATIENCE=2` each scenario has one more failure: sixty million states, a few minutes and
//! 1 GiB of memory. `--nocapture` prints the numbers and the counterexamples.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::format_push_string,
    clippy::print_stdout,
    reason = "tests: a failed assumption is a failed test"
)]

mod effects;
mod promises;
mod search;
mod state;
mod steps;
mod tell;
mod world;

use search::{Found, Model, search};
use state::{Failures, P, State};
use steps::Step;
use world::{Deviation, Standbys, World};

/// Sessions of both nodes, or of one.
const BOTH: &[u8] = &[0, 1];
const ONE: &[u8] = &[0];

/// With this many failures together, and one failover.
fn world(failures: u8) -> World<'static> {
    World {
        standbys: Standbys::Named,
        messages: 1,
        sessions: &[],
        looks: false,
        failures: Failures::any(failures),
        deviations: &[],
    }
}

fn found(world: &World<'_>) -> Found {
    let found = search(world);
    let (states, depth) = (found.states, found.depth);
    println!("{world:?}\n{states} states, at most {depth} steps away");
    if let Some(counterexample) = &found.counterexample {
        println!("{}", counterexample.text());
    }
    found
}

/// Searches all of it, with more failures for the patient.
fn assert_kept(world: World<'_>) {
    let is_patient = std::env::var("FACTEUR_PATIENCE").is_ok();
    let mut failures = world.failures;
    failures.all += u8::from(is_patient);
    failures.cuts += u8::from(is_patient);
    let found = found(&World { failures, ..world });
    if let Some(counterexample) = found.counterexample {
        panic!("\n{}", counterexample.text());
    }
    assert!(found.states > 100, "only {} states", found.states);
}

fn assert_broken(world: &World<'_>, promise: &str) {
    let counterexample = found(world).counterexample.expect("no counterexample");
    let text = counterexample.text();
    assert!(counterexample.promise.starts_with(promise), "\n{text}");
}

/// A search for a state that should be reachable.
struct Until<'a> {
    world: World<'a>,
    reached: fn(&State) -> bool,
}

impl Model for Until<'_> {
    type State = State;
    type Step = Step;

    fn begin(&self) -> State {
        self.world.begin()
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        self.world.steps(state, steps);
    }

    fn after(&self, state: &State, step: Step) -> State {
        self.world.after(state, step)
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        (self.reached)(state).then_some("nothing: this should be possible")
    }

    fn tell(&self, state: &State, step: Step) -> String {
        self.world.tell(state, step)
    }
}

mod rules {
    use super::{BOTH, Failures, ONE, P, State, Until, World, assert_kept, search, world};

    /// Otherwise it would be easy to break no promise.
    #[test]
    fn let_good_things_happen() {
        let reached: [fn(&State) -> bool; 3] = [
            |it| it.left.all == 0 && it.leader != P && !it.seen.acknowledged.is_empty(),
            |it| it.left.all == 0 && it.leader != P && !it.seen.gone.is_empty(),
            // The old primary has nothing of it.
            |it| it.server(P).wal.len == 0 && !it.seen.acknowledged.and(it.seen.gone).is_empty(),
        ];
        for reached in reached {
            let world = World {
                sessions: ONE,
                looks: true,
                ..world(1)
            };
            let found = search(&Until { world, reached });
            let counterexample = found.counterexample.expect("it is never reached");
            println!("{}", counterexample.text());
        }
    }

    #[test]
    fn keep_two_messages_through_two_failovers() {
        let failures = Failures {
            promotions: 2,
            ..Failures::any(3)
        };
        assert_kept(World {
            messages: 2,
            failures,
            ..world(0)
        });
    }

    #[test]
    fn keep_a_message_while_the_standbys_change() {
        let failures = Failures {
            promotions: 2,
            renames: 1,
            ..Failures::any(2)
        };
        assert_kept(World {
            looks: true,
            failures,
            ..world(0)
        });
    }

    #[test]
    fn keep_two_messages_beside_a_standby_with_another_history() {
        let failures = Failures {
            returns: 1,
            ..Failures::any(2)
        };
        assert_kept(World {
            messages: 2,
            failures,
            ..world(0)
        });
    }

    #[test]
    fn keep_a_message_that_a_session_removes() {
        assert_kept(World {
            sessions: ONE,
            ..world(2)
        });
    }

    #[test]
    fn keep_a_message_that_is_looked_at_and_removed() {
        assert_kept(World {
            sessions: ONE,
            looks: true,
            ..world(1)
        });
    }

    #[test]
    fn keep_two_messages_with_a_session() {
        assert_kept(World {
            messages: 2,
            sessions: ONE,
            ..world(1)
        });
    }

    #[test]
    fn let_one_session_at_a_time_have_the_mailbox() {
        let failures = Failures {
            freezes: 1,
            ..Failures::any(2)
        };
        assert_kept(World {
            messages: 0,
            sessions: BOTH,
            failures,
            ..world(0)
        });
    }

    #[test]
    fn let_one_session_of_a_node_follow_another() {
        assert_kept(World {
            messages: 0,
            sessions: &[0, 0],
            ..world(2)
        });
    }

    #[test]
    fn keep_a_message_that_two_sessions_may_remove() {
        let failures = Failures {
            all: 1,
            freezes: 1,
            promotions: 1,
            ..Failures::default()
        };
        assert_kept(World {
            sessions: BOTH,
            failures,
            ..world(0)
        });
    }

    /// Mail may be missing or return then, but no session removes what another has claimed.
    #[test]
    fn fence_sessions_also_after_a_restore() {
        let failures = Failures {
            restores: 1,
            freezes: 1,
            ..Failures::any(2)
        };
        assert_kept(World {
            messages: 0,
            sessions: BOTH,
            failures,
            ..world(0)
        });
    }
}

/// How the standbys are named.
mod names {
    use super::{ONE, Standbys, World, assert_broken, assert_kept, world};

    fn scenarios(standbys: Standbys, failures: u8) -> [World<'static>; 3] {
        let world = World {
            standbys,
            ..world(failures)
        };
        [
            World {
                looks: true,
                ..world
            },
            World {
                messages: 2,
                ..world
            },
            World {
                sessions: ONE,
                ..world
            },
        ]
    }

    #[test]
    fn of_all_standbys_lose_nothing() {
        scenarios(Standbys::AnyTwoOfTwo, 2)
            .into_iter()
            .for_each(assert_kept);
    }

    /// Without any failure: the failover manager promotes the standby that has more, and the other
    /// one still follows the old primary.
    #[test]
    fn of_any_standby_lose_mail_whatever_is_checked() {
        let world = World {
            standbys: Standbys::AnyOneOfTwo,
            ..world(0)
        };
        assert_broken(&world, "I1");
    }

    /// It is not enough to ask both: first they must stop following.
    #[test]
    fn of_any_standby_lose_nothing_if_all_leave_the_old_primary_first() {
        scenarios(Standbys::AnyOneOfTwoDetached, 1)
            .into_iter()
            .for_each(assert_kept);
    }
}

/// Each rule broken, and the promise that breaks with it.
mod without {
    use super::{BOTH, Deviation, Failures, ONE, World, assert_broken, world};

    fn two() -> World<'static> {
        let failures = Failures {
            freezes: 1,
            ..Failures::any(1)
        };
        World {
            messages: 0,
            sessions: BOTH,
            failures,
            ..world(0)
        }
    }

    #[test]
    fn the_proof_mail_is_lost() {
        assert_broken(
            &World {
                deviations: &[Deviation::NoProof],
                ..world(1)
            },
            "I1",
        );
    }

    #[test]
    fn the_names_of_the_moment_of_the_proof_mail_is_lost() {
        let failures = Failures {
            renames: 1,
            ..Failures::any(1)
        };
        let deviations = &[Deviation::NamesReadBefore];
        assert_broken(
            &World {
                failures,
                deviations,
                ..world(0)
            },
            "I1",
        );
    }

    #[test]
    fn names_that_are_not_empty_a_proof_proves_nothing() {
        assert_broken(
            &World {
                deviations: &[Deviation::EmptyNamesProve],
                ..world(1)
            },
            "I1",
        );
    }

    #[test]
    fn what_was_sent_a_standby_with_another_history_proves() {
        let failures = Failures {
            returns: 1,
            ..Failures::any(1)
        };
        let deviations = &[Deviation::FlushAlone];
        assert_broken(
            &World {
                messages: 2,
                failures,
                deviations,
                ..world(0)
            },
            "I1: what is acknowledged is on a standby",
        );
    }

    #[test]
    fn heed_of_the_warning_mail_is_lost() {
        assert_broken(
            &World {
                deviations: &[Deviation::WarningIgnored],
                ..world(1)
            },
            "I1",
        );
    }

    #[test]
    fn the_test_of_the_content_removed_mail_returns() {
        let deviations = &[Deviation::RowWithoutContentTest];
        assert_broken(
            &World {
                deviations,
                sessions: ONE,
                ..world(2)
            },
            "I6",
        );
    }

    #[test]
    fn a_proof_before_the_listing_shown_mail_vanishes() {
        let deviations = &[Deviation::ListBeforeProof];
        assert_broken(
            &World {
                deviations,
                sessions: ONE,
                ..world(1)
            },
            "I4",
        );
        assert_broken(
            &World {
                deviations,
                looks: true,
                ..world(1)
            },
            "I4",
        );
    }

    #[test]
    fn a_statement_of_its_own_for_the_claim_two_sessions_have_the_mailbox() {
        let deviations = &[Deviation::ClaimInOneStatement];
        assert_broken(
            &World {
                deviations,
                ..two()
            },
            "one session",
        );
    }

    #[test]
    fn the_session_beside_the_token_a_restore_makes_two_sessions_alike() {
        let failures = Failures {
            restores: 1,
            ..Failures::any(1)
        };
        let deviations = &[Deviation::TokenAlone];
        assert_broken(
            &World {
                failures,
                deviations,
                ..two()
            },
            "a session without",
        );
    }

    #[test]
    fn the_clock_of_the_server_two_sessions_have_the_mailbox() {
        assert_broken(
            &World {
                deviations: &[Deviation::NodeClock],
                ..two()
            },
            "one session",
        );
    }

    #[test]
    fn the_same_name_at_the_repeat_mail_is_there_twice() {
        assert_broken(
            &World {
                deviations: &[Deviation::NewNames],
                ..world(1)
            },
            "I5",
        );
    }

    #[test]
    fn one_server_for_commit_and_proof_mail_is_lost() {
        let deviations = &[Deviation::ProofElsewhere];
        assert_broken(
            &World {
                deviations,
                messages: 2,
                ..world(2)
            },
            "I1",
        );
    }

    #[test]
    fn a_record_of_its_own_a_look_misses_mail() {
        let deviations = &[Deviation::LookWithoutMark];
        assert_broken(
            &World {
                deviations,
                looks: true,
                ..world(0)
            },
            "a look shows",
        );
    }

    #[test]
    fn a_sweep_a_mailbox_is_held_as_long_as_the_node_lives() {
        let deviations = &[Deviation::NoSweep];
        assert_broken(
            &World {
                deviations,
                messages: 0,
                sessions: ONE,
                ..world(1)
            },
            "a claim ends",
        );
    }
}

/// Rules that are there for speed, or for a second line of defence: nothing breaks without them.
mod even_without {
    use super::{BOTH, Deviation, Failures, ONE, World, assert_kept, world};

    /// The proof tells more than they do.
    #[test]
    fn warnings_and_empty_names_nothing_breaks() {
        let deviations = &[
            Deviation::WarningLeftToProof,
            Deviation::EmptyNamesLeftToProof,
        ];
        assert_kept(World {
            deviations,
            messages: 2,
            looks: true,
            ..world(2)
        });
        assert_kept(World {
            deviations,
            sessions: ONE,
            ..world(2)
        });
    }

    /// A claim that was proved is in every log that can survive, and a session begins with the
    /// proof: so a token is not given out twice, unless the database goes back.
    #[test]
    fn the_session_beside_the_token_nothing_breaks_without_a_restore() {
        let failures = Failures {
            freezes: 1,
            ..Failures::any(1)
        };
        let deviations = &[Deviation::TokenAlone];
        assert_kept(World {
            deviations,
            messages: 0,
            sessions: BOTH,
            failures,
            ..world(0)
        });
    }

    /// What it shows is durable.
    #[test]
    fn a_record_of_its_own_a_look_shows_nothing_that_vanishes() {
        let deviations = &[Deviation::LookWithoutMark, Deviation::OldLooksAllowed];
        assert_kept(World {
            deviations,
            messages: 2,
            looks: true,
            ..world(2)
        });
    }
}
