//! The node's stream of changes, on a connection of its own: a reader that falls behind holds
//! nobody up but itself.

use super::{Address, ClientError, ClientOptions, Connection};
use crate::command::change::{Watch, WatchEvent};
use crate::command::{Error, Reply};

/// An open `watch`.
#[derive(Debug)]
pub struct Changes {
    connection: Connection,
    request_id: u64,
}

impl Changes {
    /// Connects, and watches from behind an offset, or from now on.
    ///
    /// # Errors
    /// Those of connecting. What the server thinks of the offset comes with the first change.
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

    /// Waits for the next change; heartbeats are among them. May be dropped at any time, and called again.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server ended the watch: its message says how to go on. Any error
    /// is the last thing that comes.
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
