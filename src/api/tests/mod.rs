//! The API over a real store, without a driver.

mod closed;
mod events;
mod inbucket;
mod login;
mod mailboxes;
mod mailhog;
mod mailpit;
#[cfg(feature = "postgres")]
mod nodes;
mod openapi;
mod pages;
mod sending;
mod waits;

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use super::{Answer, Api, Asker, Failure, Turn, answer};
use crate::{
    accounts::{Accounts, Settings as AccountSettings},
    clock::{Clock, Hands},
    http::{Body, Distance, Head, Method, Name, Progress, Request, Scope, Target, Way},
    inbox::Memory,
    mail::{Charset, Domain, MailboxName},
    store::{MessageStore, Settings},
};

/// A letter with two texts, an inline picture and an attachment.
const LETTER: &str = "\
From: Ann <ann@a.example>
To: Bob <Bob@A.example>, carl+news@a.example
Cc: dora@b.example
Reply-To: reply@a.example
Subject: Your =?utf-8?q?caf=C3=A9?=
 is open
Date: Mon, 30 Nov 2026 10:00:00 +0100
Message-ID: <1@A.example>
List-Unsubscribe: <mailto:a@x>, <https://x/1>, <https://x/2>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: multipart/alternative; boundary=c

--c
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

The code is 4711=2E
--c
Content-Type: text/html

<p>The <b>code</b> is <img src=cid:1>.
--c--
--b
Content-Type: image/png; name=a.png
Content-Disposition: inline
Content-ID: <1>

png
--b
Content-Type: application/x-evil
Content-Disposition: attachment; filename=\"../a b.bin\"
Content-Transfer-Encoding: base64

AAECAw==
--b--
";

struct World {
    store: Arc<MessageStore>,
    api: Api,
    /// Removed at the end.
    _directory: TempDir,
}

/// What came back: the code, and the text of the body.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    code: u16,
    text: String,
    /// The media type and the disposition.
    fields: (String, String),
}

impl Reply {
    fn json(&self) -> Value {
        assert_eq!(self.code, 200, "{self:?}");
        assert_eq!(self.fields.0, "application/json");
        serde_json::from_str(&self.text).unwrap()
    }

    /// Checks that the request was refused with a text that has `advice`, on one line.
    fn refused(&self, code: u16, advice: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(
            self.text.contains(advice) && !self.text.contains('\n'),
            "{self:?}"
        );
    }
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let settings = Settings::new(directory.path().join("mail"), "host.example");
        let store = Arc::new(MessageStore::open(settings, Clock::system()).unwrap());
        let accounts = Accounts::open(&AccountSettings {
            hostname: Domain::parse("localhost", Charset::Ascii).unwrap(),
            domains: Vec::new(),
            subaddress: Some('+'),
        });
        // Its clock stands still, so that no search takes too long.
        let clock = Clock::turned_by(Arc::new(Hands::new()));
        let api = Api::new(
            Arc::clone(&store),
            Arc::new(accounts),
            clock,
            Memory::default(),
        );
        Self {
            store,
            api: api.receiving_at(vec!["127.0.0.1:65434".parse().unwrap()]),
            _directory: directory,
        }
    }

    /// Delivers a message and returns its ID.
    fn deliver(&self, content: &str, recipients: &[&str]) -> String {
        let mut delivery = self.store.begin_delivery(0).unwrap();
        delivery.append(content.as_bytes()).unwrap();
        let recipients: Vec<_> = recipients.iter().map(|it| mailbox(it)).collect();
        delivery.commit(&recipients).unwrap();
        // The newest is the one with the highest number: the time has seconds only.
        let list = self.api.inbox.list().unwrap();
        let newest = list.items.iter().map(|item| item.seen.id).max().unwrap();
        newest.to_string()
    }

    /// Delivers a message that has only a subject.
    fn deliver_subject(&self, subject: &str, recipients: &[&str]) -> String {
        self.deliver(&format!("Subject: {subject}\n\n"), recipients)
    }

    fn ask_as(&self, asker: &Asker, (method, target): (Method, &str), body: &str) -> Reply {
        let head = b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
        let Ok(Progress::Complete { head, .. }) = Head::parse(head, Distance::Near) else {
            panic!("the head is not complete")
        };
        let request = Request {
            method,
            target: Target::parse(target).unwrap(),
            fields: head.fields,
            body: body.as_bytes().to_vec(),
            scope: Scope::Everything,
            way: Way::Plain,
        };
        self.answer(&request, asker)
    }

    fn answer(&self, request: &Request, asker: &Asker) -> Reply {
        let answer = match answer(&self.api, request, asker) {
            Ok(Answer::Wait(mut wait)) => match wait.turn(&self.api, Duration::ZERO) {
                Turn::Done(answer) => answer.map(|it| Answer::Response(Box::new(it))),
                Turn::Again => panic!("it would have to wait: {wait:?}"),
            },
            other => other,
        };
        match answer {
            Ok(
                answer @ (Answer::Wait(_)
                | Answer::Events { .. }
                | Answer::Letter(_)
                | Answer::Counters),
            ) => {
                panic!("{answer:?}")
            }
            Ok(Answer::Response(response)) => {
                let Body::Octets(octets) = response.body() else {
                    panic!("{response:?}")
                };
                Reply {
                    code: response.status().code(),
                    text: String::from_utf8(octets.to_vec()).unwrap(),
                    fields: fields(&response),
                }
            }
            Ok(Answer::Content {
                response,
                mut content,
            }) => {
                let mut octets = Vec::new();
                while content.next(&mut octets).unwrap() {}
                Reply {
                    code: response.status().code(),
                    text: String::from_utf8(octets).unwrap(),
                    fields: fields(&response),
                }
            }
            Err(Failure::Refused(refusal)) => Reply {
                code: refusal.status.code(),
                text: refusal.text.into_owned(),
                fields: Default::default(),
            },
            Err(Failure::Store(error)) => panic!("{error}"),
        }
    }

    fn ask(&self, method: Method, target: &str, body: &str) -> Reply {
        self.ask_as(&Asker::Everybody, (method, target), body)
    }

    fn get(&self, target: &str) -> Reply {
        self.ask(Method::Get, target, "")
    }

    fn delete(&self, target: &str, body: &str) -> Reply {
        self.ask(Method::Delete, target, body)
    }

    /// The subjects of the messages that there are, in order.
    fn subjects(&self) -> Vec<String> {
        subjects(&self.get("/api/v1/messages").json())
    }
}

fn fields(response: &crate::http::Response) -> (String, String) {
    let first = |name| response.values(name).next().unwrap_or_default().to_owned();
    (first(Name::ContentType), first(Name::ContentDisposition))
}

/// The subjects of a list of Mailpit, in order.
fn subjects(list: &Value) -> Vec<String> {
    let messages = list["messages"].as_array().unwrap();
    let subjects = messages
        .iter()
        .map(|it| it["Subject"].as_str().unwrap().to_owned());
    let mut subjects: Vec<String> = subjects.collect();
    subjects.sort();
    subjects
}

fn mailbox(address: &str) -> MailboxName {
    let (local_part, domain) = address.split_once('@').unwrap();
    MailboxName::from_canonical(local_part, domain).unwrap()
}
