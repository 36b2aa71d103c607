//! sslscan, which tries every version, cipher and flaw of TLS that it knows (SEC-3).

use std::net::SocketAddr;

use crate::certificate::Certified;
use crate::daemon::Service;
use crate::support::{command, run};

/// The lines of the report that begin with this element.
fn elements<'a>(report: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("<{name} ");
    let lines = report.lines().map(str::trim);
    lines.filter(|line| line.starts_with(&begin)).collect()
}

fn scan(address: SocketAddr, how: &[&str]) -> String {
    let mut sslscan = command("sslscan", ["--no-colour", "--xml=-"]);
    sslscan.args(how).arg(address.to_string());
    run(&mut sslscan, "").succeeded()
}

/// SEC-3: TLS 1.2 and 1.3 with forward secrecy and authenticated encryption, and nothing else.
#[test]
#[ignore = "needs sslscan installed; .ci/run installs it"]
fn a_scanner_finds_nothing_weak() {
    let certified = Certified::start_with("smtps = [\"127.0.0.1:0\"]\npop3s = [\"127.0.0.1:0\"]\n");
    let program = &certified.program;
    for (address, how) in [
        (program.smtps(), &[][..]),
        (program.pop3s(), &[]),
        (program.smtp(), &["--starttls-smtp"]),
        (program.pop3(), &["--starttls-pop3"]),
    ] {
        let report = scan(address, how);
        let enabled: Vec<&str> = elements(&report, "protocol")
            .into_iter()
            .filter(|line| line.contains("enabled=\"1\""))
            .collect();
        let expected = [
            "<protocol type=\"tls\" version=\"1.2\" enabled=\"1\" />",
            "<protocol type=\"tls\" version=\"1.3\" enabled=\"1\" />",
        ];
        assert_eq!(enabled, expected, "{how:?}: {report}");
        let ciphers = elements(&report, "cipher");
        assert!(ciphers.len() >= 6, "{how:?}: {report}");
        for cipher in ciphers {
            let is_modern = cipher.contains("sslversion=\"TLSv1.3\"")
                || (cipher.contains("cipher=\"ECDHE-")
                    && (cipher.contains("-GCM-") || cipher.contains("-POLY1305")));
            assert!(is_modern, "{how:?}: {cipher}");
        }
        let flaws = [
            elements(&report, "heartbleed"),
            elements(&report, "renegotiation"),
        ]
        .concat();
        assert!(flaws.len() >= 3, "{how:?}: {report}");
        for flaw in flaws {
            assert!(!flaw.contains("=\"1\""), "{how:?}: {flaw}");
        }
    }
}
