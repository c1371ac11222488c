//! Watchers that go from member to member in histories: each change comes once, in order, whichever
//! member shows it, and no event comes before its change.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::{Buf, BytesMut};
use chatshard::command::watch::{WatchEvent, WatchOp};
use chatshard::command::{ErrorCode, Kind, Reply};
use chatshard::journal::reader::{Content, JournalReader, Verdict};
use chatshard::limits::REPLY_BYTES_MAX;
use chatshard::net::watching::Watches;
use chatshard::node::NodeInfo;
use chatshard::node::membership::MemberRole;
use chatshard::protocol::{decode_reply, frame};
use chatshard::shard::events;
use futures_util::FutureExt;

use super::world::{Fault, JOURNAL, World, profile};

/// Room of a connection, in bytes.
const ROOM: usize = 1 << 20;

/// A client that watches, and continues on another member now and then.
#[derive(Default)]
pub struct Hopper {
    connected: Option<(usize, Weak<NodeInfo>, Watches)>,
    requests: u64,
    /// Where it continues.
    offset: Option<String>,
    /// The changes that it got, by the LSN in their offsets, behind the one of `from`.
    got: BTreeMap<u64, WatchEvent>,
    from: u64,
    pub hops: u64,
    /// Events that a member showed that was not the active.
    pub of_standbys: u64,
}

impl Hopper {
    /// Takes what has come, or watches on another member.
    pub fn turn(&mut self, world: &mut World) -> Result<(), Fault> {
        let at = usize::try_from(world.random.below(world.members.len() as u64)).unwrap();
        let is_there = self.connected.as_ref().is_some_and(|(at, info, _)| {
            let life = world.members[*at].life.as_ref();
            life.is_some_and(|life| Arc::downgrade(&life.info).ptr_eq(info))
        });
        if !is_there || world.one_in(100) {
            self.hop(world, at);
        }
        self.take(world)
    }

    fn hop(&mut self, world: &mut World, at: usize) {
        self.connected = None;
        if !world.lets_watch(at) {
            return;
        }
        let life = world.members[at].life.as_ref().expect("it lets in");
        let mut watches = Watches::new(Arc::clone(&life.info.watch));
        self.requests += 1;
        watches.begin(self.requests, self.offset.as_deref()).unwrap();
        self.hops += 1;
        self.connected = Some((at, Arc::downgrade(&life.info), watches));
    }

    fn take(&mut self, world: &mut World) -> Result<(), Fault> {
        let Some((at, info, watches)) = &mut self.connected else { return Ok(()) };
        let Some(info) = info.upgrade() else { return Ok(()) };
        if !world.runs(*at) {
            return Ok(());
        }
        if info.watch_refusal().is_some() {
            self.connected = None;
            return Ok(());
        }
        let role = info.member.as_ref().unwrap().role();
        let is_standby = matches!(role, MemberRole::Standby | MemberRole::Claiming);
        let mut out = BytesMut::new();
        let _ = watches.changed().now_or_never();
        watches.fill(&mut out, ROOM, || true, || info.moved());
        let applied = info.mailboxes.iter().map(|mailbox| mailbox.applied.load(Ordering::Relaxed));
        let reached = if is_standby { applied.min().unwrap() } else { info.log.reached().0 };
        while let Ok(Some(payload)) = frame::first(&out, REPLY_BYTES_MAX) {
            let bytes = frame::HEADER_BYTES + payload.len();
            let reply = decode_reply(payload, |_| Some(Kind::Watch)).unwrap();
            out.advance(bytes);
            match reply.outcome {
                Ok(Reply::Watch(event)) => {
                    let lsn = lsn_of(&event.offset);
                    if lsn > reached {
                        return Err(format!("event {lsn} comes before {reached} is applied"));
                    }
                    self.of_standbys += u64::from(is_standby && event.op != WatchOp::Heartbeat);
                    self.note(lsn, event)?;
                }
                Ok(other) => return Err(format!("a watch got {other:?}")),
                Err(error) if error.code == ErrorCode::Conflict => {
                    if error.message.contains("another log") {
                        return Err(format!("a watcher is lost: {error}"));
                    }
                    // The files behind its offset went with a snapshot.
                    self.offset = None;
                    self.got.clear();
                    self.connected = None;
                    return Ok(());
                }
                Err(_) => {
                    self.connected = None;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, lsn: u64, event: WatchEvent) -> Result<(), Fault> {
        if self.offset.is_none() {
            self.from = lsn;
        }
        let before = self.offset.as_deref().map_or(0, lsn_of);
        if event.op == WatchOp::Heartbeat {
            if lsn < before {
                return Err(format!("a heartbeat goes back from {before} to {lsn}"));
            }
        } else {
            if lsn <= before {
                return Err(format!("change {lsn} comes again, after {before}"));
            }
            self.got.insert(lsn, event.clone());
        }
        self.offset = Some(event.offset);
        Ok(())
    }

    /// Whether the changes that it got are those of the journal.
    pub fn check(&self, world: &World) -> Result<(), Fault> {
        let Some(until) = self.offset.as_deref().map(lsn_of) else { return Ok(()) };
        let expected: BTreeMap<u64, WatchEvent> = changes(world)
            .into_iter()
            .filter(|(lsn, _)| (self.from + 1..=until).contains(lsn))
            .collect();
        let without_offset =
            |event: &WatchEvent| WatchEvent { offset: String::new(), ..event.clone() };
        for (lsn, change) in &expected {
            match self.got.get(lsn) {
                None => return Err(format!("a watcher that hops missed change {lsn}")),
                Some(got) if without_offset(got) != without_offset(change) => {
                    return Err(format!("change {lsn} is {change:?}, and a watcher got {got:?}"));
                }
                Some(_) => {}
            }
        }
        match self.got.keys().find(|lsn| !expected.contains_key(lsn)) {
            Some(lsn) => Err(format!("a watcher got change {lsn}, which the journal lacks")),
            None => Ok(()),
        }
    }
}

fn lsn_of(offset: &str) -> u64 {
    offset.split_once('.').unwrap().1.parse().unwrap()
}

/// All changes of the journal.
fn changes(world: &World) -> Vec<(u64, WatchEvent)> {
    let mut reader = JournalReader::new(JOURNAL, profile().condition);
    let mut changes = Vec::new();
    for entry in world.server.engine.history() {
        let Verdict::Accepted(accepted) = reader.accept(entry.seq, &entry.bytes) else { continue };
        let Content::Records(batch) = accepted.content else { continue };
        for (lsn, payload) in (accepted.header.first.0..).zip(batch.payloads()) {
            let (_, _, event) = events::decode(payload).unwrap();
            changes.extend(event.watched().map(|change| (lsn, change)));
        }
    }
    changes
}
