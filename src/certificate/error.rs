//! Why there is no certificate.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::Name;

/// Why there is no certificate.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The CA has expired: start again in another directory.
    AuthorityExpired {
        /// Its certificate.
        path: PathBuf,
    },
    /// Another `facteur cert` is working in the directory: wait for it.
    Busy {
        /// Its lock.
        path: PathBuf,
    },
    /// The system clock shows a time that no certificate can have: set it.
    Clock,
    /// A file was not made by this command: move it away, or name another directory.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file system failed.
    Io {
        /// What was being done, as an infinitive.
        operation: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// The error from the system.
        source: io::Error,
    },
    /// A certificate and a key do not belong together: restore the right one, or move both away.
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The CA's key is missing: restore it, or name another directory.
    NoAuthorityKey {
        /// Where it should be.
        path: PathBuf,
    },
    /// The CA may not sign for a name: use another directory, which gets its own CA.
    NotPermitted {
        /// The name.
        name: Name,
        /// The CA's certificate.
        authority: PathBuf,
    },
    /// A certificate was signed by another CA: restore that CA, or move the certificate away.
    OtherAuthority {
        /// The certificate.
        certificate: PathBuf,
        /// The certificate of the CA that is in the directory.
        authority: PathBuf,
    },
    /// The system returned no random numbers.
    Random(io::Error),
    /// A key or a signature cannot be made.
    Signing(rcgen::Error),
    /// A file or directory is not private enough, or of the wrong kind (SEC-6).
    Unsafe {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong and what to do about it, as the end of a sentence.
        reason: &'static str,
    },
}

impl Error {
    /// Wraps an error from the system.
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Signing(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorityExpired { path } => write!(
                f,
                "the CA in {} has expired: name another directory with --dir, and import \
                 the new CA that is made there",
                path.display()
            ),
            Self::Busy { path } => write!(
                f,
                "another facteur cert is running (it holds {}): wait until it has finished",
                path.display()
            ),
            Self::Clock => f.write_str("the system clock is wrong: set it"),
            Self::Foreign { path } => write!(
                f,
                "{} was not made by facteur cert, or was changed: move it away, or name another \
                 directory with --dir",
                path.display()
            ),
            Self::Io {
                operation, path, ..
            } => write!(f, "cannot {operation} {}", path.display()),
            Self::Mismatch { certificate, key } => write!(
                f,
                "{} does not match the key in {}: restore the right one, or move both away",
                certificate.display(),
                key.display()
            ),
            Self::NoAuthorityKey { path } => write!(
                f,
                "{} is missing and is needed to sign: restore it, or name another directory with \
                 --dir, where a new CA is made",
                path.display()
            ),
            Self::NotPermitted { name, authority } => write!(
                f,
                "the CA in {} may not sign for {name}, only for the names it was made with: \
                 name another directory with --dir, and import the new CA that is made there",
                authority.display()
            ),
            Self::OtherAuthority {
                certificate,
                authority,
            } => write!(
                f,
                "{} was not signed by the CA in {}: move it away, or name another directory with \
                 --dir",
                certificate.display(),
                authority.display()
            ),
            Self::Random(_) => f.write_str("the system returned no random numbers"),
            Self::Signing(_) => f.write_str("cannot sign"),
            Self::Unsafe { path, reason } => write!(f, "{} {reason}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::Random(source) => Some(source),
            Self::Signing(source) => Some(source),
            Self::AuthorityExpired { .. }
            | Self::Busy { .. }
            | Self::Clock
            | Self::Foreign { .. }
            | Self::Mismatch { .. }
            | Self::NoAuthorityKey { .. }
            | Self::NotPermitted { .. }
            | Self::OtherAuthority { .. }
            | Self::Unsafe { .. } => None,
        }
    }
}
