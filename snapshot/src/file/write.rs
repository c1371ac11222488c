//! The writer of snapshots.
//!
//! # Invariants
//! - Until `publish` returns, no reader takes the file for a snapshot.
//! - A writer that is dropped without `publish` removes its file. If that fails, the file stays as
//!   a `.tmp`, which the next open removes.

use std::io;
use std::path::{Path, PathBuf};

use super::{SnapshotFooter, SnapshotHeader, SnapshotInfo, SnapshotName, list_snapshots};
use crate::Lsn;
use crate::bytes::u64_of;
use crate::disk::{Disk, DiskFile, check_place};
use crate::error::at;
use crate::planted::{Planted, is_planted};
use crate::record::{FRAME_BYTES, frame_head};
use crate::replace::{create_anew, parent, tmp_path};

/// Blocks of a snapshot are gathered up to this many bytes before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes one snapshot, block by block. The fields of [`SnapshotInfo`] say what its start and end
/// LSN mean.
#[derive(Debug)]
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    path: PathBuf,
    /// The `.tmp` file. `None` once the snapshot is published, or after a write failed.
    file: Option<D::File>,
    buffer: Vec<u8>,
    info: SnapshotInfo,
    header_checksum: u32,
    blocks_checksum: u32,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Begins a snapshot as a `.tmp` file; a directory can have only one at a time. All records up
    /// to `start_lsn` must be in its blocks.
    ///
    /// # Errors
    /// Kind `NotFound` if the path no longer leads to the directory in use; otherwise those of the
    /// file system.
    pub fn create(disk: &D, dir: &Path, node_id: u64, start_lsn: Lsn) -> io::Result<Self> {
        check_place(disk, dir)?;
        // Two snapshots may have one start LSN. The counter makes their names differ, and the
        // larger one is newer.
        let newest = list_snapshots(disk, dir)?;
        let same = newest.iter().filter(|name| name.start == start_lsn);
        let counter = same.map(|name| name.counter).max().unwrap_or(0);
        let name = SnapshotName { start: start_lsn, counter: counter.saturating_add(1) };
        let path = name.path(dir);
        let file = create_anew(disk, &tmp_path(&path))?;
        let header = SnapshotHeader { node_id, start: start_lsn };
        let (buffer, header_checksum) = header.encode();
        let info = SnapshotInfo {
            path: path.clone(),
            bytes: 0,
            blocks: 0,
            start_lsn,
            end_lsn: start_lsn,
            logged: true,
            node_id,
        };
        Ok(Self {
            disk: disk.clone(),
            path,
            file: Some(file),
            buffer,
            info,
            header_checksum,
            blocks_checksum: 0,
        })
    }

    /// Adds one block of at most [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX) bytes.
    ///
    /// # Errors
    /// Kind `InvalidInput` for a block over the limit. After an error of the file system, the
    /// caller must drop the writer.
    pub fn block(&mut self, payload: &[u8]) -> io::Result<()> {
        let head = frame_head(payload)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        if self.buffer.len() + FRAME_BYTES + payload.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(&head);
        self.buffer.extend_from_slice(payload);
        let checksum = head.first_chunk::<4>().copied().unwrap_or_default();
        self.blocks_checksum = crc32c::crc32c_append(self.blocks_checksum, &checksum);
        self.info.blocks += 1;
        Ok(())
    }

    /// Bytes of the snapshot so far, with its header.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.info.bytes + u64_of(self.buffer.len())
    }

    /// Number of blocks that were written to the snapshot so far.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.info.blocks
    }

    /// Finishes the snapshot: footer, fsync, rename, fsync of the directory. It must not have a
    /// record after `end_lsn`, and **the log must be durable up to `end_lsn` already**. A start
    /// refuses a snapshot without that part of the log.
    ///
    /// # Errors
    /// Kind `InvalidInput` if `end_lsn` is before the start LSN. After another error the snapshot
    /// is missing, or there as a whole.
    pub fn publish(self, end_lsn: Lsn) -> io::Result<SnapshotInfo> {
        self.finish(end_lsn, true)
    }

    /// Like [`publish`](Self::publish), for a run without a log. The state must not have changed
    /// while the snapshot was written. A start then needs no log for it.
    pub fn publish_without_log(self) -> io::Result<SnapshotInfo> {
        let start = self.info.start_lsn;
        self.finish(start, false)
    }

    fn finish(mut self, end_lsn: Lsn, logged: bool) -> io::Result<SnapshotInfo> {
        if end_lsn < self.info.start_lsn {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let footer = SnapshotFooter {
            logged,
            blocks: self.info.blocks,
            end: end_lsn,
            header_checksum: self.header_checksum,
            blocks_checksum: self.blocks_checksum,
        };
        self.buffer.extend_from_slice(&footer.encode());
        self.flush()?;
        let tmp = tmp_path(&self.path);
        let early = is_planted(Planted::RenameBeforeSync);
        if early {
            self.disk.rename(&tmp, &self.path).map_err(at(&tmp))?;
        }
        if let Some(file) = &mut self.file {
            file.sync_data().map_err(at(&tmp))?;
        }
        if !early {
            self.disk.rename(&tmp, &self.path).map_err(at(&tmp))?;
        }
        self.file = None;
        let dir = parent(&self.path);
        self.disk.sync_dir(dir).map_err(at(dir))?;
        self.info.end_lsn = end_lsn;
        self.info.logged = logged;
        Ok(self.info.clone())
    }

    fn flush(&mut self) -> io::Result<()> {
        let tmp = tmp_path(&self.path);
        let Some(file) = &mut self.file else {
            return Err(at(&tmp)(io::Error::other("an earlier write failed")));
        };
        if let Err(error) = file.append(&self.buffer) {
            // Part of the buffer may be in the file already. Later bytes would then be in the wrong
            // place, so the writer takes no more.
            self.file = None;
            let _ = self.disk.remove(&tmp);
            return Err(at(&tmp)(error));
        }
        self.info.bytes += u64_of(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }
}

impl<D: Disk> Drop for SnapshotWriter<D> {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // If this fails, the leftover is removed by the next open.
            let _ = self.disk.remove(&tmp_path(&self.path));
        }
    }
}
