//! `handover`: the active ends its stint on purpose, and a standby takes over.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{check_journal_text, check_not_empty};
use super::schema::Bound;
use super::{Arguments, Check, Error, NamedKeys};
use crate::limits::JOURNAL_TEXT_BYTES_MAX;

/// Arguments of `handover`: who is to follow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// Name of the standby that claims first; any standby if absent.
    #[serde(default)]
    pub to: Option<String>,
    /// Number of the claim whose stint is to end. If another one is the newest, nothing changes: a
    /// request that comes late ends no later stint.
    #[serde(default)]
    pub epoch: Option<u64>,
}

impl Check for Handover {
    fn check(&self) -> Result<(), Error> {
        let Some(to) = &self.to else { return Ok(()) };
        check_not_empty("to", to)?;
        check_journal_text("to", to)
    }
}

impl Arguments for Handover {
    type Reply = HandoverReply;
    const EXAMPLE: Option<&str> = None;
    const BOUNDS: &[Bound] = &[Bound::text("to", 1, JOURNAL_TEXT_BYTES_MAX)];

    fn touch(&self, _: &mut impl NamedKeys) {}
}

/// Reply to `handover`, when the release is committed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HandoverReply {
    /// Number of the claim whose stint has ended.
    pub epoch: u64,
    /// LSN of the newest record of that stint.
    pub last_lsn: u64,
}

#[cfg(test)]
draw! {
    Handover {
        to = |choices: &mut super::test_values::Choices<'_>| {
            choices.draw::<bool>().then(|| format!("m{}", choices.draw::<u16>()))
        },
        epoch,
    }
    HandoverReply { epoch, last_lsn }
}
