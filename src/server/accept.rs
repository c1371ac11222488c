//! Opens the doors: accepts the connections of each listener, and serves those of HTTP.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::{debug, error};

use super::Addresses;
use super::admin::{self, LateNode};
use super::credentials::Credentials;
use super::descriptors::{DescriptorPlan, Places};
use super::doors::{self, Doors};
use crate::admission::{Door, Guest};
use crate::command::Error;
use crate::config::{Config, Docs};
use crate::http::serve::ServeConfig;
use crate::http::{self, App, DocsDoor};
use crate::limits::PROGRESS_BYTES;
use crate::metrics::SharedMeter;
use crate::net::accept::{accept, no_room};
use crate::net::connection::{self, NetConfig};
use crate::net::listener::Listener;
use crate::net::stream::{Parked, Stream};
use crate::net::wrong_protocol::HttpOnly;
use crate::node::worker::{LocalWorker, on_core};
use crate::node::{Handle, NodeInfo};
use crate::types::ShardId;

/// What all doors need when they open.
pub(super) struct Opening<'a> {
    pub(super) config: &'a Config,
    pub(super) addresses: &'a Addresses,
    pub(super) places: DescriptorPlan,
    pub(super) credentials: &'a Credentials,
    pub(super) doors: &'a Doors,
    /// Becomes true when a stop begins.
    pub(super) stopping: &'a watch::Receiver<bool>,
}

/// A node as the doors know it.
pub(super) struct Serving {
    node: Arc<NodeInfo>,
    /// The routers of the HTTP door, one for each worker.
    turns: VecDeque<(ShardId, axum::Router)>,
}

/// The node that new connections go to. A member of a journal may recover while its doors are open;
/// until it has, they close what they accept.
pub(super) struct Current(RefCell<Option<Serving>>);

impl Current {
    pub(super) fn set(&self, serving: Option<Serving>) {
        *self.0.borrow_mut() = serving;
    }

    fn with(&self, give: impl FnOnce(&mut Serving)) {
        if let Some(serving) = &mut *self.0.borrow_mut() {
            give(serving);
        }
    }
}

impl Opening<'_> {
    /// Opens the TCP door. Each connection goes to the worker with the fewest connections.
    pub(super) fn tcp(&self, listener: Listener, current: &Rc<Current>) -> Arc<Door> {
        let door = Arc::new(self.door("tcp", self.places.door, no_room()));
        let config = Arc::new(NetConfig {
            authenticator: Arc::clone(&self.credentials.authenticator),
            idle: self.config.idle_timeout,
            incomplete: Arc::clone(&self.doors.http.incomplete),
            unread: Arc::clone(&self.doors.tcp_unread),
            stop: self.stopping.clone(),
        });
        let current = Rc::clone(current);
        self.accept("tcp", listener, &door, move |stream, guest| {
            current.with(|Serving { node, .. }| {
                connection::start(node, node.least_loaded(), stream, guest, Arc::clone(&config));
            });
        });
        door
    }

    /// Opens the HTTP door. Its connections go to the workers in turn.
    pub(super) fn http(&self, listener: Listener, current: &Rc<Current>) -> Arc<Door> {
        let door = Arc::new(self.door("http", self.places.door, http_no_room()));
        let (current, shared) = (Rc::clone(current), self.doors.http.clone());
        self.accept("http", listener, &door, move |stream, guest| {
            current.with(|Serving { node, turns }| {
                turns.rotate_left(1);
                let Some((shard, router)) = turns.front().cloned() else { return };
                let shared = shared.clone();
                let serve = move |local: &LocalWorker| {
                    let local = local.clone();
                    let serving = serve_http(stream, guest, router, shared);
                    tokio::task::spawn_local(async move { local.in_turns(serving).await });
                };
                node.control(shard, on_core(serve));
            });
        });
        door
    }

    /// The doors begin with this node.
    pub(super) fn current(&self, node: &Arc<NodeInfo>, meters: &[SharedMeter]) -> Rc<Current> {
        Rc::new(Current(RefCell::new(Some(self.serving(node, meters)))))
    }

    /// What the doors need of a node. There is one meter for each worker.
    pub(super) fn serving(&self, node: &Arc<NodeInfo>, meters: &[SharedMeter]) -> Serving {
        let routers = node.shards.all().zip(meters);
        let routers = routers.map(|(shard, meter)| (shard, self.app_router(node, shard, meter)));
        Serving { node: Arc::clone(node), turns: routers.collect() }
    }

    fn app_router(
        &self,
        node: &Arc<NodeInfo>,
        shard: ShardId,
        meter: &SharedMeter,
    ) -> axum::Router {
        let store = Handle::on_core(Arc::clone(node), shard);
        let auth = self.credentials.user_auth();
        let mut router = http::app_router(App { store, auth, meter: meter.clone() });
        if self.config.docs == Docs::App {
            router = router.merge(http::docs_router(DocsDoor::App));
        }
        http::with_cors(router, &self.config.cors_origins)
    }

    /// Opens the admin listener. The calling thread serves its connections.
    pub(super) fn admin(&self, listener: Listener, node: &LateNode) {
        // Even if other clients hold all places, a supervisor can still ask for the node's health.
        let door = self.door("admin", self.places.admin, http_no_room()).answering_strangers();
        let mut router = admin::router(self.credentials, node, self.doors);
        if self.config.docs == Docs::Admin {
            router = router.merge(http::docs_router(DocsDoor::Admin));
        }
        let config = self.doors.admin_config(self.config);
        self.accept("admin", listener, &Arc::new(door), move |stream, guest| {
            tokio::task::spawn_local(serve_http(stream, guest, router.clone(), config.clone()));
        });
    }

    /// A door with its places. A client that finds none gets `full`.
    fn door(&self, name: &'static str, places: Places, full: Vec<u8>) -> Door {
        Door::new(self.doors.meter(name), places.known, full)
            .with_strangers(places.strangers)
            .with_sign(doors::sign(name, self.addresses))
    }

    fn accept(
        &self,
        name: &'static str,
        listener: Listener,
        door: &Arc<Door>,
        serve: impl Fn(Parked, Guest) + 'static,
    ) {
        let (door, tls) = (Arc::clone(door), self.credentials.tls.clone());
        let accepting = accept(listener, door, tls, self.stopping.clone(), serve);
        tokio::task::spawn_local(async move {
            if let Err(error) = accepting.await {
                error!(%error, door = name, "the listener ended");
            }
        });
    }
}

fn http_no_room() -> Vec<u8> {
    http::envelope::last_words(&Error::no_room())
}

/// Serves an HTTP connection on this thread; `guest` is its place at the door.
async fn serve_http(stream: Parked, guest: Guest, router: axum::Router, config: ServeConfig) {
    use http::serve::connection;
    let sign = guest.sign().to_owned();
    match stream.arrive() {
        Ok(Stream::Tcp(stream)) => {
            connection(HttpOnly::new(stream, sign), router, guest, config).await;
        }
        Ok(Stream::Unix(stream)) => {
            connection(HttpOnly::new(stream, sign), router, guest, config).await;
        }
        Ok(Stream::Tls(mut stream)) => {
            // What a TLS session buffers counts as taken by the client. So it may buffer only a few
            // records.
            stream.get_mut().1.set_buffer_limit(Some(PROGRESS_BYTES));
            connection(HttpOnly::new(stream, sign), router, guest, config).await;
        }
        Err(error) => debug!(%error, "a connection broke on its way"),
    }
}
