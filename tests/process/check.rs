//! Reads the state of a server through its commands, and compares it with the ledger.
//!
//! First the replies must agree with each other (export, list, members, stats). Then no
//! acknowledged write may be missing, and a write that was under way must be there wholly or not at
//! all.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chatshard::client::{ClientOptions, Connection};
use chatshard::command::create::Create;
use chatshard::command::export::Export;
use chatshard::command::lines::{ChatLine, MemberLine};
use chatshard::command::list::List;
use chatshard::command::members::Members;
use chatshard::command::stats::{Stats, StatsReply};
use chatshard::command::verify::Verify;
use chatshard::command::{Command, Reply};
use chatshard::types::{ChatId, UserId};

use super::PATIENCE;
use super::ledger::{Chat, Flags, Ledger, Once, Op, Row, RowOp};
use super::load::all_users;

/// Requests under way while the state is read.
const DEPTH: usize = 500;

/// The whole state of a server, as its replies show it.
pub struct Observed {
    chats: BTreeMap<ChatId, ChatLine>,
    rows: BTreeMap<(ChatId, UserId), MemberLine>,
}

impl Observed {
    /// Fails unless these chats are there, each with at least this last sequence. A dissolved one
    /// keeps only its id.
    pub fn assert_holds(&self, saved: &BTreeMap<ChatId, u64>) {
        for (id, last) in saved {
            let line = self.chats.get(id);
            if line.is_some_and(|line| line.dissolved.0) {
                continue;
            }
            let there = line.map(|line| line.last_sequence.get());
            assert!(there >= Some(*last), "chat {id} is at {there:?}, and was saved at {last}");
        }
    }

    /// Number of chats plus number of rows.
    pub fn len(&self) -> usize {
        self.chats.len() + self.rows.len()
    }
}

/// Compares a server with the ledger, and sets the ledger to the server's state. Returns the number
/// of chats and rows that were compared.
///
/// # Panics
/// If anything is missing or wrong. The message names all of it.
pub async fn check(address: SocketAddr, ledger: &RefCell<Ledger>) -> usize {
    let (mut connection, observed) = agree(address).await;
    let mut wrong = Vec::new();
    compare(&observed, &ledger.borrow(), &mut wrong);
    fail_if(&wrong);
    accept(&observed, &mut ledger.borrow_mut());
    let creates = creates_to_retry(&ledger.borrow());
    let commands = creates.iter().map(|create| create.clone().into()).collect();
    let replies = ask(&mut connection, commands).await;
    check_retries(&observed, creates, replies, &mut ledger.borrow_mut());
    observed.len()
}

/// Reads the whole state of a server.
///
/// # Panics
/// If its replies do not agree with each other.
pub async fn agree(address: SocketAddr) -> (Connection, Observed) {
    let (mut connection, _) =
        Connection::connect(address, &ClientOptions::default()).await.unwrap();
    let stats = settled(&mut connection).await;
    let mut wrong = Vec::new();
    let observed = observe(&mut connection, &stats, &mut wrong).await;
    fail_if(&wrong);
    (connection, observed)
}

fn fail_if(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Waits until the deliveries that a crash left open have been made.
async fn settled(connection: &mut Connection) -> StatsReply {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let replies = ask(connection, vec![Stats {}.into()]).await;
        let [Reply::Stats(stats)] = &replies[..] else { panic!("not stats: {replies:?}") };
        if stats.outbox == 0 {
            return StatsReply::clone(stats);
        }
        assert!(Instant::now() < deadline, "deliveries do not end: {stats:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Sends all commands, and returns the replies in their order.
async fn ask(connection: &mut Connection, commands: Vec<Command>) -> Vec<Reply> {
    let (count, mut commands) = (commands.len(), commands.into_iter());
    let (mut ids, mut replies) = (Vec::new(), HashMap::new());
    while replies.len() < count {
        while connection.in_flight() < DEPTH
            && let Some(command) = commands.next()
        {
            ids.push(connection.send(&command).unwrap());
        }
        connection.flush().await.unwrap();
        let answer = connection.receive().await.unwrap();
        replies.insert(answer.id, answer.outcome.unwrap());
    }
    ids.iter().map(|id| replies.remove(id).unwrap()).collect()
}

async fn observe(
    connection: &mut Connection,
    stats: &StatsReply,
    wrong: &mut Vec<String>,
) -> Observed {
    let mut observed = Observed { chats: BTreeMap::new(), rows: BTreeMap::new() };
    let mut cursor = None;
    loop {
        let replies = ask(connection, vec![Export { cursor, limit: None }.into()]).await;
        let [Reply::Export(page)] = &replies[..] else { panic!("not an export: {replies:?}") };
        for chat in &page.chats {
            if observed.chats.insert(chat.id.clone(), chat.clone()).is_some() {
                wrong.push(format!("export tells chat {} twice", chat.id));
            }
        }
        // A user who is no member any more has no row. The model's tests check removals with
        // `sync`.
        for row in page.members.iter().filter(|row| !row.removed.0) {
            let key = (row.chat_id.clone(), row.user_id.clone());
            if observed.rows.insert(key, row.clone()).is_some() {
                wrong.push(format!("export tells {} in {} twice", row.user_id, row.chat_id));
            }
        }
        cursor = page.next_cursor.clone();
        if cursor.is_none() {
            break;
        }
    }
    let replies = ask(connection, vec![Verify {}.into()]).await;
    let [Reply::Verify(verified)] = &replies[..] else { panic!("not a recount: {replies:?}") };
    wrong.extend(verified.items.iter().cloned());
    let live: Vec<&ChatLine> = observed.chats.values().filter(|chat| !chat.dissolved.0).collect();
    let counted = (stats.chats, stats.dissolved, stats.memberships);
    let there = (live.len(), observed.chats.len() - live.len(), observed.rows.len());
    if counted != (wide(there.0), wide(there.1), wide(there.2)) {
        wrong.push(format!(
            "stats count {counted:?} chats, dissolved, rows; export tells {there:?}"
        ));
    }
    for row in observed.rows.values().filter(|row| !is_shown(row)) {
        let last = observed.chats.get(&row.chat_id).map(|chat| chat.last_sequence);
        if row.deleted_to_seq < last {
            wrong.push(format!("hidden, and a newer message is there ({last:?}): {row:?}"));
        }
    }
    let asked: Vec<ChatId> = live.iter().map(|chat| chat.id.clone()).collect();
    let members =
        asked.iter().map(|id| Members { chat_id: id.clone(), cursor: None, limit: None }.into());
    for (id, reply) in asked.iter().zip(ask(connection, members.collect()).await) {
        let Reply::Members(reply) = reply else { panic!("not members: {reply:?}") };
        let told: BTreeSet<&UserId> = reply.items.iter().map(|item| &item.user_id).collect();
        let exported = members_of(&observed, id);
        if told != exported || told.len() != reply.items.len() {
            wrong.push(format!("members of {id}: {told:?}; export: {exported:?}"));
        }
    }
    let users: Vec<UserId> = all_users().collect();
    let lists =
        users.iter().map(|user| List { user_id: user.clone(), limit: None, cursor: None }.into());
    for (user, reply) in users.iter().zip(ask(connection, lists.collect()).await) {
        let Reply::List(reply) = reply else { panic!("not a list: {reply:?}") };
        let mut rows: Vec<&MemberLine> =
            observed.rows.values().filter(|row| row.user_id == *user && is_shown(row)).collect();
        rows.sort_by_key(|row| (!row.is_top.0, std::cmp::Reverse(row.join_order)));
        let exported: Vec<_> =
            rows.iter().map(|row| (&row.chat_id, flags_of(row), row.max_read_seq)).collect();
        let listed: Vec<_> = reply
            .items
            .iter()
            .zip(rows.iter().map(|row| row.marked_unread.0).chain(std::iter::repeat(false)))
            .map(|(row, marked_unread)| {
                let (is_top, is_mute, is_hide) = (row.is_top.0, row.is_mute.0, row.is_hide.0);
                (&row.chat_id, Flags { is_top, is_mute, is_hide, marked_unread }, row.max_read_seq)
            })
            .collect();
        if exported != listed {
            wrong.push(format!("list of {user}:\n  {listed:?}\n  export:\n  {exported:?}"));
        }
    }
    observed
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

fn is_shown(row: &MemberLine) -> bool {
    row.is_show.is_none_or(|shown| shown.0)
}

fn flags_of(row: &MemberLine) -> Flags {
    Flags {
        is_top: row.is_top.0,
        is_mute: row.is_mute.0,
        is_hide: row.is_hide.0,
        marked_unread: row.marked_unread.0,
    }
}

fn rows_of<'a>(observed: &'a Observed, id: &ChatId) -> impl Iterator<Item = &'a MemberLine> {
    let from = (id.clone(), UserId::new("\u{20}").unwrap());
    observed.rows.range(from..).map(|(_, row)| row).take_while({
        let id = id.clone();
        move |row| row.chat_id == id
    })
}

fn members_of<'a>(observed: &'a Observed, id: &ChatId) -> BTreeSet<&'a UserId> {
    rows_of(observed, id).map(|row| &row.user_id).collect()
}

fn compare(observed: &Observed, ledger: &Ledger, wrong: &mut Vec<String>) {
    let known: BTreeSet<&ChatId> = ledger.chats.keys().collect();
    for id in observed.chats.keys().filter(|id| !known.contains(id)) {
        wrong.push(format!("chat {id} was never asked for"));
    }
    for (id, chat) in &ledger.chats {
        match observed.chats.get(id) {
            Some(line) => compare_chat(observed, id, chat, line, wrong),
            None if chat.created == Once::Yes => {
                wrong.push(format!("chat {id}, acknowledged, is missing"))
            }
            None if !members_of(observed, id).is_empty() => {
                wrong.push(format!("chat {id} is not there, and has members"));
            }
            None => {}
        }
    }
    for (op, _) in ledger.open.values() {
        let (Op::Create(id)
        | Op::Advance(id, _)
        | Op::Row(id, _)
        | Op::Members(id)
        | Op::Dissolve(id)) = op;
        assert!(ledger.chats.contains_key(id));
    }
}

fn compare_chat(
    observed: &Observed,
    id: &ChatId,
    chat: &Chat,
    line: &ChatLine,
    wrong: &mut Vec<String>,
) {
    let members = members_of(observed, id);
    if line.dissolved.0 {
        if chat.dissolved == Once::No {
            wrong.push(format!("chat {id} is dissolved, which nobody asked for"));
        }
        if !members.is_empty() {
            wrong.push(format!("chat {id} is dissolved, and in the lists of {members:?}"));
        }
        return;
    }
    if chat.dissolved == Once::Yes {
        wrong.push(format!("chat {id}, dissolved and acknowledged, is there again"));
    }
    let last = line.last_sequence.get();
    if last < chat.last || last > chat.last_max {
        wrong.push(format!(
            "chat {id}: sequence {last}; right is {} to {}",
            chat.last, chat.last_max
        ));
    }
    if chat.created == Once::Sent {
        let wanted: BTreeSet<&UserId> = chat.create.user_ids.iter().collect();
        if members != wanted {
            wrong.push(format!("chat {id}, made in part: {members:?} of {wanted:?}"));
        }
        return;
    }
    let before: BTreeSet<&UserId> = chat.rows.keys().collect();
    let after = chat.members_after_change();
    if members != before && members != after {
        let change = &chat.change;
        wrong.push(format!(
            "chat {id}: members {members:?}\n  acknowledged {before:?}\n  under way {change:?}"
        ));
    }
    for line in rows_of(observed, id) {
        match chat.rows.get(&line.user_id) {
            Some(row) => compare_row(chat, row, line, wrong),
            None => compare_row(chat, &Row::default(), line, wrong),
        }
    }
}

fn compare_row(chat: &Chat, row: &Row, line: &MemberLine, wrong: &mut Vec<String>) {
    let name = format!("{} in {}", line.user_id, line.chat_id);
    let (flags, shown, read) = (flags_of(line), is_shown(line), line.max_read_seq.get());
    let mut right = vec![row.flags];
    match row.open {
        Some(RowOp::Flags(after)) => right.push(after),
        Some(RowOp::Read(_)) => right.push(row.flags.read()),
        Some(RowOp::Delete) => right.push(row.flags.deleted()),
        // A user who left and joined again starts with a new row.
        Some(RowOp::Membership) | None => {}
    }
    if !right.contains(&flags) {
        wrong.push(format!("{name}: {flags:?}; right is {right:?} ({row:?})"));
    }
    if read < row.read {
        wrong.push(format!("{name}: read up to {read}; acknowledged {}", row.read));
    }
    // A message that came after the newest delete brings the row back.
    let (must_show, may_show) = match row.deleted {
        None => (true, true),
        Some((sent, answered)) => {
            (chat.raised > answered, chat.maybe_raised > sent || chat.advancing > 0)
        }
    };
    let deleting = matches!(row.open, Some(RowOp::Delete));
    if !shown && must_show && !deleting {
        wrong.push(format!(
            "{name}: not listed, without a delete that nothing came after ({row:?})"
        ));
    }
    if shown && !may_show {
        wrong.push(format!("{name}: listed, though deleted, and nothing came after ({row:?})"));
    }
}

/// Sets the ledger to the server's state: the next round begins from it.
fn accept(observed: &Observed, ledger: &mut Ledger) {
    ledger.open.clear();
    (ledger.acknowledged, ledger.refused, ledger.unknown) = (0, 0, 0);
    let now = ledger.now();
    for (id, chat) in &mut ledger.chats {
        let Some(line) = observed.chats.get(id) else { continue };
        chat.created = Once::Yes;
        chat.dissolved = if line.dissolved.0 { Once::Yes } else { Once::No };
        (chat.last, chat.last_max) = (line.last_sequence.get(), line.last_sequence.get());
        (chat.change, chat.advancing) = (None, 0);
        chat.rows = rows_of(observed, id)
            .map(|row| {
                let deleted = (!is_shown(row)).then_some((now, now));
                let read = row.max_read_seq.get();
                (row.user_id.clone(), Row { flags: flags_of(row), read, deleted, open: None })
            })
            .collect();
    }
    let live = ledger
        .chats
        .iter()
        .filter(|(_, chat)| chat.created == Once::Yes && chat.dissolved == Once::No);
    ledger.live = live.map(|(id, _)| id.clone()).collect();
}

/// The `create` requests without a reply, which are repeated, and a few that had one.
fn creates_to_retry(ledger: &Ledger) -> Vec<Create> {
    let newest = ledger.chats.values().rev().take(20);
    let unanswered = ledger.chats.values().filter(|chat| chat.created == Once::Sent);
    let retried = newest.chain(unanswered).filter(|chat| chat.dissolved == Once::No);
    retried.map(|chat| chat.create.clone()).collect()
}

/// A repeated `create` makes the chat if it was not there, and finds it if it was.
fn check_retries(
    observed: &Observed,
    creates: Vec<Create>,
    replies: Vec<Reply>,
    ledger: &mut Ledger,
) {
    let mut made = BTreeSet::new();
    for (create, reply) in creates.into_iter().zip(replies) {
        let (id, Reply::Create(reply)) = (create.id.unwrap(), reply) else {
            panic!("not a create")
        };
        let is_new = !observed.chats.contains_key(&id) && made.insert(id.clone());
        assert!(reply.id == id && reply.created == is_new, "create of {id} again: {reply:?}");
        if is_new {
            ledger.is_created(&id);
        }
    }
}
