//! `ping`: shows that the node works.

use serde::{Deserialize, Serialize};

use super::{Check, Error};

/// Arguments of `ping`, which has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {}

impl Check for Ping {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Reply to `ping`, which has no fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PingReply {}
