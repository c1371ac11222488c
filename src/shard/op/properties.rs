//! The table of operations: what a shard and its worker must know of one before it runs.

use super::Op;
use crate::command::{Class, Home, ShardCommand};
use crate::limits::SCAN_ROWS;
use crate::types::UserId;

/// Properties of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties<'a> {
    /// A write is refused while the log takes no writes.
    pub class: Class,
    /// Whether the answer promises something that a crash must not take back. Then it waits for the
    /// log.
    pub promises: bool,
    /// The users to whose rows the operation makes its shard send messages.
    pub reach: Reach<'a>,
    /// How many rows the operation reads or writes, or 0 if they are always few. A worker runs
    /// other operations between large ones, and keeps the order of the large ones.
    pub rows: usize,
    /// For how many rows of a reply the operation already holds memory.
    pub rows_held: usize,
}

/// Users to whose rows a shard sends messages because of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach<'a> {
    /// No user. Or only users whose deleted rows a new message brings back.
    Nobody,
    /// Only the rows of this user.
    User(&'a UserId),
    /// Rows of any user.
    Anybody,
}

/// The number of rows of an operation that is always large.
const ALWAYS_LARGE: usize = usize::MAX;

const READ: Properties<'_> =
    Properties { class: Class::Read, promises: false, reach: Reach::Nobody, rows: 0, rows_held: 0 };

const WRITE: Properties<'_> = Properties { class: Class::Write, promises: true, ..READ };

/// An answer that only leads to more operations promises nothing: the records of those follow its
/// own. A check counts as a write, so that it is refused whenever its change would be refused.
const LEADS_ON: Properties<'_> = Properties { promises: false, ..WRITE };

impl Op {
    /// The row of this operation in the table.
    pub fn properties(&self) -> Properties<'_> {
        match self {
            Self::Run(command) => Properties::of_command(command),
            Self::Reserve(_) => LEADS_ON,
            Self::Create { .. } => WRITE.reaches(Reach::Anybody),
            Self::Details { .. } => READ,
            Self::Facts { .. } => READ,
            Self::CheckDelete(_) => LEADS_ON,
            Self::Delete(delete, _) => WRITE.reaches(Reach::User(&delete.user_id)),
            Self::ExportPage { .. } => READ,
            Self::ExportRows(_) => READ,
            // Every import counts as large, because large operations keep their order: imports must
            // be applied as they were sent.
            Self::CheckImport(_) => WRITE.with_rows(ALWAYS_LARGE),
            Self::Places(arrivals) => READ.with_rows(arrivals.lines()),
            Self::Import(..) => WRITE.reaches(Reach::Anybody).with_rows(ALWAYS_LARGE),
            Self::ImportRemovals(_) => WRITE.with_rows(ALWAYS_LARGE),
            Self::ContinueList(page) => {
                Properties { rows_held: page.rows_held(), ..READ.with_rows(SCAN_ROWS) }
            }
            // The log has all that the page shows before the first slice leaves its shard.
            Self::ContinueSync(page) => {
                Properties { rows_held: page.changes_held(), ..READ.with_rows(SCAN_ROWS) }
            }
            Self::Rows(_) => READ,
            Self::Conversations(_, part) => READ.with_rows(part.refs.len()),
            Self::Unread(_, refs) => READ.with_rows(refs.len()),
            Self::SetFlags(_) => WRITE,
            Self::MarkReadMany(many) => WRITE.reaches(Reach::User(&many.user_id)),
            Self::CheckReads(..) => LEADS_ON,
            Self::ReadRows(..) => WRITE,
            Self::ExplainChat(_) => READ,
            Self::EraseBegin(_) => WRITE,
            Self::EraseMember(user_id, chat_ids) => {
                WRITE.reaches(Reach::User(user_id)).with_rows(chat_ids.len())
            }
            Self::EraseSweep(user_id, _) => {
                WRITE.reaches(Reach::User(user_id)).with_rows(ALWAYS_LARGE)
            }
            Self::EraseEnd(..) => WRITE,
            Self::VerifySlots(_) => READ.with_rows(ALWAYS_LARGE),
            Self::VerifyMembers(..) => READ.with_rows(ALWAYS_LARGE),
            Self::VerifyRowsOf(..) => READ.with_rows(ALWAYS_LARGE),
            Self::VerifyChats(pairs) => READ.with_rows(pairs.len()),
            Self::VerifyRows(pairs) => READ.with_rows(pairs.len()),
            Self::Stats => READ,
        }
    }
}

impl<'a> Properties<'a> {
    fn of_command(command: &'a ShardCommand) -> Self {
        let class = command.kind().class();
        let reach = match command.home() {
            Home::User(_) | Home::Chat(_) => Reach::Nobody,
            Home::ChatThenRow(_, user_id) => Reach::User(user_id),
            Home::ChatThenMembers(_) => Reach::Anybody,
        };
        // Clients keep what `sync` returns.
        let promises = class == Class::Write || matches!(command, ShardCommand::Sync(_));
        Self { class, promises, reach, ..READ }
    }

    const fn reaches(self, reach: Reach<'a>) -> Self {
        Self { reach, ..self }
    }

    const fn with_rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }
}
