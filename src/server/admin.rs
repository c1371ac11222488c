//! The routes of the admin listener. It serves them before the node has recovered its data.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::credentials::Credentials;
use super::doors::Doors;
use super::giving::give;
use super::joining::JoinProgress;
use crate::command::readiness::ReadyFor;
use crate::command::{Call, Command, Error, Outcome};
use crate::http::member_data::{DataPart, GivenPart, NotGiven};
use crate::http::{self, Admin};
use crate::metrics::{MetricsInput, SharedMeter};
use crate::node::Handle;

/// The node, or nothing while it recovers. The admin's routes ask it in either state.
#[derive(Clone, Default)]
pub(super) struct LateNode(Arc<Mutex<State>>);

/// What the process does.
#[derive(Clone, Default)]
enum State {
    /// It recovers.
    #[default]
    Starting,
    /// It copies the data of another member.
    Joining(JoinProgress),
    /// It cannot read its data, for this reason, and tries again.
    Failing(String),
    /// It has a node.
    Ready(Arc<Ready>),
}

struct Ready {
    handle: Handle,
    /// The figures of the HTTP door. There is one meter for each core.
    meters: Vec<SharedMeter>,
}

impl LateNode {
    /// Says which node serves now; `None` while it recovers.
    pub(super) fn set(&self, node: Option<(Handle, Vec<SharedMeter>)>) {
        *self.lock() = match node {
            Some((handle, meters)) => State::Ready(Arc::new(Ready { handle, meters })),
            None => State::Starting,
        };
    }

    /// Says that the data of another member is copied.
    pub(super) fn set_joining(&self, progress: JoinProgress) {
        *self.lock() = State::Joining(progress);
    }

    /// Says why the data cannot be read. It is tried again.
    pub(super) fn set_failing(&self, why: String) {
        *self.lock() = State::Failing(why);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> Option<Arc<Ready>> {
        match &*self.lock() {
            State::Starting | State::Joining(_) | State::Failing(_) => None,
            State::Ready(ready) => Some(Arc::clone(ready)),
        }
    }

    fn handle(&self) -> Option<Handle> {
        self.ready().map(|ready| ready.handle.clone())
    }

    fn readiness(&self, wanted: ReadyFor) -> Result<&'static str, String> {
        let state = self.lock().clone();
        match state {
            State::Starting => Err("the server is starting".into()),
            State::Joining(progress) => Err(progress.words()),
            State::Failing(why) => {
                Err(format!("this member cannot read its data, and tries again: {why}"))
            }
            State::Ready(ready) => ready.handle.readiness(wanted),
        }
    }

    /// A part of the node's data, for another member.
    fn give(&self, part: DataPart) -> Result<GivenPart, NotGiven> {
        give(self.handle().ok_or(NotGiven::Starting)?.node(), part)
    }

    /// The figures of the node and of its HTTP door.
    async fn metrics(&self) -> MetricsInput {
        let Some(ready) = self.ready() else { return MetricsInput::default() };
        let mut input = ready.handle.metrics().await;
        ready.meters.iter().for_each(|meter| meter.merge_into(&mut input.http));
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
        move |wanted| node.readiness(wanted)
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
    let router = http::admin_router(Admin {
        store: node.clone(),
        readiness: Arc::new(readiness),
        metrics: Arc::new(metrics),
        authenticator: Arc::clone(&credentials.authenticator),
        meter,
    });
    let node = node.clone();
    let source = Arc::new(move |part| node.give(part));
    router.merge(http::member_router(source, Arc::clone(&credentials.authenticator)))
}
