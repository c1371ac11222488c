//! The node's stream of changes, on a connection of its own: a reader that falls behind delays only
//! itself.

use super::{Address, ClientError, ClientOptions, Connection};
use crate::command::watch::{Watch, WatchEvent};
use crate::command::{Error, Reply};

/// An open `watch` and its connection.
#[derive(Debug)]
pub struct Changes {
    connection: Connection,
    request_id: u64,
}

impl Changes {
    /// Connects, and watches the changes behind the offset `from`, or from now on without one.
    ///
    /// # Errors
    /// If connecting fails. An offset that the server refuses is the error of the first change.
    pub async fn open(
        address: impl Into<Address>,
        options: &ClientOptions,
        from: Option<String>,
    ) -> Result<Self, ClientError> {
        let (mut connection, _) = Connection::connect(address, options).await?;
        let watch = Watch { from }.into();
        let request_id = connection.send(&watch).map_err(ClientError::Request)?;
        connection.flush().await?;
        Ok(Self { connection, request_id })
    }

    /// Waits for the next change; heartbeats count as changes. The future may be dropped at any
    /// time, and `next` called again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server ended the watch: its message says how to continue. No
    /// change follows an error.
    pub async fn next(&mut self) -> Result<WatchEvent, ClientError> {
        let answer = self.connection.receive().await?;
        match answer.outcome {
            Ok(Reply::Watch(event)) if answer.id == self.request_id => Ok(event),
            Ok(other) => Err(ClientError::Refused(Error::outcome_unknown(&format!(
                "an answer to {} on a connection that only watches",
                other.kind().name()
            )))),
            Err(error) => Err(ClientError::Refused(error)),
        }
    }
}
