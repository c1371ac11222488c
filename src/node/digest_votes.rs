//! Who is wrong when members differ: what standbys have said of the active's digests.
//!
//! A digest that two members share counts as right, so a member with another one is wrong. If none
//! or several are shared, nobody can tell: two members that differ need an operator.
//!
//! Invariants:
//! - Only digests of the present stint count: those before it are of another active.
//! - At most [`DIGESTS_MAX`] digests are kept, the newest ones.

use std::collections::BTreeMap;

use snapshot::Lsn;

use crate::command::report::ComparedDigest;

/// Most digests that are kept, each with a vote of every standby: about a minute of them.
const DIGESTS_MAX: usize = 64;

/// The votes of a stint.
#[derive(Debug, Default)]
pub(super) struct DigestVotes {
    /// The last record before the stint. `None` before a claim.
    before: Option<Lsn>,
    /// By the LSN behind which the digests are.
    votes: BTreeMap<u64, Votes>,
}

#[derive(Debug)]
struct Votes {
    /// The digest of the active.
    active: u64,
    /// Those of standbys, by name.
    standbys: BTreeMap<String, u64>,
}

/// What the votes say of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DigestVerdict {
    /// Some standby has the digest of the active: those with another one are wrong.
    Active,
    /// Two standbys share a digest, and no standby has that of the active: the active is wrong.
    Standbys,
    /// Nobody shares a digest.
    Open,
}

impl Votes {
    /// What they say of this digest of a standby.
    fn verdict(&self, own: u64) -> DigestVerdict {
        let count = |digest: u64| self.standbys.values().filter(|other| **other == digest).count();
        match count(own) > 1 {
            _ if count(self.active) > 0 => DigestVerdict::Active,
            true => DigestVerdict::Standbys,
            false => DigestVerdict::Open,
        }
    }
}

impl DigestVotes {
    /// Begins a stint behind this record.
    pub(super) fn begin(&mut self, before: Lsn) {
        *self = Self { before: Some(before), votes: BTreeMap::new() };
    }

    /// Takes what a standby has compared. Returns the newest digest among them in which it differs,
    /// and what the votes say of it.
    pub(super) fn take(
        &mut self,
        member: &str,
        compared: &[ComparedDigest],
    ) -> Option<(Lsn, DigestVerdict)> {
        let before = self.before?;
        let of_stint = || compared.iter().filter(|digest| digest.lsn > before.0);
        for ComparedDigest { lsn, own, active } in of_stint() {
            let votes = self.votes.entry(*lsn);
            let votes =
                votes.or_insert_with(|| Votes { active: *active, standbys: BTreeMap::new() });
            votes.standbys.insert(member.to_owned(), *own);
        }
        while self.votes.len() > DIGESTS_MAX {
            self.votes.pop_first();
        }
        let newest = of_stint().filter(|digest| digest.own != digest.active);
        let ComparedDigest { lsn, own, .. } = newest.max_by_key(|digest| digest.lsn)?;
        Some((Lsn(*lsn), self.votes.get(lsn)?.verdict(*own)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(lsn: u64, own: u64, active: u64) -> ComparedDigest {
        ComparedDigest { lsn, own, active }
    }

    /// What becomes of the last one of these standbys, each with its digest. The active has 1.
    fn verdict(of: &[u64]) -> Option<DigestVerdict> {
        let mut votes = DigestVotes::default();
        votes.begin(Lsn(10));
        let verdicts = (0..)
            .zip(of)
            .map(|(number, own)| votes.take(&format!("m{number}"), &[compared(11, *own, 1)]));
        verdicts.last().flatten().map(|(_, verdict)| verdict)
    }

    #[test]
    fn whoever_is_alone_is_wrong() {
        assert_eq!(verdict(&[2, 1]), None);
        assert_eq!(verdict(&[2]), Some(DigestVerdict::Open));
        assert_eq!(verdict(&[3, 2]), Some(DigestVerdict::Open));
        assert_eq!(verdict(&[3, 3, 2]), Some(DigestVerdict::Open));
        assert_eq!(verdict(&[1, 2]), Some(DigestVerdict::Active));
        assert_eq!(verdict(&[2, 2]), Some(DigestVerdict::Standbys));
        assert_eq!(verdict(&[1, 2, 2]), Some(DigestVerdict::Active));
    }

    #[test]
    fn only_newer_digests_of_the_stint_count() {
        let mut votes = DigestVotes::default();
        assert_eq!(votes.take("a", &[compared(11, 2, 1)]), None, "no claim");
        votes.begin(Lsn(11));
        assert_eq!(votes.take("a", &[compared(11, 2, 1)]), None, "of another active");
        for lsn in 12..100 {
            let found = votes.take("a", &[compared(lsn, 2, 1), compared(lsn + 1, 1, 1)]);
            assert_eq!(found, Some((Lsn(lsn), DigestVerdict::Open)));
        }
        assert_eq!(votes.votes.len(), DIGESTS_MAX);
        assert_eq!(votes.take("a", &[]), None, "it has other data now");
    }
}
