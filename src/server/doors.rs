//! The counters of the doors, and the budgets that their connections share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::Addresses;
use crate::access::Endpoint;
use crate::admission::Budget;
use crate::config::{Config, HttpAuth};
use crate::http::head::Hosts;
use crate::http::serve::ServeConfig;
use crate::limits::{
    BUDGET_BYTES_MIN, EVICTION_MS_MIN, HTTP_READS_MAX, HTTP_UNSENT_BYTES_MAX, INCOMPLETE_BYTES_MAX,
    TCP_UNSENT_BYTES_MAX,
};
use crate::metrics::doors::DoorMeter;

/// With `--memory-max`, each budget is at most this fraction (1/8) of it.
const MEMORY_SHARE: u64 = 8;

/// The counters of all doors, and the budgets that their connections share.
pub(super) struct Doors {
    /// The counters of each door. Those of a door that is off stay zero.
    pub(super) meters: [Arc<DoorMeter>; 3],
    /// Budgets and settings that the connections of the HTTP door share.
    pub(super) http: ServeConfig,
    /// Budget for replies that clients of the TCP door have not read.
    pub(super) tcp_unread: Arc<Budget>,
}

impl Doors {
    pub(super) fn new(config: &Config, stopping: &watch::Receiver<bool>) -> Self {
        let budget = |most| {
            let bytes = budget_bytes(config.memory_max, most);
            Budget::new(bytes, Duration::from_millis(EVICTION_MS_MIN))
        };
        let by_header = matches!(config.http_auth, HttpAuth::Header);
        Self {
            tcp_unread: budget(TCP_UNSENT_BYTES_MAX),
            meters: ["tcp", "http", "admin"].map(|door| Arc::new(DoorMeter::new(door))),
            http: ServeConfig {
                incomplete: budget(INCOMPLETE_BYTES_MAX),
                unread: budget(HTTP_UNSENT_BYTES_MAX),
                reads: Arc::new(Semaphore::new(HTTP_READS_MAX)),
                hosts: hosts(config, config.http.as_ref(), by_header),
                stop: stopping.clone(),
            },
        }
    }

    /// The settings of the admin listener. It has permits for reads of its own, so that its reads
    /// do not wait for those of the HTTP door.
    pub(super) fn admin_config(&self, config: &Config) -> ServeConfig {
        ServeConfig {
            reads: Arc::new(Semaphore::new(HTTP_READS_MAX)),
            hosts: hosts(config, config.admin.as_ref(), !config.tokens.required()),
            ..self.http.clone()
        }
    }

    /// The counters of one door.
    pub(super) fn meter(&self, door: &'static str) -> Arc<DoorMeter> {
        let found = self.meters.iter().find(|meter| meter.name() == door);
        found.map_or_else(|| Arc::new(DoorMeter::new(door)), Arc::clone)
    }
}

/// The text for a client that speaks another protocol than this door. It names ports but no
/// addresses, because that client has shown no credentials.
pub(super) fn sign(door: &str, addresses: &Addresses) -> String {
    let place = |endpoint: &Endpoint| match endpoint {
        Endpoint::Tcp(address) => format!("port {}", address.port()),
        Endpoint::Unix(_) => "a unix socket".to_owned(),
    };
    let own = match door {
        "tcp" => "this is the TCP door, which speaks frames of MessagePack",
        "http" => "this is the HTTP door of apps",
        _ => "this is the admin listener, which speaks HTTP",
    };
    let others = [
        ("tcp", "the TCP door", Some(&addresses.tcp)),
        ("http", "HTTP for apps", addresses.http.as_ref()),
        ("admin", "HTTP for operators and /call", addresses.admin.as_ref()),
    ];
    let others: Vec<String> = others
        .into_iter()
        .filter(|(name, ..)| *name != door)
        .filter_map(|(_, what, endpoint)| Some(format!("{what} is on {}", place(endpoint?))))
        .collect();
    format!("{own}; {}", others.join(", "))
}

/// The host names that a door accepts in requests. A door that requires a secret accepts any name.
/// So does a door beyond loopback, which only a gateway may reach. So does a unix socket, which no
/// browser reaches.
fn hosts(config: &Config, door: Option<&Endpoint>, believes_anybody: bool) -> Hosts {
    let is_loopback = door.is_some_and(|door| door.network().is_some() && !door.is_open());
    match is_loopback && believes_anybody {
        true => Hosts::Only(config.http_hosts.as_slice().into()),
        false => Hosts::Any,
    }
}

fn budget_bytes(memory_max: Option<u64>, most: usize) -> usize {
    let share = memory_max
        .map_or(most, |bytes| usize::try_from(bytes / MEMORY_SHARE).unwrap_or(usize::MAX));
    share.clamp(BUDGET_BYTES_MIN, most)
}
