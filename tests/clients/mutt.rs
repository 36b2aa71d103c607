//! mutt reads the Maildir on disk while facteur serves it.

use crate::daemon::Service;
use crate::support::{Facteur, Typist, command, letter, with_lf};

/// Runs mutt on bob's Maildir, on its own terminal with these keys pressed; returns the first
/// message as mutt pipes it.
fn mutt(facteur: &Facteur, keys: &str) -> String {
    let copy = facteur.path("copy");
    let settings = format!(
        "set folder={}\nset quit=yes\nset delete=yes\nset sort=date-received\nset pipe_decode=no\n\
         set wait_key=no\npush \"{keys}<pipe-message>cat > {}<enter><quit>\"\n",
        facteur.path("mail").display(),
        copy.display()
    );
    let file = facteur.write("muttrc", &settings);
    let (file, maildir) = (file.display(), facteur.maildir("bob"));
    let line = format!("mutt -n -F {file} -f {}", maildir.display());
    let mut script = command("script", ["-qec", &line, "/dev/null"]);
    script.env("TERM", "xterm").env("HOME", facteur.path(""));
    let typist = Typist::at(&mut script);
    let screen = typist.leave();
    assert!(screen.contains("A letter for Bob"), "{screen}");
    std::fs::read_to_string(copy).unwrap_or_else(|error| panic!("{error}: {screen}"))
}

#[test]
#[ignore = "needs mutt installed; .ci/run installs it"]
fn mutt_shows_the_message_unchanged() {
    let facteur = Facteur::start();
    facteur.deliver("bob@example.com", &letter());
    let shown = mutt(&facteur, "");
    assert_eq!(shown, with_lf(&facteur.message("bob@example.com")));
    facteur.stop();
}

#[test]
#[ignore = "needs mutt installed; .ci/run installs it"]
fn a_message_that_mutt_has_read_keeps_its_unique_id_and_is_still_served() {
    let facteur = Facteur::start();
    facteur.deliver("bob@example.com", &letter());
    facteur.deliver(
        "bob@example.com",
        "Subject: A letter for Bob, the second\r\n\r\n",
    );
    let ids = facteur.unique_ids("bob@example.com");
    mutt(&facteur, "<display-message><exit>");
    let read = facteur.names("bob", "cur");
    assert!(read.iter().any(|name| name.ends_with(":2,S")), "{read:?}");
    assert_eq!(facteur.unique_ids("bob@example.com"), ids);
    assert_eq!(facteur.contents("bob@example.com")[0], letter());
    facteur.stop();
}

#[test]
#[ignore = "needs mutt installed; .ci/run installs it"]
fn a_message_that_mutt_has_deleted_is_gone() {
    let facteur = Facteur::start();
    facteur.deliver("bob@example.com", &letter());
    facteur.deliver(
        "bob@example.com",
        "Subject: A letter for Bob, the second\r\n\r\n",
    );
    let ids = facteur.unique_ids("bob@example.com");
    mutt(&facteur, "<delete-pattern>~s second<enter>");
    assert_eq!(facteur.unique_ids("bob@example.com"), ids[..1]);
    facteur.stop();
}
