//! What the system can carry: how many sessions at once, and how much of its memory.
//!
//! A daemon with a thread for each client runs into a wall of the system sooner or later:
//! descriptors, mappings, threads, tasks or memory. Met with a cap (NET-4), the wall is a reply to
//! the client that is too many; met unprepared, it is a failure in the middle of somebody's
//! session, or the end of the daemon where a control group has no more memory.
//!
//! What cannot be read, because the system has no such limit or does not tell, bounds nothing.

use std::fs;
use std::io;
use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are not for sessions: listeners, the log, the lock, and what sessions have open
/// beside their sockets for the moment of a delivery.
const DESCRIPTORS_RESERVE: u64 = 256;

/// Mappings that are not for threads: the program, its libraries, the heap.
const MAPPINGS_RESERVE: u64 = 4_096;

/// Mappings of one thread: its stack, the guard, the signal stack and its guard.
const MAPPINGS_PER_THREAD: u64 = 4;

/// Tasks of the control group that are not for sessions: handshakes of TLS, a look from outside.
const TASKS_RESERVE: u64 = 32;

/// Tasks that the daemon has when nobody is there. Where there are few, half of the others are for
/// sessions.
const TASKS_OWN: u64 = 8;

/// Memory in octets that is there whoever comes: the program, two batches of the journal, and the
/// tables that the store keeps. Its limits make that 8, 4 and 3 MiB beside 5 for the program.
const MEMORY_OWN: u64 = 21 * 1_024 * 1_024;

/// Memory in octets that a session takes at worst without asking for more, with TLS (SEC-9), and
/// that the kernel takes for it: another stack, the socket, and what waits there to be sent.
const SESSION_OCTETS: u64 = 192 * 1_024;

/// Where a control group's memory is limited; beyond `memory.high` it is slowed down.
const MEMORY_FILES: [&str; 3] = ["memory.max", "memory.high", "memory.limit_in_bytes"];

/// The name of the limit of a control group's memory.
pub const GROUP_MEMORY: &str = "the control group's memory";

/// The limits of the system, as far as they are known, and what is already spoken for.
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
    /// Octets of memory that the control group of this process may have.
    pub memory: Option<u64>,
    /// Octets of it that the verification of a password takes; 0 where none are verified.
    pub verification_octets: u64,
}

/// How the memory of a control group is divided, in octets (SEC-9). What the daemon takes whoever
/// comes, and a verification of a password where there are any, is set apart; of the rest the
/// sessions have one half, for all that they need not ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// For all sessions, and what is on its way.
    pub sessions: u64,
    /// What is on its way beyond that: a quarter.
    pub in_flight: u64,
    /// Listings of open maildrops: three sixteenths.
    pub listed: u64,
    /// Listings that are remembered: half a sixteenth.
    pub remembered: u64,
    /// Further verifications of passwords, beside the first: half a sixteenth.
    pub verifications: u64,
}

impl Division {
    fn of(octets: u64, verification_octets: u64) -> Self {
        let own = MEMORY_OWN.saturating_add(verification_octets);
        // A group that is too small for the daemon gets one that serves somebody all the same.
        let rest = octets.saturating_sub(own).max(octets / 4);
        let part = rest / 32;
        Self {
            sessions: part.saturating_mul(16),
            in_flight: part.saturating_mul(8),
            listed: part.saturating_mul(6),
            remembered: part,
            verifications: part,
        }
    }
}

impl System {
    /// Reads the limits, after the soft limit of descriptors was raised to the hard one.
    pub fn read(verification_octets: u64) -> Self {
        if raise_descriptors().is_err() {
            log::info!("the limit of open files stays at its soft value");
        }
        Self {
            descriptors: getrlimit(Resource::Nofile).current,
            mappings: number_in("/proc/sys/vm/max_map_count"),
            threads: number_in("/proc/sys/kernel/threads-max"),
            tasks: group_limit("pids", &["pids.max"]),
            memory: group_limit("memory", &MEMORY_FILES),
            verification_octets,
        }
    }

    /// How the memory is divided, where it is limited.
    pub fn division(&self) -> Option<Division> {
        let octets = self.memory?;
        Some(Division::of(octets, self.verification_octets))
    }

    /// How many passwords may be verified at once on `cores`: one on each, as far as there is
    /// memory for them.
    pub fn verifications_max(&self, cores: NonZeroUsize) -> NonZeroUsize {
        let further = self
            .division()
            .and_then(|it| it.verifications.checked_div(self.verification_octets));
        further.map_or(cores, |further| {
            let further = usize::try_from(further).unwrap_or(usize::MAX);
            NonZeroUsize::MIN.saturating_add(further).min(cores)
        })
    }

    /// The most sessions, at least 1, and what bounds them.
    pub fn sessions_max(&self) -> (usize, &'static str) {
        // Where there are few descriptors a session may need several of them at its busiest.
        let files = |n: u64| n.saturating_sub(DESCRIPTORS_RESERVE).max(n / 4);
        let mappings = |n: u64| n.saturating_sub(MAPPINGS_RESERVE) / MAPPINGS_PER_THREAD;
        let threads = |n: u64| n.saturating_sub(n / 10);
        let tasks = |n: u64| {
            let of_few = n.saturating_sub(TASKS_OWN) / 2;
            n.saturating_sub(TASKS_RESERVE).max(of_few)
        };
        let memory = |division: Division| division.sessions / SESSION_OCTETS;
        let bounds = [
            (self.descriptors.map(files), "the limit of open files"),
            (self.mappings.map(mappings), "vm.max_map_count"),
            (self.threads.map(threads), "kernel.threads-max"),
            (self.tasks.map(tasks), "the control group's pids.max"),
            (self.division().map(memory), GROUP_MEMORY),
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
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The least that the control groups of this process allow of what `controller` limits, each in one
/// of `files`.
fn group_limit(controller: &str, files: &[&str]) -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    least_of(&groups, controller, files, number_in)
}

/// The same for the groups that the lines of a `/proc/self/cgroup` name, out of files that
/// `number_in` reads.
fn least_of(
    groups: &str,
    controller: &str,
    files: &[&str],
    number_in: impl Fn(&str) -> Option<u64>,
) -> Option<u64> {
    let directories = groups
        .lines()
        .flat_map(|line| directories(line, controller));
    let paths = directories.flat_map(|directory| {
        let paths = files.iter().map(|file| format!("{directory}/{file}"));
        paths.collect::<Vec<_>>()
    });
    paths.filter_map(|path| number_in(&path)).min()
}

/// Where the limits stand that hold for a group which a line of `/proc/self/cgroup` names,
/// `0::/path` in version 2, `n:controllers:/path` in version 1: in its directory and in all above
/// it. In a container the path may be that of the host, and its own group at the top.
fn directories(line: &str, controller: &str) -> Vec<String> {
    let mut fields = line.splitn(3, ':');
    let (_, Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
        return Vec::new();
    };
    let top = match controllers {
        "" => "/sys/fs/cgroup".to_owned(),
        of_line if of_line.split(',').any(|one| one == controller) => {
            format!("/sys/fs/cgroup/{of_line}")
        }
        _ => return Vec::new(),
    };
    let ends = path.match_indices('/').map(|(end, _)| end);
    let ends = ends.chain((path.len() > 1).then_some(path.len()));
    let above = ends.filter_map(|end| path.get(..end));
    above.map(|group| format!("{top}{group}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNLIMITED: System = System {
        descriptors: None,
        mappings: None,
        threads: None,
        tasks: None,
        memory: None,
        verification_octets: VERIFICATION,
    };

    const MIB: u64 = 1_024 * 1_024;
    const VERIFICATION: u64 = 19 * MIB;

    #[test]
    fn the_narrowest_limit_bounds_the_sessions() {
        let usual = System {
            descriptors: Some(1_048_576),
            mappings: Some(65_530),
            threads: Some(192_000),
            ..UNLIMITED
        };
        let with = |change: fn(&mut System)| {
            let mut system = usual;
            change(&mut system);
            system
        };
        for (system, expect) in [
            (usual, (15_358, "vm.max_map_count")),
            (
                with(|it| it.descriptors = Some(1_024)),
                (768, "the limit of open files"),
            ),
            (
                with(|it| it.descriptors = Some(64)),
                (16, "the limit of open files"),
            ),
            (
                with(|it| it.threads = Some(1_000)),
                (900, "kernel.threads-max"),
            ),
            (
                with(|it| it.tasks = Some(100)),
                (68, "the control group's pids.max"),
            ),
            (
                with(|it| it.tasks = Some(32)),
                (12, "the control group's pids.max"),
            ),
            (
                with(|it| it.tasks = Some(8)),
                (1, "the control group's pids.max"),
            ),
            (with(|it| it.memory = Some(64 * MIB)), (64, GROUP_MEMORY)),
            (with(|it| it.memory = Some(16 * MIB)), (10, GROUP_MEMORY)),
            (
                with(|it| it.memory = Some(u64::MAX)),
                (15_358, "vm.max_map_count"),
            ),
            (UNLIMITED, (usize::MAX, "nothing")),
        ] {
            assert_eq!(system.sessions_max(), expect, "{system:?}");
        }
    }

    /// SEC-9.
    #[test]
    fn the_memory_of_a_group_is_not_divided_twice() {
        for octets in [0, 1, 16 * MIB, 64 * MIB, 512 * MIB, u64::MAX] {
            let it = Division::of(octets, VERIFICATION);
            let parts = [
                it.sessions,
                it.in_flight,
                it.listed,
                it.remembered,
                it.verifications,
            ];
            let own = octets.min(MEMORY_OWN + VERIFICATION) / 4 * 3;
            assert!(parts.iter().sum::<u64>() <= octets - own, "{it:?}");
        }
    }

    /// SEC-9, SEC-11.
    #[test]
    fn no_more_passwords_are_verified_at_once_than_there_is_memory_for() {
        let cores = NonZeroUsize::new(4).unwrap();
        for (memory, expect) in [
            (None, 4),
            (Some(u64::MAX), 4),
            (Some(64 * MIB), 1),
            (Some(1_024 * MIB), 2),
        ] {
            let system = System {
                memory,
                ..UNLIMITED
            };
            assert_eq!(system.verifications_max(cores).get(), expect, "{memory:?}");
            let open = System {
                verification_octets: 0,
                ..system
            };
            assert_eq!(open.verifications_max(cores), cores, "there are none");
        }
    }

    #[test]
    fn a_limit_is_looked_for_in_our_own_group_and_above() {
        const V2: &str = "/sys/fs/cgroup";
        for (line, expect) in [
            ("0::/", vec![V2.to_owned()]),
            (
                "0::/system.slice/facteur.service",
                vec![
                    V2.to_owned(),
                    format!("{V2}/system.slice"),
                    format!("{V2}/system.slice/facteur.service"),
                ],
            ),
            (
                "7:pids:/a:b",
                vec![format!("{V2}/pids"), format!("{V2}/pids/a:b")],
            ),
            (
                "7:cpu,pids:/a",
                vec![format!("{V2}/cpu,pids"), format!("{V2}/cpu,pids/a")],
            ),
            ("4:memory:/a", vec![]),
            ("4:pidsx:/a", vec![]),
            ("nonsense", vec![]),
        ] {
            assert_eq!(directories(line, "pids"), expect, "{line}");
        }
    }

    #[test]
    fn the_least_of_all_limits_counts() {
        let limit = |there: &[(&str, u64)]| {
            let number_in = |path: &str| {
                let file = path.strip_prefix("/sys/fs/cgroup/");
                there.iter().find(|it| Some(it.0) == file).map(|it| it.1)
            };
            least_of("1:cpu:/c\n0::/a/b\n", "memory", &MEMORY_FILES, number_in)
        };
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[("a/b/memory.max", 2)]), Some(2));
        assert_eq!(
            limit(&[("a/memory.max", 1), ("a/b/memory.max", 2)]),
            Some(1)
        );
        assert_eq!(
            limit(&[("a/memory.max", 2), ("a/b/memory.high", 1)]),
            Some(1)
        );
        assert_eq!(
            limit(&[("c/memory.max", 1), ("b/memory.max", 1)]),
            None,
            "not ours"
        );
    }

    #[test]
    fn this_system_carries_some_sessions() {
        assert!(System::read(0).sessions_max().0 > 1);
    }
}
