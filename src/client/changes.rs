//! The stream of changes of a node, on a connection of its own. So a reader that falls behind
//! delays no other call.

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
    /// Connects, and watches the changes behind the offset `from`, or from now on if there is none.
    ///
    /// # Errors
    /// If connecting fails. If the server refuses the offset, the first [`Self::next`] fails
    /// instead.
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

    /// Waits for the next change or heartbeat. The future may be dropped at any time: the next call
    /// continues where it was.
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
