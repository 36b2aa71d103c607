//! Asks a running daemon to reload its accounts.
//!
//! # Theory of operation
//! The daemon that serves a mail directory holds the lock in it. `/proc/locks` names the process by
//! its number in our namespace. Another kernel, file system or container might use the same
//! numbers, so the process must also have the lock file open. Its pidfd is opened before that
//! check, so that the signal cannot reach another process that gets the same number.
//!
//! # Known limits
//! A daemon in another container or of another user cannot be found, and one that was started
//! without a configuration has no accounts to reload. In both cases the user is asked to do it.

use std::{
    ffi::OsStr,
    io::Write,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::Path,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{
    config::{Config, Environment},
    store,
};

use super::Error;

/// Asks the daemon that serves the mail of `config` to reload, and reports this to the user.
pub(super) fn ask_daemon(config: &Config, output: &mut dyn Write) -> Result<(), Error> {
    let lock = store::lock_of(&config.mail);
    if !is_held(&lock) {
        writeln!(
            output,
            "no daemon serves {}; if the daemon uses another directory, put --mail DIR before \
             `account`",
            config.mail.display()
        )?;
        return Ok(());
    }
    let asked = holder(&lock).and_then(|(pid, process)| {
        pidfd_send_signal(process, Signal::HUP).ok()?;
        Some(pid)
    });
    match asked {
        Some(pid) => writeln!(
            output,
            "asked the daemon (process {pid}) to reload its accounts; its log says whether it did"
        )?,
        None => writeln!(
            output,
            "send SIGHUP to the daemon that serves {}: this command cannot find it",
            config.mail.display()
        )?,
    }
    Ok(())
}

/// Whether a process holds the lock.
fn is_held(lock: &Path) -> bool {
    let file = std::fs::File::open(lock);
    file.is_ok_and(|file| matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}

/// The daemon that holds the lock, if it has files to reload: it then survives SIGHUP.
fn holder(lock: &Path) -> Option<(u32, OwnedFd)> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let inode = std::fs::metadata(lock).ok()?.ino();
    let mut pids: Vec<u32> = locks
        .lines()
        .filter_map(|line| pid_of(line, inode))
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().find_map(|pid| {
        let process = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let process = pidfd_open(process, PidfdFlags::empty()).ok()?;
        (has_open(pid, lock) && has_configuration(pid)).then_some((pid, process))
    })
}

/// The process in a line of `/proc/locks`, if the line is about a lock of the whole file with this
/// inode: `1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF`, see proc(5).
fn pid_of(line: &str, inode: u64) -> Option<u32> {
    let mut words = line.split_whitespace();
    let is_flock = words.nth(1)? == "FLOCK";
    let pid = words.nth(2)?.parse().ok()?;
    let (_, number) = words.next()?.rsplit_once(':')?;
    (is_flock && number.parse() == Ok(inode)).then_some(pid)
}

fn has_open(pid: u32, file: &Path) -> bool {
    let identity = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let wanted = identity(file);
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let mut open = open.into_iter().flatten().flatten();
    wanted.is_some() && open.any(|entry| identity(&entry.path()) == wanted)
}

fn has_configuration(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments = line.split(|octet| *octet == 0);
    arguments.any(|argument| argument == b"--config" || argument.starts_with(b"--config="))
        || environment_of(pid).names_files()
}

/// The environment that a process was started with, as far as it concerns facteur.
fn environment_of(pid: u32) -> Environment {
    let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let variables = variables.split(|octet| *octet == 0).filter_map(|variable| {
        let end = memchr::memchr(b'=', variable)?;
        let (name, value) = variable.split_at_checked(end)?;
        let value = value.get(1..)?;
        Some((
            OsStr::from_bytes(name).into(),
            OsStr::from_bytes(value).into(),
        ))
    });
    Environment::new(variables)
}

#[cfg(test)]
mod tests {
    use crate::fs::{Fs as _, RealFs};

    use super::*;

    #[test]
    fn a_lock_names_its_process() {
        for (line, expected) in [
            (
                "1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF",
                Some(1234),
            ),
            (
                "12: FLOCK  ADVISORY  WRITE 1234 00:2b:5678 0 EOF",
                Some(1234),
            ),
            ("1: FLOCK  ADVISORY  WRITE 1234 fd:01:56780 0 EOF", None),
            ("1: POSIX  ADVISORY  WRITE 1234 fd:01:5678 0 EOF", None),
            ("1: -> FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF", None),
            ("1: FLOCK  ADVISORY  WRITE -1 fd:01:5678 0 EOF", None),
            ("1: FLOCK", None),
            ("", None),
        ] {
            assert_eq!(pid_of(line, 5678), expected, "{line}");
        }
    }

    #[test]
    fn nobody_holds_a_lock_that_does_not_exist() {
        let own = tempfile::tempdir().unwrap();
        let lock = own.path().join("store.lock");
        assert!(!is_held(&lock) && holder(&lock).is_none());
        drop(RealFs.create_new(&lock).unwrap());
        assert!(!is_held(&lock) && holder(&lock).is_none());
    }
}
