use std::{sync::Barrier, thread};

use proptest::prelude::*;

use super::*;
use crate::clock::Hands;

const RUN: u64 = 7;

fn hub_with_room(changes: usize) -> Arc<Hub> {
    let room = Room {
        changes,
        octets: HUB_OCTETS_MAX,
    };
    Arc::new(Hub::with_room(RUN, Clock::system(), room))
}

fn hub() -> Arc<Hub> {
    Arc::new(Hub::new(RUN, Clock::system()))
}

fn mailbox(number: usize) -> MailboxName {
    MailboxName::from_canonical(&format!("u{number}"), "example.org").unwrap()
}

fn id(number: usize) -> EntryId {
    EntryId::own(RUN, number.try_into().unwrap())
}

/// Reports that the message with this number arrived in the mailbox with that number.
fn tell(hub: &Hub, number: usize, to: usize) {
    hub.tell(Change::Arrived, &mailbox(to), id(number));
}

fn watch(hub: &Arc<Hub>, of: Option<usize>) -> Watch {
    let of = of.map(mailbox);
    hub.watch(of.as_ref(), hub.cursor()).unwrap()
}

/// The numbers of the messages that a watch reports now.
fn now(watch: &mut Watch) -> Result<Vec<usize>, Missed> {
    let number = |news: News| {
        (0..=HUB_CHANGES_MAX)
            .find(|number| id(*number) == news.id)
            .unwrap()
    };
    let news = watch.news(Duration::ZERO)?;
    Ok(news.into_iter().map(number).collect())
}

#[test]
fn a_watch_returns_each_change_behind_its_cursor_once() {
    let hub = hub();
    let mut first = watch(&hub, None);
    tell(&hub, 1, 0);
    let (mut second, mut third) = (watch(&hub, None), watch(&hub, Some(0)));
    let cursor = hub.cursor();
    tell(&hub, 2, 0);
    tell(&hub, 3, 1);
    assert_eq!(now(&mut first), Ok(vec![1, 2, 3]));
    assert_eq!(now(&mut first), Ok(vec![]));
    assert_eq!(now(&mut second), Ok(vec![2, 3]));
    assert_eq!(now(&mut third), Ok(vec![2]));
    let mut later = hub.watch(Some(&mailbox(1)), cursor).unwrap();
    let news = later.news(Duration::ZERO).unwrap();
    let mut behind = hub.watch(None, news[0].cursor).unwrap();
    assert_eq!(now(&mut behind), Ok(vec![]));
    assert_eq!(later.cursor(), hub.cursor());
}

#[test]
fn changes_are_recorded_from_the_first_cursor_on_even_if_nobody_watches() {
    let hub = hub();
    assert!(!hub.is_recording());
    let cursor = hub.cursor();
    assert!(hub.is_recording());
    drop(hub.watch(None, cursor).unwrap());
    tell(&hub, 1, 0);
    assert_eq!(now(&mut hub.watch(None, cursor).unwrap()), Ok(vec![1]));
}

#[test]
fn a_cursor_of_another_run_or_behind_the_ring_or_invented_is_refused() {
    let hub = hub_with_room(2);
    let cursor = hub.cursor();
    for number in 0..3 {
        tell(&hub, number, 0);
    }
    for (since, is_known) in [
        (cursor, false),
        (Cursor::new(RUN, 1), true),
        (hub.cursor(), true),
        (Cursor::new(RUN, 3), true),
        (Cursor::new(RUN, 4), false),
        (Cursor::new(RUN, u64::MAX), false),
        (Cursor::new(RUN + 1, 2), false),
    ] {
        assert_eq!(hub.watch(None, since).is_ok(), is_known, "{since}");
        assert_eq!(hub.watch(Some(&mailbox(0)), since).is_ok(), is_known);
    }
    assert_eq!(hub.state.lock().of_all.n_watches, 0);
    assert_eq!(hub.state.lock().of_one.len(), 0);
}

#[test]
fn a_watch_that_is_too_far_behind_reports_it_and_continues() {
    let hub = hub_with_room(3);
    let (mut all, mut one, mut other) = (
        watch(&hub, None),
        watch(&hub, Some(0)),
        watch(&hub, Some(1)),
    );
    for number in 0..4 {
        tell(&hub, number, 0);
    }
    for watch in [&mut all, &mut one] {
        assert_eq!(now(watch), Err(Missed));
        assert_eq!(now(watch), Ok(vec![1, 2, 3]));
    }
    assert_eq!(now(&mut other), Ok(vec![]), "nothing of this mailbox");
}

#[test]
fn the_ring_is_bounded_and_what_one_call_returns_too() {
    let hub = hub();
    let mut watch = watch(&hub, None);
    for number in 0..=HUB_NEWS_MAX {
        tell(&hub, number, 0);
    }
    assert_eq!(now(&mut watch).unwrap().len(), HUB_NEWS_MAX);
    assert_eq!(now(&mut watch), Ok(vec![HUB_NEWS_MAX]));
    for number in 0..HUB_CHANGES_MAX {
        tell(&hub, number, 0);
    }
    assert!(hub.state.lock().ring.octets < HUB_OCTETS_MAX);
    let long = MailboxName::from_canonical(&"l".repeat(300), "example.org").unwrap();
    for number in 0..HUB_CHANGES_MAX {
        hub.tell(Change::Removed, &long, id(number));
    }
    let ring = &hub.state.lock().ring;
    assert!(ring.octets <= HUB_OCTETS_MAX && ring.news.len() < HUB_CHANGES_MAX);
    assert_eq!(
        ring.octets,
        ring.news.iter().map(News::octets).sum::<usize>()
    );
}

#[test]
fn a_watch_waits_for_changes_of_its_mailbox() {
    for of in [None, Some(0)] {
        let hub = hub();
        let (mut watched, mut other) = (watch(&hub, of), watch(&hub, Some(1)));
        let both = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                both.wait();
                tell(&hub, 1, 0);
            });
            both.wait();
            let news = watched.news(Duration::MAX).unwrap();
            assert_eq!(news[0].id, id(1));
        });
        assert_eq!(now(&mut other), Ok(vec![]));
    }
}

/// Each of a thousand threads gets each of a hundred changes, whoever wakes it.
#[test]
fn threads_that_are_woken_together_miss_nothing() {
    const CHANGES: usize = 100;
    for of in [None, Some(0)] {
        let hub = hub();
        let cursor = hub.cursor();
        thread::scope(|scope| {
            for _ in 0..HUB_PROMPT_MAX + 20 {
                let of = of.map(mailbox);
                let mut watch = hub.watch(of.as_ref(), cursor).unwrap();
                scope.spawn(move || {
                    let mut n_seen = 0;
                    while n_seen < CHANGES {
                        n_seen += watch.news(Duration::MAX).unwrap().len();
                    }
                    assert_eq!(n_seen, CHANGES);
                });
            }
            for number in 0..CHANGES {
                tell(&hub, number, 0);
                thread::yield_now();
            }
        });
    }
}

#[test]
fn a_paced_bell_rings_at_most_once_in_its_pace() {
    let hands = Arc::new(Hands::new());
    let clock = Clock::turned_by(Arc::clone(&hands));
    let mut bell = Bell {
        n_watches: 1,
        ..Bell::default()
    };
    let mut rings = |is_paced| bell.note(1, clock.now(), is_paced).is_some();
    assert!(rings(true));
    assert!(!rings(true));
    assert!(rings(false), "not paced");
    let moment = Duration::from_nanos(1);
    hands.pass(HUB_PACE.saturating_sub(moment));
    assert!(!rings(true));
    hands.pass(moment);
    assert!(rings(true));
    bell.n_watches = 0;
    hands.pass(HUB_PACE);
    assert!(bell.note(2, clock.now(), true).is_none(), "nobody is there");
    assert_eq!(bell.newest, 2);
}

#[test]
fn a_mailbox_has_a_bell_while_somebody_watches_it_alone() {
    let hub = hub();
    let n_bells = || hub.state.lock().of_one.len();
    let (first, second) = (watch(&hub, Some(0)), watch(&hub, Some(0)));
    let all = watch(&hub, None);
    assert_eq!(n_bells(), 1);
    drop(first);
    assert_eq!(n_bells(), 1);
    drop((second, all));
    assert_eq!(n_bells(), 0);
    let many: Vec<Watch> = (0..HUB_BELLS_MAX)
        .map(|number| watch(&hub, Some(number)))
        .collect();
    let mut without = watch(&hub, Some(HUB_BELLS_MAX));
    assert_eq!(n_bells(), HUB_BELLS_MAX);
    tell(&hub, 1, HUB_BELLS_MAX);
    tell(&hub, 2, 0);
    assert_eq!(now(&mut without), Ok(vec![1]));
    drop((many, without));
    assert_eq!(n_bells(), 0);
    assert_eq!(hub.state.lock().of_all.n_watches, 0);
}

#[derive(Clone, Debug)]
enum Step {
    Tell { to: usize },
    TakeCursor,
    Watch { of: Option<usize>, cursor: usize },
    Read { watch: usize },
    Drop { watch: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let of = proptest::option::of(0..3_usize);
    prop_oneof![
        4 => (0..3_usize).prop_map(|to| Step::Tell { to }),
        1 => Just(Step::TakeCursor),
        2 => (of, any::<usize>()).prop_map(|(of, cursor)| Step::Watch { of, cursor }),
        3 => any::<usize>().prop_map(|watch| Step::Read { watch }),
        1 => any::<usize>().prop_map(|watch| Step::Drop { watch }),
    ]
}

/// A hub that keeps everything in a list.
#[derive(Default)]
struct Naive {
    /// To which mailbox each change was.
    changes: Vec<usize>,
    room: usize,
}

impl Naive {
    fn first(&self) -> usize {
        self.changes.len().saturating_sub(self.room)
    }

    /// The numbers of the changes of a mailbox from `next` on.
    fn since(&self, next: usize, of: Option<usize>) -> Vec<usize> {
        let changes = self.changes.iter().enumerate().skip(next);
        let changes = changes.filter(|(_, to)| of.is_none_or(|of| of == **to));
        changes.map(|(number, _)| number).collect()
    }

    /// Checks what a watch reported, and returns where it continues.
    fn check(&self, next: usize, of: Option<usize>, found: &Result<Vec<usize>, Missed>) -> usize {
        let wanted = self.since(next, of);
        let is_lost = wanted.iter().any(|number| *number < self.first());
        match found {
            Ok(found) => assert_eq!(*found, wanted),
            Err(Missed) => assert!(next < self.first()),
        }
        assert!(found.is_err() || !is_lost);
        match found {
            Ok(_) => self.changes.len(),
            Err(Missed) => self.first(),
        }
    }
}

proptest! {
    #[test]
    fn the_hub_equals_a_list_of_all_changes(
        steps in proptest::collection::vec(step(), 0..60),
        room in 0..8_usize,
    ) {
        let hub = hub_with_room(room);
        let mut naive = Naive { room, ..Naive::default() };
        let mut cursors = vec![(hub.cursor(), 0)];
        let mut watches: Vec<(Watch, Option<usize>, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Tell { to } => {
                    tell(&hub, naive.changes.len(), to);
                    naive.changes.push(to);
                }
                Step::TakeCursor => cursors.push((hub.cursor(), naive.changes.len())),
                Step::Watch { of, cursor } => {
                    let at = cursor.checked_rem(cursors.len()).unwrap();
                    let (cursor, next) = cursors[at];
                    let begun = hub.watch(of.map(mailbox).as_ref(), cursor);
                    prop_assert_eq!(begun.is_ok(), next >= naive.first());
                    watches.extend(begun.ok().map(|watch| (watch, of, next)));
                }
                Step::Read { watch } => {
                    let Some(at) = watch.checked_rem(watches.len()) else { continue };
                    let (watch, of, next) = &mut watches[at];
                    *next = naive.check(*next, *of, &now(watch));
                    cursors.push((watch.cursor(), *next));
                }
                Step::Drop { watch } => {
                    let Some(at) = watch.checked_rem(watches.len()) else { continue };
                    drop(watches.swap_remove(at));
                }
            }
        }
    }
}
