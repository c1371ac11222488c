//! `ping`: shows that the node works.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Arguments, Check, Error, NamedKeys};

/// Arguments of `ping`, which has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ping {}

impl Check for Ping {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for Ping {
    type Reply = PingReply;
    const EXAMPLE: Option<&str> = Some(r#"{}"#);

    fn touch(&self, _: &mut impl NamedKeys) {}
}

/// Reply to `ping`, which has no fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PingReply {}

#[cfg(test)]
draw! {
    Ping {}
    PingReply {}
}
