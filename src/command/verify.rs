//! `verify`: recounts the figures that each change adjusts, and compares chats with rows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::items::{Items, bytes_of};
use super::{Arguments, Check, Error, NamedKeys};

/// Arguments of `verify`, which has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {}

impl Check for Verify {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for Verify {
    type Reply = VerifyReply;
    const EXAMPLE: Option<&str> = Some(r#"{}"#);

    fn touch(&self, _: &mut impl NamedKeys) {}
}

/// Reply to `verify`: what was compared, and what differs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VerifyReply {
    /// Chats that were compared, including dissolved ones.
    pub chats: u64,
    /// Members that were compared with their rows.
    pub members: u64,
    /// Rows that were compared with their chats.
    pub rows: u64,
    /// How many differences were found, including those that `items` leaves out.
    pub differences: u64,
    /// The first differences, in words.
    pub items: Vec<String>,
}

impl Items for VerifyReply {
    fn count(&self) -> usize {
        self.items.len()
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.items, |item| item)
    }
}

#[cfg(test)]
draw! {
    Verify {}
    VerifyReply { chats, members, rows, differences, items }
}
