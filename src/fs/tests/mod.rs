//! Reading real files.

#![expect(clippy::disallowed_methods, reason = "the test plays another program")]

use std::{
    fs::{self, File, FileTimes, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::OFlags,
    process::geteuid,
    thread::{Uid, set_thread_res_uid},
};

use tempfile::TempDir;

use super::{File as _, Fs as _, Kind, RealFile, RealFs};

/// A user that owns nothing here.
const STRANGER: u32 = 12_345;

/// A file that seems to have been written after it was last read: the next reading would change
/// its time of access.
fn unread(place: &TempDir) -> PathBuf {
    let path = place.path().join("mail");
    fs::write(&path, "text").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let after = |secs| {
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(secs));
        time.unwrap()
    };
    let times = FileTimes::new()
        .set_accessed(after(1))
        .set_modified(after(2));
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_times(times)
        .unwrap();
    path
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = [0; 10];
    let n_read = RealFs.open(path)?.read(&mut text)?;
    Ok(text[..n_read].to_vec())
}

#[test]
fn reading_a_file_does_not_change_its_times() {
    let place = tempfile::tempdir().unwrap();
    let path = unread(&place);
    let before = fs::metadata(&path).unwrap();
    assert_eq!(read(&path).unwrap(), b"text");
    let after = fs::metadata(&path).unwrap();
    assert_eq!(before.accessed().unwrap(), after.accessed().unwrap());
}

/// Only the owner of a file may leave its times alone, but others may still read it.
#[test]
fn a_file_of_another_user_is_read() {
    let place = tempfile::tempdir().unwrap();
    let path = unread(&place);
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    if !geteuid().is_root() {
        return;
    }
    let reading = thread::Builder::new()
        .name("stranger".to_owned())
        .spawn(move || {
            let stranger = Uid::from_raw(STRANGER);
            // Of this thread only.
            if set_thread_res_uid(stranger, stranger, stranger).is_ok() && File::open(&path).is_ok()
            {
                assert_eq!(read(&path).unwrap(), b"text");
            }
        });
    reading.unwrap().join().unwrap();
}

/// Whether this file system has files without a name, so that there is something to test.
fn made_in(directory: &Path) -> Option<RealFile> {
    let flags = OFlags::WRONLY | OFlags::TMPFILE;
    RealFs::open_with(directory, flags).ok().map(RealFile)
}

#[test]
fn a_file_made_without_a_name_gets_several_and_takes_none_from_another() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let Some(mut file) = made_in(place) else {
        return;
    };
    file.append(b"content").unwrap();
    assert_eq!(RealFs.read_dir(place).unwrap().len(), 0);
    let [first, second, third] = ["first", "second", "third"].map(|name| place.join(name));
    file.give_name(&first).unwrap();
    file.give_name_by_number(&second).unwrap();
    for taken in [
        file.give_name(&second),
        file.give_name_by_number(&first),
        file.give_name(&first),
    ] {
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
    let nowhere = file.give_name(&place.join("missing").join("third"));
    assert_eq!(nowhere.unwrap_err().kind(), io::ErrorKind::NotFound);
    drop(file);
    let [found, same] = [first, second].map(|path| RealFs.metadata(&path).unwrap());
    assert_eq!(found.stamp.identity, same.stamp.identity);
    assert_eq!((found.kind, found.mode), (Kind::File, 0o600));
    assert!(RealFs.metadata(&third).is_err());
    let mut content = [0; 16];
    let opened = RealFs.open(&place.join("first")).unwrap();
    assert_eq!(opened.read_at(&mut content, 0).unwrap(), 7);
    assert!(content.starts_with(b"content"));
}
