//! Pages of other sites: only origins on the list are let in.

use axum::http::HeaderValue;
use chatshard::http::with_cors;

use super::*;

const APP: &str = "https://app.example";

fn asks_first(origin: &'static str, header: &'static str) -> [(&'static str, &'static str); 3] {
    [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", header),
    ]
}

fn allowed(answer: &Answer) -> Option<&str> {
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn without_a_list_no_page_is_let_in() {
    let router = with_cors(app(&Fake::examples()), &[]);
    let answer =
        send(&router, "OPTIONS", "/chat/delete", &asks_first(APP, "content-type"), "").await;
    assert_eq!(allowed(&answer), None);
    answer.failure(405);
    let headers = [("x-user-id", "alice"), ("origin", APP)];
    let answer = post(&router, "/chat/mine-list", &headers, "").await;
    assert_eq!((answer.status.as_u16(), allowed(&answer)), (200, None));
}

#[tokio::test]
async fn pages_of_the_list_may_ask_and_read() {
    let store = Fake::examples();
    let origins = [APP, "http://localhost:5173"].map(HeaderValue::from_static);
    let router = with_cors(app(&store), &origins);
    for origin in [APP, "http://localhost:5173"] {
        let asked = asks_first(origin, "authorization,content-type,idempotency-key");
        let answer = send(&router, "OPTIONS", "/chat/delete", &asked, "").await;
        assert_eq!((answer.status.as_u16(), allowed(&answer)), (200, Some(origin)));
        let headers = answer.headers["access-control-allow-headers"].to_str().unwrap();
        assert_eq!(headers, "authorization,content-type,idempotency-key");
        assert_eq!(answer.headers["access-control-allow-methods"], "GET,POST");
    }
    assert!(store.asked().is_empty());
    // A page may read errors too, and a cache must distinguish callers.
    for (user, status) in [("alice", 200), ("", 401)] {
        let headers = [("x-user-id", user), ("origin", APP)];
        let answer = post(&router, "/chat/mine-list", &headers, "").await;
        assert_eq!((answer.status.as_u16(), allowed(&answer)), (status, Some(APP)));
        assert!(answer.headers["vary"].to_str().unwrap().contains("origin"));
    }
    for other in ["https://app.example.evil.example", "http://app.example", "null"] {
        let asked = asks_first(other, "authorization");
        let answer = send(&router, "OPTIONS", "/chat/delete", &asked, "").await;
        assert_eq!(allowed(&answer), None, "{other}");
        let headers = [("x-user-id", "alice"), ("origin", other)];
        assert_eq!(allowed(&post(&router, "/chat/mine-list", &headers, "").await), None);
    }
}
