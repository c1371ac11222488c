//! Requests with an idempotency key: where the first answer to each is kept, and the digest that
//! tells a repeat from another request with the key.
//!
//! The family of a request handles its key where it decides the request, most of them by
//! [`Shard::once`](super::Shard). If several slots decide a request, it first takes its key
//! ([`Keyed::of_reservation`]). Then each part keeps an answer of its own ([`Keyed::of_part`]).

use compact_str::CompactString;

use super::idempotency::{Reservation, Reserving, digest};
use super::op::{CheckedAction, IdFrom, RowAction};
use crate::command::advance::Advance;
use crate::command::create::Create;
use crate::command::erase_user::EraseUser;
use crate::command::lines::{ChatLine, MemberLine};
use crate::command::set_flags::SetFlags;
use crate::command::{Error, ErrorCode, Home, Kind, Owner, ShardCommand};
use crate::types::{ChatId, IdempotencyKey, KeyHasher, Slot, UserId};

/// Where and how the answer of one request is kept: the slot, the scope in the slot, and the digest
/// of the request.
pub struct Keyed {
    pub(super) slot: Slot,
    pub(super) scope: CompactString,
    pub(super) request: u64,
    /// Whether the request is a part. Its reservation was already checked for the whole request.
    pub(super) is_part: bool,
    /// The chat whose deliveries must be confirmed before a repeat gets its answer.
    pub(super) chat_id: Option<ChatId>,
}

impl Keyed {
    fn new(owner: Owner<'_>, key: &IdempotencyKey, request: u64, hasher: KeyHasher) -> Self {
        Self {
            slot: owner.slot(key, hasher),
            scope: owner.scope(key, hasher),
            request,
            is_part: false,
            chat_id: None,
        }
    }

    /// A command that its shard decides alone; None if it has no key.
    pub fn of_command(command: &ShardCommand, hasher: KeyHasher) -> Option<Self> {
        match command.home() {
            // The chat only checks. The row decides, and its slot keeps the answer: see `of_row`.
            Home::ChatThenRow(..) => return None,
            Home::User(_) | Home::Chat(_) | Home::ChatThenMembers(_) => {}
        }
        let (owner, key) = command.owner_and_key()?;
        let chat_id = match owner {
            Owner::Chat(chat_id) => Some(chat_id.clone()),
            Owner::User(_) | Owner::Node => None,
        };
        let keyed = Self::new(owner, key, digest_of(command, hasher), hasher);
        Some(Self { chat_id, ..keyed })
    }

    /// A `create` whose id is filled in. None if the caller named the id and sent no key, or if the
    /// request has no reservation.
    pub fn of_create(
        create: &Create,
        id_from: IdFrom,
        reservation: Option<Reservation>,
        hasher: KeyHasher,
    ) -> Option<Self> {
        let id = create.id.as_ref()?;
        let keyed = match id_from {
            IdFrom::Caller => {
                let key = create.idempotency_key.as_ref()?;
                let request = create.digest() ^ u64::from(Kind::Create.code());
                Self::new(Owner::Chat(id), key, request, hasher)
            }
            IdFrom::Users | IdFrom::Key | IdFrom::Chance => Self::of_part(reservation?, id, hasher),
        };
        Some(Self { chat_id: Some(id.clone()), ..keyed })
    }

    /// A `set_flags`; None if it has no key.
    pub fn of_set_flags(set: &SetFlags, hasher: KeyHasher) -> Option<Self> {
        let key = set.idempotency_key.as_ref()?;
        let request = digest(Kind::SetFlags, set, hasher);
        Some(Self::new(Owner::User(&set.user_id), key, request, hasher))
    }

    /// A change that a chat has checked and a row decides.
    pub fn of_row(
        user_id: &UserId,
        request: &CheckedAction,
        key: &IdempotencyKey,
        hasher: KeyHasher,
    ) -> Self {
        let (kind, seq) = match request.action {
            RowAction::Read(seq) => (Kind::MarkRead, seq.get()),
            RowAction::Clear => (Kind::Clear, 0),
        };
        let asked = (&request.chat_id, seq, request.if_version);
        Self::new(Owner::User(user_id), key, digest(kind, &asked, hasher), hasher)
    }

    /// All rows of a `mark_read_many`.
    pub fn of_rows(
        user_id: &UserId,
        requests: &[CheckedAction],
        key: &IdempotencyKey,
        hasher: KeyHasher,
    ) -> Self {
        let asked: Vec<_> = requests
            .iter()
            .map(|request| match request.action {
                RowAction::Read(seq) => (&request.chat_id, seq.get()),
                RowAction::Clear => (&request.chat_id, 0),
            })
            .collect();
        let request = digest(Kind::MarkReadMany, &asked, hasher);
        Self::new(Owner::User(user_id), key, request, hasher)
    }

    /// One chat of an `import`, with the lines of the chat and its members.
    pub fn of_import(
        chat_id: &ChatId,
        chat: Option<&ChatLine>,
        members: &[&MemberLine],
        merge: bool,
        key: &IdempotencyKey,
        hasher: KeyHasher,
    ) -> Self {
        let request = match merge {
            true => digest(Kind::Import, &(chat, members, merge), hasher),
            false => digest(Kind::Import, &(chat, members), hasher),
        };
        Self::new(Owner::Chat(chat_id), key, request, hasher)
    }

    /// An `erase_user`; None if it has no key.
    pub fn of_erase(erase: &EraseUser, hasher: KeyHasher) -> Option<Self> {
        let key = erase.idempotency_key.as_ref()?;
        let request = digest(Kind::EraseUser, &(), hasher);
        Some(Self::new(Owner::User(&erase.user_id), key, request, hasher))
    }

    /// A request that takes its key before its parts are sent.
    pub fn of_reservation(reserving: &Reserving, hasher: KeyHasher) -> Self {
        Self::new(reserving.owner(), &reserving.key, reserving.request, hasher)
    }

    /// The part of a reserved request that one chat decides.
    pub fn of_part(reservation: Reservation, chat_id: &ChatId, hasher: KeyHasher) -> Self {
        Self {
            slot: hasher.slot(chat_id.as_str()),
            scope: reservation.part(chat_id),
            request: reservation.request,
            is_part: true,
            chat_id: None,
        }
    }

    /// Refuses a key that belongs to another request.
    pub fn another_request() -> Error {
        Error::new(ErrorCode::Conflict, "idempotency_key: it was used for another request")
    }
}

/// Digest of what a command means: `force: false` has the digest of a command without `force`.
fn digest_of(command: &ShardCommand, hasher: KeyHasher) -> u64 {
    if let ShardCommand::Advance(advance) = command
        && advance.force == Some(false)
    {
        let meant = Advance { force: None, ..advance.clone() };
        return digest(Kind::Advance, &meant, hasher);
    }
    let mut bytes = vec![command.kind().code()];
    // Writing to memory does not fail. If it did, the digest would cover fewer bytes.
    _ = command.serialize_arguments(&mut rmp_serde::Serializer::new(&mut bytes));
    hasher.hash_bytes(&bytes)
}
