//! The routes of the admin listener. It serves them before the node has recovered its data.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use super::credentials::Credentials;
use super::doors::Doors;
use crate::command::{Call, Command, Error, Outcome};
use crate::http::{self, Admin};
use crate::metrics::{MetricsInput, SharedMeter};
use crate::node::Handle;

/// The node, or nothing while it recovers. The admin's routes ask it in either state.
#[derive(Clone, Default)]
pub(super) struct LateNode(Arc<OnceLock<Ready>>);

struct Ready {
    handle: Handle,
    /// The counters of the HTTP door's requests, one for each worker.
    meters: Vec<SharedMeter>,
}

impl LateNode {
    /// Notes that the node is ready. A second call changes nothing.
    pub(super) fn set(&self, handle: Handle, meters: Vec<SharedMeter>) {
        drop(self.0.set(Ready { handle, meters }));
    }

    fn handle(&self) -> Option<&Handle> {
        self.0.get().map(|ready| &ready.handle)
    }

    fn readiness(&self) -> Result<(), String> {
        self.handle().map_or_else(|| Err("the server is starting".into()), Handle::readiness)
    }

    /// The figures of the node and of its HTTP door.
    async fn metrics(&self) -> MetricsInput {
        let Some(Ready { handle, meters }) = self.0.get() else { return MetricsInput::default() };
        let mut input = handle.metrics().await;
        meters.iter().for_each(|meter| meter.merge_into(&mut input.http));
        input
    }
}

impl Call for LateNode {
    async fn call(&self, command: Command) -> Outcome {
        match self.handle() {
            Some(handle) => handle.call(command).await,
            None => Err(Error::not_applied("the server is starting")),
        }
    }

    async fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match self.handle() {
            Some(handle) => handle.offload(work).await,
            None => Some(work()),
        }
    }
}

/// All routes of the admin listener, except for the API's document.
pub(super) fn router(credentials: &Credentials, node: &LateNode, doors: &Doors) -> axum::Router {
    let meter = SharedMeter::default();
    let readiness = {
        let node = node.clone();
        move || node.readiness()
    };
    let metrics = {
        let (node, meter) = (node.clone(), meter.clone());
        let (door_meters, tls) = (doors.meters.to_vec(), credentials.tls.clone());
        move || {
            let (node, meter) = (node.clone(), meter.clone());
            let (door_meters, tls) = (door_meters.clone(), tls.clone());
            let gathered = async move {
                let mut input = node.metrics().await;
                meter.merge_into(&mut input.call);
                input.doors = door_meters;
                input.certificate_end = tls.and_then(|tls| tls.end());
                input
            };
            Box::pin(gathered) as Pin<Box<dyn Future<Output = MetricsInput> + Send>>
        }
    };
    http::admin_router(Admin {
        store: node.clone(),
        readiness: Arc::new(readiness),
        metrics: Arc::new(metrics),
        authenticator: Arc::clone(&credentials.authenticator),
        meter,
    })
}
