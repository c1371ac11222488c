//! Versions, alarms and space of the members.
//!
//! # Invariants
//! - A member of a version that may lose or change entries ends the start. One that shows up later
//!   is named in the log.
//! - etcd shows these to users with the role root alone. For another user nothing is checked, and the
//!   log says so.
//! - If the space runs out, etcd takes no write until an operator acts. So the node is told before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{Client, StatusResponse};
use tracing::warn;

use super::members::{CallError, EngineMembers};
use super::{EtcdError, EtcdSettings};
use crate::journal::client::EngineSpace;
use crate::throttle::throttled;

/// The oldest version that is used, and the first ones of a line that changed data in a crash.
const VERSION_MIN: [u32; 3] = [3, 5, 30];
const UNSAFE: std::ops::RangeInclusive<[u32; 3]> = [3, 5, 0]..=[3, 5, 5];
const INTERVAL: Duration = Duration::from_millis(500);
/// Time in which a member must reply at the start.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const START_PAUSE: Duration = Duration::from_millis(250);

/// Asks all members. At least one must reply, and all that do must be fit.
pub(super) async fn first(
    members: &EngineMembers,
    settings: &EtcdSettings,
) -> Result<(), EtcdError> {
    let (quota_bytes, kept_bytes_max) = (settings.quota_bytes, settings.kept_bytes_max);
    let begun = Instant::now();
    loop {
        let mut found = 0;
        let mut cause = String::new();
        for at in 0..members.count() {
            match status(members, at).await {
                Ok(status) => {
                    found += 1;
                    check(&status).map_err(|what| unfit(members, at, what))?;
                    let Used { quota_bytes, .. } = used(members, at, &status, quota_bytes);
                    if is_short(quota_bytes, kept_bytes_max) {
                        warn!(
                            member = members.name(at),
                            quota_bytes,
                            kept_bytes_max,
                            "the quota of etcd should be four times journal_bytes_max, or writes \
                             may be refused for want of space"
                        );
                    }
                }
                Err(error) if error.is_forbidden() => {
                    found += 1;
                    warn!(
                        member = members.name(at),
                        "this user may not see version, alarms and space of the journal's engine; \
                         they are not checked"
                    );
                }
                Err(error) => cause = format!("{}: {error}", members.name(at)),
            }
        }
        if found > 0 {
            if members.count() < 3 {
                warn!(
                    members = members.count(),
                    "the journal's engine has less than three members: the loss of one ends it"
                );
            }
            return Ok(());
        }
        if begun.elapsed() > START_TIMEOUT {
            return Err(EtcdError::OutOfReach(cause));
        }
        tokio::time::sleep(START_PAUSE).await;
    }
}

/// Looks at the members from time to time.
pub(super) async fn keep(members: Arc<EngineMembers>, space: EngineSpace, quota_bytes: u64) {
    loop {
        let mut is_full = false;
        let mut used_bytes = None;
        for at in 0..members.count() {
            let Ok(status) = status(&members, at).await else { continue };
            if let Err(what) = check(&status) {
                throttled!(error, member = members.name(at), what, "a member of etcd is unfit");
            }
            if status.header().is_some_and(|header| header.member_id() == status.leader()) {
                members.prefer(at);
            }
            let used = used(&members, at, &status, quota_bytes);
            is_full |= used.is_full();
            used_bytes = used_bytes.max(Some(used.live_bytes).filter(|bytes| *bytes > 0));
        }
        space.set(used_bytes, is_full);
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn status(members: &EngineMembers, at: usize) -> Result<StatusResponse, CallError> {
    let ask = |client: Client| async move { client.maintenance_client().status().await };
    members.ask(Some(at), ask).await
}

fn unfit(members: &EngineMembers, at: usize, what: String) -> EtcdError {
    EtcdError::Unfit { member: members.name(at).to_owned(), what }
}

fn check(status: &StatusResponse) -> Result<(), String> {
    check_version(status.version())
}

fn check_version(text: &str) -> Result<(), String> {
    let [major, minor, patch] = VERSION_MIN;
    let wanted = format!("{major}.{minor}.{patch} or newer is needed");
    match version(text) {
        Some(version) if UNSAFE.contains(&version) => {
            Err(format!("version {text} can lose entries in a crash; {wanted}"))
        }
        Some(version) if version < VERSION_MIN => Err(format!("version {text}; {wanted}")),
        Some(_) => Ok(()),
        None => Err(format!("its version {text:?} is not known; {wanted}")),
    }
}

/// The numbers of `3.5.30` or `3.6.0-rc.1`.
fn version(text: &str) -> Option<[u32; 3]> {
    let numbers = text.split(['-', '+']).next()?;
    let mut numbers = numbers.split('.').map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// The space of a member. Names its alarms, and a file that is near the quota.
fn used(members: &EngineMembers, at: usize, status: &StatusResponse, quota_bytes: u64) -> Used {
    for fault in status.errors() {
        throttled!(of 3, error, member = members.name(at), fault, "a member of etcd has an alarm");
    }
    let used = Used::of(status, quota_bytes);
    if used.file_bytes > used.quota_bytes / 5 * 4 {
        throttled!(of 3, warn, member = members.name(at), file_bytes = used.file_bytes,
            quota_bytes = used.quota_bytes, live_bytes = used.live_bytes,
            "a member of etcd is near its quota; if most of it is free, defragment it");
    }
    used
}

/// Whether a quota leaves too little room for a journal of that size: removed entries take space
/// until etcd compacts, and its file does not shrink.
fn is_short(quota_bytes: u64, kept_bytes_max: u64) -> bool {
    quota_bytes / 4 < kept_bytes_max
}

/// Space of one member, in bytes.
struct Used {
    quota_bytes: u64,
    /// The file, which never shrinks by itself and must stay below the quota.
    file_bytes: u64,
    /// What of the file is in use.
    live_bytes: u64,
}

impl Used {
    fn of(status: &StatusResponse, quota_bytes: u64) -> Self {
        let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
        let quota_bytes = match bytes(status.db_size_quota()) {
            0 => quota_bytes,
            told => told,
        };
        let live_bytes = bytes(status.raft_used_db_size());
        Self { quota_bytes, file_bytes: bytes(status.db_size()), live_bytes }
    }

    /// Whether new writes must wait: 80 % is in use, or the file has no more room.
    fn is_full(&self) -> bool {
        self.live_bytes > self.quota_bytes / 5 * 4 || self.file_bytes > self.quota_bytes / 20 * 19
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_refused_by_name() {
        for (text, part) in [
            ("3.4.23", "version 3.4.23; 3.5.30 or newer"),
            ("3.5.0", "can lose entries"),
            ("3.5.5", "can lose entries"),
            ("3.5.6", "version 3.5.6; 3.5.30"),
            ("3.5.29", "3.5.30 or newer"),
            ("", "not known"),
            ("3.5", "not known"),
        ] {
            let refused = check_version(text).unwrap_err();
            assert!(refused.contains(part), "{text}: {refused}");
        }
        for text in ["3.5.30", "3.6.0", "3.6.0-rc.1", "4.0.0"] {
            assert_eq!(check_version(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_quota_below_four_times_the_journal_is_short() {
        assert!(!is_short(2 << 30, 512 << 20));
        assert!(is_short(2 << 30, (512 << 20) + 1));
    }

    #[test]
    fn a_full_engine_is_known_before_it_refuses() {
        let of = |file_bytes, live_bytes| Used { quota_bytes: 1000, file_bytes, live_bytes };
        assert!(!of(0, 0).is_full() && !of(940, 800).is_full());
        assert!(of(900, 801).is_full() && of(951, 10).is_full());
    }
}
