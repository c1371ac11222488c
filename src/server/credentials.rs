//! The credentials that callers must show, and when their files are read again.
//!
//! Invariants:
//! - A changed file is read again within seconds, and SIGHUP makes the server read all of them. A
//!   valid file takes effect immediately. An invalid one changes nothing, and no other file waits
//!   for it.
//! - A changed file is read only after it was unchanged for [`LOOK_INTERVAL`]. Otherwise a file
//!   that is still being written could be taken as it is. An error in a file is logged once.
//! - A certificate that has expired, or expires soon, is logged when it is read and then once a
//!   day.

use std::cell::{Cell, RefCell};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::access::{Authenticator, JwtVerifier, Tls};
use crate::config::{self, Config, HttpAuth};
use crate::http::UserAuth;

/// How often the server checks whether the files have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The permission bits of users who are neither the owner of a file nor in its group.
const EVERYBODY: u32 = 0o007;
/// How long before a certificate expires the warnings begin.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How often the warning about a certificate is repeated.
const WARN_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The credentials that are valid now, and the files that they come from.
pub(super) struct Credentials {
    /// The tokens of the TCP door and the admin listener.
    pub(super) authenticator: Arc<Authenticator>,
    /// The keys that verify users' JWTs; `None` if a gateway names the user.
    jwt: Option<Arc<JwtVerifier>>,
    /// The certificate of all doors; `None` if they do not use TLS.
    pub(super) tls: Option<Arc<Tls>>,
    sources: Vec<Source>,
    secret_files: Vec<PathBuf>,
    /// When the server last checked whether the certificate has expired.
    checked: Cell<Option<Instant>>,
}

/// Files that must be read together, such as a certificate and its key.
struct Source {
    kind: Kind,
    paths: Vec<PathBuf>,
    /// The fingerprints of the files when they were last read.
    read: RefCell<Prints>,
    /// The fingerprints of the files when they were last checked for a change.
    seen: RefCell<Prints>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tokens,
    Jwt,
    Certificate,
}

/// The fingerprints of a source's files, to notice a change. `None` for a file that cannot be
/// inspected.
type Prints = Vec<Option<Print>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Print {
    /// Device and inode of the file, which change if another file takes its name.
    file: (u64, u64),
    bytes: u64,
    /// Seconds and nanoseconds of the last change of the content, then of the inode.
    changed: [(i64, i64); 2],
}

impl Print {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            file: (found.dev(), found.ino()),
            bytes: found.size(),
            changed: [(found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec())],
        })
    }
}

fn prints(paths: &[PathBuf]) -> Prints {
    paths.iter().map(|path| Print::of(path)).collect()
}

impl Source {
    fn new(kind: Kind, paths: Vec<PathBuf>) -> Self {
        let read = prints(&paths);
        Self { kind, paths, read: RefCell::new(read.clone()), seen: RefCell::new(read) }
    }

    /// Whether the files differ from those that were read, and have been unchanged since the last
    /// check.
    fn has_changed(&self) -> bool {
        let now = prints(&self.paths);
        let is_quiet = self.seen.replace(now.clone()) == now;
        is_quiet && *self.read.borrow() != now
    }

    /// Notes that the files are read now, whether or not they turn out to be valid.
    fn note_read(&self) {
        self.read.replace(prints(&self.paths));
    }
}

impl Credentials {
    /// Takes over the credentials that the configuration has loaded.
    pub(super) fn new(config: &Config) -> Self {
        let jwt = match &config.http_auth {
            HttpAuth::Header => None,
            HttpAuth::Jwt(verifier) => Some(Arc::clone(verifier)),
        };
        let tokens = config.token_file.iter();
        let tokens = tokens.map(|path| Source::new(Kind::Tokens, vec![path.clone()]));
        let keys = jwt.iter().map(|jwt| Source::new(Kind::Jwt, vec![jwt.path().to_owned()]));
        let certificate = config.tls.iter().map(|tls| {
            let files = tls.files();
            Source::new(Kind::Certificate, vec![files.certificate.clone(), files.key.clone()])
        });
        Self {
            authenticator: Authenticator::new(config.tokens.clone()),
            sources: tokens.chain(keys).chain(certificate).collect(),
            secret_files: config.secret_files.clone(),
            jwt,
            tls: config.tls.clone(),
            checked: Cell::new(None),
        }
    }

    /// Logs a warning for each file with secrets that any user of the machine may read.
    pub(super) fn warn_of_open_files(&self) {
        for path in &self.secret_files {
            let Ok(found) = std::fs::metadata(path) else { continue };
            if found.mode() & EVERYBODY != 0 {
                let mode = format!("{:04o}", found.mode() & 0o7777);
                let file = path.display();
                warn!(%file, mode, "every user may read this secret; run `chmod o= FILE`");
            }
        }
    }

    /// How the HTTP door identifies the user of a request.
    pub(super) fn user_auth(&self) -> UserAuth {
        self.jwt.clone().map_or(UserAuth::Header, UserAuth::Jwt)
    }

    fn reread_all(&self) {
        self.sources.iter().for_each(|source| self.reread(source));
    }

    fn reread_changed(&self) {
        for source in self.sources.iter().filter(|source| source.has_changed()) {
            info!(files = ?source.paths, "credentials have changed: reading them again");
            self.reread(source);
        }
    }

    fn reread(&self, source: &Source) {
        source.note_read();
        match source.kind {
            Kind::Tokens => source.paths.iter().for_each(|path| self.reread_tokens(path)),
            Kind::Jwt => self.reread_keys(),
            Kind::Certificate => self.reread_certificate(),
        }
        self.warn_of_open_files();
    }

    fn reread_tokens(&self, path: &Path) {
        match config::read_tokens(path) {
            Ok(tokens) => {
                let count = tokens.count();
                self.authenticator.replace(tokens);
                info!(tokens = count, "the token file was read again");
            }
            Err(why) => error!(why, "the token file is not taken; the old tokens stay"),
        }
    }

    fn reread_keys(&self) {
        match self.jwt.as_ref().map(|jwt| jwt.reload()) {
            Some(Ok(keys)) => info!(keys, "the keys of JWTs were read again"),
            Some(Err(why)) => error!(why, "the keys of JWTs are not taken; the old ones stay"),
            None => {}
        }
    }

    fn reread_certificate(&self) {
        match self.tls.as_ref().map(|tls| tls.reload()) {
            Some(Ok(())) => {
                info!("the certificate was read again");
                self.check_certificate();
            }
            Some(Err(why)) => error!(%why, "the certificate is not taken; the old one stays"),
            None => {}
        }
    }

    /// Logs a warning if the certificate has expired, or expires soon.
    pub(super) fn check_certificate(&self) {
        self.checked.set(Some(Instant::now()));
        let Some(tls) = &self.tls else { return };
        let file = tls.files().certificate.display();
        let Some(end) = tls.end() else {
            return warn!(%file, "the end of the certificate cannot be read");
        };
        let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) else { return };
        let left = Duration::from_secs(end).saturating_sub(now);
        if left.is_zero() {
            warn!(%file, end, "the certificate has ended; clients refuse it: replace it");
        } else if left < SOON {
            let hours = left.as_secs() / 3600;
            warn!(%file, end, hours, "the certificate ends soon; replace it");
        }
    }

    fn check_certificate_daily(&self) {
        if self.checked.get().is_none_or(|checked| checked.elapsed() >= WARN_INTERVAL) {
            self.check_certificate();
        }
    }
}

/// Reads credentials again when their files change, and all of them with each SIGHUP.
pub(super) async fn keep_reading(credentials: Rc<Credentials>) {
    let mut hangup = signal(SignalKind::hangup())
        .inspect_err(|error| {
            error!(%error, "SIGHUP cannot be caught; credentials are read when they change");
        })
        .ok();
    loop {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // `None` means that no further signal can come.
            Some(()) = hung_up => {
                info!("SIGHUP: reading credentials again");
                credentials.reread_all();
            }
            () = tokio::time::sleep(LOOK_INTERVAL) => {
                credentials.reread_changed();
                credentials.check_certificate_daily();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_when_they_have_changed_and_are_quiet_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        std::fs::write(&path, "one").unwrap();
        let source = Source::new(Kind::Tokens, vec![path.clone()]);
        assert!(!source.has_changed());
        // Another file of equal size takes the name.
        let other = directory.path().join("other");
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(!source.has_changed(), "it may change again");
        assert!(source.has_changed() && source.has_changed());
        source.note_read();
        assert!(!source.has_changed(), "what is wrong with it is told once");
        std::fs::remove_file(&path).unwrap();
        assert!(!source.has_changed() && source.has_changed());
    }
}
