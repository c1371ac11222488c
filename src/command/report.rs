//! `report`: a standby's word to the active, once a second.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{check_journal_text, check_not_empty};
use super::cluster::ClusterMember;
use super::schema::Bound;
use super::{Arguments, Check, Error, NamedKeys};
use crate::limits::{COMPARED_DIGESTS_MAX, JOURNAL_TEXT_BYTES_MAX};

/// Arguments of `report`: who the standby is, and how far it has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Its name among the members.
    pub member: String,
    /// The address of its TCP door, as clients reach it.
    pub address: String,
    /// The address of its admin listener; empty if it has none.
    pub admin: String,
    /// The version of its program.
    pub version: String,
    /// The newest format of the journal that it reads.
    pub format: u64,
    /// LSN of the newest record that all of its shards have applied.
    pub lsn: u64,
    /// LSN of the newest record that is synced to its disk. The active may trim up to it.
    pub durable_lsn: u64,
    /// `standby`, `claiming`, `demoted`, or `failed` if it waits for an operator.
    pub role: String,
    /// Id of its journal.
    #[schema(format = "bits64")]
    pub journal: u64,
    /// Age of its newest snapshot, in ms; absent if there is none, or its age is not known.
    #[serde(default)]
    pub snapshot_age_ms: Option<u64>,
    /// Digests of the log that it has compared with its own: the newest ones, and those that
    /// differed.
    #[serde(default)]
    pub digests: Vec<ComparedDigest>,
    /// Why its disk takes nothing, if so.
    #[serde(default)]
    pub disk: Option<String>,
}

/// A digest of a slot in the log, and the one of the standby.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ComparedDigest {
    /// LSN of the record behind which both are.
    pub lsn: u64,
    /// The digest of the standby.
    #[schema(format = "bits64")]
    pub own: u64,
    /// The digest in the log, which the active has written.
    #[schema(format = "bits64")]
    pub active: u64,
}

impl Check for Report {
    fn check(&self) -> Result<(), Error> {
        let texts = [
            ("member", &self.member),
            ("address", &self.address),
            ("admin", &self.admin),
            ("version", &self.version),
            ("role", &self.role),
        ];
        for (name, text) in texts {
            check_journal_text(name, text)?;
        }
        if self.digests.len() > COMPARED_DIGESTS_MAX {
            return Err(Error::invalid("digests: too many"));
        }
        check_journal_text("disk", self.disk.as_deref().unwrap_or_default())?;
        check_not_empty("member", &self.member)
    }
}

impl Arguments for Report {
    type Reply = ReportReply;
    const EXAMPLE: Option<&str> = None;
    const BOUNDS: &[Bound] = &[
        Bound::text("member", 1, JOURNAL_TEXT_BYTES_MAX),
        Bound::text("address", 0, JOURNAL_TEXT_BYTES_MAX),
        Bound::text("admin", 0, JOURNAL_TEXT_BYTES_MAX),
        Bound::text("version", 0, JOURNAL_TEXT_BYTES_MAX),
        Bound::text("role", 0, JOURNAL_TEXT_BYTES_MAX),
        Bound::list("digests", COMPARED_DIGESTS_MAX),
        Bound::text("disk", 0, JOURNAL_TEXT_BYTES_MAX),
    ];

    fn touch(&self, _: &mut impl NamedKeys) {}
}

/// Reply to `report`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportReply {
    /// The members as the active knows them, by name.
    pub members: Vec<ClusterMember>,
    /// LSN of a digest in which this standby differs from the active, while another one does not:
    /// its data is wrong.
    #[serde(default)]
    pub wrong_at: Option<u64>,
}

#[cfg(test)]
draw! {
    Report {
        member = |choices: &mut super::test_values::Choices<'_>| {
            format!("m{}", choices.draw::<u16>())
        },
        address, admin, version, format, lsn, durable_lsn, role, journal, snapshot_age_ms,
        digests = |choices: &mut super::test_values::Choices<'_>| {
            let mut digests: Vec<ComparedDigest> = choices.draw();
            digests.truncate(COMPARED_DIGESTS_MAX);
            digests
        },
        disk,
    }
    ComparedDigest { lsn, own, active }
    ReportReply { members, wrong_at }
}
