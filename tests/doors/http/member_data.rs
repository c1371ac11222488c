//! The routes by which a member gives its data to another one.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use chatshard::access::{Authenticator, Tokens};
use chatshard::http::member_data::{DataPart, GivenPart, NotGiven};
use chatshard::http::member_router;
use tower::ServiceExt;

use super::{Answer, send};

const FULL: (&str, &str) = ("authorization", "Bearer full-secret");

/// A source with a snapshot, and with a log of the records 10 to 20.
fn router() -> Router {
    let source = |part| match part {
        DataPart::Snapshot => {
            let mut pieces = vec!["two", "one-"];
            Ok(GivenPart {
                headers: vec![("x-chatshard-start-lsn", "9".to_owned())],
                bytes: Some(7),
                next: Box::new(move || Ok(pieces.pop().map(Bytes::from))),
            })
        }
        DataPart::Log(..10) => Err(NotGiven::Gone(10)),
        DataPart::Log(22..) => Err(NotGiven::Ahead(20)),
        DataPart::Log(15) => Err(NotGiven::NoJournal),
        DataPart::Log(16) => Ok(GivenPart {
            headers: Vec::new(),
            bytes: None,
            next: Box::new(|| Err(std::io::Error::other("the disk is gone"))),
        }),
        DataPart::Entry(3) => Ok(GivenPart {
            headers: Vec::new(),
            bytes: Some(5),
            next: {
                let mut piece = Some(Bytes::from("entry"));
                Box::new(move || Ok(piece.take()))
            },
        }),
        DataPart::Entry(_) => Err(NotGiven::NoEntry),
        DataPart::Member => {
            Ok(GivenPart { headers: Vec::new(), bytes: Some(0), next: Box::new(|| Ok(None)) })
        }
        DataPart::Log(_) => {
            Ok(GivenPart { headers: Vec::new(), bytes: None, next: Box::new(|| Ok(None)) })
        }
    };
    let tokens = Tokens::parse("full full-secret\nread read-secret").unwrap();
    member_router(Arc::new(source), Authenticator::new(tokens))
}

async fn get(path: &str, headers: &[(&str, &str)]) -> Answer {
    send(&router(), "GET", path, headers, "").await
}

#[tokio::test]
async fn the_data_of_a_member_needs_a_token_of_the_full_role() {
    let paths =
        ["/journal/image", "/journal/log?from=10", "/journal/entry?seq=3", "/journal/member"];
    for path in paths {
        get(path, &[]).await.failure(401);
        get(path, &[("authorization", "Bearer wrong")]).await.failure(401);
        get(path, &[("authorization", "Bearer read-secret")]).await.failure(403);
        assert_eq!(get(path, &[FULL]).await.status, 200);
        let page = [FULL, ("host", "node1"), ("origin", "http://evil.example")];
        get(path, &page).await.failure(403);
    }
}

#[tokio::test]
async fn a_snapshot_comes_as_it_is_with_its_length() {
    let answer = get("/journal/image", &[FULL]).await;
    assert_eq!(answer.body, "one-two");
    assert_eq!(answer.headers["content-length"], "7");
    assert_eq!(answer.headers["x-chatshard-start-lsn"], "9");
}

#[tokio::test]
async fn a_log_that_lacks_the_record_says_what_it_has() {
    for wrong in ["", "?from=", "?from=0", "?from=-1", "?from=x", "?to=1", "?from=1&from=2"] {
        get(&format!("/journal/log{wrong}"), &[FULL]).await.failure(400);
    }
    assert!(get("/journal/log?from=9", &[FULL]).await.failure(410).contains("LSN 10"));
    assert!(get("/journal/log?from=22", &[FULL]).await.failure(409).contains("LSN 20"));
    get("/journal/log?from=15", &[FULL]).await.failure(404);
    assert_eq!(get("/journal/log?from=21", &[FULL]).await.status, 200);
}

#[tokio::test]
async fn an_entry_comes_whole_or_is_not_known() {
    for wrong in ["", "?seq=", "?seq=0", "?from=3", "?seq=3&seq=4"] {
        get(&format!("/journal/entry{wrong}"), &[FULL]).await.failure(400);
    }
    assert_eq!(get("/journal/entry?seq=3", &[FULL]).await.body, "entry");
    get("/journal/entry?seq=4", &[FULL]).await.failure(404);
}

#[tokio::test]
async fn a_log_whose_disk_fails_breaks_off() {
    let request = Request::get("/journal/log?from=16").header(FULL.0, FULL.1);
    let answer = router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert!(axum::body::to_bytes(answer.into_body(), usize::MAX).await.is_err());
}

#[tokio::test]
async fn copies_beyond_the_bound_are_refused_until_one_ends() {
    let router = router();
    let ask = async || {
        let request = Request::get("/journal/image").header(FULL.0, FULL.1);
        router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let mut held = Vec::new();
    while held.len() < 100 {
        let answer = ask().await;
        if answer.status() != 200 {
            assert_eq!(answer.status(), 429);
            break;
        }
        held.push(answer);
    }
    assert!((1..10).contains(&held.len()), "{}", held.len());
    let request = Request::get("/journal/entry?seq=3").header(FULL.0, FULL.1);
    let entry = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(entry.status(), 200, "an entry does not wait for copies");
    drop(held.pop());
    assert_eq!(ask().await.status(), 200);
}
