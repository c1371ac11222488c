//! The engine of a member's journal.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Addresses, StartError};
use crate::config::{EngineAddress, JournalConfig};
use crate::journal::client::EngineClient;
use crate::journal::engine::LeaseTimes;
use crate::journal::names::MemberNames;
use crate::node::start::JournalOptions;

/// Connects to the engine that `config` names.
///
/// # Errors
/// If the engine cannot be used, or if the times of the lease contradict each other.
pub fn connect(config: &JournalConfig) -> Result<EngineClient, StartError> {
    let client = match &config.engine {
        EngineAddress::Given(client) => client.clone(),
        #[cfg(feature = "journal-etcd")]
        EngineAddress::Etcd(settings) => crate::journal::etcd::start(settings.clone())
            .map_err(|error| StartError::Journal(error.to_string()))?,
    };
    let LeaseTimes { beat, serve, claim } = client.profile().times;
    let client = client.with_times(LeaseTimes {
        beat: config.beat.unwrap_or(beat),
        serve: config.serve.unwrap_or(serve),
        claim: config.claim.unwrap_or(claim),
    });
    client.profile().check().map_err(|why| StartError::Journal(why.to_owned()))?;
    Ok(client)
}

/// Like [`connect`], on a thread of its own: an engine that is silent takes long to fail, and the
/// admin listener replies meanwhile.
async fn connect_off_thread(config: JournalConfig) -> Result<EngineClient, StartError> {
    let (sender, connected) = oneshot::channel();
    std::thread::Builder::new().name("engine-start".to_owned()).spawn(move || {
        // A node that is told to stop does not wait for this any more.
        drop(sender.send(connect(&config)));
    })?;
    connected.await.map_err(|_| StartError::Journal("the engine's start has ended".to_owned()))?
}

/// What the node needs of a member's settings.
pub(super) async fn options(
    config: &JournalConfig,
    addresses: &Addresses,
) -> Result<JournalOptions, StartError> {
    let tcp = config.advertise.clone().unwrap_or_else(|| addresses.tcp.to_string());
    let admin = addresses.admin.as_ref().map(ToString::to_string);
    let names = MemberNames {
        member: config.member.clone().unwrap_or_else(|| tcp.clone()),
        admin: config.advertise_admin.clone().or(admin).unwrap_or_default(),
        tcp,
    };
    check_reachable("--advertise", &names.tcp)?;
    check_reachable("--advertise-admin", &names.admin)?;
    Ok(JournalOptions {
        client: connect_off_thread(config.clone()).await?,
        names,
        trim: config.trim,
        confirms_reads: config.confirms_reads,
        handed_over: None,
        disk_failed: false,
        figures: Arc::default(),
    })
}

/// Refuses an address at which nobody else reaches this member. Others would even take it for their
/// own.
fn check_reachable(setting: &str, address: &str) -> Result<(), StartError> {
    let is_any = address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_unspecified());
    if is_any || address.starts_with("unix:") {
        return Err(StartError::Journal(format!(
            "the other members cannot reach this one at {address}: set {setting}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_only_this_machine_understands_is_refused() {
        for address in ["0.0.0.0:7700", "[::]:7700", "unix:/run/chatshard.sock"] {
            let refused = check_reachable("--advertise", address).unwrap_err().to_string();
            assert!(refused.ends_with("set --advertise"), "{refused}");
        }
        for address in ["", "127.0.0.1:7700", "10.0.0.1:7700", "[::1]:7700", "node1:7700"] {
            assert!(check_reachable("--advertise", address).is_ok(), "{address}");
        }
    }
}
