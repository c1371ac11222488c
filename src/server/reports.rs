//! A standby's reports to the active, over the active's TCP door.
//!
//! # Invariants
//! - The address is the one that the newest claim or base names: who may write the journal decides
//!   what all members store. The token goes there as any client's: with TLS if this node's own doors
//!   have it, and then only to who shows a certificate that is trusted.
//! - Token and trusted certificates are read anew for each connection, so a change of their files
//!   counts from the next one on.
//! - Reports end with the node that they are of.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use super::member_access::MemberAccess;
use crate::client::Client;
use crate::command::{Call, Reply};
use crate::node::NodeInfo;
use crate::node::membership::{MemberRole, Membership};
use crate::throttle::Episode;

/// Time between two reports.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest time of one step of a report.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reports once a second, while the node is not the active.
pub(super) async fn keep_reporting(node: Arc<NodeInfo>, access: MemberAccess) {
    let Some(member) = node.member.clone() else { return };
    let mut reports = Reports { access, connected: None, trouble: Episode::default() };
    while !node.ended.load(Ordering::Acquire) {
        tokio::time::sleep(INTERVAL).await;
        match reports.report(&node, &member).await {
            Ok(Reported::Yes) if reports.trouble.ends() => {
                info!("the active takes this member's reports again")
            }
            Ok(Reported::Yes) => {}
            Ok(Reported::Nobody) => reports.trouble = Episode::default(),
            Err(why) => {
                reports.connected = None;
                if let Some(left_out) = reports.trouble.lasts() {
                    warn!(why, left_out = left_out.field(), "a report does not reach the active");
                }
            }
        }
    }
}

/// What became of a report.
enum Reported {
    /// The active has it.
    Yes,
    /// There is no other member to report to.
    Nobody,
}

struct Reports {
    access: MemberAccess,
    /// The active's address, and the connection to it.
    connected: Option<(String, Client)>,
    trouble: Episode,
}

impl Reports {
    /// Sends one report, if there is another member to send it to.
    async fn report(&mut self, node: &NodeInfo, member: &Membership) -> Result<Reported, String> {
        let names = member.active().names;
        let is_active = member.role() == MemberRole::Active;
        if is_active || names.tcp.is_empty() || names.are_of(&member.names) {
            self.connected = None;
            return Ok(Reported::Nobody);
        }
        let Some(report) = node.report() else { return Ok(Reported::Nobody) };
        let client = match self.connected.take() {
            Some((address, client)) if address == names.tcp && !client.is_closed() => client,
            _ => {
                let connected =
                    Client::connect(&names.tcp, self.access.client_options(PATIENCE)?).await;
                connected.map_err(|error| error.to_string())?
            }
        };
        let replied = client.call(report.into()).await.map_err(|error| error.to_string())?;
        if let Reply::Report(reply) = replied {
            node.told(reply);
        }
        self.connected = Some((names.tcp, client));
        Ok(Reported::Yes)
    }
}
