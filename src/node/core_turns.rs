//! Whether every core still has turns: the active says so with each beat.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::info::NodeInfo;
use super::worker::on_core;

/// Asks all cores for a turn, and sees when all had one.
#[derive(Debug, Default)]
pub(super) struct CoreTurns {
    had: Arc<AtomicUsize>,
    is_asked: bool,
}

impl CoreTurns {
    /// Whether every core had a turn since it was asked; asks if none was.
    pub(super) fn all_had(&mut self, node: &NodeInfo) -> bool {
        if !self.is_asked {
            self.is_asked = true;
            for shard in node.shards.all() {
                let had = Arc::clone(&self.had);
                node.control(shard, on_core(move |_| _ = had.fetch_add(1, Ordering::AcqRel)));
            }
        }
        self.had.load(Ordering::Acquire) >= usize::from(node.shards.get())
    }

    /// Begins again.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}
