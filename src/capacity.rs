//! How many sessions the system can carry at once.
//!
//! A daemon with a thread for each client runs into a wall of the system sooner or later:
//! descriptors, mappings, threads or tasks. Met with a cap (NET-4), the wall is a reply to the
//! client that is too many; met unprepared, it is a failure in the middle of somebody's session.
//!
//! What cannot be read, because the system has no such limit or does not tell, bounds nothing.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are not for sessions: listeners, the log, the lock, and what sessions have open
/// beside their sockets for the moment of a delivery.
const DESCRIPTORS_RESERVE: u64 = 256;

/// Mappings that are not for threads: the program, its libraries, the heap.
const MAPPINGS_RESERVE: u64 = 4_096;

/// Mappings of one thread: its stack, the guard, the signal stack and its guard.
const MAPPINGS_PER_THREAD: u64 = 4;

/// Tasks of the control group that are not for sessions.
const TASKS_RESERVE: u64 = 32;

/// The limits of the system, as far as they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
    /// Descriptors that this process may have.
    pub descriptors: Option<u64>,
    /// Mappings that this process may have.
    pub mappings: Option<u64>,
    /// Threads that the system may have.
    pub threads: Option<u64>,
    /// Tasks that the control group of this process may have.
    pub tasks: Option<u64>,
}

impl System {
    /// Reads the limits, after the soft limit of descriptors was raised to the hard one.
    pub fn read() -> Self {
        if raise_descriptors().is_err() {
            log::info!("the limit of open files stays at its soft value");
        }
        Self {
            descriptors: getrlimit(Resource::Nofile).current,
            mappings: number_in("/proc/sys/vm/max_map_count"),
            threads: number_in("/proc/sys/kernel/threads-max"),
            tasks: tasks_max(),
        }
    }

    /// The most sessions, at least 1, and what bounds them.
    pub fn sessions_max(&self) -> (usize, &'static str) {
        // Where there are few descriptors a session may need several of them at its busiest.
        let files = |n: u64| n.saturating_sub(DESCRIPTORS_RESERVE).max(n / 4);
        let mappings = |n: u64| n.saturating_sub(MAPPINGS_RESERVE) / MAPPINGS_PER_THREAD;
        let threads = |n: u64| n.saturating_sub(n / 10);
        let bounds = [
            (self.descriptors.map(files), "the limit of open files"),
            (self.mappings.map(mappings), "vm.max_map_count"),
            (self.threads.map(threads), "kernel.threads-max"),
            (
                self.tasks.map(|n| n.saturating_sub(TASKS_RESERVE)),
                "the control group's pids.max",
            ),
        ];
        let known = bounds
            .into_iter()
            .filter_map(|(most, name)| Some((most?, name)));
        let (most, name) = known
            .min_by_key(|&(most, _)| most)
            .unwrap_or((u64::MAX, "nothing"));
        (usize::try_from(most).unwrap_or(usize::MAX).max(1), name)
    }
}

/// Lets this process have as many descriptors as it may: raises the soft limit to the hard one.
///
/// # Errors
/// What the system says; the soft limit stays.
pub fn raise_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// The number that a file of the system holds; `None` where there is none, as with `max`.
fn number_in(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `pids.max` of this process's control group.
fn tasks_max() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().filter_map(pids_file);
    limits.filter_map(|path| number_in(&path)).min()
}

/// Where the limit of tasks stands of a group that a line of `/proc/self/cgroup` names:
/// `0::/path` in version 2, `n:pids:/path` in version 1.
fn pids_file(line: &str) -> Option<String> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    match controllers {
        "" => Some(format!("/sys/fs/cgroup{path}/pids.max")),
        "pids" => Some(format!("/sys/fs/cgroup/pids{path}/pids.max")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNLIMITED: System = System {
        descriptors: None,
        mappings: None,
        threads: None,
        tasks: None,
    };

    #[test]
    fn the_narrowest_limit_bounds_the_sessions() {
        let usual = System {
            descriptors: Some(1_048_576),
            mappings: Some(65_530),
            threads: Some(192_000),
            tasks: None,
        };
        for (system, expect) in [
            (usual, (15_358, "vm.max_map_count")),
            (
                System {
                    descriptors: Some(1_024),
                    ..usual
                },
                (768, "the limit of open files"),
            ),
            (
                System {
                    descriptors: Some(64),
                    ..usual
                },
                (16, "the limit of open files"),
            ),
            (
                System {
                    threads: Some(1_000),
                    ..usual
                },
                (900, "kernel.threads-max"),
            ),
            (
                System {
                    tasks: Some(100),
                    ..usual
                },
                (68, "the control group's pids.max"),
            ),
            (
                System {
                    tasks: Some(8),
                    ..usual
                },
                (1, "the control group's pids.max"),
            ),
            (UNLIMITED, (usize::MAX, "nothing")),
        ] {
            assert_eq!(system.sessions_max(), expect, "{system:?}");
        }
    }

    #[test]
    fn the_limit_of_tasks_is_looked_for_in_our_own_group() {
        for (line, expect) in [
            ("0::/", Some("/sys/fs/cgroup//pids.max")),
            (
                "0::/system.slice/facteur.service",
                Some("/sys/fs/cgroup/system.slice/facteur.service/pids.max"),
            ),
            ("7:pids:/a:b", Some("/sys/fs/cgroup/pids/a:b/pids.max")),
            ("4:memory:/a", None),
            ("nonsense", None),
        ] {
            assert_eq!(pids_file(line).as_deref(), expect, "{line}");
        }
    }

    #[test]
    fn this_system_carries_some_sessions() {
        assert!(System::read().sessions_max().0 > 1);
    }
}
