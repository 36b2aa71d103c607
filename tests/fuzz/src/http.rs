//! HTTP: a connection is understood alike at every split, each request that is handed out has the
//! length that its head says, and memory is bounded. A message that is to be sent has lines that
//! every program can read.

use std::sync::Arc;

use facteur::api::Letter;
use facteur::http::{
    Action, Client, Distance, Head, Login, Outcome, Pairs, Request, Response, Rules, Session,
    Status, Way, attachment, limits,
};
use facteur::mail::Dots;

use crate::cuts;

/// A buffer grows to twice what it needs.
const HELD_OCTETS_MAX: usize = 2 * limits::HEAD_OCTETS_MAX + 8_192;

/// Reads a connection at three splits, and once more as a single head and as a form.
pub fn run(data: &[u8]) {
    let Some((settings, octets)) = data.split_first() else {
        return;
    };
    let client = Client {
        way: [Way::Plain, Way::Tls, Way::Control][usize::from(settings % 3)],
        distance: [Distance::Near, Distance::Far][usize::from(settings / 3 % 2)],
    };
    let [whole, single, some] = cuts(octets).map(|pieces| connection(client, &pieces));
    assert_eq!(whole, single);
    assert_eq!(whole, some);
    drop(Head::parse(octets, client.distance));
    if let Ok(pairs) = Pairs::parse(octets) {
        assert!(pairs.iter().count() <= limits::PAIRS_MAX);
    }
    if let Ok(letter) = Letter::parse(octets, Dots::Anywhere) {
        let content = letter.content("Sun, 06 Nov 1994 08:49:37 +0000", "1@localhost");
        for line in content.split(|octet| *octet == b'\n') {
            assert!(line.len() <= 998 && !line.contains(&b'\r'));
        }
    }
    let name = attachment(&String::from_utf8_lossy(octets));
    assert!(name.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
}

/// Everything that is sent, and the requests that are handed out.
fn connection(client: Client, pieces: &[&[u8]]) -> (Vec<u8>, Vec<Request>) {
    let mut session = Session::new(Arc::new(Rules::default()), client);
    let (mut sent, mut requests) = (Vec::new(), Vec::new());
    let mut unread = pieces.concat();
    unread.reverse();
    let mut lengths = pieces.iter().map(|piece| piece.len());
    let mut step = session.greet();
    loop {
        if let Some(reply) = &step.reply {
            reply.render("Sun, 06 Nov 1994 08:49:37 GMT", &mut sent);
        }
        step = match step.action {
            Action::ReadHead { octets_max, .. } | Action::ReadBody { octets_max, .. } => {
                let length = lengths.next().unwrap_or(1).min(octets_max);
                let rest = unread.len().saturating_sub(length);
                let mut piece = unread.split_off(rest);
                piece.reverse();
                if piece.is_empty() {
                    return (sent, requests);
                }
                session.resume(Outcome::Octets(&piece))
            }
            Action::Answer(request) => {
                let length = request.fields.text("content-length").unwrap_or("0");
                assert_eq!(length.parse(), Ok(request.body.len()));
                assert!(!matches!(request.login(), Login::Basic(it) if it.user.contains(':')));
                let path = request.target.path().to_owned();
                requests.push(*request);
                session.resume(Outcome::Response(Box::new(Response::text(
                    Status::Ok,
                    path,
                ))))
            }
            Action::SendBody(_) => session.resume(Outcome::BodySent),
            Action::Close(_) => return (sent, requests),
        };
        assert!(session.held_octets() <= HELD_OCTETS_MAX);
    }
}
