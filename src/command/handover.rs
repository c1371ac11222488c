//! `handover`: the active ends its stint on purpose, and a standby takes over.

use serde::{Deserialize, Serialize};

use super::{Arguments, Check, Error, NamedKeys};
use crate::limits::JOURNAL_TEXT_BYTES_MAX;

/// Arguments of `handover`: who is to follow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// Name of the standby that claims first; any standby if absent.
    #[serde(default)]
    pub to: Option<String>,
}

impl Check for Handover {
    fn check(&self) -> Result<(), Error> {
        match self.to.as_deref().map(str::len) {
            Some(0) => Err(Error::invalid("to: must not be empty")),
            Some(bytes) if bytes > JOURNAL_TEXT_BYTES_MAX => {
                Err(Error::too_large(format!("to: at most {JOURNAL_TEXT_BYTES_MAX} bytes")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Arguments for Handover {
    type Reply = HandoverReply;
    const EXAMPLE: Option<&str> = None;

    fn touch(&self, _: &mut impl NamedKeys) {}
}

/// Reply to `handover`, when the release is committed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    }
    HandoverReply { epoch, last_lsn }
}
