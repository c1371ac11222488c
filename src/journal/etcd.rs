//! etcd as the engine of a journal.
//!
//! All keys of a journal begin with its name:
//!
//! | key | value |
//! |---|---|
//! | `NAME/e/00000000000000000001` | an entry; 20 digits of its seq |
//! | `NAME/trim` | the newest trim, with the base |
//!
//! An append is one transaction. It puts `e/<expect+1>` if `e/<expect>` is there and `e/<expect+1>`
//! is not. No other key tells the tail, so a changed bit cannot move it.
//!
//! # Layout
//! - [`keys`]: keys, and the value of `NAME/trim`
//! - [`members`]: calls of the members, each with a deadline
//! - [`calls`]: the requests of the contract
//! - [`follow`]: deliveries of new entries
//! - [`survey`]: versions, alarms and space of the members
//!
//! # Invariants
//! - One thread has all sockets. Threads of the node wait for it only at their ports.
//! - Each call of a member has a deadline. A call without a word replies `Unknown`.
//! - The first entry stays, so an append behind it is also refused if anything is trimmed: the
//!   second entry may be gone.
//! - Reads are linearizable, those of one endpoint too: its bytes are its own, and its end is not
//!   old.
//! - Values from etcd are opaque here. What is no key of an entry is passed over.

mod calls;
mod follow;
mod keys;
mod members;
mod survey;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use tokio::sync::Semaphore;

use self::calls::Journal;
use self::keys::Keys;
use self::members::EngineMembers;
use super::client::{EngineCall, EngineCalls, EngineClient};
use super::engine::{
    Condition, EngineAccess, EngineProfile, EngineReply, EngineRequest, EngineTls, LeaseTimes,
};
use super::kept::TrimLimits;

/// Calls under way at once; more are not sent.
const CALLS_MAX: usize = 64;
/// Largest entry: etcd keeps its newest 5000 requests in memory, besides the database.
const ENTRY_BYTES_MAX: usize = 64 << 10;
const QUEUE_BYTES_MAX: usize = 4 << 20;
/// etcd's own default, and the least that a journal needs.
const QUOTA_BYTES: u64 = 2 << 30;
/// Time after which a connection without a word is probed. etcd ends those that ask more often
/// than every 5 s.
const PROBE_INTERVAL: Duration = Duration::from_secs(6);
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the engine is, and how this process shows who it is.
#[derive(Clone)]
pub struct EtcdSettings {
    /// `host:port` of each member.
    pub members: Vec<String>,
    /// Name of the journal, which begins each key.
    pub name: String,
    /// Who this process is.
    pub access: EngineAccess,
    /// Quota of each member in bytes, if it does not tell its own. Versions before 3.6 do not.
    pub quota_bytes: u64,
    /// Largest size of the journal in bytes: `--journal-bytes-max`.
    pub kept_bytes_max: u64,
}

/// Why the engine cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// The setting is no address of a journal.
    #[error("{0:?} is no journal in etcd: it is like etcd://host1,host2,host3/name")]
    Address(String),
    /// No member replies.
    #[error("no member of etcd replies: {0}")]
    OutOfReach(String),
    /// A member is too old, or the settings of the engine cannot serve.
    #[error("member {member} of etcd: {what}")]
    Unfit {
        /// `host:port` of the member.
        member: String,
        /// Cause in words.
        what: String,
    },
    /// The system gives no thread or no runtime.
    #[error("the thread of etcd: {0}")]
    Thread(#[from] std::io::Error),
}

impl EtcdSettings {
    /// A journal of that name in these members, each `host:port`.
    #[must_use]
    pub fn new(members: Vec<String>, name: String, access: EngineAccess) -> Self {
        let kept_bytes_max = TrimLimits::default().bytes_max;
        Self { members, name, access, quota_bytes: QUOTA_BYTES, kept_bytes_max }
    }

    /// The members and the name in `etcd://host[:port],…/name`. The port is 2379 if none is given.
    ///
    /// # Errors
    /// [`EtcdError::Address`] if the text has another form.
    pub fn parse(address: &str) -> Result<Self, EtcdError> {
        let wrong = || EtcdError::Address(address.to_owned());
        let rest = address.strip_prefix("etcd://").ok_or_else(wrong)?;
        let (hosts, name) = rest.split_once('/').ok_or_else(wrong)?;
        let with_port = |host: &str| match host.rsplit_once(':') {
            _ if host.ends_with(']') => format!("{host}:2379"),
            Some(_) => host.to_owned(),
            None => format!("{host}:2379"),
        };
        let members: Vec<String> = hosts.split(',').map(with_port).collect();
        let is_host = |member: &String| {
            let (host, port) = member.rsplit_once(':').unwrap_or_default();
            !host.is_empty() && port.parse::<u16>().is_ok() && !member.contains(['@', ' '])
        };
        if !keys::is_name(name) || !members.iter().all(is_host) {
            return Err(wrong());
        }
        Ok(Self::new(members, name.to_owned(), EngineAccess::default()))
    }

    fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(PROBE_INTERVAL, PROBE_TIMEOUT)
            // A member without a leader says so, instead of waiting for one.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((name, password)) = &self.access.user {
            options = options.with_user(name, password);
        }
        if let Some(EngineTls { authority, identity }) = &self.access.tls {
            let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(authority));
            if let Some((certificate, key)) = identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            options = options.with_tls(tls);
        }
        options
    }

    /// What the contract says of this engine. Its elections take 1 to 2 s.
    #[must_use]
    pub fn profile(&self) -> EngineProfile {
        let ms = Duration::from_millis;
        EngineProfile {
            condition: Condition::Checked,
            entry_bytes_max: ENTRY_BYTES_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
            endpoints: u16::try_from(self.members.len()).unwrap_or(u16::MAX),
            times: LeaseTimes { beat: ms(500), serve: ms(2000), claim: ms(3000) },
            retry: ms(250),
            stall: ms(3000),
        }
    }
}

/// Begins the thread that speaks with etcd. It ends when the client and its ports are dropped.
///
/// # Errors
/// [`EtcdError`] if no member replies within some seconds, or one is unfit.
pub fn start(settings: EtcdSettings) -> Result<EngineClient, EtcdError> {
    let (client, calls) = EngineClient::new(settings.profile());
    let (begun, is_begun) = sync_channel(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || runtime.block_on(serve(settings, calls, &begun)))?;
    let ended = |_| EtcdError::OutOfReach("its thread has ended".to_owned());
    is_begun.recv().map_err(ended)??;
    Ok(client)
}

async fn serve(
    settings: EtcdSettings,
    mut calls: EngineCalls,
    begun: &SyncSender<Result<(), EtcdError>>,
) {
    let members = Arc::new(EngineMembers::new(&settings));
    let fit = survey::first(&members, &settings).await;
    let is_fit = fit.is_ok();
    if begun.send(fit).is_err() || !is_fit {
        return;
    }
    tokio::spawn(survey::keep(Arc::clone(&members), calls.space(), settings.quota_bytes));
    let journal = Arc::new(Journal::new(Keys::new(&settings.name), members));
    let mut follows = follow::Follows::default();
    let room = Arc::new(Semaphore::new(CALLS_MAX));
    // The runtime ends with this loop, and all of its tasks with it.
    while let Some(call) = calls.next().await {
        if let EngineRequest::Follow { from } = call.request {
            follows.begin(&journal, from, call.id, call.caller);
            continue;
        }
        let EngineCall { id, request, caller } = call;
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            caller.reply(id, EngineReply::Unknown);
            continue;
        };
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            caller.reply(id, journal.reply_to(request).await);
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_members_and_a_journal() {
        let settings = EtcdSettings::parse("etcd://a,10.0.0.1:1,[::1],[::1]:7/im-1").unwrap();
        assert_eq!(settings.members, ["a:2379", "10.0.0.1:1", "[::1]:2379", "[::1]:7"]);
        assert_eq!(settings.name, "im-1");
        assert!(settings.profile().check().is_ok());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in [
            "",
            "etcd://",
            "etcd://a",
            "etcd://a/",
            "etcd:///x",
            "etcd://a,/x",
            "http://a/x",
            "etcd://a:port/x",
            "etcd://a:1:2x/y",
            "etcd://user@a/x",
            "etcd://a/x/y",
            "etcd://a/é",
            "nats://a/x",
            "etcd://a /x",
            "etcd://a:99999/x",
        ] {
            assert!(matches!(EtcdSettings::parse(wrong), Err(EtcdError::Address(_))), "{wrong}");
        }
    }
}
