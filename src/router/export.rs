//! `export`: the chats' shards give the lines, and the users' shards add what only rows have.
//!
//! The order is by slot, in a slot by chat, and in a chat by member. So it does not depend on the
//! number of shards.

use super::Sent;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use super::scatter_plan::ScatterPlan;
use crate::command::export::{Export, ExportReply};
use crate::command::lines::MemberLine;
use crate::command::{Error, Outcome, Reply};
use crate::limits::EXPORT_LINES_MAX;
use crate::shard::op::{Answer, ExportPlace, ExportRow, Op, Pair, ReplyTo};
use crate::types::{ChatId, Flag, Slot, UserId};

/// An `export` under way.
pub(super) struct Exporting {
    slot: Slot,
    limit: usize,
    reply: ExportReply,
    /// Which lines each part of the request for rows completes.
    asked: ScatterPlan,
    missing: usize,
}

/// The place where a page of an export begins. Clients get it as a cursor.
struct ExportCursor {
    slot: Slot,
    after: Option<ExportPlace>,
}

impl ExportCursor {
    /// Reads the cursor `slot`, `slot.ORDER.chat_id` or `slot.uVERSION.BYTES.user_id chat_id`. In
    /// the last form nothing separates the two ids; `BYTES` is the length of the first.
    fn parse(cursor: Option<&str>) -> Result<Self, Error> {
        let bad = || Error::invalid("cursor: not one of `export`");
        let mut parts = cursor.unwrap_or("0").splitn(3, '.');
        let number = parts.next().and_then(|slot| slot.parse().ok()).ok_or_else(bad)?;
        let slot = Slot::new(number).ok_or_else(bad)?;
        let after = match (parts.next(), parts.next()) {
            (None, None) => None,
            (Some(place), Some(id)) => Some(match place.strip_prefix('u') {
                None => ExportPlace::Member(
                    ChatId::new(id).map_err(|_| bad())?,
                    place.parse().map_err(|_| bad())?,
                ),
                Some(version) => {
                    let (bytes, ids) = id.split_once('.').ok_or_else(bad)?;
                    let ids = ids.split_at_checked(bytes.parse().map_err(|_| bad())?);
                    let (user_id, chat_id) = ids.ok_or_else(bad)?;
                    ExportPlace::Removal(
                        UserId::new(user_id).map_err(|_| bad())?,
                        version.parse().map_err(|_| bad())?,
                        ChatId::new(chat_id).map_err(|_| bad())?,
                    )
                }
            }),
            _ => return Err(bad()),
        };
        Ok(Self { slot, after })
    }

    fn to_cursor(&self) -> String {
        let slot = self.slot.get();
        match &self.after {
            None => slot.to_string(),
            Some(ExportPlace::Member(id, order)) => format!("{slot}.{order}.{id}"),
            Some(ExportPlace::Removal(id, version, chat_id)) => {
                format!("{slot}.u{version}.{}.{id}{chat_id}", id.as_str().len())
            }
        }
    }
}

impl Scatter {
    pub(super) fn scatter_export(
        &self,
        entry: u64,
        export: Export,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let cursor = match ExportCursor::parse(export.cursor.as_deref()) {
            Ok(cursor) => cursor,
            Err(error) => return Scattered::Finished(Err(error)),
        };
        let limit = export.limit.and_then(|limit| usize::try_from(limit).ok());
        let exporting = Exporting {
            slot: cursor.slot,
            limit: limit.unwrap_or(EXPORT_LINES_MAX),
            reply: ExportReply { chats: Vec::new(), members: Vec::new(), next_cursor: None },
            asked: ScatterPlan::default(),
            missing: 0,
        };
        self.ask_page(&exporting, cursor.after, entry, out);
        Scattered::asked(exporting)
    }

    fn ask_page(
        &self,
        exporting: &Exporting,
        after: Option<ExportPlace>,
        entry: u64,
        out: &mut Vec<Sent>,
    ) {
        let slot = exporting.slot;
        let limit = exporting.limit.saturating_sub(exporting.lines());
        let op = Op::ExportPage { slot, after, limit };
        out.push((slot.shard(self.shards), self.reply_to(entry, 0), op));
    }

    /// Asks the users' shards for the rows that complete the lines of this page.
    fn ask_rows(
        &self,
        exporting: &mut Exporting,
        entry: u64,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        let members = exporting.reply.members.iter().enumerate();
        let rows = members.filter(|(_, line)| line.removed == Flag::NO);
        let pairs = rows.map(|(at, line)| (at, (line.user_id.clone(), line.chat_id.clone())));
        let (asked, parts) = ScatterPlan::cut(pairs, |pair: &Pair| self.shard_of_user(&pair.0));
        if parts.is_empty() {
            return Some(exporting.finish());
        }
        exporting.missing = asked.len();
        exporting.asked = asked;
        for (part, shard, pairs) in parts {
            out.push((shard, self.reply_to(entry, part), Op::ExportRows(pairs)));
        }
        None
    }
}

impl Gather for Exporting {
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        match answer {
            Answer::ExportPage(page) => {
                self.reply.chats.extend(page.chats);
                self.reply.members.extend(page.members);
                let next_slot = Slot::new(self.slot.get() + 1);
                let cursor = match (page.next, next_slot) {
                    (Some(after), _) => Some(ExportCursor { slot: self.slot, after: Some(after) }),
                    (None, Some(slot)) => Some(ExportCursor { slot, after: None }),
                    (None, None) => None,
                };
                match cursor {
                    Some(cursor) if self.lines() < self.limit => {
                        self.slot = cursor.slot;
                        scatter.ask_page(self, cursor.after, to.entry, out);
                        None
                    }
                    cursor => {
                        self.reply.next_cursor = cursor.map(|cursor| cursor.to_cursor());
                        scatter.ask_rows(self, to.entry, out)
                    }
                }
            }
            Answer::ExportRows(rows) => self.complete(to, rows),
            Answer::Done(outcome @ Err(_)) => Some(outcome),
            _ => Some(mixed_up()),
        }
    }
}

impl Exporting {
    fn lines(&self) -> usize {
        self.reply.chats.len() + self.reply.members.len()
    }

    fn complete(&mut self, to: ReplyTo, rows: Vec<Option<ExportRow>>) -> Option<Outcome> {
        self.asked.put(to, rows, &mut self.reply.members, |line, row| {
            if let Some(row) = row {
                complete(line, row);
            }
        });
        self.missing = self.missing.saturating_sub(1);
        (self.missing == 0).then(|| self.finish())
    }

    fn finish(&mut self) -> Outcome {
        let empty = ExportReply { chats: Vec::new(), members: Vec::new(), next_cursor: None };
        Ok(Reply::Export(std::mem::replace(&mut self.reply, empty)))
    }
}

fn complete(line: &mut MemberLine, row: ExportRow) {
    let facts = row.facts;
    line.is_top = facts.is_top;
    line.is_mute = facts.is_mute;
    line.is_show = Some(facts.is_show);
    line.is_hide = facts.is_hide;
    line.max_read_seq = facts.max_read_seq;
    line.last_online_time = facts.last_online_time;
    line.join_seq = Some(facts.join_seq);
    line.deleted_to_seq = Some(facts.deleted_to_seq);
    line.marked_unread = facts.marked_unread;
    line.join_order = Some(row.order);
    line.version = Some(row.version);
}
