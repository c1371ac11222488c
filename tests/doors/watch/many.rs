//! Many watchers at once, and slow ones: all see the same events, and no writer waits for them.

use chatshard::client::Connection;
use chatshard::command::watch::Watch;
use chatshard::command::{ErrorCode, Reply};
use serde_json::json;

use super::tools::{
    Stream, Streams, Writer, check_order, client, is_mark, mark, offset_in, offsets, ok, options,
    prepare, record, soon,
};
use crate::common::TestServer;
use crate::process::Random;

#[tokio::test]
async fn fifty_watchers_see_one_sequence_while_four_write() {
    let server = TestServer::start(&[("shards", "2"), ("fsync", "always")]);
    let address = server.tcp();
    let mut recorder = Stream::open(address, None).await;
    let backend = client(address).await;
    prepare(&backend).await;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..4 {
        writers.spawn(async move {
            let mut writer = Writer::new(address, &format!("chat-{number}")).await;
            writer.rounds(150).await;
            writer
        });
    }
    let mut told = vec![recorder.next().await];
    // Half of them watch from now on, half from an earlier offset; the writers are at work.
    let mut random = Random(5);
    let mut watchers = tokio::task::JoinSet::new();
    for _ in 0..5 {
        for _ in 0..40 {
            told.push(recorder.next().await);
        }
        let before = offsets(&recorder.began, &told);
        let froms: Vec<Option<String>> = (0..10)
            .map(|at| (at % 2 == 0).then(|| random.pick(&before).unwrap().clone()))
            .collect();
        let streams = Streams::open(address, &froms).await;
        watchers.spawn(async move { (streams.until_mark(1).await, froms) });
    }
    let writers = writers.join_all().await;
    mark(&backend, 1).await;
    told.extend(recorder.until_mark(1).await);
    check_order(&told);
    writers.iter().for_each(|writer| writer.check(&told));

    let mut live = 0;
    for (seen, froms) in watchers.join_all().await {
        for (seen, from) in seen.iter().zip(&froms) {
            let rest = match from {
                Some(from) => told.iter().position(|e| record(&e.offset) > record(from)).unwrap(),
                // It began at some event, and missed nothing from there on.
                None => told.iter().position(|event| *event == seen[0]).unwrap(),
            };
            assert!(*seen == told[rest..], "{from:?}: {seen:?}");
            live += usize::from(from.is_none());
        }
    }
    assert_eq!(live, 25);
    server.stop();
}

/// Users of one request. Their ids are so long that it makes some megabytes of records.
fn crowd(number: u64) -> Vec<String> {
    (0..7000).map(|user| format!("{number}-{user:->110}")).collect()
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_cut_off_and_holds_nobody_up() {
    let server = TestServer::start(&[("shards", "2")]);
    let address = server.tcp();
    let (mut idle, _) = Connection::connect(address, &options()).await.unwrap();
    idle.send(&Watch { from: None }.into()).unwrap();
    idle.flush().await.unwrap();
    let first = match soon("the first heartbeat", idle.receive()).await.unwrap().outcome {
        Ok(Reply::Watch(first)) => first,
        other => panic!("{other:?}"),
    };
    let backend = client(address).await;
    prepare(&backend).await;
    // Some 50 MB: more than the ring, the connection and the sockets hold.
    let requests = 30;
    for number in 0..requests {
        let users = crowd(number);
        let group = json!({"id": format!("g{number}"), "type": 2, "creator_id": "u",
            "user_ids": users});
        ok(&backend, "create", group).await;
    }
    mark(&backend, 1).await;

    let mut told = Vec::new();
    let error = loop {
        let answer = soon("the end of the watch", idle.receive()).await.unwrap();
        match answer.outcome {
            Ok(Reply::Watch(event)) if event.chat_id.is_some() => {
                assert!(!is_mark(&event, 1), "{} changes, and not cut off", told.len());
                told.push(event);
            }
            // The writer was slow.
            Ok(Reply::Watch(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code, ErrorCode::Busy, "{error}");
    check_order(&told);
    let from = offset_in(&error.message);
    assert!(told.last().is_none_or(|last| record(&last.offset) <= record(&from)));
    // The connection works as before.
    let ping = idle.send(&super::tools::command("ping", json!({}))).unwrap();
    idle.flush().await.unwrap();
    assert_eq!(soon("the ping", idle.receive()).await.unwrap().id, ping);

    let rest = Stream::open(address, Some(&from)).await.until_mark(1).await;
    assert!(!rest.is_empty());
    let whole = Stream::open(address, Some(&first.offset)).await.until_mark(1).await;
    assert_eq!(whole.len() as u64, 7001 * requests + 3);
    assert!(told[..] == whole[..told.len()] && rest[..] == whole[told.len()..]);
    server.stop();
}

/// A reader that stops in the middle of resuming is held back and not cut off: the files wait for
/// it.
#[tokio::test]
async fn a_slow_resume_is_no_slow_watcher() {
    let server = TestServer::start(&[("shards", "1")]);
    let address = server.tcp();
    let began = Stream::open(address, None).await.began;
    let backend = client(address).await;
    prepare(&backend).await;
    let create = |number: u64| json!({"id": format!("g{number}"), "type": 2, "creator_id": "u", "user_ids": crowd(number)});
    for number in 0..7 {
        ok(&backend, "create", create(number)).await;
    }
    let mut stream = Stream::open(address, Some(&began)).await;
    let mut told = vec![stream.next().await];
    for number in 7..14 {
        ok(&backend, "create", create(number)).await;
    }
    mark(&backend, 1).await;
    told.extend(stream.until_mark(1).await);
    assert_eq!(told.len(), 7001 * 14 + 3);
    check_order(&told);
    server.stop();
}
