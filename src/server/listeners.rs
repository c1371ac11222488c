//! The sockets of the doors. The server binds them before it does anything else.

use std::io;

use super::Addresses;
use crate::access::Endpoint;
use crate::config::Config;
use crate::net::listener::{Listener, bind};

/// One socket for each door that is not off.
pub(super) struct Listeners {
    pub(super) tcp: Listener,
    pub(super) http: Option<Listener>,
    pub(super) admin: Option<Listener>,
    pub(super) addresses: Addresses,
}

impl Listeners {
    pub(super) fn bind(config: &Config) -> io::Result<Self> {
        let bind = |flag: &'static str| {
            move |endpoint: &Endpoint| {
                bind(endpoint, config.socket_mode)
                    .map_err(|error| io::Error::new(error.kind(), format!("{flag}: {error}")))
            }
        };
        let tcp = bind("--listen")(&config.listen)?;
        let http = config.http.as_ref().map(bind("--http")).transpose()?;
        let admin = config.admin.as_ref().map(bind("--admin")).transpose()?;
        let shown = |listener: &Listener| listener.endpoint().clone();
        let addresses = Addresses {
            tcp: shown(&tcp),
            http: http.as_ref().map(shown),
            admin: admin.as_ref().map(shown),
        };
        Ok(Self { tcp, http, admin, addresses })
    }
}
