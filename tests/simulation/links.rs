//! The links between cores: a batch that was sent is on its way until the world delivers it.
//!
//! Batches of one core arrive in the order in which it sent them, whichever cores they go to. A
//! thread puts them into mailboxes in that order, and may pause between any two. Batches of
//! different cores may overtake each other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use chatshard::node::mailbox::{Courier, Mailbox, PeerMessage};
use chatshard::types::{ShardCount, ShardId};

type OnTheirWay = Arc<Mutex<Vec<VecDeque<(usize, Vec<PeerMessage>)>>>>;

/// The batches that are on their way between the cores of a node.
pub struct Links {
    /// For each core its batches in the order sent, each with the core that it goes to.
    sent: OnTheirWay,
}

struct Link {
    to: usize,
    sent: OnTheirWay,
}

impl Courier for Link {
    fn carry(&self, from: ShardId, batch: Vec<PeerMessage>) {
        self.sent.lock().unwrap()[from.index()].push_back((self.to, batch));
    }
}

impl Links {
    /// Links between the cores of a node, and their mailboxes.
    pub fn new(shards: ShardCount) -> (Self, Arc<[Mailbox]>) {
        let sent: OnTheirWay = Arc::default();
        sent.lock().unwrap().extend(shards.all().map(|_| VecDeque::new()));
        let mailbox = |shard: ShardId| {
            Mailbox::behind(Box::new(Link { to: shard.index(), sent: Arc::clone(&sent) }))
        };
        let mailboxes = shards.all().map(mailbox).collect();
        (Self { sent }, mailboxes)
    }

    /// The cores that have batches on their way.
    pub fn busy(&self) -> Vec<usize> {
        let sent = self.sent.lock().unwrap();
        (0..sent.len()).filter(|from| !sent[*from].is_empty()).collect()
    }

    /// Delivers the next batch of a core.
    pub fn bring_next(&self, from: usize, mailboxes: &[Mailbox]) {
        let next = self.sent.lock().unwrap()[from].pop_front();
        if let Some((to, batch)) = next {
            mailboxes[to].bring(batch);
        }
    }
}
