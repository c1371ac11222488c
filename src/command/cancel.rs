//! `cancel`: ends a `watch` of the same connection.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Arguments, Check, Error, NamedKeys};

/// Arguments of `cancel`: the watch to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The request id with which the `watch` was sent on this connection.
    pub request_id: u64,
}

impl Check for Cancel {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for Cancel {
    type Reply = ();
    const EXAMPLE: Option<&str> = None;

    fn touch(&self, _: &mut impl NamedKeys) {}
}

#[cfg(test)]
draw! {
    Cancel { request_id }
}
