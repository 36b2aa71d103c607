//! The first inputs: the clients' side of all transcripts, and a few of each other kind.

use std::fs;
use std::path::Path;

use crate::transcripts::{Step, Transcript};

/// Writes the seeds of all targets, each into its own directory below `corpus`.
pub fn write(tests: &Path, corpus: &Path) {
    for (protocol, target) in [("smtp", "smtp"), ("lmtp", "smtp"), ("pop3", "pop3")] {
        for entry in fs::read_dir(tests.join("transcripts").join(protocol)).expect("transcripts") {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("a transcript");
            let transcript = Transcript::parse(&text).expect("a transcript");
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let said = said(&transcript);
            put(
                corpus,
                target,
                &format!("{protocol}-{name}"),
                &[&[bits(&transcript)], said.as_slice()].concat(),
            );
            if protocol == "smtp" {
                put(
                    corpus,
                    "content",
                    &name,
                    &[&[u8::from(transcript.lf)], said.as_slice()].concat(),
                );
            }
        }
    }
    let addresses = [
        "bob@example.com",
        "\"quoted \\\" local\"@example.com",
        "bob@[127.0.0.1]",
        "bob@[IPv6:::1]",
        "<@relay.example,@other.example:bob@example.com>",
        "<postmaster>",
        "<>",
        "b\u{fc}cher@b\u{fc}cher.example",
        "bob@xn--bcher-kva.example",
    ];
    for (number, address) in addresses.iter().enumerate() {
        put(corpus, "address", &number.to_string(), address.as_bytes());
    }
    let headers: [&[u8]; 5] = [
        b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 25\r\nEHLO client\r\n",
        b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\xdc\x04\0\x19",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ];
    for (number, header) in headers.iter().enumerate() {
        put(corpus, "proxy", &number.to_string(), header);
    }
    let requests = [
        "GET /m/1-2/html?remote=1&q=a+%C3%A4 HTTP/1.1\r\nHost: localhost:65480\r\n\
         Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost:65480\r\n\r\n",
        "DELETE /api/v1/messages HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 2\r\n\
         Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n{}HEAD / HTTP/1.0\r\n\r\n",
        "PUT /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n\
         Content-Length: 3\r\nX: y\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "OPTIONS /%2e%00 HTTP/1.1\r\nHost: mail.test.:80\r\nIf-None-Match: *\r\n\r\n",
    ];
    put(corpus, "http", "letter", LETTER.as_bytes());
    for (number, request) in requests.iter().enumerate() {
        let octets = format!("\0{request}");
        put(corpus, "http", &number.to_string(), octets.as_bytes());
    }
    let example = fs::read(tests.join("../config.example.toml")).expect("the example");
    put(corpus, "config", "example", &example);
    let accounts = "[[accounts]]\naddress = \"bob@example.com\"\naliases = [\"b@example.com\"]\n\
        password = [\"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$\
        pDWL6CL2u3TVMyYEQ2BHhN1IHwZ8s0kZzqXbUmBV1nY\", \
        \"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
        wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\"]\n\
        catch_all = { \"*\" = \"bob@example.com\" }\n";
    put(corpus, "config", "accounts", accounts.as_bytes());
    put(corpus, "mime", "nested", MAIL.as_bytes());
    let documents = [
        "\0<!-- x --><!DOCTYPE html><iframe src=\"x\" srcdoc='y'>",
        "\0<?xml?><frame/src=x><img src=cid:a@b>url(CID:%61)",
        "\x05+ADw-iframe src=x>",
        "\x06<if\x1b(Brame src=x>",
    ];
    for (number, html) in documents.iter().enumerate() {
        put(corpus, "document", &number.to_string(), html.as_bytes());
    }
    let names = b"\x021732345678.9f86d081884c7d65_00000001.localhost,S=207,W=214/1.M1P2.host:2,S/x";
    put(corpus, "names", "0", names);
    for (number, batch) in batches().iter().enumerate() {
        put(corpus, "journal", &number.to_string(), batch);
    }
}

/// A message to be sent.
const LETTER: &str = r#"0{"From":{"Email":"a@x","Name":"A"},"To":[{"Email":"b+c@x"}],"Cc":[],
"Bcc":["\"d e\"@x"],"ReplyTo":null,"Subject":"=?","Text":"a\r\nb","HTML":"<p>","Headers":{"X":"y"},
"Attachments":[{"Content":"YQ==","Filename":"a.png","ContentType":"image/png","ContentID":"1"}]}"#;

/// Mail with what the walk has to tell apart.
const MAIL: &str = "From: =?utf-8?q?Zo=C3=AB?= <zoe@example.com>\nTo: a@x, Group: b@x (c), <d@x>;\n\
    Subject: =?iso-8859-1?b?/A==?=\n folded\nDate: Tue, 21 Nov 2023 10:00:00 +0100\n\
    Content-Type: multipart/mixed; boundary=a\n\npreamble\n--a\n\
    Content-Type: multipart/alternative; boundary=\"ab\"\n\n--ab\n\nCode: 123456 http://x/y.\n\
    --ab\nContent-Type: text/html; charset=gb2312\nContent-Transfer-Encoding: quoted-printable\n\
    \n<style>x</style><a href=3D'https://x/?a&amp;b'>=C4=E3</a>=\n\n--ab--\n--a\n\
    Content-Disposition: attachment; filename*0*=utf-8''%C3%BC; filename*1=x\n\
    Content-Transfer-Encoding: base64\n\nYWJj\n--a\nContent-Type: message/rfc822\n\na: b\n--a--\n";

fn put(corpus: &Path, target: &str, name: &str, octets: &[u8]) {
    let directory = corpus.join(target);
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join(name), octets).expect("a seed");
}

/// Everything that the client sends.
fn said(transcript: &Transcript) -> Vec<u8> {
    let mut octets = Vec::new();
    for (_, step) in &transcript.steps {
        if let Step::Send(more) = step {
            octets.extend_from_slice(more);
        }
    }
    octets
}

/// The settings octet that corresponds to `@with`.
fn bits(transcript: &Transcript) -> u8 {
    (0..6)
        .map(|bit| 1 << bit)
        .filter(|bit| {
            crate::transcript(*bit)
                .facts
                .iter()
                .all(|fact| transcript.has(fact))
        })
        .sum()
}

/// A delivery and a removal, in one batch each.
fn batches() -> [Vec<u8>; 2] {
    let name = b"1732345678.9f86d081884c7d65_00000001.localhost,S=7,W=8";
    let mut mailbox = Vec::new();
    for part in ["bob", "example.com"] {
        mailbox.extend(u16::try_from(part.len()).expect("short").to_le_bytes());
        mailbox.extend(part.as_bytes());
    }
    let mut delivery = u16::try_from(name.len())
        .expect("short")
        .to_le_bytes()
        .to_vec();
    delivery.extend(name);
    delivery.extend(1_u16.to_le_bytes());
    delivery.extend(&mailbox);
    delivery.extend(b"a: b\n\nx");
    let mut removal = mailbox;
    removal.extend(0x9f86_d081_884c_7d65_u64.to_le_bytes());
    removal.extend(1_u64.to_le_bytes());
    [
        batch(1, 0, 1, &delivery),
        [batch(1, 0, 1, &delivery), batch(2, 1, 2, &removal)].concat(),
    ]
}

fn batch(number: u64, previous: u64, kind: u8, record: &[u8]) -> Vec<u8> {
    let mut records = vec![kind];
    records.extend(u32::try_from(record.len()).expect("short").to_le_bytes());
    records.extend(record);
    let mut batch = b"facteur1\0\0\0\0".to_vec();
    batch.extend(u32::try_from(records.len()).expect("short").to_le_bytes());
    batch.extend([0; 16]);
    for value in [number, previous, 0] {
        batch.extend(value.to_le_bytes());
    }
    batch.extend(1_u32.to_le_bytes());
    batch.extend([0; 4]);
    batch.extend(records);
    batch.resize(batch.len().next_multiple_of(4096), 0);
    batch
}
