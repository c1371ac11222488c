//! The reader of snapshots.
//!
//! # Invariants
//! - A block is returned only after its checksum was verified.
//! - "No more blocks" is returned only after number and order of all blocks were compared with the
//!   footer.

use std::path::Path;

use super::{
    FOOTER_BYTES, HEADER_BYTES, SnapshotFooter, SnapshotHeader, SnapshotInfo, SnapshotName,
    blocks_end,
};
use crate::bytes::{Window, u64_of};
use crate::disk::Disk;
use crate::error::at;
use crate::record::{FRAME_BYTES, check_frame, frame_length};
use crate::{Damage, Lsn, ReadError};

/// Reads the blocks of one snapshot in order.
pub struct SnapshotReader<D: Disk> {
    window: Window<D::File>,
    info: SnapshotInfo,
    footer: SnapshotFooter,
    offset: u64,
    blocks_end: u64,
    blocks_seen: u64,
    blocks_checksum: u32,
}

impl<D: Disk> SnapshotReader<D> {
    /// Opens a snapshot and verifies its header and footer, not yet its blocks.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] too if the file is no snapshot, or if its name differs from its
    /// header.
    pub fn open(disk: &D, path: &Path) -> Result<Self, ReadError> {
        let file = disk.open_read(path).map_err(at(path))?;
        let mut window = Window::new(file).map_err(at(path))?;
        let bytes = window.len();
        let blocks_end = blocks_end(bytes)
            .ok_or_else(|| Damage::new(path, bytes, "the snapshot is cut short"))?;
        let head = window.view(0, HEADER_BYTES).map_err(at(path))?;
        let (header, header_checksum) = SnapshotHeader::decode(head.unwrap_or_default())
            .map_err(|(offset, what)| Damage::new(path, offset, what))?;
        let foot = window.view(blocks_end, FOOTER_BYTES).map_err(at(path))?;
        let footer = SnapshotFooter::decode(foot.unwrap_or_default())
            .map_err(|what| Damage::new(path, blocks_end, what))?;
        if footer.header_checksum != header_checksum || footer.end < header.start {
            let what = "the footer belongs to another snapshot";
            return Err(Damage::new(path, blocks_end, what).into());
        }
        check_name(path, header.start)?;
        let info = SnapshotInfo {
            path: path.to_path_buf(),
            bytes,
            blocks: footer.blocks,
            start_lsn: header.start,
            end_lsn: footer.end,
            logged: footer.logged,
            node_id: header.node_id,
        };
        Ok(Self {
            window,
            info,
            footer,
            offset: u64_of(HEADER_BYTES),
            blocks_end,
            blocks_seen: 0,
            blocks_checksum: 0,
        })
    }

    /// What header and footer say.
    #[must_use]
    pub fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    /// The open file of the snapshot, for a caller that copies its bytes.
    pub(super) fn into_file(self) -> D::File {
        self.window.into_file()
    }

    /// Byte offset of the frame of the next block.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next block, or `None` behind the last one. Until `None` was returned, the snapshot may
    /// still turn out to be damaged.
    ///
    /// # Errors
    /// The file system failed, or the block or the footer is damaged. The reader cannot be used
    /// afterwards.
    pub fn next_block(&mut self) -> Result<Option<&[u8]>, ReadError> {
        if self.offset >= self.blocks_end {
            self.check_end()?;
            return Ok(None);
        }
        let offset = self.offset;
        let path = &self.info.path;
        let damaged = |what: String| ReadError::from(Damage::new(path, offset, what));
        let left = self.blocks_end - offset;
        let head = self.window.view(offset, FRAME_BYTES).map_err(at(path))?.unwrap_or_default();
        let bytes = FRAME_BYTES + frame_length(head).map_err(damaged)?;
        if u64_of(bytes) > left {
            return Err(damaged(format!("a block of {bytes} bytes claimed, {left} there")));
        }
        let frame = self.window.view(offset, bytes).map_err(at(path))?.unwrap_or_default();
        let (checksum, payload, _) = check_frame(frame).map_err(damaged)?;
        self.blocks_checksum = crc32c::crc32c_append(self.blocks_checksum, &checksum);
        self.blocks_seen += 1;
        self.offset = offset.saturating_add(u64_of(bytes));
        Ok(Some(payload))
    }

    /// Reads all remaining blocks only to verify them.
    ///
    /// # Errors
    /// Those of [`next_block`](Self::next_block).
    pub fn verify(mut self) -> Result<SnapshotInfo, ReadError> {
        while self.next_block()?.is_some() {}
        Ok(self.info)
    }

    fn check_end(&self) -> Result<(), Damage> {
        let (seen, claimed) = (self.blocks_seen, self.footer.blocks);
        let damaged = |what: String| Err(Damage::new(&self.info.path, self.blocks_end, what));
        if seen != claimed {
            return damaged(format!("{seen} blocks, the footer says {claimed}"));
        }
        if self.blocks_checksum != self.footer.blocks_checksum {
            return damaged("the blocks are not those that the footer names".to_owned());
        }
        Ok(())
    }
}

fn check_name(path: &Path, start: Lsn) -> Result<(), Damage> {
    let name = path.file_name().and_then(|name| name.to_str());
    match name.and_then(SnapshotName::parse) {
        Some(Some(name)) if name.start == start => Ok(()),
        _ => {
            let what = format!("the header says start LSN {start}, the name does not");
            Err(Damage::new(path, 20, what))
        }
    }
}
