//! The requests of the contract as calls of etcd.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, GetResponse, KeyValue, Txn, TxnOp,
};
use tracing::warn;

use super::keys::{Keys, Trim};
use super::members::{CallError, EngineMembers};
use crate::journal::engine::{EngineReply, EngineRequest, StoredEntry};
use crate::throttle::throttled;

/// Entries that one call reads: the largest ones together are within [`PAGE_BYTES_MAX`].
const PAGE_ENTRIES: usize = 64;
/// Largest reply that is decoded.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Keys that one look for the tail reads.
const TAIL_KEYS: usize = 256;
/// Trims that may come between the look of a trim and its transaction.
const TRIM_ATTEMPTS: usize = 3;

/// Entries in order, and the revision of etcd at which they were read.
pub(super) struct Page {
    pub(super) entries: Vec<StoredEntry>,
    pub(super) is_more: bool,
    pub(super) revision: i64,
}

/// One journal in etcd.
pub(super) struct Journal {
    pub(super) keys: Keys,
    pub(super) members: Arc<EngineMembers>,
    /// A seq that was in the journal: the tail is looked for from there.
    near_tail: AtomicU64,
    /// What the newest append expected.
    expected: AtomicU64,
}

impl Journal {
    pub(super) fn new(keys: Keys, members: Arc<EngineMembers>) -> Self {
        let (near_tail, expected) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
        Self { keys, members, near_tail, expected }
    }

    /// Makes the calls of a request. What is not known is unknown.
    pub(super) async fn reply_to(&self, request: EngineRequest) -> EngineReply {
        let told = match request {
            EngineRequest::Append { expect, entry } => self.append(expect, &entry).await,
            EngineRequest::Tail => self.tail().await.map(|seq| EngineReply::Tail { seq }),
            EngineRequest::Read { from, max, endpoint } => {
                self.read(from, max, endpoint.map(usize::from)).await
            }
            EngineRequest::Trim { epoch, upto, base } => {
                self.trim(Trim { epoch, upto, base }).await
            }
            EngineRequest::Endpoints => {
                let count = self.members.count();
                return EngineReply::Endpoints(u16::try_from(count).unwrap_or(u16::MAX));
            }
            // A follow has many replies; its task makes them.
            EngineRequest::Follow { .. } => return EngineReply::FollowEnded,
        };
        told.unwrap_or_else(|error| {
            throttled!(warn, %error, "a call of the journal's engine has no result");
            EngineReply::Unknown
        })
    }

    async fn append(&self, expect: u64, entry: &Bytes) -> Result<EngineReply, CallError> {
        // Repeated, as there was no word: its member may be lost.
        if self.expected.swap(expect, Ordering::Relaxed) == expect {
            self.members.leave(self.members.preferred());
        }
        let Some(seq) = expect.checked_add(1) else { return Ok(EngineReply::Conflict) };
        let (before, key) = (self.keys.entry(expect), self.keys.entry(seq));
        let mut conditions = vec![Compare::version(key.clone(), CompareOp::Equal, 0)];
        if expect > 0 {
            conditions.push(Compare::version(before, CompareOp::Greater, 0));
        }
        if expect == 1 {
            // The first entry stays when the second one is trimmed.
            conditions.push(Compare::version(self.keys.trim.clone(), CompareOp::Equal, 0));
        }
        let put = TxnOp::put(key, entry.as_ref(), None);
        let txn = Txn::new().when(conditions).and_then([put]);
        let ask = |client: Client| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        if self.members.ask(None, ask).await?.succeeded() {
            self.near_tail.fetch_max(seq, Ordering::Relaxed);
            return Ok(EngineReply::Appended { seq });
        }
        Ok(EngineReply::Conflict)
    }

    async fn tail(&self) -> Result<u64, CallError> {
        let mut from = self.near_tail.load(Ordering::Relaxed);
        if from <= 1 {
            from = self.guess_tail().await?;
        }
        loop {
            let options = GetOptions::new().with_keys_only().with_limit(to_i64(TAIL_KEYS));
            let found = self.get(None, from, options).await?;
            let last = found.kvs().iter().rev().find_map(|kv| self.keys.seq(kv.key()));
            match last {
                Some(last) if found.more() => from = last.max(from.saturating_add(1)),
                Some(last) => {
                    self.near_tail.store(last, Ordering::Relaxed);
                    return Ok(last);
                }
                None if from <= 1 => return Ok(0),
                // The end was lost, or the guess was wrong.
                None => from = 1,
            }
        }
    }

    /// Where the tail is if no entry is missing: trimmed entries and kept ones, with the first one
    /// among both.
    async fn guess_tail(&self) -> Result<u64, CallError> {
        let upto = self.newest_trim(None).await?.map_or(1, |(trim, _)| trim.upto.max(1));
        let kept = self.get(None, 1, GetOptions::new().with_count_only()).await?.count();
        let kept = u64::try_from(kept).unwrap_or(0);
        Ok(upto.saturating_add(kept).saturating_sub(1).max(1))
    }

    async fn read(
        &self,
        from: u64,
        max: usize,
        endpoint: Option<usize>,
    ) -> Result<EngineReply, CallError> {
        let mut page = self.page(from, max, endpoint, None).await?;
        let mut entries = std::mem::take(&mut page.entries);
        while page.is_more && entries.len() < max {
            let Some(last) = entries.last() else { break };
            let (next, left) = (last.seq.saturating_add(1), max - entries.len());
            page = self.page(next, left, endpoint, Some(page.revision)).await?;
            entries.append(&mut page.entries);
        }
        self.without_trimmed(from, entries, endpoint).await
    }

    /// What a read from `from` found, as the contract wants it: entries that a trim has removed are
    /// gone, and what is missing otherwise is left to the reader.
    async fn without_trimmed(
        &self,
        from: u64,
        mut entries: Vec<StoredEntry>,
        endpoint: Option<usize>,
    ) -> Result<EngineReply, CallError> {
        let is_genesis = |entry: &StoredEntry| entry.seq == 1;
        let kept = usize::from(from <= 1 && entries.first().is_some_and(is_genesis));
        let due = if kept == 1 { 2 } else { from };
        let Some(found) = entries.get(kept).map(|entry| entry.seq) else {
            return Ok(EngineReply::Entries(entries));
        };
        if found <= due {
            return Ok(EngineReply::Entries(entries));
        }
        match self.newest_trim(endpoint).await? {
            Some((trim, _)) if due <= trim.upto && kept == 1 => {
                entries.truncate(1);
                Ok(EngineReply::Entries(entries))
            }
            Some((trim, _)) if due <= trim.upto => Ok(EngineReply::Gone { base: trim.base }),
            _ => Ok(EngineReply::Entries(entries)),
        }
    }

    /// Reads a page of entries; at a revision that a page before it had, or at the newest one.
    pub(super) async fn page(
        &self,
        from: u64,
        max: usize,
        endpoint: Option<usize>,
        revision: Option<i64>,
    ) -> Result<Page, CallError> {
        let options = GetOptions::new().with_limit(to_i64(max.clamp(1, PAGE_ENTRIES)));
        let options = options.with_revision(revision.unwrap_or(0));
        let mut found = self.get(endpoint, from, options).await?;
        let is_more = found.more();
        let header = found.header().ok_or(CallError::Reply("a reply has no revision"))?;
        let revision = revision.unwrap_or(header.revision());
        let entries = found.take_kvs().into_iter().filter_map(|kv| self.stored(kv)).collect();
        Ok(Page { entries, is_more, revision })
    }

    /// The entry in a key and its value; `None` if it is none.
    pub(super) fn stored(&self, kv: KeyValue) -> Option<StoredEntry> {
        let seq = self.keys.seq(kv.key())?;
        let (_, value) = kv.into_key_value();
        Some(StoredEntry { seq, bytes: value.into() })
    }

    async fn get(
        &self,
        endpoint: Option<usize>,
        from: u64,
        options: GetOptions,
    ) -> Result<GetResponse, CallError> {
        let key = self.keys.entry(from);
        let options = options.with_range(self.keys.end());
        let ask = |client: Client| {
            let mut kv = client.kv_client().max_decoding_message_size(PAGE_BYTES_MAX);
            let (key, options) = (key.clone(), options.clone());
            async move { kv.get(key, Some(options)).await }
        };
        self.members.ask(endpoint, ask).await
    }

    /// The newest trim with the revision of its key; `None` if there was none.
    async fn newest_trim(&self, endpoint: Option<usize>) -> Result<Option<(Trim, i64)>, CallError> {
        let ask = |client: Client| {
            let key = self.keys.trim.clone();
            async move { client.kv_client().get(key, None).await }
        };
        let mut found = self.members.ask(endpoint, ask).await?;
        let Some(kv) = found.take_kvs().pop() else { return Ok(None) };
        let trim = Trim::decode(kv.value());
        let trim = trim.ok_or(CallError::Reply("the newest trim in the engine is damaged"))?;
        Ok(Some((trim, kv.mod_revision())))
    }

    async fn trim(&self, trim: Trim) -> Result<EngineReply, CallError> {
        for _ in 0..TRIM_ATTEMPTS {
            let before = self.newest_trim(None).await?;
            let revision = before.as_ref().map_or(0, |(_, revision)| *revision);
            let is_newer =
                |(before, _): &(Trim, i64)| trim.epoch < before.epoch || trim.upto < before.upto;
            if before.as_ref().is_some_and(is_newer) || self.tail().await? <= trim.upto {
                return Ok(EngineReply::TrimRefused);
            }
            if let Some(revision) = self.trim_after(revision, &trim).await? {
                self.compact(revision).await;
                return Ok(EngineReply::Trimmed);
            }
        }
        Err(CallError::Reply("others trim the journal at the same time"))
    }

    /// Trims if the newest trim is still the one of that revision. Returns the revision of the new
    /// one. The tail only grows, so the newest entry stays.
    async fn trim_after(&self, revision: i64, trim: &Trim) -> Result<Option<i64>, CallError> {
        let key = self.keys.trim.clone();
        let is_unchanged = Compare::mod_revision(key.clone(), CompareOp::Equal, revision);
        let mut changes = vec![TxnOp::put(key, trim.encode(), None)];
        if trim.upto > 1 {
            let end = self.keys.entry(trim.upto.saturating_add(1));
            let removed = DeleteOptions::new().with_range(end);
            changes.push(TxnOp::delete(self.keys.entry(2), Some(removed)));
        }
        let txn = Txn::new().when([is_unchanged]).and_then(changes);
        let ask = |client: Client| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        let told = self.members.ask(None, ask).await?;
        let revision = told.header().map(|header| header.revision());
        Ok(revision.filter(|_| told.succeeded()))
    }

    /// Lets etcd free what was removed. Without it, removed entries fill the space until etcd's own
    /// compaction.
    async fn compact(&self, revision: i64) {
        let ask = |client: Client| async move { client.kv_client().compact(revision, None).await };
        if let Err(error) = self.members.ask(None, ask).await {
            warn!(%error, "the journal's engine does not free what was trimmed");
        }
    }
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
