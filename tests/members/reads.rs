//! What a standby replies to, whole servers with their doors: reads of connections that asked for
//! them, streams, pages of an export, snapshots. Everything else is 421.

use std::time::{Duration, Instant};

use chatshard::client::{Changes, Client, ClientOptions, ClusterClient};
use chatshard::command::watch::{WatchEvent, WatchOp};
use chatshard::command::{Call, Class, Command, Error, ErrorCode, Kind, Outcome, Reply};
use chatshard::limits::{LAG_WAIT_MS, STALE_MS_MAX};
use serde_json::{Value, json};

use super::cluster::{Member, PATIENCE, until};
use super::failover::{advance, create, pair};

const SECOND: Duration = Duration::from_secs(1);
/// An age that no state has while a standby gets anything at all, however slow the machine is.
const LONG: Duration = Duration::from_secs(60);

fn stale(stale: Duration) -> ClientOptions {
    ClientOptions { stale: Some(stale), ..ClientOptions::default() }
}

async fn reader(of: &Member, age: Duration) -> Client {
    Client::connect(&of.tcp(), stale(age)).await.unwrap()
}

async fn ask(client: &Client, kind: Kind, arguments: Value) -> Outcome {
    client.call(Command::from_json(kind, arguments).unwrap()).await
}

fn as_json(reply: Reply) -> Value {
    serde_json::to_value(reply).unwrap()
}

fn code(outcome: Outcome) -> Option<ErrorCode> {
    outcome.err().map(|error| error.code)
}

/// Waits until a connection sees this sequence of the chat `c`.
async fn until_shown(client: &Client, sequence: u64) {
    until("a change to be on the standby", async || shown(client).await == Ok(sequence)).await;
}

/// The sequence of the chat `c`; 0 without the chat.
async fn shown(client: &Client) -> Result<u64, Error> {
    let detail = as_json(ask(client, Kind::Detail, json!({"ids": ["c"]})).await?);
    Ok(detail["items"][0]["last_sequence"].as_u64().unwrap_or(0))
}

#[tokio::test]
async fn a_standby_replies_to_reads_of_those_who_ask_for_them() {
    let (_cluster, first, second) = pair().await;
    advance(&first, "c", 7).await;
    let client = reader(&second, LONG).await;
    assert_eq!(client.hello().role, "standby");
    until_shown(&client, 7).await;
    let user = json!({"user_id": "v"});
    let list = as_json(ask(&client, Kind::List, user.clone()).await.unwrap());
    assert_eq!(list["items"][0]["chat_id"], "c");
    let all = as_json(ask(&client, Kind::Conversations, user.clone()).await.unwrap());
    assert_eq!(all["items"][0]["unread"], 7);
    let unread = json!({"user_ids": ["v"]});
    let unread = as_json(ask(&client, Kind::Unread, unread).await.unwrap());
    assert_eq!(unread["items"][0]["messages"], 7);
    let members = as_json(ask(&client, Kind::Members, json!({"chat_id": "c"})).await.unwrap());
    assert_eq!(members["items"].as_array().unwrap().len(), 1);
    let explain = json!({"user_id": "v", "chat_id": "c"});
    assert_eq!(as_json(ask(&client, Kind::Explain, explain).await.unwrap())["unread"], 7);
    let sync = as_json(ask(&client, Kind::Sync, user.clone()).await.unwrap());
    assert_eq!(sync["items"][0]["id"], "c");

    let write = ask(&client, Kind::Advance, json!({"chat_id": "c", "to": 8})).await.unwrap_err();
    assert_eq!(write.code, ErrorCode::Moved);
    assert_eq!(write.moved.unwrap().address, first.tcp());
    let unasked = second.ask(Kind::List, user).await;
    assert_eq!(code(unasked), Some(ErrorCode::Moved));
}

#[tokio::test]
async fn each_command_has_its_rule_on_a_standby() {
    let (_cluster, first, second) = pair().await;
    let asked = reader(&second, LONG).await;
    let plain = second.client().await;
    until("the standby to have looked", async || shown(&asked).await.is_ok()).await;
    for kind in Kind::ALL {
        let example = match kind {
            Kind::Hello | Kind::Watch | Kind::Cancel | Kind::Report => continue,
            Kind::Handover | Kind::RaiseFormat => "{}".to_owned(),
            kind => kind.example().unwrap().replace("USER", "v").replace("GROUP", "c"),
        };
        let command = || Command::from_json_text(*kind, &example).unwrap();
        let is_moved = |outcome: Outcome| code(outcome) == Some(ErrorCode::Moved);
        let (with, without) =
            (is_moved(asked.call(command()).await), is_moved(plain.call(command()).await));
        let due = match kind {
            Kind::Ping | Kind::Stats | Kind::Cluster | Kind::Snapshot | Kind::Export => {
                (false, false)
            }
            Kind::Verify => (true, true),
            kind if kind.class() == Class::Read => (false, true),
            _ => (true, true),
        };
        assert_eq!((with, without), due, "{}", kind.name());
    }
    drop(first);
}

#[tokio::test]
async fn plain_and_other_reads_are_of_every_core_and_move_with_the_connection() {
    let (_cluster, first, second) = pair().await;
    for number in 0..20 {
        create(&first, &format!("d{number}")).await;
    }
    let all = || json!({"ids": (0..20).map(|number| format!("d{number}")).collect::<Vec<_>>()});
    for shard in 0..2 {
        let options = ClientOptions { shard: Some(shard), ..stale(LONG) };
        let client = Client::connect(&second.tcp(), options).await.unwrap();
        assert_eq!(client.hello().shard, shard);
        until("all chats", async || {
            let detail = ask(&client, Kind::Detail, all()).await;
            detail.is_ok_and(|reply| as_json(reply)["items"].as_array().unwrap().len() == 20)
        })
        .await;
        for number in 0..20 {
            let detail = json!({"ids": [format!("d{number}")]});
            let detail = as_json(ask(&client, Kind::Detail, detail).await.unwrap());
            assert_eq!(detail["items"].as_array().unwrap().len(), 1, "d{number}");
        }
        // The rows are on other cores than the chats, which a standby may apply earlier.
        until("all rows", async || {
            let list = as_json(ask(&client, Kind::List, json!({"user_id": "v"})).await.unwrap());
            list["items"].as_array().unwrap().len() == 21
        })
        .await;
        let touch = json!({"user_id": "v", "chat_id": "c", "seq": 0});
        assert_eq!(code(ask(&client, Kind::MarkRead, touch).await), Some(ErrorCode::Moved));
    }
}

#[tokio::test]
async fn a_standby_that_is_cut_off_replies_until_its_state_is_too_old() {
    let (cluster, first, second) = pair().await;
    let (soon, late) = (reader(&second, SECOND / 5).await, reader(&second, LONG).await);
    until("the standby to have looked", async || shown(&soon).await.is_ok()).await;
    let mut changes = Changes::open(&second.tcp(), &ClientOptions::default(), None).await.unwrap();
    assert_eq!(changes.next().await.unwrap().op, WatchOp::Heartbeat);

    cluster.server.lock().unwrap().engine.cut(2, true, true);
    tokio::time::sleep(SECOND / 5).await;
    advance(&first, "c", 9).await;
    assert_eq!(shown(&soon).await.unwrap_err().code, ErrorCode::Moved);
    assert_eq!(shown(&late).await, Ok(0), "it is old, and new enough");
    let readyz = async |query: &str| second.get(&format!("/readyz?{query}")).await;
    let old = readyz("stale_ms=200").await;
    assert!(old.starts_with("HTTP/1.1 503") && old.contains("standby: its state is"), "{old}");
    let new = readyz("stale_ms=60000").await;
    assert!(new.starts_with("HTTP/1.1 200") && new.contains("ready: standby"), "{new}");
    let ended = loop {
        // Changes from before the cut may come first.
        if let Err(ended) = tokio::time::timeout(PATIENCE, changes.next()).await.unwrap() {
            break ended;
        }
    };
    assert!(ended.to_string().contains("no word of its journal"), "{ended}");
    let export = second.ask(Kind::Export, json!({})).await;
    assert_eq!(code(export), Some(ErrorCode::Moved));
    let any = readyz("any").await;
    assert!(any.starts_with("HTTP/1.1 200") && any.contains("the engine gives no word"), "{any}");

    cluster.server.lock().unwrap().engine.cut(2, false, false);
    until_shown(&soon, 9).await;
    assert_eq!(shown(&late).await, Ok(9));
    let is_ready = async || readyz("stale_ms=200").await.contains("ready: standby");
    until("a standby that is ready for reads", is_ready).await;
    let active = first.get("/readyz?stale_ms=200").await;
    assert!(active.contains("\"data\":\"ready\""), "{active}");
}

#[tokio::test]
async fn a_connection_goes_on_forward_when_its_standby_becomes_the_active() {
    let (_cluster, first, second) = pair().await;
    let client = reader(&second, LONG).await;
    advance(&first, "c", 5).await;
    until_shown(&client, 5).await;
    let (mut last, mut writer) = (5, None);
    let deadline = Instant::now() + PATIENCE;
    let mut first = Some(first);
    while last < 20 {
        assert!(Instant::now() < deadline, "it is still at {last}");
        match shown(&client).await {
            Ok(now) => {
                assert!(now >= last, "from {last} to {now}");
                last = now;
            }
            Err(error) => assert_eq!(error.code, ErrorCode::Moved, "{error}"),
        }
        match first.take() {
            Some(first) => drop(std::thread::spawn(|| first.stop())),
            None if second.role().await == "active" => {
                let writer = writer.get_or_insert(second.client().await);
                let to = json!({"chat_id": "c", "to": last + 1});
                drop(ask(writer, Kind::Advance, to).await);
            }
            None => {}
        }
    }
    assert!(!client.is_closed(), "the connection has lived through the takeover");
}

#[tokio::test]
async fn a_client_that_knows_more_than_a_standby_waits_and_then_goes_to_the_active() {
    let (cluster, first, second) = pair().await;
    let client = reader(&second, LONG).await;
    until("the standby to have looked", async || shown(&client).await.is_ok()).await;
    let sync = |since: &Value, version: u64| {
        let since = json!({"log": since["log"], "version": version});
        json!({"user_id": "v", "since": since})
    };
    let before = as_json(first.ask(Kind::Sync, json!({"user_id": "v"})).await.unwrap());
    let version = before["version"].as_u64().unwrap();
    let wait = Duration::from_millis(LAG_WAIT_MS);

    // The standby gets nothing for less than the wait.
    cluster.server.lock().unwrap().engine.cut(2, true, true);
    let mark = json!({"user_id": "v", "chat_id": "c", "is_top": 1});
    first.ask(Kind::SetFlags, mark).await.unwrap();
    let newest = as_json(first.ask(Kind::Sync, sync(&before, version)).await.unwrap());
    let (now, since) = (newest["version"].as_u64().unwrap(), Instant::now());
    assert!(now > version);
    let healing = async {
        tokio::time::sleep(wait / 5).await;
        cluster.server.lock().unwrap().engine.cut(2, false, false);
    };
    let (synced, ()) = tokio::join!(ask(&client, Kind::Sync, sync(&newest, now)), healing);
    let synced = as_json(synced.unwrap());
    assert_eq!((&synced["reset"], &synced["version"]), (&json!(false), &json!(now)));
    assert!(since.elapsed() >= wait / 5, "it waited for the change");

    // What nobody has is decided by the active, and a user that was born elsewhere is waited for.
    let since = Instant::now();
    let refused = ask(&client, Kind::Sync, sync(&newest, now + 100)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Moved, "{refused}");
    assert!(since.elapsed() >= wait);
    let told = as_json(first.ask(Kind::Sync, sync(&newest, now + 100)).await.unwrap());
    assert_eq!(told["reset"], true);
    let log = newest["log"].as_str().unwrap().split_once('-').unwrap().0.to_owned();
    let unborn = json!({"user_id": "x", "since": {"log": format!("{log}-5"), "version": 3}});
    assert_eq!(code(ask(&client, Kind::Sync, unborn).await), Some(ErrorCode::Moved));
    let foreign = json!({"user_id": "v", "since": {"log": "1-1", "version": 3}});
    assert_eq!(as_json(ask(&client, Kind::Sync, foreign).await.unwrap())["reset"], true);
}

/// The offset `by` records behind this one.
fn moved_by(offset: &str, by: u64) -> String {
    let (log, lsn) = offset.split_once('.').unwrap();
    format!("{log}.{}", lsn.parse::<u64>().unwrap() + by)
}

async fn watch(member: &Member, from: Option<String>) -> Changes {
    let options = ClientOptions { connect_timeout: PATIENCE, ..ClientOptions::default() };
    Changes::open(&member.tcp(), &options, from).await.unwrap()
}

async fn next(changes: &mut Changes) -> WatchEvent {
    tokio::time::timeout(PATIENCE, changes.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_watcher_goes_from_node_to_node_and_sees_each_change_once() {
    let (_cluster, first, second) = pair().await;
    let members = [&first, &second];
    let client = reader(&second, LONG).await;
    until("the standby to have looked", async || shown(&client).await.is_ok()).await;
    let mut offset = next(&mut watch(&first, None).await).await.offset;
    for to in 1..=40u64 {
        advance(&first, "c", to).await;
        // The active may publish a moment later what the standby has shown.
        let mut changes = watch(members[usize::from(to % 3 > 0)], Some(offset.clone())).await;
        let change = loop {
            let change = next(&mut changes).await;
            if change.op != WatchOp::Heartbeat {
                break change;
            }
            assert_eq!(change.offset, offset);
        };
        assert_eq!((change.op, change.last_sequence.unwrap().get()), (WatchOp::Advance, to));
        offset = change.offset;
        assert!(to % 3 == 0 || shown(&client).await.unwrap() >= to, "an event before its change");
    }

    let mut ahead = watch(&second, Some(moved_by(&offset, 1))).await;
    let (change, ()) = tokio::join!(next(&mut ahead), advance(&first, "c", 41));
    assert_eq!((change.op, change.offset), (WatchOp::Heartbeat, moved_by(&offset, 1)));
    let refused = watch(&second, Some(moved_by(&offset, 100))).await.next().await.unwrap_err();
    assert!(refused.to_string().contains(&first.tcp()), "{refused}");
    let lost = watch(&first, Some(moved_by(&offset, 100))).await.next().await.unwrap_err();
    assert!(lost.to_string().contains("another log"), "{lost}");
}

#[tokio::test]
async fn an_export_of_a_standby_equals_that_of_the_active() {
    let (_cluster, first, second) = pair().await;
    for number in 0..30 {
        create(&first, &format!("d{number}")).await;
    }
    let client = reader(&second, LONG).await;
    until("all chats", async || {
        let last = ask(&client, Kind::Detail, json!({"ids": ["d29"]})).await;
        last.is_ok_and(|reply| !as_json(reply)["items"].as_array().unwrap().is_empty())
    })
    .await;
    let export = async |member: &Member| {
        let (mut pages, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let page = json!({"cursor": cursor, "limit": 7});
            let page = as_json(member.ask(Kind::Export, page).await.unwrap());
            cursor = page["next_cursor"].clone();
            pages.push(page);
            if cursor.is_null() {
                return pages;
            }
        }
    };
    assert_eq!(export(&second).await, export(&first).await);
}

#[tokio::test]
async fn a_client_of_several_nodes_reads_where_it_is_and_writes_at_the_active() {
    let (_cluster, first, second) = pair().await;
    let addresses = [second.tcp(), first.tcp()];
    let client = ClusterClient::connect(addresses, stale(LONG)).await.unwrap();
    let list = || Command::from_json(Kind::List, json!({"user_id": "v"})).unwrap();
    until("the chat on the standby", async || {
        let listed = client.call(list()).await;
        listed.is_ok_and(|reply| !as_json(reply)["items"].as_array().unwrap().is_empty())
    })
    .await;
    let write = Command::from_json(Kind::Advance, json!({"chat_id": "c", "to": 3})).unwrap();
    client.call(write).await.unwrap();
    assert!(client.call(list()).await.is_ok());
}

#[tokio::test]
async fn a_node_without_a_journal_and_an_active_take_an_age_and_reply_as_ever() {
    let (cluster, first, _second) = pair().await;
    let alone = cluster.alone("alone");
    create(&alone, "c").await;
    for member in [&first, &alone] {
        let client = reader(member, Duration::from_millis(1)).await;
        assert_eq!(client.hello().role, "active");
        assert_eq!(client.hello().limits.stale_ms, STALE_MS_MAX);
        assert_eq!(shown(&client).await, Ok(0));
        let advance = json!({"chat_id": "c", "to": 3});
        ask(&client, Kind::Advance, advance).await.unwrap();
        assert_eq!(shown(&client).await, Ok(3));
    }
    for wrong in [Duration::ZERO, Duration::from_millis(STALE_MS_MAX + 1)] {
        let refused = Client::connect(&alone.tcp(), stale(wrong)).await.unwrap_err();
        assert!(refused.to_string().contains("stale_ms"), "{refused}");
    }
}
