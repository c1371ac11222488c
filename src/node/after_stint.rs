//! What a node does when the thread of its member is over.

/// What a node does when its member's thread is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterStint {
    /// It recovers from its own disk.
    Recover,
    /// It copies the data of another member: the journal has trimmed what it needs next.
    Copy {
        /// Whether it had everything that the journal has, at some time of this life.
        was_level: bool,
    },
    /// It copies the data of the active: its own is wrong.
    Replace,
    /// It recovers, and then does not claim at once behind its own release.
    HandedOver {
        /// Epoch of the stint that it released.
        epoch: u64,
    },
    /// A sync of its disk failed: it recovers after a pause, and claims last until a sync succeeds.
    DiskFailed {
        /// Epoch of the stint that it released, if it was the active.
        epoch: Option<u64>,
    },
}

impl AfterStint {
    /// The epoch of the stint behind whose release this process does not claim at once, if there is
    /// one.
    #[must_use]
    pub fn handed_over(self) -> Option<u64> {
        match self {
            Self::HandedOver { epoch } => Some(epoch),
            Self::DiskFailed { epoch } => epoch,
            Self::Recover | Self::Copy { .. } | Self::Replace => None,
        }
    }
}
