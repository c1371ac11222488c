//! Calls of the members of etcd, each with a deadline.
//!
//! # Invariants
//! - Each member has a connection of its own, so a caller may choose one.
//! - A call without a choice goes to the preferred member. If it fails, the next one is preferred.
//! - A call may be made twice: it is a read, or its condition makes the second one change nothing.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::EtcdSettings;
use crate::throttle::Episode;

/// Longest time of a call, at all members together.
const DEADLINE: Duration = Duration::from_secs(2);

/// Why nothing is known of a call.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("no word within {} s", DEADLINE.as_secs())]
    Deadline,
    #[error("{0}")]
    Engine(#[from] Error),
    #[error("{0}")]
    Reply(&'static str),
}

impl CallError {
    /// Whether another member would not do better.
    fn is_final(&self) -> bool {
        matches!(self, Self::Deadline | Self::Reply(_)) || self.is_forbidden()
    }

    /// Whether the user may not make this call.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Engine(Error::GRpcStatus(status))
            if status.message().contains("permission denied"))
    }
}

struct EngineMember {
    name: String,
    /// Connected when it is needed: with a user, connecting asks the member.
    client: OnceCell<Client>,
}

/// The members as the settings name them.
pub(super) struct EngineMembers {
    members: Vec<EngineMember>,
    options: ConnectOptions,
    preferred: AtomicUsize,
    trouble: Episode,
}

impl EngineMembers {
    pub(super) fn new(settings: &EtcdSettings) -> Self {
        let member = |name: &String| EngineMember { name: name.clone(), client: OnceCell::new() };
        Self {
            members: settings.members.iter().map(member).collect(),
            options: settings.options(),
            preferred: AtomicUsize::new(0),
            trouble: Episode::default(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.members.len()
    }

    /// `host:port` of a member.
    pub(super) fn name(&self, at: usize) -> &str {
        self.members.get(at).map_or("", |member| &member.name)
    }

    /// The member that a call without a choice goes to.
    pub(super) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    pub(super) fn prefer(&self, at: usize) {
        self.preferred.store(at, Ordering::Relaxed);
    }

    /// Prefers the next member if this one is preferred.
    pub(super) fn leave(&self, at: usize) {
        let next = at.wrapping_add(1) % self.members.len().max(1);
        let _ = self.preferred.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Makes a call of one member. Without a choice of member, it goes to the preferred one, and to
    /// the next ones while members fail at once. A call may have been made by more than one of them.
    pub(super) async fn ask<T, F: Future<Output = Result<T, Error>>>(
        &self,
        at: Option<usize>,
        call: impl Fn(Client) -> F,
    ) -> Result<T, CallError> {
        let ends = Instant::now() + DEADLINE;
        if let Some(at) = at {
            return self.ask_one(at, ends, &call).await;
        }
        let mut left = self.members.len();
        loop {
            let chosen = self.preferred();
            let told = self.ask_one(chosen, ends, &call).await;
            self.note(chosen, told.as_ref().err());
            left = left.saturating_sub(1);
            let is_final = told.as_ref().map_or_else(CallError::is_final, |_| true);
            if is_final || left == 0 {
                return told;
            }
        }
    }

    async fn ask_one<T, F: Future<Output = Result<T, Error>>>(
        &self,
        at: usize,
        ends: Instant,
        call: &impl Fn(Client) -> F,
    ) -> Result<T, CallError> {
        let member = self.members.get(at).ok_or(CallError::Reply("there is no such member"))?;
        let asked = async {
            let connect = || Client::connect([member.name.as_str()], Some(self.options.clone()));
            let client = member.client.get_or_try_init(connect).await?;
            let told = call(client.clone()).await;
            if told.as_ref().is_err_and(is_outdated) {
                client.refresh_token().await?;
            }
            told
        };
        match timeout_at(ends, asked).await {
            Ok(told) => told.map_err(CallError::from),
            Err(_) => Err(CallError::Deadline),
        }
    }

    fn note(&self, at: usize, error: Option<&CallError>) {
        match error {
            None if self.trouble.ends() => info!("the journal's engine replies again"),
            None => {}
            Some(error) => {
                self.leave(at);
                if let Some(left_out) = self.trouble.lasts() {
                    warn!(member = self.name(at), %error, left_out = left_out.field(),
                        "the journal's engine does not reply");
                }
            }
        }
    }
}

/// Whether a call was refused because users or roles have changed since this process showed who it
/// is. The client itself only renews what has expired.
fn is_outdated(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains("auth store is old"))
}
