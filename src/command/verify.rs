//! `verify`: recounts what is kept incrementally, and compares chats with rows.

use serde::{Deserialize, Serialize};

use super::{Check, Error};

/// Arguments of `verify`, which has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {}

impl Check for Verify {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Reply to `verify`: what was compared, and what differs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyReply {
    /// Chats that were compared, including dissolved ones.
    pub chats: u64,
    /// Members that were compared with their rows.
    pub members: u64,
    /// Rows that were compared with their chats.
    pub rows: u64,
    /// How many differences there are, including those that `items` leaves out.
    pub differences: u64,
    /// The first differences, in words.
    pub items: Vec<String>,
}
