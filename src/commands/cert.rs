//! `facteur cert`: a certificate for this machine, and how to use it.
//!
//! If the configuration that `--config` names has no table `[tls]`, the two lines that it needs are
//! added at its end: in a single write, and only if the result is a valid configuration. Otherwise
//! they are printed.

use std::{
    io::{self, Write},
    path::{self, Path, PathBuf},
};

use crate::{
    certificate::{self, Instructions, Made, Name, Request, configuration_lines},
    cli::{Arguments, CertArguments},
    clock::Clock,
    config::{Config, TlsFiles},
    fs::Fs,
};

use super::Error;

pub(super) fn run(
    asked: &CertArguments,
    arguments: &Arguments,
    (fs, clock): (&dyn Fs, &Clock),
    output: &mut dyn Write,
) -> Result<(), Error> {
    let config = arguments.unchecked_configuration()?;
    let host = Name::try_from(&config.hostname.0).map_err(Error::HostName)?;
    let directory = absolute(&asked.dir)?;
    if directory.to_str().is_none() {
        return Err(Error::NotUtf8 { path: directory });
    }
    let mut names = Name::of_this_machine().to_vec();
    names.push(host);
    names.extend_from_slice(&asked.names);
    let made = certificate::make(
        fs,
        &Request {
            directory: &directory,
            names: &names,
            renew: asked.renew,
            now: clock.unix_time().as_secs(),
        },
    )?;
    writeln!(output, "{made}")?;
    let lines = configuration_lines(&made).unwrap_or_default();
    match (&config.tls, &arguments.config) {
        (Some(files), _) if is_of(files, &made)? => {
            writeln!(output, "The configuration already names these files.")?;
            writeln!(output, "A running facteur reloads them on SIGHUP.\n")?;
        }
        (Some(_), _) if config.variables.contains_key("tls.certificate") => {
            let advice = "The environment names other files. To use these, it needs:";
            let (certificate, key) = (made.certificate.display(), made.key.display());
            writeln!(output, "{advice}\n\nFACTEUR_TLS_CERTIFICATE={certificate}")?;
            writeln!(output, "FACTEUR_TLS_KEY={key}\n")?;
        }
        (Some(_), _) => {
            let advice = "The configuration names other files. To use these, it needs:";
            writeln!(output, "{advice}\n\n{lines}")?;
        }
        (None, Some(file)) => match append(fs, file, &lines) {
            Ok(()) => writeln!(output, "Added to {}:\n\n{lines}", file.display())?,
            Err(error) => {
                let file = file.display();
                writeln!(output, "Add these lines to {file} ({error}):\n\n{lines}")?;
            }
        },
        (None, None) => writeln!(output, "Add these lines to the configuration:\n\n{lines}")?,
    }
    write!(output, "{}", Instructions(&made))?;
    Ok(())
}

/// The absolute path, without a slash at its end, which would follow a symbolic link.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    Ok(path::absolute(path)?.components().collect())
}

fn is_of(files: &TlsFiles, made: &Made) -> Result<bool, Error> {
    let certificate = absolute(&files.certificate)?;
    Ok(certificate == made.certificate && absolute(&files.key)? == made.key)
}

/// Adds lines at the end of the configuration `file`.
fn append(fs: &dyn Fs, file: &Path, lines: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(file)?;
    let separator = if text.is_empty() {
        ""
    } else if text.ends_with('\n') {
        "\n"
    } else {
        "\n\n"
    };
    let added = format!("{separator}{lines}");
    if Config::parse(file, &format!("{text}{added}")).is_err() {
        return Err(io::Error::other(
            "the result would not be a valid configuration",
        ));
    }
    let opened = fs.open_segment(file)?;
    let end = opened.octets()?;
    if u64::try_from(text.len()) != Ok(end) {
        return Err(io::Error::other("another program is changing it"));
    }
    opened.write_at(added.as_bytes(), end)?;
    opened.sync_data()
}
