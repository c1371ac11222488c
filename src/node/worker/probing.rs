//! Probes of the slots of a core; see [`crate::node::probes`].

use snapshot::Lsn;

use super::Worker;
use crate::shard::machine::SlotDigest;

impl Worker {
    /// Begins a probe of the next own slot, if this node may write.
    pub(super) fn probe(&mut self) {
        if self.node.may_probe() {
            self.shard.begin_next_probe(&mut self.out);
            self.give_capture(Lsn(0));
        }
    }

    /// Lets the capture of a probe be hashed, if the last record has begun one. `at` is the LSN of
    /// that record; 0 if it is not known.
    pub(super) fn give_capture(&mut self, at: Lsn) {
        if let Some(capture) = self.shard.take_probe(at) {
            self.node.probes.hash(self.shard_id, capture);
        }
    }

    /// Takes the digest of a capture.
    pub(super) fn probed(&mut self, digest: SlotDigest) {
        if self.node.may_probe() {
            self.shard.end_probe(digest, &mut self.out);
        } else {
            self.shard.hashed_in_replay(digest);
        }
        self.note_comparison();
    }

    /// Notes what a comparison has shown, if there was one.
    pub(super) fn note_comparison(&mut self) {
        if let Some(comparison) = self.shard.take_comparison() {
            self.node.probes.note(comparison);
        }
    }
}
