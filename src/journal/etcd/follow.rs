//! Deliveries of entries as they come.
//!
//! A follow reads what is there, page by page, and then watches from the revision of the last page.
//!
//! # Invariants
//! - Entries are delivered in order, each once. If one is missing, the follow ends: a read tells
//!   what became of it.
//! - A follow ends if its owner takes too little, as the owner must read then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, WatchFilterType, WatchOptions};
use tokio::task::AbortHandle;

use super::calls::Journal;
use super::members::CallError;
use crate::journal::client::EngineCaller;
use crate::journal::engine::{EngineReply, StoredEntry};

const PAGE_ENTRIES: usize = 64;
/// An owner who begins again at once must not keep a processor busy while etcd is out of reach.
const PAUSE: Duration = Duration::from_millis(100);

/// The follow of each port.
#[derive(Default)]
pub(super) struct Follows(BTreeMap<u64, AbortHandle>);

impl Follows {
    /// Begins a follow, and ends the one that the port had.
    pub(super) fn begin(&mut self, journal: &Arc<Journal>, from: u64, id: u64, to: EngineCaller) {
        let port = to.port();
        let journal = Arc::clone(journal);
        let task = tokio::spawn(async move {
            let mut follow = Follow { journal: &journal, next: from.max(1), id, to: &to };
            // How it ended is nothing that a read would not say.
            if follow.run().await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
            to.reply(id, EngineReply::FollowEnded);
        });
        self.0.retain(|_, task| !task.is_finished());
        if let Some(before) = self.0.insert(port, task.abort_handle()) {
            before.abort();
        }
    }
}

struct Follow<'a> {
    journal: &'a Journal,
    next: u64,
    id: u64,
    to: &'a EngineCaller,
}

impl Follow<'_> {
    async fn run(&mut self) -> Result<(), CallError> {
        let revision = loop {
            let page = self.journal.page(self.next, PAGE_ENTRIES, None, None).await?;
            if !self.deliver(page.entries) {
                return Ok(());
            }
            if !page.is_more {
                break page.revision;
            }
        };
        self.watch(revision.saturating_add(1)).await
    }

    async fn watch(&mut self, from: i64) -> Result<(), CallError> {
        let keys = &self.journal.keys;
        let options = WatchOptions::new()
            .with_range(keys.end())
            .with_filters([WatchFilterType::NoDelete])
            .with_start_revision(from);
        let first = keys.entry(1);
        let ask = |client: Client| {
            let (first, options) = (first.clone(), options.clone());
            async move { client.watch_client().watch(first, Some(options)).await }
        };
        let mut stream = self.journal.members.ask(None, ask).await?;
        while let Some(told) = stream.message().await? {
            let entries = told.events().iter().filter_map(|event| event.kv());
            let entries = entries.filter_map(|kv| self.journal.stored(kv.clone())).collect();
            if told.canceled() || !self.deliver(entries) {
                break;
            }
        }
        Ok(())
    }

    /// Delivers what is new. Returns false if the follow must end.
    fn deliver(&mut self, mut entries: Vec<StoredEntry>) -> bool {
        entries.retain(|entry| entry.seq >= self.next);
        let (first, count) = (self.next, entries.len() as u64);
        if !entries.iter().map(|entry| entry.seq).eq(first..first.saturating_add(count)) {
            return false;
        }
        self.next = first.saturating_add(count);
        entries.is_empty()
            || self.to.has_room() && self.to.reply(self.id, EngineReply::Entries(entries))
    }
}
