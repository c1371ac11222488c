//! The journal's format is raised by an operator, without members that are gone.
//!
//! Invariant: a member that reports reads every format to which the journal is raised.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{MemberRole, Membership};
use crate::command::raise_format::RaiseFormatReply;
use crate::command::{Error, ErrorCode};
use crate::node::known_members::BehindFormat;

impl Membership {
    /// The format to which an operator raises the journal, if one does.
    pub(super) fn raised(&self) -> Option<u32> {
        Some(self.raised.load(Ordering::Acquire)).filter(|format| *format > 0)
    }

    /// Lets this active raise the journal's format to the newest one that it reads, without members
    /// that do not report.
    pub(in crate::node) fn raise_format(
        &self,
        now: Duration,
        without: &[String],
    ) -> Result<RaiseFormatReply, Error> {
        if self.role() != MemberRole::Active {
            return Err(self.moved_away());
        }
        let (before, format) = (self.format(), self.reads);
        let mut reply = RaiseFormatReply { before: before.into(), ..RaiseFormatReply::default() };
        reply.format = format.max(before).into();
        if format <= before {
            return Ok(reply);
        }
        let conflict = |what: String| Err(Error::new(ErrorCode::Conflict, what));
        for behind in self.known().behind_format(now, &self.names, format) {
            let BehindFormat { member, is_alive, why } = behind;
            if is_alive {
                return conflict(format!("format {format}: {member} {why}, and would stop"));
            }
            if !without.contains(&member) {
                return conflict(format!("format {format}: {member} {why}; is it gone?"));
            }
            reply.without.push(member);
        }
        if let Some(other) = without.iter().find(|name| !reply.without.contains(name)) {
            let why = "is no member that keeps the journal from it";
            return Err(Error::invalid(format!("without: {other} {why}")));
        }
        self.raised.store(format, Ordering::Release);
        Ok(reply)
    }
}
