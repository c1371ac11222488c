//! The engine of a member's journal.

use std::sync::Arc;

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

/// What the node needs of a member's settings.
pub(super) fn options(
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
    let figures = Arc::default();
    Ok(JournalOptions { client: connect(config)?, names, trim: config.trim, figures })
}
