//! What enters a shard: operations of routers, and messages of shards.
//!
//! Each operation has one line here. The line calls a function in the file of the operation's
//! family.

use super::keyed::Keyed;
use super::machine::Shard;
use super::op::{Answer, Answered, Envelope, Message, Op, Output, Properties, ReplyTo, Step};
use super::ops::{
    chats, conversations, deletes, details, erase, export, import, members, messages, places,
    read_positions, reservations, rows, sync, verify,
};
use crate::command::sync::Sync;
use crate::command::{Class, Reply, ShardCommand};

impl Shard {
    /// Runs an operation. Puts its answer into `out`, in this step or in a later one.
    pub fn operation(&mut self, to: ReplyTo, op: Op, out: &mut Output) {
        self.count_command();
        let Properties { class, promises, .. } = op.properties();
        if class == Class::Write
            && let Err(why) = self.accepts_writes()
        {
            let answer = Answer::Done(Err(why));
            out.answers.push(Answered { to, answer, after_log: false });
            return;
        }
        let step = self.run(to, op, out);
        let answer = match step {
            Step::Done(outcome) => Answer::Done(outcome),
            Step::Part(answer) => answer,
            Step::AfterDeliveries(chat_ids, reply) => {
                let answer = Answer::Done(Ok(reply));
                match self.after_deliveries(&chat_ids, to, answer) {
                    Some(answer) => answer,
                    None => return,
                }
            }
            Step::Later => return,
        };
        // An error promises nothing, so it need not wait for the log.
        let after_log = promises && !matches!(answer, Answer::Done(Err(_)));
        out.answers.push(Answered { to, answer, after_log });
    }

    /// Whether the caller of a `sync` has changes of this log that this shard does not have yet. On
    /// a standby they are on their way.
    pub fn lacks(&self, sync: &Sync) -> bool {
        sync::lacks(self.slots(), self.incarnation(), sync)
    }

    /// Takes a message of a shard, which may be this one.
    pub fn message(&mut self, envelope: Envelope, out: &mut Output) {
        self.begin_snapshot(envelope.snapshot);
        match envelope.message {
            Message::Deliver { from, chat_id, event, rows } => {
                self.take_delivery(from, chat_id, event, rows, out);
            }
            Message::Delivered { chat_id, event } => self.delivered(&chat_id, event, out),
            Message::Row { to, user_id, request, key } => {
                let answer = Answer::Done(read_positions::row_request(
                    self,
                    &user_id,
                    request,
                    key.as_ref(),
                    out,
                ));
                out.answers.push(Answered { to, answer, after_log: true });
            }
            Message::Rows { to, user_id, requests } => {
                let answer = Answer::MarkReadMany(read_positions::row_requests(
                    self, &user_id, requests, out,
                ));
                out.answers.push(Answered { to, answer, after_log: true });
            }
        }
    }

    fn run(&mut self, to: ReplyTo, op: Op, out: &mut Output) -> Step {
        let slots = self.slots();
        match op {
            Op::Run(command) => self.run_command(to, command, out),
            Op::Reserve(reserving) => reservations::reserve(self, &reserving, out),
            Op::Create { create, id_from, reservation } => {
                chats::create(self, create, id_from, reservation, out)
            }
            Op::Details { ids, user_id } => details::details(slots, &ids, user_id.as_ref()).into(),
            Op::Facts { user_id, ids } => details::facts(slots, &user_id, &ids).into(),
            Op::CheckDelete(delete) => deletes::check_delete(slots, &delete).into(),
            Op::Delete(delete, reservation) => deletes::delete(self, delete, reservation, out),
            Op::ExportPage { slot, after, limit } => {
                export::export_page(slots, slot, after, limit).into()
            }
            Op::ExportRows(pairs) => export::export_rows(slots, &pairs).into(),
            Op::CheckImport(import) => import::check_import(self, &import).into(),
            Op::Places(arrivals) => places::places(slots, &arrivals).into(),
            Op::Import(import, places) => import::import(self, &import, &places, out),
            Op::ImportRemovals(removals) => import::import_removals(self, removals, out).into(),
            Op::ContinueList(page) => rows::continue_list(*page),
            Op::ContinueSync(page) => sync::continue_sync(*page),
            Op::Rows(user_ids) => rows::rows(slots, user_ids).into(),
            Op::Conversations(listing, part) => {
                conversations::conversations(slots, &listing, &part).into()
            }
            Op::Unread(rows, refs) => conversations::unread(slots, &rows, &refs).into(),
            Op::SetFlags(set) => rows::set_flags(self, set, out),
            Op::MarkReadMany(many) => read_positions::mark_read_many(self, to, many, out),
            Op::CheckReads(user_id, items) => {
                read_positions::check_reads(slots, &user_id, items).into()
            }
            Op::ReadRows(user_id, requests, key) => {
                read_positions::read_rows(self, &user_id, requests, &key, out).into()
            }
            Op::ExplainChat(explain) => details::explain_chat(slots, &explain).into(),
            Op::EraseBegin(erase) => erase::erase_begin(self, erase, out),
            Op::EraseMember(user_id, ids) => erase::erase_member(self, to, &user_id, &ids, out),
            Op::EraseSweep(user_id, from) => erase::erase_sweep(self, &user_id, from, out),
            Op::EraseEnd(erase, memberships) => erase::erase_end(self, erase, memberships, out),
            Op::VerifySlots(from) => verify::verify_slots(slots, from).into(),
            Op::VerifyMembers(id, after) => verify::verify_members(slots, &id, after).into(),
            Op::VerifyRowsOf(id, after) => verify::verify_rows_of(slots, &id, after).into(),
            Op::VerifyChats(pairs) => verify::verify_chats(slots, &pairs).into(),
            Op::VerifyRows(pairs) => verify::verify_rows(slots, &pairs).into(),
            Op::Stats => Answer::Stats(self.stats()).into(),
        }
    }

    /// Runs a command, unless it is a repeat.
    fn run_command(&mut self, to: ReplyTo, command: ShardCommand, out: &mut Output) -> Step {
        let keyed = Keyed::of_command(&command, self.slots().hasher());
        self.once(keyed, out, |shard, out| shard.decide(to, command, out))
    }

    fn decide(&mut self, to: ReplyTo, command: ShardCommand, out: &mut Output) -> Step {
        match command {
            ShardCommand::List(list) => rows::list(self.slots(), &list),
            ShardCommand::Members(members) => members::members(self.slots(), &members).into(),
            ShardCommand::AddMembers(add) => members::add_members(self, add, out),
            ShardCommand::RemoveMembers(remove) => members::remove_members(self, remove, out),
            ShardCommand::SetStatus(set) => chats::set_status(self, set, out).into(),
            ShardCommand::Dissolve(dissolve) => chats::dissolve(self, dissolve, out),
            ShardCommand::Advance(advance) => {
                let advance = advance.as_ref(self.slots().hasher());
                messages::advance(self, advance, out).map(Reply::Advance).into()
            }
            ShardCommand::MarkRead(read) => read_positions::mark_read(self, to, read, out),
            ShardCommand::Clear(clear) => read_positions::clear(self, to, clear, out),
            ShardCommand::Touch(touch) => rows::touch(self, touch, out).into(),
            ShardCommand::Sync(sync) => sync::sync(self.slots(), self.incarnation(), &sync),
        }
    }
}
