//! Copies the data of another member, when the journal has trimmed what this one needs next, or when
//! its own data is wrong.
//!
//! The newest active has all data. It is named by the base of the trim, or by a later claim, which
//! the epoch of the newest entry shows. A thread of its own downloads from its admin listener,
//! verifies, and puts the copy in its place.
//!
//! # Invariants
//! - A failure changes nothing. It is logged, shown by `/readyz`, and tried again after a pause.
//! - A cancelled copy leaves the data directory as a crash does.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use snapshot::{HeldDirectory, Lsn, SnapshotInfo};
use tokio::sync::oneshot;
use tracing::info;

use super::member_access::MemberAccess;
use crate::client::download::{self, Download};
use crate::client::{Address, ClientTls};
use crate::journal::client::EngineClient;
use crate::journal::names::MemberNames;
use crate::node::error::StoreError;
use crate::node::genesis::{NoOrigin, read_origin};
use crate::node::identity::{IDENTITY_FILE, Identity};
use crate::node::join::{JoinError, Joining, JoiningLog};
use crate::node::journal_end::{NotRead, newest_epoch, read_base, read_to_end};
use crate::node::store::lock;
use crate::throttle::throttled;

/// Pause after a failure. Each failure in a row doubles it, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Pause before another member is asked again for records that it did not have.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// How long the other member may lack records that the engine has trimmed.
const LAG_MAX: Duration = Duration::from_secs(10);
/// A round that brought all records since the one before, and took no longer, was the last one.
const ROUND_MAX: Duration = Duration::from_secs(1);

/// What a copy needs to know.
pub(super) struct JoinParts {
    /// The data directory.
    pub(super) dir: PathBuf,
    /// A segment of the log that has reached this size, in bytes, is followed by a new one.
    pub(super) segment_bytes_max: u64,
    /// Makes ports to the engine.
    pub(super) client: EngineClient,
    /// How others know this member.
    pub(super) own: MemberNames,
    /// How this member shows itself to others.
    pub(super) access: MemberAccess,
    /// Whether the own data is wrong. Then it is replaced by that of the newest active, even if the
    /// journal has everything.
    pub(super) is_wrong: bool,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Engine(#[from] NotRead),
    #[error("{0}")]
    Origin(#[from] NoOrigin),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Join(#[from] JoinError),
    #[error("{0}")]
    Peer(String),
    /// This member has nothing to show to others, or trusts nobody.
    #[error("{0}")]
    Own(String),
}

/// How far a copy is, for `/readyz`.
#[derive(Clone, Debug, Default)]
pub(super) struct JoinProgress(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    /// The other member; empty before one is known.
    from: String,
    /// What is copied, and up to where.
    part: Option<(&'static str, u64, Option<u64>)>,
    trouble: Option<String>,
}

impl JoinProgress {
    fn lock(&self) -> MutexGuard<'_, Shown> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, from: &MemberNames) {
        *self.lock() =
            Shown { from: format!("{} ({})", from.member, from.admin), ..Shown::default() };
    }

    fn at(&self, what: &'static str, done: u64, of: Option<u64>) {
        self.lock().part = Some((what, done, of));
    }

    fn fail(&self, why: String) {
        self.lock().trouble = Some(why);
    }

    /// How far the copy is, in words.
    pub(super) fn words(&self) -> String {
        let Shown { from, part, trouble } = &*self.lock();
        if let Some(why) = trouble {
            return format!("cannot copy the data of another member, and tries again: {why}");
        }
        match part {
            _ if from.is_empty() => "looking for a member to copy from".to_owned(),
            None => format!("copying from {from}"),
            Some((what, done, Some(of))) => format!("copying from {from}: {what} {done} of {of}"),
            Some((what, done, None)) => format!("copying from {from}: {what} {done}"),
        }
    }
}

/// A copy under way.
pub(super) struct JoinThread {
    ended: oneshot::Receiver<()>,
    cancel: oneshot::Sender<()>,
}

impl JoinThread {
    /// Begins to copy.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn start(parts: JoinParts, progress: JoinProgress) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let (cancel, cancelled) = oneshot::channel::<()>();
        thread::Builder::new().name("join".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = until_copied(&parts, &progress) => {}
                    _ = cancelled => {}
                }
            });
            // Nobody waits for it once the copy is cancelled and the process ends.
            let _ = end.send(());
        })?;
        Ok(Self { ended, cancel })
    }

    /// Waits until the copy is in its place, or the thread has ended otherwise.
    pub(super) async fn ended(&mut self) {
        drop((&mut self.ended).await);
    }

    /// Ends the thread, and waits for its end.
    pub(super) async fn cancel(self) {
        drop(self.cancel);
        drop(self.ended.await);
    }
}

/// Tries until the data is in its place.
async fn until_copied(parts: &JoinParts, progress: &JoinProgress) {
    let mut pause = PAUSE_MIN;
    while let Err(why) = attempt(parts, progress).await {
        let why = why.to_string();
        throttled!(of 4, warn, why, "the data of another member cannot be copied; it is tried again");
        progress.fail(why);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Asks the active that trimmed, or the one that has claimed since, and then a later one.
async fn attempt(parts: &JoinParts, progress: &JoinProgress) -> Result<(), Trouble> {
    let JoinParts { dir, client, own, .. } = parts;
    let lock = lock(dir)?;
    let disk = lock.disk(dir);
    let journal = Identity::read(&disk, &dir.join(IDENTITY_FILE))?.0.node_id;
    let active = match read_base(client, journal)? {
        _ if parts.is_wrong => read_to_end(client, journal)?.active,
        Some(base) if newest_epoch(client, journal)? <= base.active.epoch => base.active,
        Some(_) => read_to_end(client, journal)?.active,
        // Nothing is trimmed: the journal itself has all.
        None if read_origin(client)?.first == Lsn(1) => return Ok(()),
        // Its first member has the data from before the journal.
        None => read_to_end(client, journal)?.active,
    };
    let mut result = Err(Trouble::Peer("no other member is known to have the data".to_owned()));
    if active.names != MemberNames::default() && !active.names.are_of(own) {
        result = copy(parts, &disk, journal, &active.names, progress).await;
    }
    if let Err(Trouble::Peer(_)) = &result {
        let newest = read_to_end(client, journal)?.active.names;
        if newest != active.names && !newest.are_of(own) {
            return copy(parts, &disk, journal, &newest, progress).await;
        }
    }
    result
}

/// The first record that the engine keeps.
fn first_kept(client: &EngineClient, journal: u64) -> Result<Lsn, Trouble> {
    match read_base(client, journal)? {
        Some(base) => Ok(base.place.next_lsn),
        None => Ok(read_origin(client)?.first),
    }
}

/// Copies snapshot and log of one member.
async fn copy(
    parts: &JoinParts,
    disk: &HeldDirectory,
    journal: u64,
    from: &MemberNames,
    progress: &JoinProgress,
) -> Result<(), Trouble> {
    let peer = Peer::new(parts, from, progress)?;
    progress.begin(from);
    info!(member = from.member, admin = from.admin, "copying the data of another member");
    let began = Instant::now();
    let joining = Joining::begin(disk.clone(), &parts.dir, parts.segment_bytes_max)?;
    let snapshot = peer.snapshot(&joining).await?;
    let bytes = snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes);
    let mut log = joining.log(snapshot)?;
    peer.log(&mut log, &parts.client, journal).await?;
    let last = log.next().previous();
    log.finish()?;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    info!(member = from.member, snapshot_bytes = bytes, last_lsn = last.0, took_ms, "copied");
    Ok(())
}

/// Another member, as this one downloads from it.
struct Peer<'a> {
    name: &'a str,
    address: Address,
    /// The token that this member shows.
    token: Option<String>,
    /// The certificates that it trusts; `None` if members speak no TLS.
    tls: Option<ClientTls>,
    progress: &'a JoinProgress,
}

impl<'a> Peer<'a> {
    fn new(
        parts: &JoinParts,
        from: &'a MemberNames,
        progress: &'a JoinProgress,
    ) -> Result<Self, Trouble> {
        let MemberNames { member: name, admin, .. } = from;
        if admin.is_empty() {
            return Err(Trouble::Peer(format!("{name} has no admin listener")));
        }
        let (token, tls) = parts.access.credentials().map_err(Trouble::Own)?;
        Ok(Self { name, address: Address::from(admin.as_str()), token, tls, progress })
    }

    fn trouble(&self, why: impl std::fmt::Display) -> Trouble {
        Trouble::Peer(format!("{} ({}): {why}", self.name, self.address))
    }

    async fn get(&self, path: &str) -> Result<Download, Trouble> {
        let (token, tls) = (self.token.as_deref(), self.tls.as_ref());
        let got = download::get(&self.address, tls, token, path).await;
        got.map_err(|why| self.trouble(why))
    }

    /// Copies the newest snapshot; `None` if the member has none.
    async fn snapshot(
        &self,
        joining: &Joining<HeldDirectory>,
    ) -> Result<Option<SnapshotInfo>, Trouble> {
        let mut download = self.get("/journal/image").await?;
        match download.status() {
            200 => {}
            // Its log may begin at LSN 1.
            404 => return Ok(None),
            _ => return Err(self.trouble(download.message().await)),
        }
        let start = download.number("x-chatshard-start-lsn");
        let start = start.ok_or_else(|| self.trouble("it does not say what its snapshot is"))?;
        let bytes = download.number("content-length");
        let mut snapshot = joining.snapshot(Lsn(start))?;
        while let Some(piece) = download.piece().await.map_err(|why| self.trouble(why))? {
            snapshot.append(&piece)?;
            self.progress.at("bytes of its snapshot:", snapshot.bytes(), bytes);
        }
        Ok(Some(snapshot.finish().map_err(|error| self.told(error))?))
    }

    /// What came is wrong: another member may have it right.
    fn told(&self, error: JoinError) -> Trouble {
        match error {
            JoinError::Wrong(why) => self.trouble(why),
            error @ (JoinError::Disk(_) | JoinError::Store(_)) => error.into(),
        }
    }

    /// Copies the log until it reaches what the engine keeps.
    async fn log(
        &self,
        log: &mut JoiningLog<HeldDirectory>,
        client: &EngineClient,
        journal: u64,
    ) -> Result<(), Trouble> {
        let mut moved = Instant::now();
        loop {
            let (began, before) = (Instant::now(), log.next());
            self.round(log).await?;
            if log.next() > before {
                moved = Instant::now();
            }
            let kept = first_kept(client, journal)?;
            let is_enough = log.has(kept.previous());
            if is_enough && (log.next() == before || began.elapsed() < ROUND_MAX) {
                return Ok(());
            }
            if moved.elapsed() > LAG_MAX {
                let (last, wanted) = (log.next().previous(), kept.previous());
                return Err(self.trouble(format!("it has LSN {last}, and {wanted} is trimmed")));
            }
            if log.next() == before {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        }
    }

    /// Copies what the member's log has now.
    async fn round(&self, log: &mut JoiningLog<HeldDirectory>) -> Result<(), Trouble> {
        let mut download = self.get(&format!("/journal/log?from={}", log.next())).await?;
        if download.status() != 200 {
            return Err(self.trouble(download.message().await));
        }
        let last = download.number("x-chatshard-end-lsn");
        let mut reader = log.reader();
        while let Some(piece) = download.piece().await.map_err(|why| self.trouble(why))? {
            for batch in reader.take(&piece).map_err(|why| self.trouble(why))? {
                log.append(&batch)?;
            }
            self.progress.at("its log to LSN", log.next().previous().0, last);
        }
        Ok(())
    }
}
