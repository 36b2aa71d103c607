//! Output for the user who ran `facteur cert`: what was made, and how to use it.
//!
//! Pure. Paths are written so that they can be pasted: quoted for a shell in commands, and as TOML
//! strings in the configuration.

use std::{fmt, path::Path};

use super::{Change, Made, names::NamesInWords};

/// The lines that the configuration needs.
///
/// `None` when a path is not UTF-8 and so cannot be in the configuration.
pub fn configuration_lines(made: &Made) -> Option<String> {
    let certificate = TomlString(made.certificate.to_str()?);
    let key = TomlString(made.key.to_str()?);
    Some(format!("[tls]\ncertificate = {certificate}\nkey = {key}\n"))
}

impl fmt::Display for Made {
    /// The state of the directory, in a few lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority.display();
        let verb = if self.authority_was_there {
            "kept"
        } else {
            "made"
        };
        writeln!(f, "{verb} the CA {authority}")?;
        writeln!(f, "  SHA-256 fingerprint {}", self.fingerprint)?;
        let verb = match self.change {
            Change::Kept => "kept",
            Change::Made => "made",
            Change::Renewed => "renewed",
        };
        writeln!(f, "{verb} the certificate {}", self.certificate.display())?;
        writeln!(f, "  for {}", NamesInWords(&self.names))?;
        writeln!(f, "  valid until {}", Day(self.not_after))?;
        if self.change == Change::Kept {
            f.write_str(
                "Nothing was changed; --renew makes a new certificate, for the same key.\n",
            )?;
        }
        if !self.lacking.is_empty() {
            let lacking = NamesInWords(&self.lacking);
            writeln!(f, "It is not for {lacking}; --renew adds that.")?;
        }
        Ok(())
    }
}

/// How to make programs trust the CA.
#[derive(Debug)]
pub struct Instructions<'a>(pub &'a Made);

impl fmt::Display for Instructions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.0.authority;
        let (path, quoted) = (path.display(), ShellQuoted(path));
        write!(
            f,
            "\
To make programs trust the CA, give them {path}
(never ca.key, which stays where it is):

Thunderbird     Settings, Privacy & Security, Certificates, Manage Certificates, Authorities,
                Import; tick \"Trust this CA to identify websites\"
Debian, Ubuntu  sudo install -m 644 {quoted} /usr/local/share/ca-certificates/facteur.crt
                sudo update-ca-certificates
Fedora          sudo install -m 644 {quoted} /etc/pki/ca-trust/source/anchors/facteur.pem
                sudo update-ca-trust
macOS           sudo security add-trusted-cert -d -r trustRoot \\
                    -k /Library/Keychains/System.keychain {quoted}
Windows         certutil -addstore -f Root ca.pem    (as administrator)
curl            curl --cacert {quoted} ...
Python          ssl.create_default_context(cafile=...), or, to trust nothing else,
                export SSL_CERT_FILE={quoted}
Node.js         export NODE_EXTRA_CA_CERTS={quoted}
PHP             php -d openssl.cafile={quoted} ...
Ruby, Go        export SSL_CERT_FILE={quoted}    (to trust nothing else)
.NET            the system's store, as above; on Linux SSL_CERT_FILE too
Java            keytool -importcert -cacerts -storepass changeit -noprompt \\
                    -alias facteur -file {quoted}
"
        )
    }
}

/// A date for people: 2027-01-31 (UTC).
struct Day(u64);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{}", time.strftime("%Y-%m-%d"))
    }
}

/// A path as one word of a shell command.
struct ShellQuoted<'a>(&'a Path);

impl fmt::Display for ShellQuoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.display().to_string();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
        if text.chars().all(is_plain) {
            return f.write_str(&text);
        }
        write!(f, "'{}'", text.replace('\'', r"'\''"))
    }
}

/// A text as a TOML basic string.
struct TomlString<'a>(&'a str);

impl fmt::Display for TomlString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                _ if character.is_control() => write!(f, "\\U{:08X}", u32::from(character))?,
                _ => write!(f, "{character}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_be_pasted_into_a_shell() {
        for (path, expected) in [
            ("/home/me/tls/ca.pem", "/home/me/tls/ca.pem"),
            ("/my tls/ca.pem", "'/my tls/ca.pem'"),
            ("/it's/ca.pem", r"'/it'\''s/ca.pem'"),
            ("/$(x)/ca.pem", "'/$(x)/ca.pem'"),
        ] {
            assert_eq!(ShellQuoted(Path::new(path)).to_string(), expected);
        }
    }

    #[test]
    fn a_path_can_be_pasted_into_the_configuration() {
        for path in [
            "/home/me/tls/key.pem",
            "/a \"b\"/c\\d",
            "/été/\u{7f}\n\t\u{85}",
            "/'''/\"\"\"",
        ] {
            let line = format!("key = {}", TomlString(path));
            let table: toml::Table = toml::from_str(&line).unwrap();
            assert_eq!(table["key"].as_str(), Some(path), "{line}");
        }
    }

    #[test]
    fn a_day_is_written_plainly() {
        assert_eq!(Day(0).to_string(), "1970-01-01");
        assert_eq!(Day(1_800_000_000).to_string(), "2027-01-15");
    }
}
