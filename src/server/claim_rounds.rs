//! Asks the other members how far they have come, before this member claims.
//!
//! # Invariants
//! - Asked is who this member has heard of: the actives that the journal names, and what they named
//!   as members, in this life and before. Each of them has shown the full token to the active, or may
//!   write the journal. So the token that this member shows tells them nothing new.
//! - All are asked at once, and each for at most [`PATIENCE`].
//! - An answer counts only from a member of the same journal.
//! - A member that refuses the token, or speaks another TLS, lives: a claim waits for somebody who
//!   answers. A member that cannot be reached delays nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::member_access::MemberAccess;
use crate::client::{Client, ClientError};
use crate::command::cluster::Cluster;
use crate::command::{Call, Error, ErrorCode, Reply};
use crate::journal::names::MemberNames;
use crate::journal::reach::JournalReach;
use crate::node::NodeInfo;
use crate::node::claim_check::reach_of;

/// How long one member is asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it looks whether the node has ended.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Asks in each round of the member's claim check, until the node ends.
pub(super) async fn keep_asking(node: Arc<NodeInfo>, access: MemberAccess) {
    let Some(member) = node.member.clone() else { return };
    while !node.ended.load(Ordering::Acquire) {
        drop(tokio::time::timeout(LOOK_INTERVAL, member.claim_check.begun()).await);
        let Some(round) = member.claim_check.under_way() else { continue };
        let mut asked = JoinSet::new();
        for other in member.asked_in(round) {
            let (member, access) = (Arc::clone(&member), access.clone());
            asked.spawn_local(async move {
                match ask(&other, member.journal, &access).await {
                    Ok(reach) => member.claim_check.answered(&other.member, reach),
                    Err(Unasked::Refused(why)) => {
                        warn!(
                            member = other.member,
                            address = other.tcp,
                            why,
                            "a member cannot be asked before a claim"
                        );
                        member.claim_check.refused(&other.member, &why);
                    }
                    Err(Unasked::Silent(why)) => {
                        info!(
                            member = other.member,
                            address = other.tcp,
                            why,
                            "a member does not reply before a claim"
                        );
                    }
                }
            });
        }
        while asked.join_next().await.is_some() {}
        member.claim_check.complete(round.number);
    }
}

/// Asks one member how far it has come.
async fn ask(
    other: &MemberNames,
    journal: u64,
    access: &MemberAccess,
) -> Result<JournalReach, Unasked> {
    let asking = async {
        let options = access.client_options(PATIENCE).map_err(Unasked::Refused)?;
        let client = Client::connect(&other.tcp, options).await.map_err(unconnected)?;
        if client.hello().journal != journal {
            return Err(Unasked::Silent("it has another journal".to_owned()));
        }
        let reply = client.call(Cluster {}.into()).await.map_err(refused)?;
        let Reply::Cluster(reply) = reply else {
            return Err(Unasked::Silent("it replied with something else".to_owned()));
        };
        Ok(reach_of(&reply, &other.tcp))
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.unwrap_or_else(|_| Err(Unasked::Silent("it takes too long".to_owned())))
}

/// Why a member did not answer.
enum Unasked {
    /// It lives, and does not let this member ask.
    Refused(String),
    /// It cannot be reached, or says nothing of use.
    Silent(String),
}

fn unconnected(error: ClientError) -> Unasked {
    match error {
        ClientError::Refused(error) => refused(error),
        ClientError::Tls(_) => Unasked::Refused(error.to_string()),
        error => Unasked::Silent(error.to_string()),
    }
}

fn refused(error: Error) -> Unasked {
    match error.code {
        ErrorCode::Unauthenticated | ErrorCode::PermissionDenied => {
            Unasked::Refused(error.to_string())
        }
        _ => Unasked::Silent(error.to_string()),
    }
}
