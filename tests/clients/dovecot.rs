//! Dovecot reads the same Maildir, over IMAP and over POP3.
//!
//! Its protocol programs are started directly, as for a user who has logged in already: no ports,
//! no other processes. Dovecot never reads mail as root; when the tests run as root, they give the
//! Maildirs to another user, and Dovecot runs as that user.

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use crate::daemon::user::{Place, User, is_root, owner_of};
use crate::daemon::{Service, dot_stuffed};
use crate::support::{Facteur, command, letter, run};

/// A facteur whose directory Dovecot can enter; `None` if root cannot start it as another user.
fn start() -> Option<Facteur> {
    if !is_root() {
        return Some(Facteur::start());
    }
    let place = Place::of(User::named("nobody"))?;
    Some(Facteur::start_in(place.directory))
}

/// One of Dovecot's programs, serving bob.
fn dovecot(facteur: &Facteur, program: &str) -> Command {
    let home = facteur.path("dovecot");
    std::fs::create_dir_all(&home).unwrap();
    let user = if is_root() {
        User::named("nobody")
    } else {
        owner_of(&home)
    };
    let id = user.id;
    let home_path = home.display();
    let configuration = format!(
        "base_dir = {home_path}/run\nssl = no\nfirst_valid_uid = 0\nmail_uid = {id}\n\
         mail_location = maildir:{}/%d/%n:INDEX={home_path}/index:CONTROL={home_path}/control\n",
        facteur.path("mail").display()
    );
    let file = facteur.write(&format!("dovecot-{program}.conf"), &configuration);
    let mut dovecot = command(&format!("/usr/lib/dovecot/{program}"), ["-c"]);
    dovecot
        .arg(file)
        .env_clear()
        .env("USER", "bob@example.com")
        .env("HOME", &home);
    if is_root() {
        give_away(&facteur.path(""), user);
        user.starts(&mut dovecot);
    }
    dovecot
}

/// Gives a directory and everything in it to a user.
fn give_away(path: &Path, user: User) {
    chown(path, Some(user.id), Some(user.group)).unwrap();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path(), user);
        }
    }
}

#[test]
#[ignore = "needs dovecot-imapd installed; .ci/run installs it"]
fn dovecot_serves_the_same_octets_over_imap() {
    let Some(facteur) = start() else { return };
    facteur.deliver("bob@example.com", &letter());
    let message = facteur.message("bob@example.com");
    let ids = facteur.unique_ids("bob@example.com");
    let commands = "a SELECT INBOX\r\nb FETCH 1 RFC822.SIZE\r\nc FETCH 1 BODY[]\r\nd LOGOUT\r\n";
    let output = run(&mut dovecot(&facteur, "imap"), commands).succeeded();
    let octets = message.len();
    assert!(
        output.contains(&format!("* 1 FETCH (RFC822.SIZE {octets})")),
        "{output}"
    );
    assert!(
        output.contains(&format!("BODY[] {{{octets}}}\r\n{message}")),
        "{output}"
    );

    // Dovecot has moved and renamed the file, to mark the message as seen.
    let names = facteur.names("bob", "cur");
    assert!(names[0].contains(&format!(",W={octets}:2,")), "{names:?}");
    assert_eq!(facteur.unique_ids("bob@example.com"), ids);
    assert_eq!(facteur.message("bob@example.com"), message);
    facteur.stop();
}

#[test]
#[ignore = "needs dovecot-pop3d installed; .ci/run installs it"]
fn dovecot_serves_the_same_octets_over_pop3() {
    let Some(facteur) = start() else { return };
    facteur.deliver("bob@example.com", &letter());
    let message = facteur.message("bob@example.com");
    let commands = "LIST\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n";
    let output = run(&mut dovecot(&facteur, "pop3"), commands).succeeded();
    let octets = message.len();
    assert!(output.contains(&format!("\r\n1 {octets}\r\n")), "{output}");
    assert!(output.contains(&dot_stuffed(&message)), "{output}");
    assert!(
        facteur.contents("bob@example.com").is_empty(),
        "Dovecot has removed it"
    );
    facteur.stop();
}
