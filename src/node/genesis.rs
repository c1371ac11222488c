//! The first entry of a journal: what every member takes over before it opens its directory.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use snapshot::Lsn;

use super::error::StoreError;
use super::identity::{AtRisk, IDENTITY_VERSION, Identity, KnownJournal, StoredBaseline, draw};
use crate::journal::client::{EngineClient, EnginePort};
use crate::journal::engine::{EngineReply, EngineRequest, StoredEntry};
use crate::journal::entry::{
    ControlBody, EntryError, EntryHeader, EntryKind, Genesis, JournalEntry,
};
use crate::limits::{JOURNAL_FORMAT, SLOTS};
use crate::throttle::throttled;

/// How long one request to the engine may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pause before the engine is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// The id of a journal, and what its genesis says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalOrigin {
    /// Id of the journal.
    pub journal: u64,
    /// The body of its first entry.
    pub genesis: Genesis,
    /// The first record of the journal. Its first member has those before it.
    pub first: Lsn,
}

/// Why a journal has no origin that this program can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoOrigin {
    /// Nobody has begun it.
    #[error("the journal is empty; `chatshard journal init` begins it")]
    Empty,
    /// The engine did not reply.
    #[error("the engine of the journal gives no word")]
    NoWord,
    /// The first entry is damaged on all endpoints, is another program's, or does not fit.
    #[error("entry 1 of the journal: {0}")]
    Unusable(String),
    /// The journal has begun already.
    #[error("the journal has begun already; start its members with `chatshard serve`")]
    Begun,
}

/// Reads the first entry, and waits for the engine as long as it gives no word.
///
/// # Errors
/// [`NoOrigin`], but for [`NoOrigin::NoWord`].
pub fn wait_for_origin(client: &EngineClient) -> Result<JournalOrigin, NoOrigin> {
    loop {
        match read_origin(client) {
            Err(NoOrigin::NoWord) => {
                throttled!(of 4, warn, "the engine of the journal gives no word; it is asked again");
                std::thread::sleep(PAUSE);
            }
            read => return read,
        }
    }
}

/// Reads the first entry once, from one endpoint after the other.
///
/// # Errors
/// [`NoOrigin`].
pub fn read_origin(client: &EngineClient) -> Result<JournalOrigin, NoOrigin> {
    let port = client.port();
    let mut result = Err(NoOrigin::NoWord);
    for endpoint in std::iter::once(None).chain((0..client.profile().endpoints).map(Some)) {
        let request = EngineRequest::Read { from: 1, max: 1, endpoint };
        let id = endpoint.map_or(1, |endpoint| 2 + u64::from(endpoint));
        result = match ask(&port, id, request) {
            Some(EngineReply::Entries(entries)) => match entries.first() {
                Some(StoredEntry { bytes, .. }) => origin_of(bytes).map_err(NoOrigin::Unusable),
                None => Err(NoOrigin::Empty),
            },
            _ => Err(NoOrigin::NoWord),
        };
        match &result {
            Err(NoOrigin::Unusable(_)) => {}
            _ => return result,
        }
    }
    result
}

/// Sends a request and waits for its reply.
pub fn ask(port: &EnginePort, id: u64, request: EngineRequest) -> Option<EngineReply> {
    port.send(id, request);
    std::iter::from_fn(|| port.receive(PATIENCE))
        .find(|(replied, _)| *replied == id)
        .map(|(_, reply)| reply)
}

fn origin_of(bytes: &[u8]) -> Result<JournalOrigin, String> {
    let entry = JournalEntry::decode(bytes).map_err(|error| error.to_string())?;
    let body =
        ControlBody::decode(entry.header.kind, entry.body).map_err(|error| error.to_string())?;
    let Some(ControlBody::Genesis(genesis)) = body else {
        return Err("it is no genesis".to_owned());
    };
    match genesis {
        Genesis { format, .. } if format > JOURNAL_FORMAT => {
            Err(format!("a newer program made the journal, of format {format}"))
        }
        Genesis { slots, .. } if slots != SLOTS => Err(format!("{slots} slots, not {SLOTS}")),
        _ => {
            let EntryHeader { journal, first, .. } = entry.header;
            Ok(JournalOrigin { journal, genesis, first })
        }
    }
}

/// Begins an empty journal with this identity: its node id is the id of the journal. Its first record
/// will be `first`.
///
/// # Errors
/// [`NoOrigin::Begun`] if another journal is there. After any other [`NoOrigin`] this one may have
/// begun.
pub fn begin(
    client: &EngineClient,
    identity: &Identity,
    first: Lsn,
    time_ms: u64,
) -> Result<(), NoOrigin> {
    let entry = first_entry(identity, first, time_ms);
    let entry = entry.map_err(|error| NoOrigin::Unusable(error.to_string()))?;
    match ask(&client.port(), 1, EngineRequest::Append { expect: 0, entry }) {
        Some(EngineReply::Appended { seq: 1 }) => Ok(()),
        // It may be there already, if it was sent twice.
        Some(EngineReply::Conflict) => match read_origin(client)? {
            origin if origin.journal == identity.node_id => Ok(()),
            _ => Err(NoOrigin::Begun),
        },
        _ => Err(NoOrigin::NoWord),
    }
}

/// The bytes of the first entry of a journal with this identity.
///
/// # Errors
/// [`EntryError::Unwritable`] if the identity has no place in an entry.
pub fn first_entry(identity: &Identity, first: Lsn, time_ms: u64) -> Result<Bytes, EntryError> {
    let genesis = Genesis {
        format: JOURNAL_FORMAT,
        hash_seed: identity.hash_seed,
        slots: identity.slots,
        incarnation: identity.incarnation,
        partitions: 1,
    };
    let header = EntryHeader {
        kind: EntryKind::Genesis,
        part: 0,
        parts: 1,
        journal: identity.node_id,
        epoch: 0,
        writer: 0,
        index: 1,
        first,
        records: 0,
        time_ms,
        previous: 0,
    };
    Ok(header.seal(&ControlBody::Genesis(genesis).encode()?)?.bytes)
}

impl JournalOrigin {
    /// The identity of a new member.
    ///
    /// # Errors
    /// If the operating system has no random numbers.
    pub fn new_member(&self, path: &Path) -> Result<Identity, StoreError> {
        Ok(Identity {
            version: IDENTITY_VERSION,
            node_id: self.journal,
            hash_seed: self.genesis.hash_seed,
            slots: self.genesis.slots,
            incarnation: self.genesis.incarnation,
            at_risk: AtRisk::Nothing,
            baseline: StoredBaseline::default(),
            member: Some(draw(path)?),
            journal: KnownJournal::default(),
            swap: None,
            file: None,
        })
    }

    /// Refuses the directory of another journal, or of a node without one.
    ///
    /// # Errors
    /// [`StoreError::Foreign`], which says what the directory belongs to.
    pub fn check(&self, path: &Path, identity: &Identity) -> Result<(), StoreError> {
        let what = match identity {
            Identity { member: None, .. } => "it belongs to a node without a journal; `chatshard \
                 journal init --from` begins a journal with its data"
                .to_owned(),
            Identity { node_id, .. } if *node_id != self.journal => {
                format!("it belongs to the journal {node_id:x}, not to {:x}", self.journal)
            }
            Identity { incarnation, .. } if *incarnation != self.genesis.incarnation => {
                "it has begun another incarnation than its journal: wipe the directory".to_owned()
            }
            _ => return Ok(()),
        };
        Err(StoreError::Foreign { path: path.to_path_buf(), what })
    }
}
