//! What a member gives to others: its newest snapshot and the log behind it, to one that copies its
//! data; single entries, to one whose engine has damaged them; and what it says of itself.
//!
//! # Invariants
//! - Only records that are durable here are given, so every one of them is committed.
//! - Files may be removed, and the node may recover, while they are read. The reader then gets
//!   the bytes as they were written, or an error.
//! - A piece is made when it is asked for. So a slow joiner holds one piece and one open file.

use std::io;
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use snapshot::{Batch, Disk, DiskFile, FollowError, LogFollower, Lsn, SnapshotInfo, open_newest};

use super::info::NodeInfo;
use super::membership::Membership;
use crate::journal::accepted_heads::KnownEntry;
use crate::journal::copied_log::CopiedLogWriter;
use crate::journal::names::MemberNames;

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

/// An entry of the journal, rebuilt of its header and of the records in the log, which are durable up
/// to `until`. `None` if this member does not know the header, or lacks the records.
///
/// # Errors
/// Those of the file system, or if the log is damaged.
pub fn given_entry<D: Disk>(
    disk: &D,
    dir: &Path,
    member: &Membership,
    seq: u64,
    until: Lsn,
) -> Result<Option<Bytes>, FollowError> {
    let missing = match member.repair.known(seq) {
        Some(KnownEntry::Whole(entry)) => return Ok(Some(entry)),
        Some(KnownEntry::Lacks(missing)) if missing.last <= until => missing,
        Some(KnownEntry::Lacks(_)) | None => return Ok(None),
    };
    let mut follower = match LogFollower::open(disk, dir, member.journal, missing.first) {
        Err(FollowError::Gone { .. }) => return Ok(None),
        opened => opened?,
    };
    let (mut batch, mut is_whole) = (Batch::new(), true);
    follower.next(missing.last, usize::MAX, |_, record| {
        is_whole &= batch.push(record).is_ok();
    })?;
    Ok(missing.filled(&batch).filter(|_| is_whole))
}

/// What a member says of itself to a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// Its name among the members.
    pub member: String,
    /// Its role, `failed` if it waits for an operator.
    pub role: String,
    /// Why it cannot continue, if so.
    pub failure: Option<String>,
    /// Id of its journal.
    pub journal: u64,
    /// Number of the newest claim that it knows, by itself or from others.
    pub epoch: u64,
    /// Seq of the newest entry that it knows of that epoch.
    pub seq: u64,
    /// LSN of the newest record that it knows to be accepted.
    pub lsn: u64,
    /// The journal's format, as far as it has read; 0 before genesis.
    pub format: u32,
    /// The first record from which its log has no gap.
    pub oldest_lsn: u64,
    /// LSN of the newest record that is synced to its disk.
    pub durable_lsn: u64,
    /// The other members that it knows.
    pub others: Vec<OtherMember>,
}

/// Another member, as one knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherMember {
    /// Its name among the members.
    pub member: String,
    /// The address of its admin listener; empty if that is not known.
    pub admin: String,
}

impl MemberState {
    /// The state of a node; `None` if it is no member of a journal.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of<D: Disk>(disk: &D, node: &NodeInfo) -> io::Result<Option<Self>> {
        let (Some(member), Some(report)) = (&node.member, node.report()) else { return Ok(None) };
        let reach = member.claim_check.reach();
        let oldest = LogFollower::oldest(disk, &node.data_dir, member.journal)?;
        let next = Lsn(report.durable_lsn).next();
        let other = |MemberNames { member, admin, .. }| OtherMember { member, admin };
        Ok(Some(Self {
            member: report.member,
            role: report.role,
            failure: member.failure(),
            journal: member.journal,
            epoch: reach.epoch,
            seq: reach.seq,
            lsn: reach.lsn.0,
            format: member.format(),
            oldest_lsn: oldest.unwrap_or(next).0,
            durable_lsn: report.durable_lsn,
            others: member.others().into_iter().map(other).collect(),
        }))
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
