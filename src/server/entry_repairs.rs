//! Asks the other members for an entry that no endpoint of the engine has whole.
//!
//! # Invariants
//! - Asked is every member that this one knows, with an admin listener, one after the other.
//! - What they give is bounded by the largest entry.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tracing::{info, warn};

use super::member_access::MemberAccess;
use crate::client::{Address, download};
use crate::limits::JOURNAL_ENTRY_BYTES_MAX;
use crate::node::NodeInfo;

/// How long one member is asked.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks whether the node has ended.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Asks for each entry that the member wants, until the node ends.
pub(super) async fn keep_repairing(node: Arc<NodeInfo>, access: MemberAccess) {
    let Some(member) = node.member.clone() else { return };
    while !node.ended.load(Ordering::Acquire) {
        drop(tokio::time::timeout(LOOK_INTERVAL, member.repair.begun()).await);
        let Some(seq) = member.repair.wanted() else { continue };
        let mut given = Vec::new();
        for other in member.others().into_iter().filter(|other| !other.admin.is_empty()) {
            let asked = tokio::time::timeout(PATIENCE, ask(&other.admin, seq, &access)).await;
            match asked.unwrap_or_else(|_| Err("it takes too long".to_owned())) {
                Ok(entry) => {
                    info!(member = other.member, seq, "a member gives an entry of the journal");
                    given.push(entry);
                }
                Err(why) => warn!(member = other.member, seq, why, "a member gives no entry"),
            }
        }
        member.repair.answered(seq, given);
    }
}

async fn ask(admin: &str, seq: u64, access: &MemberAccess) -> Result<Bytes, String> {
    let (token, tls) = access.credentials()?;
    let (address, path) = (Address::from(admin), format!("/journal/entry?seq={seq}"));
    let mut answer = download::get(&address, tls.as_ref(), token.as_deref(), &path).await?;
    if answer.status() != 200 {
        return Err(answer.message().await);
    }
    let mut entry = BytesMut::new();
    while let Some(piece) = answer.piece().await? {
        entry.extend_from_slice(&piece);
        if entry.len() > JOURNAL_ENTRY_BYTES_MAX {
            return Err("its answer is longer than an entry".to_owned());
        }
    }
    Ok(entry.freeze())
}
