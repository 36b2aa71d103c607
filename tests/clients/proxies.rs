//! Proxies in front of facteur, with the configuration from the guide. curl sends a letter through
//! each, and fetches it.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::certificate::Certified;
use crate::daemon::{await_that, own_address, program};
use crate::pages;
use crate::support::{Ended, ascii_letter, command, run};

/// What the proxy does with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The proxy ends TLS, and talks to facteur without it.
    Ends,
    /// TLS begins with STARTTLS or STLS, and ends at facteur.
    StartsBehind,
    /// TLS is immediate, and ends at facteur.
    EndsBehind,
}

/// A proxy that listens on two ports in front of a facteur with bob's account.
struct Proxied {
    proxy: Child,
    facteur: Certified,
    address: String,
    port: u16,
    way: Way,
}

impl Proxied {
    /// Starts both: the proxy with the configuration for `file` from the guide, which `adapt`
    /// changes for the test. The ports belong to one test each.
    fn start(
        (file, port, way): (&str, u16, Way),
        adapt: impl FnOnce(String) -> String,
        proxy: impl FnOnce(&str) -> Command,
    ) -> Self {
        let names_clients = file.contains("send-proxy");
        let hashed = program::run_with(&["hash-password", "--no-scram"], "sesame\n");
        let facteur = Certified::start_with(&format!(
            "{}smtps = [\"127.0.0.1:0\"]\npop3s = [\"127.0.0.1:0\"]\nrequire_auth = true\n\
             [[accounts]]\naddress = \"bob@example.com\"\n{}\n",
            if names_clients {
                pages::file("facteur.toml with proxy_from")
            } else {
                String::new()
            },
            hashed.output
        ));
        let pem = facteur.path("both.pem");
        let [certificate, key] = ["certificate.pem", "key.pem"]
            .map(|name| std::fs::read_to_string(facteur.path(name)).unwrap());
        write_private(&pem, &(certificate + &key));

        let (smtp, pop3) = match way {
            Way::Ends | Way::StartsBehind => (facteur.program.smtp, facteur.program.pop3),
            Way::EndsBehind => (facteur.program.smtps(), facteur.program.pop3s()),
        };
        let address = own_address();
        let [first, second, third] = [0, 1, 2].map(|n| format!("{address}:{}", port + n));
        let mut lines = pages::file(file);
        for (written, meant) in [
            ("65434", &*smtp.port().to_string()),
            ("65433", &pop3.port().to_string()),
            ("65465", &smtp.port().to_string()),
            ("65495", &pop3.port().to_string()),
            ("/etc/ssl/private/mail.pem", pem.to_str().unwrap()),
            ("bind :465", &format!("bind {first}")),
            ("bind :995", &format!("bind {second}")),
            ("listen 465", &format!("listen {first}")),
            ("listen 995", &format!("listen {second}")),
            ("accept = 465", &format!("accept = {first}")),
            ("accept = 995", &format!("accept = {second}")),
            ("127.0.0.1:8465", &third),
        ] {
            lines = lines.replace(written, meant);
        }
        let configuration = facteur.path("proxy.conf");
        std::fs::write(&configuration, adapt(lines)).unwrap();
        let mut proxy = proxy(configuration.to_str().unwrap());
        proxy.current_dir(facteur.path(""));
        proxy.stdin(Stdio::null()).stdout(Stdio::null());
        let proxy = proxy.spawn().expect("a proxy; .ci/run installs them");
        let proxied = Self {
            proxy,
            facteur,
            address,
            port,
            way,
        };
        for place in [first, second] {
            await_that("the proxy listens", || TcpStream::connect(&place).is_ok());
        }
        proxied
    }

    /// curl at the proxy, with what it needs to know.
    fn curl(&self, protocol: &str, port: u16, path: &str) -> Command {
        let ca = self.facteur.path("ca.pem").display().to_string();
        let resolve = format!("localhost:{port}:{}", self.address);
        let mut curl = command("curl", ["--silent", "--show-error", "--cacert", &ca]);
        curl.args(["--resolve", &resolve, "-u", "bob@example.com:sesame"]);
        let is_begun_later = self.way == Way::StartsBehind;
        curl.args(is_begun_later.then_some("--ssl-reqd"));
        let s = if is_begun_later { "" } else { "s" };
        curl.arg(format!("{protocol}{s}://localhost:{port}{path}"));
        curl
    }

    fn send(&self) -> Ended {
        let mut curl = self.curl("smtp", self.port, "");
        curl.args(["--mail-from", "bob@example.com", "-T", "-"]);
        curl.args(["--mail-rcpt", "bob@example.com"]);
        run(&mut curl, &ascii_letter())
    }

    fn fetch(&self) -> Ended {
        run(&mut self.curl("pop3", self.port + 1, "/1"), "")
    }

    /// A letter goes in and out through the proxy, and facteur sees the proxy as the client.
    fn expect_passage(&self) {
        self.send().succeeded();
        let fetched = self.fetch().succeeded();
        let (trace, content) = fetched.split_at(fetched.len() - ascii_letter().len());
        assert_eq!(content, ascii_letter());
        let keyword = match self.way {
            Way::Ends => " with ESMTPA id ",
            Way::StartsBehind | Way::EndsBehind => " with ESMTPSA id ",
        };
        assert!(trace.contains("([127.0.0.1])"), "{trace}");
        assert!(trace.contains(keyword), "{trace}");
        let accepted = self.facteur.program.log_line(" accepted id=");
        assert!(accepted.contains(" client=127.0.0.1"), "{accepted}");
    }

    /// Nothing gets through, and the log says why.
    fn expect_no_passage(&self, reason: &str) {
        assert_ne!(self.send().status, Some(0));
        self.facteur.program.expect_log(reason);
        assert_ne!(self.fetch().status, Some(0));
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        drop(self.proxy.kill());
        drop(self.proxy.wait());
    }
}

/// Writes a file that nobody else can read, which may contain a key.
fn write_private(path: &Path, text: &str) {
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// The log's words about a PROXY header.
const PROXY_HEADER: &str = "PROXY protocol";

fn haproxy(port: u16, way: Way, adapt: impl FnOnce(String) -> String) -> Proxied {
    Proxied::start(("haproxy.cfg", port, way), adapt, |configuration| {
        command("haproxy", ["-db", "-q", "-f", configuration])
    })
}

/// Each line that contains `found`, changed by `change`.
fn changed(lines: &str, found: &str, change: impl Fn(&str) -> String) -> String {
    assert!(lines.contains(found), "{found} is not in {lines}");
    let lines = lines.lines().map(|line| {
        if line.contains(found) {
            change(line) + "\n"
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

/// Each line up to ` ssl`, if it has that.
fn without_ssl(lines: &str, end: &str) -> String {
    changed(lines, " ssl", |line| {
        line.split_once(" ssl").unwrap().0.to_owned() + end
    })
}

#[test]
#[ignore = "needs haproxy and curl installed; .ci/run installs them"]
fn haproxy_forwards_mail() {
    haproxy(1465, Way::Ends, |lines| lines).expect_passage();
    for way in [Way::StartsBehind, Way::EndsBehind] {
        haproxy(1465, way, |lines| without_ssl(&lines, "")).expect_passage();
    }
    for option in ["send-proxy", "send-proxy-v2"] {
        let with_option =
            |lines: String| changed(&lines, "server facteur", |line| format!("{line} {option}"));
        haproxy(1465, Way::Ends, with_option).expect_no_passage(PROXY_HEADER);
    }
}

/// The client has the address that the proxy saw, and not that of the proxy.
#[test]
#[ignore = "needs haproxy and curl installed; .ci/run installs them"]
fn haproxy_names_its_clients() {
    for option in ["send-proxy-v2", "send-proxy"] {
        let adapt = |lines: String| lines.replace("send-proxy-v2", option);
        let file = "haproxy.cfg with send-proxy-v2";
        let proxied = Proxied::start((file, 5465, Way::EndsBehind), adapt, |configuration| {
            command("haproxy", ["-db", "-q", "-f", configuration])
        });
        let from = |mut curl: Command| {
            curl.args(["--interface", "127.0.0.77"]);
            curl
        };
        let mut curl = from(proxied.curl("smtp", proxied.port, ""));
        curl.args(["--mail-from", "bob@example.com", "-T", "-"]);
        curl.args(["--mail-rcpt", "bob@example.com"]);
        run(&mut curl, &ascii_letter()).succeeded();
        let accepted = proxied.facteur.program.log_line(" accepted id=");
        assert!(accepted.contains(" client=127.0.0.77"), "{accepted}");
        let mut curl = from(proxied.curl("pop3", proxied.port + 1, "/1"));
        let fetched = run(&mut curl, "").succeeded();
        assert!(fetched.contains("([127.0.0.77])"), "{fetched}");
        let login = proxied.facteur.program.log_line(" login mailbox=");
        assert!(login.contains(" client=127.0.0.77"), "{login}");
    }
}

/// nginx in the foreground, as the current user.
fn nginx(module: &str, port: u16, way: Way, adapt: impl FnOnce(String) -> String) -> Proxied {
    let before = format!(
        "load_module /usr/lib/nginx/modules/ngx_{module}_module.so;\n\
         daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log nginx.log;\nevents {{}}\n"
    );
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let places = kinds.map(|kind| format!("{kind}_temp_path {kind};\n"));
    let adapt = |lines| {
        let http = format!("http {{\naccess_log off;\n{}", places.concat());
        before + &adapt(lines).replace("http {\n", &http)
    };
    let file = format!("nginx.conf with {module}");
    Proxied::start((&file, port, way), adapt, |configuration| {
        let (directory, _) = configuration.rsplit_once('/').unwrap();
        let mut nginx = command("nginx", ["-p", directory, "-c", configuration]);
        nginx.args(["-e", "nginx.log"]);
        nginx
    })
}

#[test]
#[ignore = "needs nginx with its module for streams and curl installed; .ci/run installs them"]
fn nginx_forwards_streams() {
    nginx("stream", 2465, Way::Ends, |lines| lines).expect_passage();
    for way in [Way::StartsBehind, Way::EndsBehind] {
        let plain = |lines: String| {
            // The certificate is not used then, but can stay.
            changed(&lines, "listen ", |line| line.replace(" ssl", ""))
        };
        nginx("stream", 2465, way, plain).expect_passage();
    }
    let with_header = |lines: String| {
        changed(&lines, "proxy_pass", |line| {
            format!("{line} proxy_protocol on;")
        })
    };
    nginx("stream", 2465, Way::Ends, with_header).expect_no_passage(PROXY_HEADER);
}

#[test]
#[ignore = "needs nginx with its module for mail and curl installed; .ci/run installs them"]
fn nginx_forwards_mail() {
    nginx("mail", 3465, Way::Ends, |lines| lines).expect_passage();
    let by_default = |lines: String| changed(&lines, "xclient", |_| String::new());
    let proxied = nginx("mail", 3465, Way::Ends, by_default);
    assert_ne!(proxied.send().status, Some(0));
    proxied.facteur.program.expect_log("XCLIENT");
}

#[test]
#[ignore = "needs stunnel4 and curl installed; .ci/run installs them"]
fn stunnel_forwards_mail() {
    let stunnel = |end: &'static str| {
        let adapt = move |lines: String| {
            let with_end = changed(&lines, "connect", |line| format!("{line}\n{end}"));
            format!("foreground = quiet\npid =\nsyslog = no\noutput = stunnel.log\n{with_end}")
        };
        Proxied::start(("stunnel.conf", 4465, Way::Ends), adapt, |configuration| {
            command("stunnel", [configuration])
        })
    };
    stunnel("").expect_passage();
    stunnel("protocol = proxy").expect_no_passage(PROXY_HEADER);
}
