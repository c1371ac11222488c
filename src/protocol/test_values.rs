//! Valid commands and replies of every kind, drawn from a list of random choices; for tests only.

use crate::command::add_members::{AddMembers, AddMembersReply};
use crate::command::advance::{Advance, AdvanceReply};
use crate::command::cancel::Cancel;
use crate::command::clear::{Clear, ClearReply};
use crate::command::conversations::{Conversation, Conversations, ConversationsReply};
use crate::command::create::{Create, CreateReply};
use crate::command::delete::Delete;
use crate::command::detail::{ChatItem, Detail, DetailReply};
use crate::command::dissolve::Dissolve;
use crate::command::erase_user::{EraseUser, EraseUserReply};
use crate::command::explain::{Explain, ExplainFloors, ExplainReply};
use crate::command::export::{Export, ExportReply};
use crate::command::hello::{Hello, HelloReply, Limits};
use crate::command::import::{Import, ImportReply};
use crate::command::lines::{ChatLine, MemberLine};
use crate::command::list::{List, ListReply, ListRow};
use crate::command::mark_read::{MarkRead, MarkReadReply};
use crate::command::mark_read_many::{MarkReadMany, MarkReadManyReply, ReadItem, ReadResult};
use crate::command::members::{MemberItem, Members, MembersReply};
use crate::command::ping::{Ping, PingReply};
use crate::command::remove_members::{RemoveMembers, RemoveMembersReply};
use crate::command::set_flags::{SetFlags, SetFlagsReply};
use crate::command::set_status::{SetStatus, SetStatusReply};
use crate::command::snapshot::{Snapshot, SnapshotReply};
use crate::command::stats::{LogStats, ShardStats, SnapshotStats, Stats, StatsReply};
use crate::command::sync::{Since, Sync, SyncItem, SyncOp, SyncReply};
use crate::command::touch::{Touch, TouchReply};
use crate::command::unread::{Unread, UnreadItem, UnreadReply};
use crate::command::verify::{Verify, VerifyReply};
use crate::command::watch::{Watch, WatchEvent, WatchOp};
use crate::command::{Command, Kind, Reply};
use crate::limits::{IMPORT_COUNTER_MAX, INTEGER_MAX};
use crate::types::{ChatId, ChatStatus, ChatType, Flag, IdempotencyKey, Sequence, TimeMs, UserId};

/// Turns choices into values. When the choices run out, every further one is 0.
pub(super) struct Choices<'a> {
    choices: std::slice::Iter<'a, u64>,
}

impl<'a> Choices<'a> {
    pub(super) fn new(choices: &'a [u64]) -> Self {
        Self { choices: choices.iter() }
    }

    fn any(&mut self) -> u64 {
        self.choices.next().copied().unwrap_or(0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.any() % bound
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 1
    }

    /// An integer that is mostly small, sometimes up to 2^53 - 1.
    fn integer(&mut self) -> u64 {
        let bits = self.below(54);
        self.any() & INTEGER_MAX & ((1 << bits) - 1)
    }

    fn small(&mut self) -> u16 {
        u16::try_from(self.below(1 << 16)).unwrap()
    }

    fn text(&mut self) -> String {
        let length = self.below(40);
        (0..length)
            .filter_map(|_| char::from_u32(0x21 + u32::from(self.small()) % 0x5000))
            .filter(|character| !character.is_control())
            .collect()
    }

    fn id(&mut self) -> String {
        format!("i{}", self.text())
    }

    fn chat(&mut self) -> ChatId {
        ChatId::new(&self.id()).unwrap()
    }

    fn user(&mut self) -> UserId {
        UserId::new(&self.id()).unwrap()
    }

    fn key(&mut self) -> Option<IdempotencyKey> {
        self.maybe(|draw| IdempotencyKey::new(&draw.id()).unwrap())
    }

    /// A version or join order that `import` accepts.
    fn counter(&mut self) -> u64 {
        self.integer() % (IMPORT_COUNTER_MAX + 1)
    }

    fn version(&mut self) -> Option<u64> {
        self.maybe(Self::integer)
    }

    fn sequence(&mut self) -> Sequence {
        Sequence::new(self.integer()).unwrap()
    }

    fn time(&mut self) -> TimeMs {
        TimeMs::new(self.integer()).unwrap()
    }

    fn flag(&mut self) -> Flag {
        Flag(self.yes())
    }

    fn chat_type(&mut self) -> ChatType {
        [ChatType::Group, ChatType::Official][usize::from(self.yes())]
    }

    fn status(&mut self) -> ChatStatus {
        [ChatStatus::Normal, ChatStatus::Disabled][usize::from(self.yes())]
    }

    fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.yes().then(|| draw(self))
    }

    fn list<T>(&mut self, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let length = self.below(20);
        (0..length).map(|_| draw(self)).collect()
    }

    fn page(&mut self) -> u32 {
        u32::from(self.small()) % 1000 + 1
    }

    fn row(&mut self) -> ListRow {
        ListRow {
            chat_id: self.chat(),
            is_top: self.flag(),
            is_mute: self.flag(),
            is_show: self.flag(),
            is_hide: self.flag(),
            max_read_seq: self.sequence(),
            last_online_time: self.time(),
        }
    }

    fn chat_line(&mut self) -> ChatLine {
        ChatLine {
            id: self.chat(),
            creator_id: self.user(),
            chat_type: self.chat_type(),
            status: self.maybe(Self::status),
            is_enc: self.flag(),
            last_sequence: self.sequence(),
            last_time: self.time(),
            created_at: self.time(),
            version: self.maybe(Self::counter),
            dissolved: self.flag(),
            request_digest: self.maybe(|draw| format!("{:016x}", draw.integer())),
        }
    }

    fn member_line(&mut self) -> MemberLine {
        let chat_id = self.chat();
        MemberLine {
            user_id: self.user(),
            chat_id: chat_id.clone(),
            id: self.yes().then_some(chat_id),
            is_top: self.flag(),
            is_mute: self.flag(),
            is_show: self.maybe(Self::flag),
            is_hide: self.flag(),
            max_read_seq: self.sequence(),
            last_online_time: self.time(),
            join_seq: self.maybe(Self::sequence),
            deleted_to_seq: self.maybe(Self::sequence),
            sent_seq: self.sequence(),
            marked_unread: self.flag(),
            join_order: self.maybe(Self::counter),
            version: self.maybe(Self::counter),
            removed: self.flag(),
        }
    }

    fn item(&mut self) -> ChatItem {
        ChatItem {
            id: self.chat(),
            creator_id: self.user(),
            chat_type: self.chat_type(),
            status: self.status(),
            is_enc: self.flag(),
            last_read_sequence: self.sequence(),
            last_sequence: self.sequence(),
            last_time: self.time(),
            created_at: self.time(),
        }
    }

    fn conversation(&mut self) -> Conversation {
        let (row, chat) = (self.row(), self.item());
        Conversation {
            id: chat.id,
            chat_id: row.chat_id,
            is_top: row.is_top,
            is_mute: row.is_mute,
            is_show: row.is_show,
            is_hide: row.is_hide,
            max_read_seq: row.max_read_seq,
            last_online_time: row.last_online_time,
            creator_id: chat.creator_id,
            chat_type: chat.chat_type,
            status: chat.status,
            is_enc: chat.is_enc,
            last_read_sequence: chat.last_read_sequence,
            last_sequence: chat.last_sequence,
            last_time: chat.last_time,
            created_at: chat.created_at,
            unread: self.any(),
            marked_unread: self.flag(),
        }
    }

    fn sync_item(&mut self) -> SyncItem {
        let row = self.row();
        SyncItem {
            op: [SyncOp::Upsert, SyncOp::Remove][usize::from(self.yes())],
            id: row.chat_id.clone(),
            chat_id: row.chat_id,
            is_top: row.is_top,
            is_mute: row.is_mute,
            is_show: row.is_show,
            is_hide: row.is_hide,
            max_read_seq: row.max_read_seq,
            last_online_time: row.last_online_time,
            marked_unread: self.flag(),
            version: self.any(),
        }
    }

    fn watch_event(&mut self) -> WatchEvent {
        let ops = WatchOp::ALL;
        WatchEvent {
            offset: self.text(),
            user_id: self.maybe(Self::user),
            chat_id: self.maybe(Self::chat),
            op: ops[usize::from(self.small()) % ops.len()],
            last_sequence: self.maybe(Self::sequence),
            last_time: self.maybe(Self::time),
            seq: self.maybe(Self::sequence),
            is_top: self.maybe(Self::flag),
            is_mute: self.maybe(Self::flag),
            is_hide: self.maybe(Self::flag),
            marked_unread: self.maybe(Self::flag),
            status: self.maybe(Self::status),
        }
    }

    fn advance(&mut self) -> Advance {
        let by_number = self.yes();
        Advance {
            chat_id: self.chat(),
            to: by_number.then(|| self.sequence()),
            allocate: (!by_number).then(|| self.below(1_000_000) + 1),
            time: self.maybe(Self::time),
            sender_id: self.maybe(Self::user),
            force: self.maybe(Self::yes),
            idempotency_key: self.key(),
            if_version: self.version(),
        }
    }

    fn limits(&mut self) -> Limits {
        Limits {
            request_bytes: self.integer(),
            reply_bytes: self.integer(),
            ids: self.integer(),
            users: self.integer(),
            import_lines: self.integer(),
            in_flight: self.integer(),
            id_bytes: self.integer(),
            idle_ms: self.integer(),
            idempotency_ms: self.integer(),
            idempotency_keys: self.integer(),
            tombstones: self.integer(),
            hello_bytes: self.integer(),
            text_bytes: self.integer(),
            nesting: self.integer(),
            integer_max: self.integer(),
            import_counter_max: self.integer(),
            advance_ahead: self.integer(),
            time_ahead_ms: self.integer(),
            export_lines: self.integer(),
            members_page: self.integer(),
            sync_page: self.integer(),
            conversations_page: self.integer(),
            in_flight_bytes: self.integer(),
            large_in_flight: self.integer(),
            small_reply_items: self.integer(),
            unsent_bytes: self.integer(),
            watches: self.integer(),
            greeting_ms: self.integer(),
            frame_ms: self.integer(),
            write_ms: self.integer(),
            heartbeat_ms: self.integer(),
            idempotency_answer_bytes: self.integer(),
            connections: self.integer(),
        }
    }

    fn stats(&mut self) -> StatsReply {
        StatsReply {
            version: self.text(),
            chats: self.any(),
            log: LogStats { mode: self.text(), last_lsn: self.any(), ..LogStats::default() },
            snapshot: SnapshotStats { taken: self.any(), ..SnapshotStats::default() },
            shards: self.list(|draw| ShardStats { shard: draw.small(), ..ShardStats::default() }),
            ..StatsReply::default()
        }
    }

    /// A command of this kind that passes its check.
    pub(super) fn command(&mut self, kind: Kind) -> Command {
        match kind {
            Kind::Hello => Hello {
                token: self.maybe(Self::text),
                client: self.maybe(Self::text),
                shard: self.maybe(Self::small),
            }
            .into(),
            Kind::Ping => Ping {}.into(),
            Kind::Stats => Stats {}.into(),
            Kind::Snapshot => Snapshot {}.into(),
            Kind::Export => {
                Export { cursor: self.maybe(Self::text), limit: self.maybe(Self::page) }.into()
            }
            Kind::Import => Import {
                chats: self.list(Self::chat_line),
                members: self.list(Self::member_line),
                merge: self.maybe(Self::yes),
                idempotency_key: self.key(),
            }
            .into(),
            Kind::List => List {
                user_id: self.user(),
                limit: self.maybe(Self::page),
                cursor: self.maybe(Self::text),
            }
            .into(),
            Kind::Detail => {
                Detail { ids: self.list(Self::chat), user_id: self.maybe(Self::user) }.into()
            }
            Kind::Delete => Delete {
                user_id: self.user(),
                ids: self.list(Self::chat),
                up_to: self.maybe(Self::sequence),
                idempotency_key: self.key(),
            }
            .into(),
            Kind::SetFlags => SetFlags {
                user_id: self.user(),
                chat_id: self.chat(),
                is_top: self.maybe(Self::flag),
                is_mute: self.maybe(Self::flag),
                is_hide: self.maybe(Self::flag),
                marked_unread: self.maybe(Self::flag),
                idempotency_key: self.key(),
                if_version: self.version(),
            }
            .into(),
            Kind::Touch => Touch {
                user_id: self.user(),
                chat_ids: self.maybe(|draw| draw.list(Self::chat)),
                time: self.maybe(Self::time),
                idempotency_key: self.key(),
            }
            .into(),
            Kind::Clear => Clear {
                user_id: self.user(),
                chat_id: self.chat(),
                idempotency_key: self.key(),
                if_version: self.version(),
            }
            .into(),
            Kind::MarkRead => MarkRead {
                user_id: self.user(),
                chat_id: self.chat(),
                seq: self.sequence(),
                idempotency_key: self.key(),
                if_version: self.version(),
            }
            .into(),
            Kind::Advance => self.advance().into(),
            Kind::Create => Create {
                id: self.maybe(Self::chat),
                chat_type: self.chat_type(),
                creator_id: self.user(),
                is_enc: self.maybe(Self::flag),
                created_at: self.maybe(Self::time),
                user_ids: self.list(Self::user),
                idempotency_key: self.key(),
            }
            .into(),
            Kind::AddMembers => AddMembers {
                chat_id: self.chat(),
                user_ids: self.list(Self::user),
                idempotency_key: self.key(),
                if_version: self.version(),
            }
            .into(),
            Kind::RemoveMembers => RemoveMembers {
                chat_id: self.chat(),
                user_ids: self.list(Self::user),
                idempotency_key: self.key(),
                if_version: self.version(),
            }
            .into(),
            Kind::Members => Members {
                chat_id: self.chat(),
                cursor: self.maybe(Self::text),
                limit: self.maybe(Self::page),
            }
            .into(),
            Kind::SetStatus => SetStatus {
                chat_id: self.chat(),
                status: self.status(),
                idempotency_key: self.key(),
                if_version: self.version(),
            }
            .into(),
            Kind::Dissolve => Dissolve {
                chat_id: self.chat(),
                idempotency_key: self.key(),
                if_version: self.version(),
            }
            .into(),
            Kind::Verify => Verify {}.into(),
            Kind::Watch => Watch { from: self.maybe(Self::text) }.into(),
            Kind::Cancel => Cancel { request_id: self.any() }.into(),
            Kind::MarkReadMany => {
                let mut number = 0;
                MarkReadMany {
                    user_id: self.user(),
                    items: self.list(|draw| {
                        number += 1;
                        let chat_id = ChatId::new(&format!("{number}{}", draw.id())).unwrap();
                        ReadItem { chat_id, seq: draw.sequence() }
                    }),
                    idempotency_key: self.key(),
                }
                .into()
            }
            Kind::Conversations => Conversations {
                user_id: self.user(),
                limit: self.maybe(Self::page).map(|limit| limit % 200 + 1),
                cursor: self.maybe(Self::text),
                unread_only: self.maybe(Self::yes),
                chat_type: self.maybe(Self::chat_type),
                hidden: self.maybe(Self::flag),
                active_since: self.maybe(Self::time),
            }
            .into(),
            Kind::Unread => Unread { user_ids: self.list(Self::user) }.into(),
            Kind::Sync => Sync {
                user_id: self.user(),
                since: self.maybe(|draw| Since { log: draw.text(), version: draw.integer() }),
                limit: self.maybe(Self::page),
            }
            .into(),
            Kind::Explain => Explain { user_id: self.user(), chat_id: self.chat() }.into(),
            Kind::EraseUser => {
                EraseUser { user_id: self.user(), idempotency_key: self.key() }.into()
            }
        }
    }

    /// A reply of this kind.
    pub(super) fn reply(&mut self, kind: Kind) -> Reply {
        match kind {
            Kind::Hello => Reply::Hello(Box::new(HelloReply {
                server: self.text(),
                version: self.text(),
                protocol: self.small(),
                shards: self.small(),
                slots: self.small(),
                hash_seed: self.any(),
                shard: self.small(),
                limits: self.limits(),
            })),
            Kind::Ping => Reply::Ping(PingReply {}),
            Kind::Stats => Reply::Stats(Box::new(self.stats())),
            Kind::Snapshot => Reply::Snapshot(SnapshotReply {
                path: self.text(),
                bytes: self.any(),
                records: self.any(),
            }),
            Kind::Export => Reply::Export(ExportReply {
                chats: self.list(Self::chat_line),
                members: self.list(Self::member_line),
                next_cursor: self.maybe(Self::text),
            }),
            Kind::Import => Reply::Import(ImportReply { chats: self.any(), members: self.any() }),
            Kind::List => Reply::List(ListReply {
                items: self.list(Self::row),
                next_cursor: self.maybe(Self::text),
            }),
            Kind::Detail => Reply::Detail(DetailReply { items: self.list(Self::item) }),
            Kind::Delete => Reply::Delete(()),
            Kind::SetFlags => {
                Reply::SetFlags(SetFlagsReply { row: self.row(), version: self.any() })
            }
            Kind::Touch => Reply::Touch(TouchReply { touched: self.any() }),
            Kind::Clear => Reply::Clear(ClearReply { deleted_to_seq: self.sequence() }),
            Kind::MarkRead => {
                Reply::MarkRead(MarkReadReply { max_read_seq: self.sequence(), unread: self.any() })
            }
            Kind::Advance => Reply::Advance(AdvanceReply {
                first_sequence: self.sequence(),
                last_sequence: self.sequence(),
                last_time: self.time(),
            }),
            Kind::Create => Reply::Create(CreateReply {
                id: self.chat(),
                created: self.yes(),
                version: self.any(),
            }),
            Kind::AddMembers => {
                Reply::AddMembers(AddMembersReply { added: self.any(), members: self.any() })
            }
            Kind::RemoveMembers => Reply::RemoveMembers(RemoveMembersReply {
                removed: self.any(),
                members: self.any(),
            }),
            Kind::Members => Reply::Members(MembersReply {
                items: self
                    .list(|draw| MemberItem { user_id: draw.user(), join_seq: draw.sequence() }),
                next_cursor: self.maybe(Self::text),
            }),
            Kind::SetStatus => Reply::SetStatus(SetStatusReply { version: self.any() }),
            Kind::Dissolve => Reply::Dissolve(()),
            Kind::Verify => Reply::Verify(VerifyReply {
                chats: self.any(),
                members: self.any(),
                rows: self.any(),
                differences: self.any(),
                items: self.list(Self::text),
            }),
            Kind::Watch => Reply::Watch(self.watch_event()),
            Kind::Cancel => Reply::Cancel(()),
            Kind::MarkReadMany => Reply::MarkReadMany(MarkReadManyReply {
                items: self.list(|draw| ReadResult {
                    chat_id: draw.chat(),
                    status: draw.small(),
                    max_read_seq: draw.maybe(Self::sequence),
                    unread: draw.maybe(Self::any),
                }),
            }),
            Kind::Conversations => Reply::Conversations(ConversationsReply {
                items: self.list(Self::conversation),
                next_cursor: self.maybe(Self::text),
                moved: self.yes(),
            }),
            Kind::Unread => Reply::Unread(UnreadReply {
                items: self.list(|draw| UnreadItem {
                    user_id: draw.user(),
                    messages: draw.any(),
                    chats: draw.any(),
                    muted_messages: draw.any(),
                    muted_chats: draw.any(),
                }),
            }),
            Kind::Sync => Reply::Sync(SyncReply {
                log: self.text(),
                version: self.any(),
                reset: self.yes(),
                reason: self.maybe(Self::text),
                more: self.yes(),
                items: self.list(Self::sync_item),
            }),
            Kind::Explain => Reply::Explain(ExplainReply {
                listed: self.yes(),
                reasons: self.list(Self::text),
                last_sequence: self.sequence(),
                floors: ExplainFloors {
                    join: self.sequence(),
                    deleted: self.sequence(),
                    read: self.sequence(),
                    sent: self.sequence(),
                },
                unread: self.any(),
            }),
            Kind::EraseUser => Reply::EraseUser(EraseUserReply { memberships: self.any() }),
        }
    }
}
