//! What the admin listener of a member gives to other members and to tools.

use bytes::Bytes;
use snapshot::{FollowError, Lsn, RealDisk};

use crate::http::member_data::{DataPart, GivenPart, NotGiven};
use crate::node::NodeInfo;
use crate::node::give::{GivenLog, GivenSnapshot, MemberState, given_entry};

/// Opens a part of the node's data. It reads the disk.
///
/// # Errors
/// Why the part is not given.
pub(super) fn give(node: &NodeInfo, part: DataPart) -> Result<GivenPart, NotGiven> {
    let journal = node.member.as_ref().ok_or(NotGiven::NoJournal)?.journal;
    match part {
        DataPart::Snapshot => snapshot(node),
        DataPart::Log(from) => log(node, journal, Lsn(from)),
        DataPart::Entry(seq) => entry(node, seq),
        DataPart::Member => state(node),
    }
}

fn entry(node: &NodeInfo, seq: u64) -> Result<GivenPart, NotGiven> {
    let member = node.member.as_ref().ok_or(NotGiven::NoJournal)?;
    let given = given_entry(&RealDisk, &node.data_dir, member, seq, node.log.durable());
    let given = given.map_err(|error| NotGiven::Failed(error.to_string()))?;
    given.map(whole).ok_or(NotGiven::NoEntry)
}

fn state(node: &NodeInfo) -> Result<GivenPart, NotGiven> {
    let failed = |error: String| NotGiven::Failed(error);
    let state = MemberState::of(&RealDisk, node).map_err(|error| failed(error.to_string()))?;
    let text = serde_json::to_vec(&state.ok_or(NotGiven::NoJournal)?);
    text.map(|text| whole(text.into())).map_err(|error| failed(error.to_string()))
}

/// A part of one piece.
fn whole(bytes: Bytes) -> GivenPart {
    let length = u64::try_from(bytes.len()).ok();
    let mut piece = Some(bytes).filter(|bytes| !bytes.is_empty());
    GivenPart { headers: Vec::new(), bytes: length, next: Box::new(move || Ok(piece.take())) }
}

fn snapshot(node: &NodeInfo) -> Result<GivenPart, NotGiven> {
    let newest = GivenSnapshot::open(&RealDisk, &node.data_dir);
    let newest = newest.map_err(|error| NotGiven::Failed(error.to_string()))?;
    let mut given = newest.ok_or(NotGiven::NoSnapshot)?;
    let info = &given.info;
    let name = info.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(GivenPart {
        headers: vec![
            ("x-chatshard-file", name),
            ("x-chatshard-start-lsn", info.start_lsn.to_string()),
            ("x-chatshard-end-lsn", info.end_lsn.to_string()),
        ],
        bytes: Some(info.bytes),
        next: Box::new(move || given.piece()),
    })
}

fn log(node: &NodeInfo, journal: u64, from: Lsn) -> Result<GivenPart, NotGiven> {
    let until = node.log.durable();
    if from > until.next() {
        return Err(NotGiven::Ahead(until.0));
    }
    let opened = GivenLog::open(&RealDisk, &node.data_dir, journal, from, until);
    let mut given = opened.map_err(|error| match error {
        FollowError::Gone { oldest } => NotGiven::Gone(oldest.0),
        FollowError::Io(_) | FollowError::Damaged(_) => NotGiven::Failed(error.to_string()),
    })?;
    Ok(GivenPart {
        headers: vec![
            ("x-chatshard-start-lsn", from.to_string()),
            ("x-chatshard-end-lsn", until.to_string()),
        ],
        bytes: None,
        next: Box::new(move || given.piece()),
    })
}
