//! `dissolve`: ends a chat for good.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::types::{ChatId, IdempotencyKey};

/// Arguments of `dissolve`: the chat to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Dissolve {
    /// The chat's id.
    pub chat_id: ChatId,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the chat to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for Dissolve {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for Dissolve {
    type Reply = ();
    const EXAMPLE: Option<&str> = Some(r#"{"chat_id": "g_e81b60a94d7c2f53"}"#);

    fn touch(&self, keys: &mut impl NamedKeys) {
        // A detour: deliveries change the rows of all members, who are not named here.
        keys.chat(&self.chat_id, Use::Write, By::Detour);
    }
}

#[cfg(test)]
draw! {
    Dissolve { chat_id, idempotency_key, if_version }
}
