//! `cluster`: the members of the journal, as far as this node knows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Arguments, Check, Error, NamedKeys};

/// Arguments of `cluster`, which has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {}

impl Check for Cluster {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for Cluster {
    type Reply = ClusterReply;
    const EXAMPLE: Option<&str> = Some(r#"{}"#);

    fn touch(&self, _: &mut impl NamedKeys) {}
}

/// One member of the journal. What is not known is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterMember {
    /// Its name among the members.
    pub member: String,
    /// `active`, `standby`, `claiming`, `demoted`, or `failed` if it waits for an operator.
    pub role: String,
    /// The address of its TCP door, as clients reach it.
    pub address: String,
    /// The address of its admin listener; empty if it has none.
    pub admin: String,
    /// The version of its program.
    pub version: Option<String>,
    /// The newest format of the journal that it reads.
    pub format: Option<u64>,
    /// LSN of the newest record that all of its shards have applied.
    pub lsn: Option<u64>,
    /// LSN of the newest record that is synced to its disk.
    pub durable_lsn: Option<u64>,
    /// Committed records that it has not applied, as of its last word.
    pub lag: Option<u64>,
    /// Time since its last word, in ms.
    pub heard_ms: Option<u64>,
    /// Why its disk takes nothing, if so.
    #[serde(default)]
    pub disk: Option<String>,
}

/// Reply to `cluster`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterReply {
    /// The members, by name: the newest active, this node, and those that reported to the active.
    pub members: Vec<ClusterMember>,
    /// Number of the newest claim that this node knows; 0 without a journal.
    pub epoch: u64,
    /// Age of what a standby passes on, in ms. On the active it is 0, and on a standby that has not
    /// heard of an active it is absent.
    pub age_ms: Option<u64>,
    /// Seq of the newest entry of the journal that this node or, as far as it heard, another member
    /// has accepted. Absent without a journal, and while no entry of `epoch` was accepted.
    pub seq: Option<u64>,
    /// Why this node does not claim although the active is silent: another member has accepted more
    /// than the engine shows.
    pub no_claim: Option<String>,
}

#[cfg(test)]
draw! {
    Cluster {}
    ClusterMember {
        member, role, address, admin, version, format, lsn, durable_lsn, lag, heard_ms, disk,
    }
    ClusterReply { members, epoch, age_ms, seq, no_claim }
}
