//! `snapshot`: writes a snapshot now.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Arguments, Check, Error, NamedKeys};

/// Arguments of `snapshot`, which has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {}

impl Check for Snapshot {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for Snapshot {
    type Reply = SnapshotReply;
    const EXAMPLE: Option<&str> = Some(r#"{}"#);

    fn touch(&self, _: &mut impl NamedKeys) {}
}

/// Reply to `snapshot`, after the file is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotReply {
    /// The path of the snapshot file on the server.
    pub path: String,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// How many chats and memberships the snapshot holds.
    pub records: u64,
}

#[cfg(test)]
draw! {
    Snapshot {}
    SnapshotReply { path, bytes, records }
}
