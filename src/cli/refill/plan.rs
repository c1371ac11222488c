//! Whose log a refill takes: the longest one whose records continue the journal.

use snapshot::Lsn;

use super::peers::AskedMember;
use crate::cli::Failure;
use crate::journal::client::EngineClient;
use crate::journal::reach::JournalReach;
use crate::journal::reader::{Content, JournalReader};
use crate::node::journal_end::read_to_end_with;
use crate::node::refill::RecordHashes;

/// What the engine still has.
#[derive(Debug)]
pub struct EngineEnd {
    /// It has read all entries.
    pub reader: JournalReader,
    /// The records of the entries.
    pub hashes: RecordHashes,
}

impl EngineEnd {
    /// Reads all entries of an engine.
    ///
    /// # Errors
    /// If the engine gives no word, or an entry cannot be accepted.
    pub(super) fn read(client: &EngineClient, journal: u64) -> Result<Self, Failure> {
        let mut hashes: Option<RecordHashes> = None;
        let end = read_to_end_with(client, journal, |entry| {
            if let Content::Records(batch) = &entry.content {
                let first = entry.header.first;
                let kept = hashes.take().filter(|hashes| hashes.next() == first);
                hashes.insert(kept.unwrap_or_else(|| RecordHashes::new(first))).add(batch);
            }
        });
        let end = end.map_err(|error| Failure::new(error.to_string()))?;
        let next = end.reader.committed().next();
        let hashes = hashes.unwrap_or_else(|| RecordHashes::new(next));
        Ok(Self { reader: end.reader, hashes })
    }
}

/// How far any member knows that the journal has come.
pub(super) fn known(peers: &[AskedMember]) -> JournalReach {
    peers.iter().map(AskedMember::reach).fold(JournalReach::default(), JournalReach::joined)
}

/// What is to be written.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The member whose log has it; `None` if no record is missing.
    pub source: Option<&'a AskedMember>,
    /// All records, those of the engine first.
    pub hashes: RecordHashes,
    /// The last record of the engine.
    shown: Lsn,
    /// Whether nothing at all is missing.
    pub is_whole: bool,
}

impl<'a> Plan<'a> {
    /// Compares all logs with the engine and with each other.
    ///
    /// # Errors
    /// If two of them differ. If no log has what a member has accepted.
    pub(super) fn make(
        engine: &EngineEnd,
        peers: &'a [AskedMember],
        known: JournalReach,
    ) -> Result<Self, Failure> {
        let shown = JournalReach::of(&engine.reader);
        let continues = |peer: &&AskedMember| peer.hashes.first <= shown.lsn.next();
        let longest = peers.iter().filter(continues).max_by_key(|peer| peer.hashes.next());
        let source = longest.filter(|peer| peer.hashes.next() > shown.lsn.next());
        let mut hashes = engine.hashes.clone();
        for peer in peers {
            refuse_difference(&hashes, "the engine", peer)?;
        }
        if let Some(source) = source {
            hashes.extend(&source.hashes);
            for peer in peers {
                refuse_difference(&hashes, &source.state.member, peer)?;
            }
        }
        let last = hashes.next().previous();
        let further = peers.iter().find(|peer| peer.hashes.next().previous() > last);
        if let Some(further) = further {
            let (name, first) = (&further.state.member, further.hashes.first);
            return Err(Failure::new(format!(
                "the log of {name} is the longest one, and begins with LSN {first}: nobody has the \
                 records between LSN {last} and it. Begin another journal with its data: \
                 chatshard journal init --from"
            )));
        }
        if known.lsn > last {
            let ahead = peers.iter().find(|peer| peer.reach().lsn == known.lsn);
            let name = ahead.map_or("a member", |peer| &peer.state.member);
            return Err(Failure::new(format!(
                "{name} knows that LSN {} was accepted, and no log has more than LSN {last}. \
                 Restart the members that failed, and try again",
                known.lsn
            )));
        }
        let is_whole = source.is_none() && !known.exceeds(&shown);
        Ok(Self { source, hashes, shown: shown.lsn, is_whole })
    }

    /// The last record, once all is written.
    pub(super) fn last(&self) -> Lsn {
        self.hashes.next().previous()
    }

    /// How many records are missing.
    pub(super) fn records(&self) -> u64 {
        self.last().0.saturating_sub(self.shown.0)
    }
}

fn refuse_difference(
    hashes: &RecordHashes,
    whose: &str,
    peer: &AskedMember,
) -> Result<(), Failure> {
    let Some(lsn) = hashes.difference(&peer.hashes) else { return Ok(()) };
    let name = &peer.state.member;
    Err(Failure::new(format!(
        "LSN {lsn} is another record in the log of {name} than {whose} has: nothing is written. \
         If that member is the wrong one, stop it and leave it out: --without {name}"
    )))
}

#[cfg(test)]
mod tests {
    use snapshot::Batch;

    use super::*;
    use crate::client::Address;
    use crate::journal::engine::Condition;
    use crate::journal::place::JournalPlace;
    use crate::node::give::MemberState;

    /// Records `first` to `last`; from `other` on they are others.
    fn hashes(first: u64, last: u64, other: u64) -> RecordHashes {
        let mut batch = Batch::new();
        for lsn in first..=last {
            let text = if lsn < other { format!("{lsn}") } else { format!("other {lsn}") };
            batch.push(text.as_bytes()).unwrap();
        }
        let mut hashes = RecordHashes::new(Lsn(first));
        hashes.add(&batch);
        hashes
    }

    /// An engine that keeps the records 10 to 20, and ends with entry 30 of epoch 2.
    fn engine() -> EngineEnd {
        let place = JournalPlace {
            seq: 30,
            epoch: 2,
            index: 30,
            next_lsn: Lsn(21),
            ..JournalPlace::default()
        };
        let reader = JournalReader::begin(1, Condition::Checked, place);
        EngineEnd { reader, hashes: hashes(10, 20, u64::MAX) }
    }

    fn peer(name: &str, hashes: RecordHashes, reach: (u64, u64, u64)) -> AskedMember {
        let (epoch, seq, lsn) = reach;
        let state = MemberState { member: name.into(), epoch, seq, lsn, ..MemberState::default() };
        AskedMember { address: Address::from("m:1"), state, hashes }
    }

    fn why(peers: &[AskedMember]) -> String {
        match Plan::make(&engine(), peers, known(peers)) {
            Err(Failure::Message(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_longest_log_that_continues_the_journal_is_taken() {
        let peers = [
            peer("m1", hashes(10, 24, u64::MAX), (3, 40, 24)),
            peer("m2", hashes(15, 27, u64::MAX), (3, 44, 27)),
            peer("m3", hashes(10, 9, u64::MAX), (2, 30, 20)),
        ];
        let plan = Plan::make(&engine(), &peers, known(&peers)).unwrap();
        assert_eq!(plan.source.unwrap().state.member, "m2");
        assert_eq!((plan.records(), plan.last(), plan.is_whole), (7, Lsn(27), false));
        assert_eq!(plan.hashes, hashes(10, 27, u64::MAX));
    }

    #[test]
    fn an_engine_that_has_all_lacks_nothing_or_entries_without_records() {
        for (reach, is_whole) in [((2, 30, 20), true), ((2, 31, 20), false), ((3, 9, 20), false)] {
            let peers = [peer("m1", hashes(10, 20, u64::MAX), reach)];
            let plan = Plan::make(&engine(), &peers, known(&peers)).unwrap();
            assert!(plan.source.is_none());
            assert_eq!((plan.records(), plan.is_whole), (0, is_whole));
        }
    }

    #[test]
    fn logs_that_differ_are_refused() {
        let reach = (3, 40, 27);
        let of_engine = why(&[peer("m1", hashes(10, 27, 18), reach)]);
        assert!(of_engine.contains("LSN 18 is another record in the log of m1"), "{of_engine}");
        let own = peer("m1", hashes(10, 27, u64::MAX), reach);
        let of_others = why(&[own, peer("m2", hashes(10, 24, 23), reach)]);
        assert!(of_others.contains("LSN 23 is another record in the log of m2"), "{of_others}");
    }

    #[test]
    fn records_that_no_log_has_are_refused() {
        let gap = why(&[peer("m1", hashes(23, 27, u64::MAX), (3, 40, 27))]);
        assert!(gap.contains("begins with LSN 23"), "{gap}");
        let unknown = why(&[peer("m1", hashes(10, 26, u64::MAX), (3, 40, 27))]);
        assert!(unknown.contains("m1 knows that LSN 27 was accepted"), "{unknown}");
    }
}
