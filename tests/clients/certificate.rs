//! The certificate from `facteur cert`, checked by OpenSSL, curl and Python.

use std::path::PathBuf;

use crate::daemon::Service;
use crate::daemon::program::{self, Program};
use crate::support::{command, run};

/// A directory with certificates, and a facteur that uses them.
pub(crate) struct Certified {
    directory: tempfile::TempDir,
    pub(crate) program: Program,
}

impl Certified {
    fn start() -> Self {
        Self::start_with("")
    }

    /// A facteur with these lines in its configuration beside the certificate.
    pub(crate) fn start_with(configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("facteur.toml");
        std::fs::write(&file, "hostname = \"localhost\"\n").unwrap();
        let tls = directory.path().join("tls");
        let (file, tls) = (file.to_str().unwrap(), tls.to_str().unwrap());
        let made = program::run(&["cert", "--dir", tls, "--config", file]);
        assert_eq!(made.status, Some(0), "{}", made.errors);
        let tls = std::fs::read_to_string(file).unwrap();
        let configuration = tls.replace("[tls]", &format!("{configuration}[tls]"));
        let program = Program::start_with(directory.path(), &configuration);
        Self { directory, program }
    }

    /// A path in the directory of the certificates.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("tls").join(name)
    }

    /// Where the mail is.
    pub(crate) fn mail(&self) -> PathBuf {
        self.directory.path().join("mail")
    }

    /// Runs a shell script in the directory of the certificates; returns whether it succeeded, and
    /// its output.
    fn shell(&self, script: &str) -> (bool, String) {
        let mut shell = command("sh", ["-eu", "-c", script]);
        shell.current_dir(self.path(""));
        let ended = run(&mut shell, "");
        (ended.status == Some(0), ended.output + &ended.errors)
    }
}

#[test]
#[ignore = "needs openssl installed; .ci/run installs it"]
fn openssl_accepts_the_certificate_only_for_its_names() {
    let certified = Certified::start();
    for (name, is_expected) in [
        ("-verify_hostname localhost", true),
        ("-verify_ip 127.0.0.1", true),
        ("-verify_ip ::1", true),
        ("-verify_hostname example.com", false),
        ("-verify_ip 192.0.2.1", false),
    ] {
        let (is_taken, said) = certified.shell(&format!(
            "openssl verify -x509_strict -purpose sslserver -CAfile ca.pem {name} certificate.pem"
        ));
        assert_eq!(is_taken, is_expected, "{name}: {said}");
    }
    let (_, fingerprint) = certified.shell("openssl x509 -in ca.pem -noout -fingerprint -sha256");
    let tls = certified.path("");
    let shown = program::run(&["cert", "--dir", tls.to_str().unwrap()]).output;
    let fingerprint = fingerprint.trim().split_once('=').unwrap().1;
    assert!(shown.contains(fingerprint), "{fingerprint}: {shown}");
}

/// Anyone who has the CA's key can sign for this machine, and for nothing else.
#[test]
#[ignore = "needs openssl installed; .ci/run installs it"]
fn openssl_accepts_nothing_else_from_the_ca() {
    let certified = Certified::start();
    let sign = |name: &str| {
        certified.shell(&format!(
            "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout x.key \
                 -subj /CN=x -out x.csr\n\
             echo 'subjectAltName={name}' >x.ext\n\
             openssl x509 -req -in x.csr -CA ca.pem -CAkey ca.key -set_serial 7 -days 1 \
                 -extfile x.ext -out x.pem"
        ))
    };
    for (name, is_expected) in [
        ("DNS:localhost", true),
        ("DNS:x.localhost", true),
        ("IP:127.3.2.1", true),
        ("DNS:bank.example", false),
        ("DNS:localhost,DNS:bank.example", false),
        ("IP:192.0.2.1", false),
        ("IP:::2", false),
    ] {
        let (is_signed, said) = sign(name);
        assert!(is_signed, "{said}");
        let (is_taken, said) = certified.shell("openssl verify -CAfile ca.pem x.pem");
        assert_eq!(is_taken, is_expected, "{name}: {said}");
    }
}

#[test]
#[ignore = "needs curl and python3 installed; .ci/run installs them"]
fn curl_and_python_trust_it_if_they_are_configured_to() {
    let certified = Certified::start();
    let (smtp, pop3) = (certified.program.smtp(), certified.program.pop3());
    let (smtp, pop3) = (smtp.port(), pop3.port());
    let curl = format!("curl -sS --ssl-reqd -u bob@example.com:any pop3://localhost:{pop3}/");
    let (is_taken, said) = certified.shell(&format!("{curl} --cacert ca.pem"));
    assert!(is_taken, "{said}");
    let (is_taken, said) = certified.shell(&curl);
    assert!(!is_taken && said.contains("certificate"), "{said}");
    let python = |context: &str| {
        format!(
            "python3 -c 'import smtplib, ssl\n\
             smtp = smtplib.SMTP(\"127.0.0.1\", {smtp})\n\
             smtp.starttls(context=ssl.create_default_context({context}))\n\
             smtp.noop()'"
        )
    };
    let (is_taken, said) = certified.shell(&python("cafile=\"ca.pem\""));
    assert!(is_taken, "{said}");
    let (is_taken, said) = certified.shell(&format!("SSL_CERT_FILE=ca.pem {}", python("")));
    assert!(is_taken, "{said}");
    let (is_taken, said) = certified.shell(&python(""));
    assert!(
        !is_taken && said.contains("CERTIFICATE_VERIFY_FAILED"),
        "{said}"
    );
}
