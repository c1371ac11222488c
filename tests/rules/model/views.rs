//! The replies of the model: lists, details, conversations, counts, and changes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::acts::{Filter, Spoil};
use super::store::{Answer, Chat, Model, Row, each_once};

/// Position in the order of conversations: pinned first, then newest message first, then by id.
pub type ConversationPlace = (bool, std::cmp::Reverse<u64>, String);

/// How far a client has paged through a user's conversations.
pub struct Paging {
    pub filter: Filter,
    pub cursor: String,
    /// End of the page before, and the conversations up to there.
    pub end: ConversationPlace,
    pub before: BTreeSet<ConversationPlace>,
}

/// A page as the node must return it.
pub struct Page {
    pub items: Vec<Value>,
    /// If there is more: the end of this page, and the conversations up to there.
    pub end: Option<(ConversationPlace, BTreeSet<ConversationPlace>)>,
    pub moved: bool,
}

/// A device of a user, with the rows and the point that it knows.
#[derive(Default)]
pub struct Device {
    /// `log` and `version` of the last reply.
    pub since: Option<(String, u64)>,
    /// During a listing from the start: the version at which it began.
    pub listing: Option<u64>,
    /// Number of erasures of the user at the last reply.
    pub erased: u64,
    /// Rows of the list that the device knows.
    pub rows: std::collections::BTreeMap<String, Value>,
}

/// A reply to `sync` as it must be. The node chooses `log`.
pub struct Changes {
    pub version: u64,
    pub reset: bool,
    pub more: bool,
    pub items: Vec<Value>,
    pub listing: Option<u64>,
}

impl Model {
    pub fn list(&self, user: &str) -> Vec<Value> {
        let Some(user) = self.users.get(user) else { return Vec::new() };
        let mut rows: Vec<(&String, &Row)> =
            user.rows.iter().filter(|(_, row)| !row.deleted).collect();
        rows.sort_by_key(|(_, row)| (!row.top, u64::MAX - row.order));
        rows.into_iter().map(|(chat, row)| row.told(chat)).collect()
    }

    pub fn detail(&self, ids: &[String], user: Option<&str>) -> Value {
        let mut items = Vec::new();
        for id in ids {
            let Some(chat) = self.chats.get(id).filter(|chat| !chat.dissolved) else { continue };
            let floor = match user {
                None => 0,
                Some(user) => match chat.member(user) {
                    None => continue,
                    Some(member) => self.users[user].rows[id].floor(member.sent),
                },
            };
            items.push(chat_told(id, chat, floor));
        }
        json!({"items": items})
    }

    pub fn members(&self, id: &str) -> Answer {
        match self.chats.get(id) {
            None => Err(404),
            Some(chat) if chat.dissolved => Err(410),
            Some(chat) => {
                let items: Vec<Value> = chat
                    .members
                    .iter()
                    .map(|member| json!({"user_id": member.user, "join_seq": member.join}))
                    .collect();
                Ok(json!({"items": items, "next_cursor": null}))
            }
        }
    }

    /// The user's rows in the list, each with its chat, floor and unread count.
    fn shown(&self, user: &str) -> impl Iterator<Item = (&String, &Row, &Chat, u64, u64)> {
        let user_id = user.to_owned();
        let rows = self.users.get(user).into_iter().flat_map(|user| &user.rows);
        rows.filter(|(_, row)| !row.deleted).map(move |(id, row)| {
            let chat = &self.chats[id];
            let floor = row.floor(chat.member(&user_id).unwrap().sent);
            (id, row, chat, floor, chat.last.saturating_sub(floor))
        })
    }

    pub fn conversations(
        &self,
        user: &str,
        filter: &Filter,
        limit: usize,
        from: Option<&Paging>,
    ) -> Page {
        let mut all: Vec<(ConversationPlace, Value)> = self
            .shown(user)
            .filter(|(_, row, chat, _, unread)| {
                (filter.unread_only != Some(true) || *unread > 0 || row.marked)
                    && filter.kind.is_none_or(|kind| kind == chat.request.kind)
                    && filter.hidden.is_none_or(|hidden| hidden == row.hide)
                    && filter.active_since.is_none_or(|since| chat.last_time >= since)
            })
            .map(|(id, row, chat, floor, unread)| {
                let mut told = row.told(id);
                let chat_told = chat_told(id, chat, floor);
                for (name, value) in chat_told.as_object().unwrap() {
                    told[name] = value.clone();
                }
                told["unread"] = json!(unread);
                told["marked_unread"] = json!(u8::from(row.marked));
                ((!row.top, std::cmp::Reverse(chat.last_time), id.clone()), told)
            })
            .collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        let up_to = |end: &ConversationPlace| -> BTreeSet<ConversationPlace> {
            all.iter().map(|(place, _)| place).filter(|place| *place <= end).cloned().collect()
        };
        let moved = from.is_some_and(|from| up_to(&from.end) != from.before);
        let behind: Vec<&(ConversationPlace, Value)> =
            all.iter().filter(|(place, _)| from.is_none_or(|from| *place > from.end)).collect();
        let more = behind.len() > limit;
        let page = &behind[..behind.len().min(limit)];
        let end = page.last().filter(|_| more).map(|(place, _)| (place.clone(), up_to(place)));
        Page { items: page.iter().map(|(_, told)| told.clone()).collect(), end, moved }
    }

    pub fn unread(&self, users: &[String]) -> Value {
        let items: Vec<Value> = each_once(users)
            .iter()
            .map(|user| {
                let (mut counts, mut muted) = ((0, 0), (0, 0));
                for (_, row, _, _, unread) in self.shown(user).filter(|(_, row, ..)| !row.hide) {
                    let (messages, chats) = if row.mute { &mut muted } else { &mut counts };
                    *messages += unread;
                    *chats += u64::from(unread > 0 || row.marked);
                }
                json!({
                    "user_id": user, "messages": counts.0, "chats": counts.1,
                    "muted_messages": muted.0, "muted_chats": muted.1,
                })
            })
            .collect();
        json!({"items": items})
    }

    /// The reply to `explain`, without the reasons.
    pub fn explain(&self, user: &str, id: &str) -> Answer {
        let chat = self.chats.get(id).ok_or(404_u16)?;
        if chat.dissolved {
            return Err(410);
        }
        let none = json!({"join": 0, "deleted": 0, "read": 0, "sent": 0});
        let (listed, floors, unread) = match (chat.member(user), self.find_row(user, id)) {
            (Some(member), Some(row)) => (
                !row.deleted,
                json!({
                    "join": row.join - 1, "deleted": row.deleted_to, "read": row.read, "sent": member.sent,
                }),
                chat.last.saturating_sub(row.floor(member.sent)),
            ),
            _ => (false, none, 0),
        };
        Ok(json!({
            "listed": listed, "last_sequence": chat.last, "floors": floors, "unread": unread,
        }))
    }

    /// The reply that a device must get.
    pub fn sync(&self, user: &str, device: &Device, spoil: Spoil, limit: Option<u32>) -> Changes {
        let known = self.users.get(user);
        let newest = known.map_or(0, |user| user.version);
        let erased = self.erased.get(user).copied().unwrap_or(0);
        let (reset, after, listing) = match (&device.since, spoil) {
            (None, _) => (false, 0, Some(newest)),
            (Some(_), Spoil::OtherLog | Spoil::Ahead) => (true, 0, Some(newest)),
            (Some((_, version)), Spoil::Nothing) => {
                // A device without any reply has nothing to forget.
                let is_of_before = device.erased != erased && *version > 0;
                let forgotten_to = known.map_or(0, |user| user.forgotten_to);
                let is_too_old = device.listing.unwrap_or(*version) < forgotten_to;
                match is_of_before || *version > newest || is_too_old {
                    true => (true, 0, Some(newest)),
                    false => (false, *version, device.listing),
                }
            }
        };
        // Version, whether the row is in the list, and the item.
        let mut all: Vec<(u64, bool, Value)> = Vec::new();
        for (chat, row) in known.into_iter().flat_map(|user| &user.rows) {
            let mut told = row.told(chat);
            told["op"] = json!(if row.deleted { "remove" } else { "upsert" });
            told["marked_unread"] = json!(u8::from(row.marked));
            all.push((row.version, !row.deleted, told));
        }
        for (chat, version) in known.into_iter().flat_map(|user| &user.gone) {
            let mut told = Row { deleted: true, ..Row::default() }.told(chat);
            told["op"] = json!("remove");
            told["marked_unread"] = json!(0);
            all.push((*version, false, told));
        }
        // A device that starts from nothing does not need removals from before its start.
        let since_removed = listing.unwrap_or(0);
        all.retain(|(version, shown, _)| *version > after && (*shown || *version > since_removed));
        all.sort_by_key(|(version, ..)| *version);
        let limit = usize::try_from(limit.unwrap_or(1000)).unwrap();
        let more = all.len() > limit;
        all.truncate(limit);
        let version = if more { all.last().unwrap().0 } else { newest };
        let items = all.into_iter().map(|(version, _, mut told)| {
            told["version"] = json!(version);
            told
        });
        Changes { version, reset, more, items: items.collect(), listing: listing.filter(|_| more) }
    }
}

impl Device {
    /// Applies a reply as an app does.
    pub fn take(&mut self, told: &Value, changes: &Changes, erased: u64) {
        if told["reset"] == true {
            self.rows.clear();
        }
        for item in told["items"].as_array().unwrap() {
            let mut row = item.clone();
            let fields = row.as_object_mut().unwrap();
            let chat = fields["chat_id"].as_str().unwrap().to_owned();
            match fields["op"].as_str() {
                Some("upsert") => {
                    for name in ["op", "version", "marked_unread"] {
                        fields.remove(name);
                    }
                    self.rows.insert(chat, row);
                }
                _ => drop(self.rows.remove(&chat)),
            }
        }
        let log = told["log"].as_str().unwrap().to_owned();
        self.since = Some((log, told["version"].as_u64().unwrap()));
        self.listing = changes.listing;
        self.erased = erased;
    }
}

fn chat_told(id: &str, chat: &Chat, floor: u64) -> Value {
    json!({
        "id": id, "creator_id": chat.creator, "type": chat.request.kind, "status": chat.status,
        "is_enc": chat.request.is_enc, "last_read_sequence": floor, "last_sequence": chat.last,
        "last_time": chat.last_time, "created_at": chat.request.created_at,
    })
}
