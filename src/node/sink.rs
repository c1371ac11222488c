//! What the log's thread writes to: the log on the disk, or a journal with the log behind it.
//!
//! [`super::log_thread`] is generic over it, so a node without a journal has no call in between.

use std::io;
use std::time::Duration;

use snapshot::{AppendError, Batch, Disk, LogWriter, Lsn, Poisoned};

/// Why a batch is not in the sink.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It could not be written, and may be later. The caller tries the same batch again.
    #[error("{0}")]
    Write(#[source] io::Error),
    /// It is on its way, and nobody has said yet whether it arrived. The caller offers the same
    /// batch again.
    #[error("no word yet about the newest batch")]
    Pending,
    /// Nothing is written until the process starts again.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// Another node decides what is written from now on.
    #[error("{0}")]
    Fenced(String),
}

impl From<AppendError> for SinkError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Write(error) => Self::Write(error),
            AppendError::Poisoned(poisoned) => Self::Poisoned(poisoned),
        }
    }
}

/// Accepts batches of records, one after the other.
pub trait Sink {
    /// Writes one batch and returns the number of its last record. After an error other than
    /// [`SinkError::Poisoned`] and [`SinkError::Fenced`] the next call gets the same batch.
    ///
    /// # Errors
    /// [`SinkError`] if the batch is not in the sink.
    fn append(&mut self, batch: &Batch) -> Result<Lsn, SinkError>;

    /// Makes what was written durable on this machine, and returns the number of the last durable
    /// record.
    ///
    /// # Errors
    /// After a failed sync the sink is poisoned.
    fn sync(&mut self) -> Result<Lsn, Poisoned>;

    /// Number of the last record that was written.
    fn written(&self) -> Lsn;

    /// Number of the last record that is durable on this machine.
    fn durable(&self) -> Lsn;

    /// Checks whether the path of the data directory still leads to it.
    ///
    /// # Errors
    /// The path leads elsewhere.
    fn look_at_place(&mut self) -> io::Result<()>;

    /// Does what is due when no batch waits.
    ///
    /// # Errors
    /// [`SinkError`] as of [`Sink::append`].
    fn idle(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// The time until [`Sink::idle`] has something to do; `None` if only a batch brings work.
    fn idle_in(&self) -> Option<Duration> {
        None
    }

    /// Closes the log on the disk with its end mark, and returns the number of its last durable
    /// record.
    ///
    /// # Errors
    /// If the log could not be closed.
    fn finish(self) -> Result<Lsn, AppendError>;
}

impl<D: Disk> Sink for LogWriter<D> {
    #[inline]
    fn append(&mut self, batch: &Batch) -> Result<Lsn, SinkError> {
        Self::append(self, batch).map_err(SinkError::from)
    }

    fn sync(&mut self) -> Result<Lsn, Poisoned> {
        Self::sync(self)
    }

    #[inline]
    fn written(&self) -> Lsn {
        Self::written(self)
    }

    #[inline]
    fn durable(&self) -> Lsn {
        Self::durable(self)
    }

    fn look_at_place(&mut self) -> io::Result<()> {
        Self::look_at_place(self)
    }

    fn finish(self) -> Result<Lsn, AppendError> {
        Self::finish(self)
    }
}
