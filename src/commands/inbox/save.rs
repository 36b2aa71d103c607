//! Writing attachments into a directory.
//!
//! # Invariants
//! - A file is in the directory itself, whatever its name in the message: a path, a name that
//!   hides it or a control character is changed.
//! - Nothing is overwritten, and no symbolic link is followed: a number is added to a name that
//!   exists.
//! - A file is complete, or it is removed.

use std::path::{Path, PathBuf};

use crate::fs::{File, Fs as _, RealFs, unless_there};

use super::{
    client::{Client, path_of},
    error::Reason,
    limits,
    message::{Attachment, Message},
    screen::{Screen, printable},
};

/// Writes the attachments of a message into a directory, and prints the paths of the files.
pub(super) fn attachments(
    message: &Message,
    directory: &Path,
    client: &mut Client<'_>,
    screen: &mut Screen<'_>,
) -> Result<(), Reason> {
    if message.attachments.is_empty() {
        return Err(Reason::Without {
            what: "attachment is".to_owned(),
            looked_at: message.summary.described(),
        });
    }
    unless_there(RealFs.create_dir(directory)).map_err(failed(directory))?;
    for attachment in &message.attachments {
        let id = &message.summary.id;
        let response = client.get(&path_of(id, &["part", &attachment.part_id]))?;
        let (path, mut file) = create(directory, &safe_name(attachment))?;
        let written = response.each_piece(&mut |piece| {
            file.append(piece).map_err(failed(&path))?;
            Ok(true)
        });
        if written.is_err() {
            // The failure is reported; a file that cannot be removed does not change it.
            RealFs.unlink(&path).unwrap_or_default();
        }
        written?;
        screen.print(&printable(&path.to_string_lossy()))?;
        screen.print("\n")?;
    }
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Reason {
    let path = path.to_owned();
    |source| Reason::Save { path, source }
}

/// Creates a file with this name, or with a number added to it.
fn create(directory: &Path, name: &str) -> Result<(PathBuf, Box<dyn File>), Reason> {
    let (stem, extension) = halves(name);
    let mut path = directory.join(name);
    for number in 2..limits::FILE_NUMBERS_MAX {
        let created = unless_there(RealFs.create_new(&path)).map_err(failed(&path))?;
        if let Some(file) = created {
            return Ok((path, file));
        }
        path = directory.join(format!("{stem}-{number}{extension}"));
    }
    let exists = std::io::ErrorKind::AlreadyExists;
    Err(failed(&path)(exists.into()))
}

/// A name without its extension, and the extension with its dot.
fn halves(name: &str) -> (&str, &str) {
    let at = name.rfind('.').filter(|&at| at > 0);
    name.split_at_checked(at.unwrap_or(name.len()))
        .unwrap_or((name, ""))
}

/// The name of the file for an attachment: one that is in the directory itself, not hidden, and
/// harmless at a terminal.
fn safe_name(attachment: &Attachment) -> String {
    let last = attachment.file_name.rsplit(['/', '\\']).next();
    let mut name = String::new();
    for c in last.unwrap_or_default().chars() {
        let mut shown = printable(c.encode_utf8(&mut [0; 4]));
        if shown.chars().count() > 1 {
            "_".clone_into(&mut shown);
        }
        name.push_str(&shown);
    }
    let name = name.trim().trim_start_matches(['.', '-', '~', ' ']);
    if name.is_empty() {
        let part: String = attachment
            .part_id
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        return format!("attachment-{part}");
    }
    let (stem, extension) = halves(name);
    let extension = cut(extension, limits::FILE_NAME_OCTETS_MAX.div_euclid(4));
    let room = limits::FILE_NAME_OCTETS_MAX.saturating_sub(extension.len());
    [cut(stem, room), extension].concat()
}

/// The beginning of a text, in at most `octets`.
fn cut(text: &str, octets: usize) -> &str {
    let end = text.floor_char_boundary(octets);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(name: &str) -> String {
        safe_name(&Attachment {
            file_name: name.to_owned(),
            part_id: "2.1".to_owned(),
            ..Attachment::default()
        })
    }

    #[test]
    fn a_name_stays_in_the_directory_and_is_not_hidden() {
        for (name, expect) in [
            ("a.pdf", "a.pdf"),
            ("Übersicht 2026.xlsx", "Übersicht 2026.xlsx"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\bob\\a.doc", "a.doc"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("..", "attachment-21"),
            ("", "attachment-21"),
            ("a/", "attachment-21"),
            (" a\u{0}b\nc\u{1b}.txt ", "a_b_c_.txt"),
            ("\u{202e}gpj.exe", "_gpj.exe"),
        ] {
            assert_eq!(named(name), expect, "{name:?}");
        }
        let long = named(&format!("{}.jpeg", "é".repeat(300)));
        assert!(long.len() <= limits::FILE_NAME_OCTETS_MAX && long.ends_with("é.jpeg"));
    }

    #[test]
    fn nothing_is_overwritten() {
        let own = tempfile::tempdir().unwrap();
        for expect in ["a.tar.gz", "a.tar-2.gz", "a.tar-3.gz"] {
            let (path, _) = create(own.path(), "a.tar.gz").unwrap();
            assert_eq!(path, own.path().join(expect));
        }
        std::os::unix::fs::symlink("elsewhere", own.path().join("b")).unwrap();
        let (path, _) = create(own.path(), "b").unwrap();
        assert_eq!(path, own.path().join("b-2"));
    }

    proptest! {
        #[test]
        fn every_name_is_one_component(name: String) {
            let safe = named(&name);
            let path = Path::new(&safe);
            prop_assert_eq!(path.file_name(), Some(path.as_os_str()));
            prop_assert!(!safe.starts_with('.') && safe.len() <= limits::FILE_NAME_OCTETS_MAX);
            prop_assert_eq!(printable(&safe), safe.clone());
        }
    }
}
