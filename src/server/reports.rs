//! A standby's reports to the active, over the active's TCP door.
//!
//! # Invariants
//! - The address is the one that the newest claim or base names: who may write the journal decides
//!   what all members store. The token goes there as any client's: with TLS if this node's own doors
//!   have it, and then only to who shows a certificate that is trusted.
//! - Token and trusted certificates are read anew for each connection, so a change of their files
//!   counts from the next one on.
//! - Reports end with the node that they are of.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use crate::access::{Authenticator, Role};
use crate::client::{Client, ClientOptions, ClientTls};
use crate::command::{Call, Reply};
use crate::config::Config;
use crate::node::NodeInfo;
use crate::node::membership::{MemberRole, Membership};
use crate::throttle::Episode;

/// Time between two reports.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest time of one step of a report.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where systems keep the certificates that they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// How this member speaks to others.
#[derive(Clone)]
pub(super) struct MemberAccess {
    authenticator: Arc<Authenticator>,
    /// Whether the members' doors speak TLS, as this one's do.
    has_tls: bool,
    /// The certificates to trust; `None` if the system has none in a known place.
    roots: Option<PathBuf>,
}

impl MemberAccess {
    pub(super) fn new(config: &Config, authenticator: &Arc<Authenticator>) -> Self {
        let named = config.journal.as_ref().and_then(|journal| journal.member_tls_ca.clone());
        let of_system = || SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
        Self {
            authenticator: Arc::clone(authenticator),
            has_tls: config.tls.is_some(),
            roots: named.or_else(|| of_system().map(Path::to_owned)),
        }
    }

    /// The token that this member shows to others, and the certificates that it trusts.
    pub(super) fn credentials(&self) -> Result<(Option<String>, Option<ClientTls>), String> {
        let token = self.authenticator.own_token(Role::Full);
        if token.is_none() && !self.authenticator.is_open() {
            return Err("the token file of this member has no full token".to_owned());
        }
        let token = token.map(|token| String::from_utf8_lossy(token.expose()).into_owned());
        let tls = match &self.roots {
            _ if !self.has_tls => None,
            Some(roots) => Some(ClientTls::trusting(roots)?),
            None => return Err("no certificates are trusted: set --member-tls-ca".to_owned()),
        };
        Ok((token, tls))
    }

    fn options(&self) -> Result<ClientOptions, String> {
        let (token, tls) = self.credentials()?;
        Ok(ClientOptions {
            token,
            name: Some(concat!("chatshard-member/", env!("CARGO_PKG_VERSION")).to_owned()),
            tls,
            connect_timeout: PATIENCE,
            call_timeout: PATIENCE,
            ..ClientOptions::default()
        })
    }
}

/// Reports once a second, while the node is not the active.
pub(super) async fn keep_reporting(node: Arc<NodeInfo>, access: MemberAccess) {
    let Some(member) = node.member.clone() else { return };
    let mut reports = Reports { access, connected: None, trouble: Episode::default() };
    while !node.ended.load(Ordering::Acquire) {
        tokio::time::sleep(INTERVAL).await;
        match reports.report(&node, &member).await {
            Ok(()) if reports.trouble.ends() => {
                info!("the active takes this member's reports again")
            }
            Ok(()) => {}
            Err(why) => {
                reports.connected = None;
                if let Some(left_out) = reports.trouble.lasts() {
                    warn!(why, left_out = left_out.field(), "a report does not reach the active");
                }
            }
        }
    }
}

struct Reports {
    access: MemberAccess,
    /// The active's address, and the connection to it.
    connected: Option<(String, Client)>,
    trouble: Episode,
}

impl Reports {
    /// Sends one report, if there is another member to send it to.
    async fn report(&mut self, node: &NodeInfo, member: &Membership) -> Result<(), String> {
        let names = member.active().names;
        let is_active = member.role() == MemberRole::Active;
        if is_active || names.tcp.is_empty() || names.are_of(&member.names) {
            self.connected = None;
            return Ok(());
        }
        let Some(report) = node.report() else { return Ok(()) };
        let client = match self.connected.take() {
            Some((address, client)) if address == names.tcp && !client.is_closed() => client,
            _ => {
                let connected = Client::connect(&names.tcp, self.access.options()?).await;
                connected.map_err(|error| error.to_string())?
            }
        };
        let replied = client.call(report.into()).await.map_err(|error| error.to_string())?;
        if let Reply::Report(reply) = replied {
            member.told(node.clock.boot(), reply.members);
        }
        self.connected = Some((names.tcp, client));
        Ok(())
    }
}
