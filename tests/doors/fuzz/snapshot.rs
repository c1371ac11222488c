//! Blocks of a snapshot with correct checksums and any contents. They are refused, or a node that
//! starts from them runs, and its state comes back from another snapshot and from its log.
//!
//! Input: pieces, each a block.

use chatshard::command::{Command, Kind};
use chatshard::shard::Shard;
use chatshard::types::{KeyHasher, ShardCount, ShardId};
use serde_json::{Value, json};

use super::bytes::Bytes;
use super::records::HASH_SEED;
use crate::common::SimNode;
use crate::common::sim::SimSnapshot;

/// Starts a node from the blocks, and checks that it runs.
pub fn run(input: &[u8]) {
    let blocks: Vec<Vec<u8>> = Bytes(input).pieces().into_iter().map(<[u8]>::to_vec).collect();
    let mut shard = Shard::new(ShardId(0), ShardCount::new(1).unwrap(), KeyHasher::new(HASH_SEED));
    if blocks.iter().try_for_each(|block| shard.restore(block)).is_err() {
        return;
    }
    let snapshot = SimSnapshot { blocks, log_start: 0 };
    runs(SimNode::new(1, HASH_SEED).crashed_without_log(1, &snapshot));
}

/// Checks the duties of a node, whatever it was started from.
pub(super) fn runs(mut node: SimNode) {
    node.settle();
    for (kind, arguments) in everything() {
        // It may be refused, in an orderly way.
        let outcome = node.run(Command::from_json(kind, arguments).unwrap());
        drop(outcome);
    }
    node.settle();
    node.begin_snapshot(0);
    let snapshot = node.finish_snapshot();
    let mut restored = node.crashed_without_log(3, &snapshot);
    restored.settle();
    restored.assert_same_state(&mut node, "from a snapshot");
}

/// Commands that read everything, and some that change the chats of the golden files.
fn everything() -> Vec<(Kind, Value)> {
    let row = json!({"user_id": "ann", "chat_id": "g"});
    vec![
        (Kind::Verify, json!({})),
        (Kind::Stats, json!({})),
        (Kind::List, json!({"user_id": "ann"})),
        (Kind::Detail, json!({"ids": ["g", "h", "i"], "user_id": "ann"})),
        (Kind::Conversations, json!({"user_id": "ann"})),
        (Kind::Unread, json!({"user_ids": ["ann", "bob", "eve"]})),
        (Kind::Sync, json!({"user_id": "ann"})),
        (Kind::Explain, row.clone()),
        (Kind::Members, json!({"chat_id": "g"})),
        (Kind::Advance, json!({"chat_id": "g", "allocate": 1, "sender_id": "ann"})),
        (Kind::AddMembers, json!({"chat_id": "g", "user_ids": ["ann", "zoe"]})),
        (Kind::Delete, json!({"user_id": "ann", "ids": ["g", "h", "i"]})),
        (Kind::Advance, json!({"chat_id": "g", "allocate": 1})),
        (Kind::Clear, row),
        (Kind::RemoveMembers, json!({"chat_id": "g", "user_ids": ["bob"]})),
        (Kind::Dissolve, json!({"chat_id": "g"})),
        (Kind::EraseUser, json!({"user_id": "ann"})),
    ]
}
