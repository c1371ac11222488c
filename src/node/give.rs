//! What a member gives to another one that copies its data: its newest snapshot, and the log behind
//! it.
//!
//! # Invariants
//! - Only records that are durable here are given, so every one of them is committed.
//! - Files may be removed, and the node may recover, while they are read. The reader then gets
//!   the bytes as they were written, or an error.
//! - A piece is made when it is asked for. So a slow joiner holds one piece and one open file.

use std::io;
use std::path::Path;

use bytes::Bytes;
use snapshot::{Batch, Disk, DiskFile, FollowError, LogFollower, Lsn, SnapshotInfo, open_newest};

use crate::journal::copied_log::CopiedLogWriter;

/// Bytes of one piece. A long record makes a longer one.
const PIECE_BYTES: usize = 256 << 10;

/// A snapshot file as it is.
#[derive(Debug)]
pub struct GivenSnapshot<D: Disk> {
    /// What its header and footer say.
    pub info: SnapshotInfo,
    file: D::File,
    offset: u64,
}

impl<D: Disk> GivenSnapshot<D> {
    /// Opens the newest snapshot of a directory; `None` without one.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(disk: &D, dir: &Path) -> io::Result<Option<Self>> {
        let newest = open_newest(disk, dir)?;
        Ok(newest.map(|(info, file)| Self { info, file, offset: 0 }))
    }

    /// The next piece; `None` behind the last one.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn piece(&mut self) -> io::Result<Option<Bytes>> {
        let left = self.info.bytes.saturating_sub(self.offset);
        let mut piece = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES)];
        let mut filled = 0;
        while let Some(room) = piece.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.file.read_at(room, self.offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    filled += read;
                    self.offset = self.offset.saturating_add(u64::try_from(read).unwrap_or(0));
                }
            }
        }
        Ok((filled > 0).then(|| piece.into()))
    }
}

/// Records of the log, sealed for another member.
#[derive(Debug)]
pub struct GivenLog<D: Disk> {
    follower: LogFollower<D>,
    until: Lsn,
    sealing: CopiedLogWriter,
}

impl<D: Disk> GivenLog<D> {
    /// The records from `from` to `until`, which must be durable.
    ///
    /// # Errors
    /// [`FollowError::Gone`] if the log does not reach back to `from`. Those of the file system.
    pub fn open(
        disk: &D,
        dir: &Path,
        journal: u64,
        from: Lsn,
        until: Lsn,
    ) -> Result<Self, FollowError> {
        let follower = LogFollower::open(disk, dir, journal, from)?;
        let sealing = CopiedLogWriter::new(journal, follower.position().next());
        Ok(Self { follower, until, sealing })
    }

    /// The next piece; `None` behind the last record.
    ///
    /// # Errors
    /// If the log was trimmed meanwhile, or a record of it is damaged. The pieces before are right.
    pub fn piece(&mut self) -> io::Result<Option<Bytes>> {
        let mut piece = Vec::new();
        for batch in next_batches(&mut self.follower, self.until)? {
            let sealed = self.sealing.seal(&batch).map_err(io::Error::other)?;
            piece.extend_from_slice(&sealed);
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

/// The next records of a log up to `until`, in batches of about [`PIECE_BYTES`]. None is empty.
///
/// # Errors
/// If the log was trimmed meanwhile, or a record of it is damaged.
pub(super) fn next_batches<D: Disk>(
    follower: &mut LogFollower<D>,
    until: Lsn,
) -> io::Result<Vec<Batch>> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut result = Ok(());
    let next = follower.next(until, PIECE_BYTES, |_, record| {
        if batches.last().is_none_or(|batch| batch.len_bytes() >= PIECE_BYTES) {
            batches.push(Batch::new());
        }
        if let Some(batch) = batches.last_mut()
            && let Err(error) = batch.push(record)
        {
            result = Err(error);
        }
    });
    next.map_err(io::Error::other)?;
    result.map_err(io::Error::other)?;
    Ok(batches)
}
