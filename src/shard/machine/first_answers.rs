//! First answers. A repeat of a request with an idempotency key gets the answer of the first
//! request, and changes nothing. [`Keyed`] says where an answer is kept.
//!
//! The slot that decides a request also keeps its answer, in a record after the records of the
//! decision. All records of one step are in one batch of the log, so a crash leaves all or none of
//! them. The log does not say how long an answer is kept. An eviction leaves no record, so an
//! answer may be there again after a start and is then only kept longer.
//!
//! If several shards decide a request, the request first reserves its key: a slot keeps a
//! reservation instead of an answer. A reservation is no reply. A repeat of the request gets the
//! same [`Reservation`], and asks for all parts again. The shard of each part keeps an answer of
//! its own.
//!
//! Invariants:
//! - An answer older than the window is not used, even if it is not evicted yet. The answer of a
//!   part has no window of its own: it is used as long as its reservation.
//! - A new answer evicts at most two answers for each unit of its weight, and each tick evicts at
//!   most two. So no step is long.
//! - A shard that follows another node lets answers go by the same bounds. It goes by the newest time
//!   in the records, so no answer goes before the other node may let it go.
//! - The queue names a slot once for each answer that the slot holds. The sum of weights counts
//!   these answers.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Shard, Slots};
use crate::command::{Error, Kind, Reply};
use crate::limits::{IDEMPOTENCY_ANSWER_BYTES, IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_WINDOW_MS};
use crate::shard::decode::BadRecord;
use crate::shard::events::{Event, KeyUsed, UserErased};
use crate::shard::keyed::Keyed;
use crate::shard::op::{Output, Step};
use crate::shard::state::FirstAnswer;
use crate::types::{Slot, TimeMs, UserId};

/// How many answers one step evicts at most because they are too old.
const EVICTED_A_STEP: usize = 2;

/// The first byte of a reservation. An answer has the code of its command there, and no command has
/// code 0.
const RESERVED: u8 = 0;

/// The slots of all first answers, one entry for each answer. The oldest comes first, so that it is
/// evicted first.
#[derive(Debug, Default)]
pub(super) struct Answers {
    queue: VecDeque<Slot>,
    /// The sum of the weights of all answers; see [`weight`].
    weight: usize,
    /// The newest time in the answers that came by replay.
    newest_replayed: TimeMs,
}

/// What an event changes of the answers of its slot.
struct AnswersChange {
    /// Those that go.
    gone: Weighed,
    /// The time and the weight of the one that comes.
    new: Option<(TimeMs, usize)>,
}

impl Answers {
    /// Removes entries of a slot from the queue, because these answers of the slot are gone. The
    /// first entries of the slot go. So the answers that are left are evicted no earlier than
    /// before.
    fn went(&mut self, slot: Slot, answers: Weighed) {
        self.weight = self.weight.saturating_sub(answers.weight);
        let mut left = answers.count;
        self.queue.retain(|other| {
            let goes = left > 0 && *other == slot;
            left -= usize::from(goes);
            !goes
        });
    }

    /// Evicts a few answers that are older than [`IDEMPOTENCY_WINDOW_MS`].
    pub(super) fn evict_expired(&mut self, slots: &mut Slots, now: TimeMs) {
        for _ in 0..EVICTED_A_STEP {
            let Some(slot) = self.queue.front() else { return };
            let oldest = slots.slot(*slot).ok().and_then(|state| state.answers.first());
            if oldest.is_some_and(|answer| !is_over(answer.at, now)) {
                return;
            }
            self.evict_oldest(slots);
        }
    }

    /// Counts what an event has changed, and evicts what goes beyond the bounds at the time `now`.
    fn changed(&mut self, slots: &mut Slots, slot: Slot, change: AnswersChange, now: TimeMs) {
        let AnswersChange { gone, new } = change;
        if gone.count > 0 {
            self.went(slot, gone);
        }
        let Some((_, weight)) = new else { return };
        self.queue.push_back(slot);
        self.weight += weight;
        let kept_max = IDEMPOTENCY_KEYS_MAX / usize::from(slots.shards.get());
        for _ in 0..EVICTED_A_STEP * weight {
            if self.weight > kept_max {
                self.evict_oldest(slots);
            }
        }
        self.evict_expired(slots, now);
    }

    fn evict_oldest(&mut self, slots: &mut Slots) {
        let hasher = slots.hasher;
        if let Some(slot) = self.queue.pop_front()
            && let Ok(state) = slots.slot_mut(slot)
        {
            let gone = state.answers.pop_first(hasher);
            let weight = gone.map_or(0, |answer| weight(&answer.reply));
            self.weight = self.weight.saturating_sub(weight);
        }
    }

    /// Fills the queue after a start with the answers of all slots, oldest first.
    pub(super) fn gather(&mut self, slots: &Slots) {
        let mut found: Vec<(TimeMs, Slot)> = Vec::new();
        self.weight = 0;
        for (index, state) in slots.states().iter().enumerate() {
            let Some(slot) = slots.own_slot(index) else { continue };
            found.extend(state.answers.iter().map(|answer| (answer.at, slot)));
            self.weight += Weighed::of(state.answers.iter()).weight;
        }
        found.sort_unstable();
        self.queue = found.into_iter().map(|(_, slot)| slot).collect();
    }
}

/// A number of answers, with the sum of their weights.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::shard) struct Weighed {
    /// Number of answers.
    pub(in crate::shard) count: usize,
    /// Sum of the weights of these answers.
    weight: usize,
}

impl Weighed {
    fn of<'a>(answers: impl Iterator<Item = &'a FirstAnswer>) -> Self {
        answers.fold(Self::default(), |all, answer| Self {
            count: all.count + 1,
            weight: all.weight + weight(&answer.reply),
        })
    }
}

/// The weight of an answer, in keys: a long answer counts as several keys.
fn weight(reply: &Bytes) -> usize {
    1 + reply.len() / IDEMPOTENCY_ANSWER_BYTES
}

/// What a slot keeps under an idempotency key.
pub(in crate::shard) enum Remembered {
    /// The first reply to the request.
    Reply(Reply),
    /// The number of a reservation: the slot sequence of its record. Parts of the request may be
    /// under way.
    Reservation(u64),
}

impl Shard {
    /// Decides a request, or repeats its first answer. A request without a key is always decided.
    pub(in crate::shard) fn once(
        &mut self,
        keyed: Option<Keyed>,
        out: &mut Output,
        decide: impl FnOnce(&mut Self, &mut Output) -> Step,
    ) -> Step {
        let Some(keyed) = keyed else { return decide(self, out) };
        match self.recall(&keyed) {
            Err(error) => return Step::Done(Err(error)),
            Ok(Some(reply)) => {
                return Step::AfterDeliveries(keyed.chat_id.into_iter().collect(), reply);
            }
            Ok(None) => {}
        }
        let step = decide(self, out);
        if let Step::Done(Ok(reply)) | Step::AfterDeliveries(_, reply) = &step {
            self.keep(keyed, reply, out);
        }
        step
    }

    /// Keeps a reservation and returns its number, the slot sequence of its record.
    pub(in crate::shard) fn keep_reservation(&mut self, keyed: Keyed, out: &mut Output) -> u64 {
        let number = self.slots.slot(keyed.slot).map_or(0, |state| state.seq) + 1;
        let mut bytes = vec![RESERVED];
        bytes.extend_from_slice(&number.to_be_bytes());
        self.keep_bytes(keyed, bytes.into(), out);
        number
    }

    /// What the slot keeps under the key of a request. None if it keeps nothing that may be used.
    ///
    /// # Errors
    /// If another request has used the key.
    pub(in crate::shard) fn remembered(&self, keyed: &Keyed) -> Result<Option<Remembered>, Error> {
        let Ok(state) = self.slots.slot(keyed.slot) else { return Ok(None) };
        let found = state.answers.get(&keyed.scope, self.slots.hash_of(&keyed.scope));
        let counts = |answer: &&FirstAnswer| keyed.is_part || !is_over(answer.at, self.time.keys);
        match found.filter(counts) {
            None => Ok(None),
            Some(answer) if answer.request == keyed.request => decode(&answer.reply).map(Some),
            // Without a log a crash may lose a reservation. A later reservation can then have its
            // number, so what is kept here belongs to the lost reservation.
            Some(_) if keyed.is_part => Ok(None),
            Some(_) => Err(Keyed::another_request()),
        }
    }

    /// The reply to the first request. None if there is none, or if only a reservation is kept.
    ///
    /// # Errors
    /// If another request has used the key.
    pub(in crate::shard) fn recall(&self, keyed: &Keyed) -> Result<Option<Reply>, Error> {
        Ok(self.remembered(keyed)?.and_then(|found| match found {
            Remembered::Reply(reply) => Some(reply),
            Remembered::Reservation(_) => None,
        }))
    }

    /// Keeps a reply under the key of its request.
    pub(in crate::shard) fn keep(&mut self, keyed: Keyed, reply: &Reply, out: &mut Output) {
        self.keep_bytes(keyed, encode(reply), out);
    }

    fn keep_bytes(&mut self, keyed: Keyed, reply: Bytes, out: &mut Output) {
        let Keyed { slot, scope, request, .. } = keyed;
        let answer = FirstAnswer { scope, order: 0, request, at: self.time.keys, reply };
        let change = self.change_by(slot, &answer);
        self.commit(slot, KeyUsed { answer }, out);
        self.answers.changed(&mut self.slots, slot, change, self.time.keys);
    }

    /// What an answer changes that a slot is about to keep: it may replace one that is too old.
    fn change_by(&self, slot: Slot, answer: &FirstAnswer) -> AnswersChange {
        let hash = self.slots.hash_of(&answer.scope);
        let gone = self.slots.slot(slot).map_or_else(
            |_| Weighed::default(),
            |state| Weighed::of(state.answers.get(&answer.scope, hash).into_iter()),
        );
        AnswersChange { gone, new: Some((answer.at, weight(&answer.reply))) }
    }

    /// Applies an event of another node, and lets answers go as that node does.
    pub(super) fn follow(&mut self, slot: Slot, event: Event) -> Result<(), BadRecord> {
        let change = if let Event::KeyUsed(KeyUsed { answer }) = &event {
            Some(self.change_by(slot, answer))
        } else if let Event::UserErased(UserErased { user_id }) = &event {
            Some(AnswersChange { gone: self.answers_of(user_id), new: None })
        } else {
            None
        };
        self.slots.apply(slot, |applier| event.apply(applier))?;
        if let Some(change) = change {
            let newest = change.new.map_or(TimeMs::ZERO, |(at, _)| at);
            self.answers.newest_replayed = self.answers.newest_replayed.max(newest);
            let now = self.answers.newest_replayed;
            self.answers.changed(&mut self.slots, slot, change, now);
        }
        Ok(())
    }

    /// The newest time of an answer that came by replay; zero without one.
    pub fn newest_replayed_answer(&self) -> TimeMs {
        self.answers.newest_replayed
    }

    /// The first answers under the keys of a user: their number and weight.
    pub(in crate::shard) fn answers_of(&self, user_id: &UserId) -> Weighed {
        let hash = self.slots.hash_of(user_id.as_str());
        self.slots
            .slot(self.slots.slot_of_user(user_id))
            .map_or_else(|_| Weighed::default(), |state| Weighed::of(state.answers_of(hash)))
    }

    /// Removes these answers of a slot from the queue. They are gone because their user was erased.
    pub(in crate::shard) fn answers_went(&mut self, slot: Slot, answers: Weighed) {
        self.answers.went(slot, answers);
    }

    /// The time of the newest answer of all slots. None without answers. At a start the clock of
    /// idempotency keys continues from this time.
    pub fn newest_answer(&self) -> Option<TimeMs> {
        let answers = self.slots.states().iter().flat_map(|state| state.answers.iter());
        answers.map(|answer| answer.at).max()
    }
}

/// Whether an answer given at `at` is older than [`IDEMPOTENCY_WINDOW_MS`].
fn is_over(at: TimeMs, now: TimeMs) -> bool {
    at.saturating_add(IDEMPOTENCY_WINDOW_MS) <= now
}

fn encode(reply: &Reply) -> Bytes {
    let mut bytes = vec![reply.kind().code()];
    let written = rmp_serde::encode::write(&mut bytes, reply);
    // Writing to memory cannot fail, and every reply can be encoded.
    assert!(written.is_ok(), "a reply was not encoded: {written:?}");
    bytes.into()
}

fn decode(bytes: &[u8]) -> Result<Remembered, Error> {
    let lost = || Error::outcome_unknown("the first answer to this key cannot be read");
    let (code, body) = bytes.split_first().ok_or_else(lost)?;
    if *code == RESERVED {
        let number = body.try_into().map_err(|_| lost())?;
        return Ok(Remembered::Reservation(u64::from_be_bytes(number)));
    }
    let kind = Kind::from_code(*code).ok_or_else(lost)?;
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    Reply::deserialize_body(kind, &mut deserializer).map(Remembered::Reply).map_err(|_| lost())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use snapshot::Batch;

    use super::*;
    use crate::command::{Command, Sorted};
    use crate::shard::op::{Answer, Op, ReplyTo};
    use crate::types::{KeyHasher, ShardCount, ShardId};

    fn answer(shard: &mut Shard, op: Op) -> Answer {
        let mut out = Output::default();
        shard.operation(ReplyTo { core: ShardId(0), entry: 0, part: 0 }, op, &mut out);
        out.answers.remove(0).answer
    }

    fn ask(shard: &mut Shard, kind: Kind, mut arguments: Value, key: usize) {
        arguments["idempotency_key"] = format!("k{key}").into();
        let op = match Command::from_json(kind, arguments).unwrap() {
            Command::EraseUser(erase) => Op::EraseBegin(erase),
            Command::MarkReadMany(many) => {
                let checked = answer(shard, Op::CheckReads(many.user_id.clone(), many.items));
                let Answer::CheckReads(requests) = checked else { panic!("{checked:?}") };
                Op::ReadRows(many.user_id, requests, many.idempotency_key.unwrap())
            }
            command => match command.sorted() {
                Sorted::Shard(command) => Op::Run(command),
                other => panic!("{other:?}"),
            },
        };
        let ends = match &op {
            Op::EraseBegin(erase) => Some(Op::EraseEnd(erase.clone(), 0)),
            _ => None,
        };
        for op in std::iter::once(op).chain(ends) {
            let answer = answer(shard, op);
            assert!(!matches!(answer, Answer::Done(Err(_))), "{answer:?}");
        }
        assert_counted(shard);
    }

    #[track_caller]
    fn assert_counted(shard: &Shard) {
        let kept = Weighed::of(shard.slots.states().iter().flat_map(|state| state.answers.iter()));
        let listed = (shard.answers.queue.len(), shard.answers.weight);
        assert_eq!(listed, (kept.count, kept.weight));
    }

    /// Gives the records of one shard to a shard that follows it.
    fn follow(shard: &mut Shard, records: &Batch) {
        for record in records.payloads() {
            shard.replay(record).unwrap();
        }
        assert_counted(shard);
    }

    #[test]
    fn a_shard_that_follows_keeps_what_the_other_keeps() {
        let shards = ShardCount::new(1).unwrap();
        let new = || Shard::new(ShardId(0), shards, KeyHasher::new(7));
        let (mut shard, mut standby) = (new(), new());
        standby.stand_by();
        // Far behind, or far ahead: only the times in the records count.
        for (round, clock) in
            [1, 50 * IDEMPOTENCY_WINDOW_MS, 1].into_iter().cycle().take(30).enumerate()
        {
            let now = 1_000_000 + round as u64 * IDEMPOTENCY_WINDOW_MS / 10;
            shard.tick(TimeMs::new(now).unwrap());
            standby.tick(TimeMs::new(clock).unwrap());
            for user in ["a", "b"] {
                let mut out = Output::default();
                let touch = json!({"user_id": user, "idempotency_key": format!("k{round}")});
                let Sorted::Shard(command) =
                    Command::from_json(Kind::Touch, touch).unwrap().sorted()
                else {
                    panic!()
                };
                let to = ReplyTo { core: ShardId(0), entry: 0, part: 0 };
                shard.operation(to, Op::Run(command), &mut out);
                follow(&mut standby, &out.records);
            }
            if round == 15 {
                let mut out = Output::default();
                let erase = json!({"user_id": "a"});
                let Command::EraseUser(erase) = Command::from_json(Kind::EraseUser, erase).unwrap()
                else {
                    panic!()
                };
                let to = ReplyTo { core: ShardId(0), entry: 0, part: 0 };
                shard.operation(to, Op::EraseEnd(erase, 0), &mut out);
                follow(&mut standby, &out.records);
            }
            assert_eq!(standby.newest_replayed_answer().get(), now);
            let scopes = |shard: &Shard| {
                let answers = shard.slots.states().iter().flat_map(|state| state.answers.iter());
                answers.map(|answer| answer.scope.clone()).collect::<Vec<_>>()
            };
            assert_eq!(scopes(&standby), scopes(&shard), "round {round}");
        }
        // Ten rounds are a window.
        assert!(standby.answers.queue.len() <= 22, "{}", standby.answers.queue.len());
    }

    #[test]
    fn what_is_kept_is_counted() {
        let shards = ShardCount::new(1).unwrap();
        let mut shard = Shard::new(ShardId(0), shards, KeyHasher::new(7));
        let tick = |shard: &mut Shard, ms: u64| shard.tick(TimeMs::new(ms).unwrap());
        tick(&mut shard, 1);
        let items: Vec<Value> =
            (0..200).map(|number| json!({"chat_id": format!("c{number}"), "seq": 1})).collect();
        for user in ["a", "b", "c"] {
            for key in 0..5 {
                ask(&mut shard, Kind::Touch, json!({"user_id": user}), key);
            }
            ask(&mut shard, Kind::MarkReadMany, json!({"user_id": user, "items": items}), 5);
        }
        assert_eq!(shard.answers.queue.len(), 18);
        assert!(shard.answers.weight > 18, "long answers count more: {}", shard.answers.weight);
        ask(&mut shard, Kind::EraseUser, json!({"user_id": "a"}), 6);
        assert_eq!(shard.answers.queue.len(), 13);
        // Uses all keys again when their answers are too old but not evicted yet.
        tick(&mut shard, 1 + IDEMPOTENCY_WINDOW_MS);
        for key in (0..5).rev() {
            ask(&mut shard, Kind::Touch, json!({"user_id": "c"}), key);
        }
        for _ in 0..20 {
            tick(&mut shard, 2 + IDEMPOTENCY_WINDOW_MS);
            assert_counted(&shard);
        }
        assert_eq!(shard.answers.queue.len(), 5);
        shard.start(&mut Output::default());
        assert_counted(&shard);
    }
}
