//! `raise_format`: the active raises the journal's format, although members that are gone may not
//! read it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{check_journal_text, check_not_empty};
use super::{Arguments, Check, Error, NamedKeys, null_as_default};

/// Arguments of `raise_format`: the members that are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RaiseFormat {
    /// Names of members that do not report, and may not read the newer format.
    #[serde(default, deserialize_with = "null_as_default")]
    pub without: Vec<String>,
}

impl Check for RaiseFormat {
    fn check(&self) -> Result<(), Error> {
        self.without.iter().try_for_each(|name| {
            check_not_empty("without", name)?;
            check_journal_text("without", name)
        })
    }
}

impl Arguments for RaiseFormat {
    type Reply = RaiseFormatReply;
    const EXAMPLE: Option<&str> = None;

    fn touch(&self, _: &mut impl NamedKeys) {}
}

/// Reply to `raise_format`. The entry that raises the format follows at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RaiseFormatReply {
    /// The newest format that this active reads: that of the journal, once the entry is there.
    pub format: u64,
    /// The format of the journal before.
    pub before: u64,
    /// The members that were left out, and may not read the format.
    pub without: Vec<String>,
}

#[cfg(test)]
draw! {
    RaiseFormat {
        without = |choices: &mut super::test_values::Choices<'_>| {
            (0..choices.draw::<u16>() % 3).map(|number| format!("m{number}")).collect()
        },
    }
    RaiseFormatReply { format, before, without }
}
