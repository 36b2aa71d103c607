//! What the system can carry: how many concurrent sessions, and how much memory they may use.
//!
//! A daemon with one thread per client reaches a limit of the system sooner or later: descriptors,
//! mappings, threads, tasks or memory. With a cap (NET-4), a client over the limit gets a reply.
//! Without one, a session fails in the middle, or the daemon is killed because a control group has
//! no memory left.
//!
//! A limit that cannot be read, or that the system does not have, is ignored.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are not for sessions: listeners, the log, the lock, the journal, and
/// directories while they are being read or synced.
const DESCRIPTORS_RESERVE: u64 = 256;

/// Descriptors of a session: its socket, and the file of a large message that it is receiving or
/// sending, for as long as its client takes.
const DESCRIPTORS_PER_SESSION: u64 = 2;

/// Mappings without any session: some hundred for the program and its libraries; some hundred for
/// the threads of [`TASKS_OWN`] and [`TASKS_RESERVE`]; and some 300 for the stacks of ended
/// threads, of which the C library keeps 40 MiB.
const MAPPINGS_OWN: u64 = 1_024;

/// Mappings per core: the C library makes up to eight arenas of two mappings each, and one password
/// verification at a time has its memory.
pub const MAPPINGS_PER_CORE: u64 = 17;

/// Mappings per thread: its stack, the guard, the signal stack and its guard. If a thread gets the
/// first two but not the others, it cannot be refused cleanly: the process ends.
pub const MAPPINGS_PER_THREAD: u64 = 4;

/// From this size in octets, the C library gives a piece of memory its own mapping.
const LARGE_OCTETS: u64 = 128 * 1_024;

/// Mappings of a session that has all its large pieces at the same time: input, what it collects
/// from it, output, and what a delivery holds; or the parts of a listing.
const MAPPINGS_PER_BUSY_SESSION: u64 = MAPPINGS_PER_THREAD + 4;

/// Tasks of an idle daemon: the main thread, three listeners, the log, the checkpoints, the
/// certificate's expiry, the signs of life, and the thread that starts all of them. The handshake
/// workers come on top.
const TASKS_OWN: u64 = 9;

/// Further tasks that are not for sessions: three that help to sync, one that helps to remove, and
/// an administrator's shell. If there are few tasks, half of those left are for sessions.
const TASKS_RESERVE: u64 = 16;

/// If tasks are limited, one in this many may be a handshake worker.
const TASKS_PER_WORKER: u64 = 16;

/// Memory in octets without any session: the program, two batches of the journal, and the tables of
/// the store. Their limits make this 8, 4 and 3 MiB, and 5 for the program.
const MEMORY_OWN: u64 = 21 * 1_024 * 1_024;

/// Most memory in octets that a session uses without asking for more, with TLS (SEC-9), and that
/// the kernel uses for it: another stack, the socket, and unsent data.
const SESSION_OCTETS: u64 = 192 * 1_024;

/// The files that limit a control group's memory; beyond `memory.high` the group is slowed down.
const MEMORY_FILES: [&str; 3] = ["memory.max", "memory.high", "memory.limit_in_bytes"];

/// The name of the limit of a control group's memory.
const GROUP_MEMORY: &str = "the control group's memory";

/// The name of the limit of a machine's memory.
const MACHINE_MEMORY: &str = "the machine's memory";

/// What the daemon itself uses, as it is configured, without any session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// Octets of memory for one password verification; 0 if passwords are not verified.
    pub verification_octets: u64,
    /// Octets of memory that all sessions together may hold beyond what each has for itself.
    pub shared_octets: u64,
    /// Octets of a session's stack.
    pub stack_octets: u64,
    /// The number of cores.
    pub cores: NonZeroUsize,
    /// Threads that compute TLS handshakes, if there are enough tasks; 0 without TLS.
    pub workers: usize,
}

/// The limits of the system, as far as they are known, and what the daemon itself uses. What other
/// processes used when the limits were read is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
    /// Descriptors that this process may have.
    pub descriptors: Option<u64>,
    /// Mappings that this process may have.
    pub mappings: Option<u64>,
    /// Threads that the system may have.
    pub threads: Option<u64>,
    /// Process numbers that the system has.
    pub numbers: Option<u64>,
    /// Tasks that the control group of this process may have.
    pub tasks: Option<u64>,
    /// Octets of memory that the control group of this process may have.
    pub memory: Option<u64>,
    /// Octets of memory that the machine has.
    pub machine_memory: Option<u64>,
    /// Octets that may be mapped for writing, if the system does not overcommit.
    pub promised: Option<u64>,
    /// What is not for sessions.
    pub own: Own,
}

/// How the memory of a control group, or of a small machine, is divided, in octets (SEC-9). First
/// the daemon itself gets its part, and one password verification if passwords are verified. Half
/// of the rest is for what sessions use without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// For all sessions, with what is in flight there.
    pub sessions: u64,
    /// What is in flight beyond that: a quarter.
    pub in_flight: u64,
    /// Listings of open maildrops: an eighth.
    pub listed: u64,
    /// Listings that are remembered: half a sixteenth.
    pub remembered: u64,
    /// Listings of all that only look: half a sixteenth.
    pub looked: u64,
    /// What the inbox keeps of all messages: half a sixteenth.
    pub inbox: u64,
    /// Further password verifications, besides the first: half a sixteenth.
    pub verifications: u64,
}

impl Division {
    fn of(octets: u64, verification_octets: u64) -> Self {
        let own = MEMORY_OWN.saturating_add(verification_octets);
        // A group that is too small for the daemon still gets a daemon that serves somebody.
        let rest = octets.saturating_sub(own).max(octets / 4);
        let part = rest / 32;
        Self {
            sessions: part.saturating_mul(16),
            in_flight: part.saturating_mul(8),
            listed: part.saturating_mul(4),
            remembered: part,
            looked: part,
            inbox: part,
            verifications: part,
        }
    }
}

impl System {
    /// Reads the limits, after the soft limit of descriptors was raised to the hard one.
    pub fn read(own: Own) -> Self {
        if raise_descriptors().is_err() {
            log::info!("the limit of open files could not be raised");
        }
        let running = running_in("/proc/loadavg").unwrap_or(0);
        let beside_others = |most: u64| most.saturating_sub(running);
        Self {
            descriptors: getrlimit(Resource::Nofile).current,
            mappings: number_in("/proc/sys/vm/max_map_count"),
            threads: number_in("/proc/sys/kernel/threads-max").map(beside_others),
            numbers: number_in("/proc/sys/kernel/pid_max").map(beside_others),
            tasks: group_limit("pids", |directory| {
                let most = number_in(&format!("{directory}/pids.max"))?;
                let all = number_in(&format!("{directory}/pids.current")).unwrap_or(0);
                // This process has one thread so far.
                Some(most.saturating_sub(all.saturating_sub(1)))
            }),
            memory: group_limit("memory", |directory| {
                let files = MEMORY_FILES.map(|file| number_in(&format!("{directory}/{file}")));
                files.into_iter().flatten().min()
            }),
            machine_memory: octets_in(&meminfo(), "MemTotal:"),
            promised: promised(),
            own,
        }
    }

    /// How the memory is divided, if it is limited.
    pub fn division(&self) -> Option<Division> {
        let (octets, _) = self.narrowest_memory()?;
        Some(Division::of(octets, self.own.verification_octets))
    }

    /// What limits the memory.
    pub fn memory_name(&self) -> &'static str {
        self.narrowest_memory().map_or("nothing", |(_, name)| name)
    }

    fn narrowest_memory(&self) -> Option<(u64, &'static str)> {
        let limits = [
            (self.memory, GROUP_MEMORY),
            (self.machine_memory, MACHINE_MEMORY),
        ];
        let known = limits
            .into_iter()
            .filter_map(|(octets, name)| Some((octets?, name)));
        known.min_by_key(|&(octets, _)| octets)
    }

    /// How many passwords may be verified concurrently: one per core, as far as there is memory for
    /// them.
    pub fn verifications_max(&self) -> NonZeroUsize {
        let further = self
            .division()
            .and_then(|it| it.verifications.checked_div(self.own.verification_octets));
        further.map_or(self.own.cores, |further| {
            let further = usize::try_from(further).unwrap_or(usize::MAX);
            NonZeroUsize::MIN
                .saturating_add(further)
                .min(self.own.cores)
        })
    }

    /// The same for passwords whose verification needs this many octets.
    #[must_use]
    pub fn with_verification_octets(mut self, octets: u64) -> Self {
        self.own.verification_octets = octets;
        self
    }

    /// How many threads should compute handshakes.
    pub fn workers(&self) -> NonZeroUsize {
        let few = |tasks: u64| usize::try_from(tasks / TASKS_PER_WORKER).unwrap_or(usize::MAX);
        let workers = self.own.workers.min(self.tasks.map_or(usize::MAX, few));
        NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN)
    }

    /// The threads that exist without any session.
    fn tasks_own(&self) -> u64 {
        let workers = match self.own.workers {
            0 => 0,
            _ => u64::try_from(self.workers().get()).unwrap_or(u64::MAX),
        };
        TASKS_OWN.saturating_add(workers)
    }

    /// The most sessions, at least 1, and what bounds them.
    pub fn sessions_max(&self) -> (usize, &'static str) {
        // If there are few descriptors, not all sessions are at their busiest.
        let files = |n: u64| {
            let all_busy = n.saturating_sub(DESCRIPTORS_RESERVE) / DESCRIPTORS_PER_SESSION;
            all_busy.max(n / 4)
        };
        // Other programs need threads too.
        let threads = |n: u64| n.saturating_sub(n / 10).saturating_sub(self.tasks_own());
        let tasks = |n: u64| {
            let left = n.saturating_sub(self.tasks_own());
            left.saturating_sub(TASKS_RESERVE).max(left / 2)
        };
        let memory = |division: Division| division.sessions / SESSION_OCTETS;
        let promised = |n: u64| {
            let own = MEMORY_OWN.saturating_add(self.own.shared_octets);
            let each = SESSION_OCTETS.saturating_add(self.own.stack_octets);
            let left = n.saturating_sub(own).max(n / 4);
            left.checked_div(each).unwrap_or(left)
        };
        let bounds = [
            (self.descriptors.map(files), "the limit of open files"),
            (
                self.mappings.map(|n| self.sessions_in_mappings(n)),
                "vm.max_map_count",
            ),
            (self.threads.map(threads), "kernel.threads-max"),
            (self.numbers.map(threads), "kernel.pid_max"),
            (self.tasks.map(tasks), "the control group's pids.max"),
            (self.division().map(memory), self.memory_name()),
            (self.promised.map(promised), "vm.overcommit_memory"),
        ];
        let known = bounds
            .into_iter()
            .filter_map(|(most, name)| Some((most?, name)));
        let (most, name) = known
            .min_by_key(|&(most, _)| most)
            .unwrap_or((u64::MAX, "nothing"));
        (usize::try_from(most).unwrap_or(usize::MAX).max(1), name)
    }

    /// How many sessions this many mappings are enough for. Memory pieces with their own mapping
    /// are counted in one of two ways: by the memory that all sessions share, or by what each
    /// session can have.
    fn sessions_in_mappings(&self, mappings: u64) -> u64 {
        let cores = u64::try_from(self.own.cores.get()).unwrap_or(u64::MAX);
        let own = MAPPINGS_OWN.saturating_add(cores.saturating_mul(MAPPINGS_PER_CORE));
        let left = mappings.saturating_sub(own);
        let large = self.own.shared_octets / LARGE_OCTETS;
        let of_all = left.saturating_sub(large) / MAPPINGS_PER_THREAD;
        of_all.max(left / MAPPINGS_PER_BUSY_SESSION)
    }
}

/// The threads of this process, as the system counts them. That includes threads that have done
/// their work but have not yet released everything: when many sessions end at the same time, their
/// places are free some time before their mappings are.
#[derive(Debug)]
pub struct Threads {
    /// `/proc/self/task`; `None` if it does not exist, and then nothing is counted.
    directory: Option<File>,
    most: u64,
}

impl Threads {
    /// Counts threads from now on, up to the number that `system` can carry. The directory is
    /// opened here because the sandbox would not allow it.
    pub fn of(system: &System) -> Self {
        let (sessions, _) = system.sessions_max();
        let sessions = u64::try_from(sessions).unwrap_or(u64::MAX);
        let own = system.tasks_own().saturating_add(TASKS_RESERVE);
        Self {
            directory: File::open("/proc/self/task").ok(),
            most: sessions.saturating_add(own),
        }
    }

    /// Counts none.
    #[cfg(test)]
    pub(crate) fn uncounted() -> Self {
        Self {
            directory: None,
            most: 0,
        }
    }

    /// Whether there are as many threads as allowed.
    pub fn are_spent(&self) -> bool {
        let directory = self.directory.as_ref();
        let found = directory.and_then(|it| it.metadata().ok());
        // One link per thread, and two as in every directory.
        found.is_some_and(|it| it.nlink().saturating_sub(2) >= self.most)
    }
}

/// Raises the soft limit of this process's descriptors to the hard limit.
///
/// # Errors
/// The error from the system; the soft limit stays.
pub fn raise_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

/// The number in a file of the system; `None` if there is no number, as with `max`.
fn number_in(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// How many tasks the system has now, from a `/proc/loadavg` such as `0.00 0.01 0.05 1/80 4711`.
fn running_in(path: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let (_, all) = text.split_whitespace().nth(3)?.split_once('/')?;
    all.parse().ok()
}

/// What the system says about its memory.
fn meminfo() -> String {
    fs::read_to_string("/proc/meminfo").unwrap_or_default()
}

/// The octets on the line of a `/proc/meminfo` that begins with `name`.
fn octets_in(meminfo: &str, name: &str) -> Option<u64> {
    let mut lines = meminfo.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name))?;
    let kibioctets: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibioctets.checked_mul(1_024)
}

/// What the system may still promise, if it does not overcommit.
fn promised() -> Option<u64> {
    if number_in("/proc/sys/vm/overcommit_memory") != Some(2) {
        return None;
    }
    let meminfo = meminfo();
    let most = octets_in(&meminfo, "CommitLimit:")?;
    Some(most.saturating_sub(octets_in(&meminfo, "Committed_AS:")?))
}

/// The smallest value that `limit_in` finds in this process's control groups for `controller`.
fn group_limit(controller: &str, limit_in: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    least_of(&groups, controller, limit_in)
}

/// The same for the groups in the lines of a `/proc/self/cgroup`.
fn least_of(groups: &str, controller: &str, limit_in: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let directories = groups
        .lines()
        .flat_map(|line| directories(line, controller));
    directories
        .filter_map(|directory| limit_in(&directory))
        .min()
}

/// The directories with the limits of a group from a line of `/proc/self/cgroup`, `0::/path` in
/// version 2, `n:controllers:/path` in version 1: its directory and all its parents. In a container
/// the path may be the host's, and the group itself at the top.
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
        numbers: None,
        tasks: None,
        memory: None,
        machine_memory: None,
        promised: None,
        own: OWN,
    };

    const OWN: Own = Own {
        verification_octets: 19 * MIB,
        shared_octets: 576 * MIB,
        stack_octets: 256 * 1_024,
        cores: NonZeroUsize::new(4).unwrap(),
        workers: 4,
    };

    const MIB: u64 = 1_024 * 1_024;
    const GIB: u64 = 1_024 * MIB;

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
            (usual, (14_957, "vm.max_map_count")),
            (
                with(|it| it.own.shared_octets = 1_024 * GIB),
                (8_054, "vm.max_map_count"),
            ),
            (
                with(|it| it.own.cores = NonZeroUsize::new(256).unwrap()),
                (13_886, "vm.max_map_count"),
            ),
            (
                with(|it| it.descriptors = Some(20_000)),
                (9_872, "the limit of open files"),
            ),
            (
                with(|it| it.descriptors = Some(1_024)),
                (384, "the limit of open files"),
            ),
            (
                with(|it| it.descriptors = Some(64)),
                (16, "the limit of open files"),
            ),
            (
                with(|it| it.threads = Some(1_000)),
                (887, "kernel.threads-max"),
            ),
            (
                with(|it| it.numbers = Some(4_096)),
                (3_674, "kernel.pid_max"),
            ),
            (
                with(|it| it.tasks = Some(100)),
                (71, "the control group's pids.max"),
            ),
            (
                with(|it| it.tasks = Some(32)),
                (10, "the control group's pids.max"),
            ),
            (
                with(|it| it.tasks = Some(8)),
                (1, "the control group's pids.max"),
            ),
            (with(|it| it.memory = Some(64 * MIB)), (64, GROUP_MEMORY)),
            (with(|it| it.memory = Some(16 * MIB)), (10, GROUP_MEMORY)),
            (
                with(|it| it.machine_memory = Some(512 * MIB)),
                (1_258, MACHINE_MEMORY),
            ),
            (
                with(|it| it.promised = Some(2 * GIB)),
                (3_316, "vm.overcommit_memory"),
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
            let it = Division::of(octets, OWN.verification_octets);
            let parts = [
                it.sessions,
                it.in_flight,
                it.listed,
                it.remembered,
                it.looked,
                it.inbox,
                it.verifications,
            ];
            let own = octets.min(MEMORY_OWN + OWN.verification_octets) / 4 * 3;
            assert!(parts.iter().sum::<u64>() <= octets - own, "{it:?}");
        }
    }

    /// SEC-9, SEC-11.
    #[test]
    fn no_more_passwords_are_verified_at_once_than_there_is_memory_for() {
        for (memory, expect) in [
            (None, 4),
            (Some(u64::MAX), 4),
            (Some(64 * MIB), 1),
            (Some(1_024 * MIB), 2),
        ] {
            let mut system = System {
                memory,
                ..UNLIMITED
            };
            assert_eq!(system.verifications_max().get(), expect, "{memory:?}");
            system.own.verification_octets = 0;
            assert_eq!(
                system.verifications_max(),
                OWN.cores,
                "passwords are not verified"
            );
        }
    }

    /// NET-4.
    #[test]
    fn with_few_tasks_few_of_them_are_workers() {
        for (tasks, expect) in [(None, 4), (Some(1_000), 4), (Some(32), 2), (Some(4), 1)] {
            let mut system = System { tasks, ..UNLIMITED };
            assert_eq!(system.workers().get(), expect, "{tasks:?}");
            let with_workers = system.sessions_max().0;
            system.own.workers = 0;
            let more = system.sessions_max().0;
            assert!(
                more > with_workers || tasks.is_none_or(|n| n < 9),
                "{tasks:?}"
            );
        }
    }

    /// NET-4.
    #[test]
    fn threads_are_counted_by_the_system() {
        let none_more = System {
            tasks: Some(0),
            ..UNLIMITED
        };
        let threads = |most| Threads {
            most,
            ..Threads::of(&none_more)
        };
        assert_eq!(Threads::of(&none_more).most, 1 + 9 + 1 + 16);
        // This test has a thread besides the main one.
        assert!(threads(2).are_spent());
        assert!(!threads(1_000_000).are_spent());
        assert!(!Threads::of(&UNLIMITED).are_spent());
    }

    #[test]
    fn the_memory_of_the_machine_is_read() {
        let meminfo = "MemTotal:       24683652 kB\nHugePages_Total:       0\n";
        assert_eq!(octets_in(meminfo, "MemTotal:"), Some(24_683_652 * 1_024));
        assert_eq!(octets_in(meminfo, "HugePages_Total:"), None, "not octets");
        assert_eq!(octets_in(meminfo, "CommitLimit:"), None);
        assert!(octets_in(&super::meminfo(), "MemTotal:") > Some(MIB));
        assert!(running_in("/proc/loadavg") > Some(0));
    }

    #[test]
    fn a_limit_is_looked_for_in_our_own_group_and_its_parents() {
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
    fn the_smallest_of_all_limits_counts() {
        let limit = |there: &[(&str, u64)]| {
            let limit_in = |path: &str| {
                let directory = path.strip_prefix("/sys/fs/cgroup/");
                let found = there.iter().find(|it| Some(it.0) == directory);
                found.map(|it| it.1)
            };
            least_of("1:cpu:/c\n0::/a/b\n", "memory", limit_in)
        };
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[("a/b", 2)]), Some(2));
        assert_eq!(limit(&[("a", 1), ("a/b", 2)]), Some(1));
        assert_eq!(limit(&[("a", 2), ("a/b", 1)]), Some(1));
        assert_eq!(limit(&[("c", 1), ("b", 1)]), None, "not ours");
    }

    #[test]
    fn this_system_carries_some_sessions() {
        assert!(System::read(OWN).sessions_max().0 > 1);
    }
}
