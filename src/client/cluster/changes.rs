//! The stream of changes of a node or of the members of one journal, which continues over lost
//! connections and failovers.
//!
//! Invariants:
//! - It continues behind the last event or heartbeat that it has. So no event is missing, and one
//!   may come twice.
//! - It ends only with an error that another attempt cannot change: the offset is not kept any more,
//!   the credentials are rejected, or no server of the protocol is there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{sleep, timeout};

use super::ClusterClient;
use crate::client::{Changes, ClientError};
use crate::command::ErrorCode;
use crate::command::watch::{WatchEvent, WatchOp};

/// A stream without a heartbeat for so long is dead.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest pause before the second attempt; it doubles up to the second figure.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A stream of changes; see [`ClusterClient::changes`].
#[derive(Debug)]
pub struct ClusterChanges {
    client: ClusterClient,
    /// Where to continue.
    offset: Option<String>,
    stream: Option<Changes>,
    /// Attempts since the last event.
    attempts: u32,
    /// The member to ask next.
    next: usize,
}

impl ClusterClient {
    /// Watches the changes behind the offset `from`, or from now on if there is none. The stream has
    /// a connection of its own, so a slow reader delays no call.
    ///
    /// # Errors
    /// The error of the last member, if none opens a connection.
    pub async fn changes(&self, from: Option<String>) -> Result<ClusterChanges, ClientError> {
        let mut changes = ClusterChanges {
            client: self.clone(),
            offset: from,
            stream: None,
            attempts: 0,
            next: 0,
        };
        let mut opened = Err(ClientError::Closed);
        for _ in 0..self.members.len() {
            opened = changes.open().await;
            if opened.is_ok() {
                break;
            }
        }
        opened.map(|()| changes)
    }
}

impl ClusterChanges {
    /// The offset behind the last event or heartbeat: where another stream continues. `None` if
    /// there was none yet.
    pub fn offset(&self) -> Option<&str> {
        self.offset.as_deref()
    }

    /// Waits for the next change, for as long as it takes. It passes over heartbeats. The future may
    /// be dropped at any time: the next call continues where it was.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with 409 if the offset is not kept any more: read the state, and
    /// begin another stream. With 400, 401 or 403 if the server rejects the offset or the token.
    /// Another error if there is no server of this protocol.
    pub async fn next(&mut self) -> Result<WatchEvent, ClientError> {
        loop {
            match self.attempt().await {
                Ok(event) => {
                    self.attempts = 0;
                    self.offset = Some(event.offset.clone());
                    if event.op != WatchOp::Heartbeat {
                        return Ok(event);
                    }
                }
                Err(error) if is_final(&error) => return Err(error),
                Err(_) => {
                    self.stream = None;
                    sleep(pause(self.attempts)).await;
                    self.attempts = self.attempts.saturating_add(1);
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<WatchEvent, ClientError> {
        if self.stream.is_none() {
            self.open().await?;
        }
        let stream = self.stream.as_mut().ok_or(ClientError::Closed)?;
        timeout(SILENCE, stream.next()).await.map_err(|_| ClientError::Timeout(SILENCE))?
    }

    /// Opens the stream at the next member.
    async fn open(&mut self) -> Result<(), ClientError> {
        let members = &self.client.members;
        let address = members.get(self.next % members.len().max(1)).cloned();
        self.next = self.next.wrapping_add(1);
        let address = address.ok_or(ClientError::Closed)?;
        let stream = Changes::open(address, &self.client.options, self.offset.clone()).await?;
        self.stream = Some(stream);
        Ok(())
    }
}

/// Whether another attempt would fail with this error too.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(refused) => {
            !matches!(refused.code, ErrorCode::Moved | ErrorCode::Busy | ErrorCode::Unavailable)
        }
        ClientError::Foreign(_) | ClientError::Tls(_) | ClientError::Request(_) => true,
        _ => false,
    }
}

/// The time before an attempt, drawn from 0 to a bound that doubles with each attempt.
fn pause(attempts: u32) -> Duration {
    let bound = PAUSE_MIN.saturating_mul(1 << attempts.min(6)).min(PAUSE_MAX);
    // The clock's last digits are random enough to part clients of one server.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    bound.mul_f64(f64::from(now.subsec_nanos() % 1000) / 1000.0)
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::client::tests::{Peer, serve};
    use crate::client::{Address, ClientOptions};
    use crate::command::hello::Limits;
    use crate::command::{Command, Error, Outcome, Reply};

    fn event(offset: &str, op: WatchOp) -> Outcome {
        Ok(Reply::Watch(WatchEvent {
            offset: offset.to_owned(),
            user_id: None,
            chat_id: None,
            op,
            last_sequence: None,
            last_time: None,
            seq: None,
            is_top: None,
            is_mute: None,
            is_hide: None,
            marked_unread: None,
            status: None,
        }))
    }

    /// Greets a connection that watches, gives it these replies, and then ends it. Returns where
    /// the watch begins.
    async fn watched(listener: &TcpListener, replies: &[Outcome]) -> Option<String> {
        let mut peer = Peer::greet(listener, Limits::of_this_build()).await;
        let request = peer.request().await.unwrap();
        let Command::Watch(watch) = request.command else { panic!("no watch") };
        for reply in replies {
            peer.reply(request.id, reply).await;
        }
        watch.from
    }

    /// A member of one connection after the other, with these replies to its watches.
    async fn member(streams: Vec<Vec<Outcome>>) -> (Address, JoinHandle<Vec<Option<String>>>) {
        let (address, member) = serve(|listener| async move {
            let mut begins = Vec::new();
            for replies in streams {
                begins.push(watched(&listener, &replies).await);
            }
            begins
        })
        .await;
        (address.into(), member)
    }

    async fn changes(members: Vec<Address>, from: Option<&str>) -> ClusterChanges {
        let client = ClusterClient {
            members: members.into(),
            options: ClientOptions::default().into(),
            chosen: std::sync::Arc::default(),
            trouble: std::sync::Arc::default(),
        };
        client.changes(from.map(str::to_owned)).await.unwrap()
    }

    fn text(offset: &str) -> Option<String> {
        Some(offset.to_owned())
    }

    #[tokio::test]
    async fn a_stream_continues_behind_its_last_event_or_heartbeat() {
        let refused = |code| vec![Err(Error::new(code, "not now"))];
        let (address, member) = member(vec![
            vec![event("1", WatchOp::Heartbeat), event("2", WatchOp::Join)],
            refused(ErrorCode::Unavailable),
            refused(ErrorCode::Busy),
            vec![event("3", WatchOp::Heartbeat)],
            vec![event("4", WatchOp::Leave)],
            refused(ErrorCode::Conflict),
        ])
        .await;
        let mut changes = changes(vec![address], None).await;
        assert_eq!(changes.offset(), None);
        assert_eq!(changes.next().await.unwrap().op, WatchOp::Join);
        assert_eq!(changes.next().await.unwrap().op, WatchOp::Leave);
        assert_eq!(changes.offset(), Some("4"));
        let end = changes.next().await.unwrap_err();
        assert!(matches!(&end, ClientError::Refused(error) if error.code == ErrorCode::Conflict));
        let begins = member.await.unwrap();
        assert_eq!(begins, [None, text("2"), text("2"), text("2"), text("3"), text("4")]);
    }

    #[tokio::test]
    async fn a_stream_goes_from_member_to_member() {
        let moved = vec![Err(Error::new(ErrorCode::Moved, "elsewhere"))];
        let (first, asked_first) = member(vec![vec![event("6", WatchOp::Join)], moved]).await;
        let (second, asked_second) =
            member(vec![vec![event("7", WatchOp::Leave)], vec![event("8", WatchOp::Read)]]).await;
        let mut changes = changes(vec![first, second], Some("5")).await;
        for op in [WatchOp::Join, WatchOp::Leave, WatchOp::Read] {
            assert_eq!(changes.next().await.unwrap().op, op);
        }
        assert_eq!(asked_first.await.unwrap(), [text("5"), text("7")]);
        assert_eq!(asked_second.await.unwrap(), [text("6"), text("7")]);
    }
}
