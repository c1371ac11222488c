//! Long answers by HTTP: made on the offload thread, in slices, and compressed for clients that
//! ask.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use chatshard::access::{Authenticator, Tokens};
use chatshard::http::{Admin, admin_router, with_cors};
use chatshard::metrics::MetricsInput;
use flate2::read::GzDecoder;

use super::*;

/// A store that counts the work on its offload thread.
#[derive(Clone)]
struct Counting {
    store: Fake,
    asides: Arc<AtomicUsize>,
}

impl Call for Counting {
    async fn call(&self, command: Command) -> Outcome {
        self.store.call(command).await
    }

    async fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.asides.fetch_add(1, Ordering::Relaxed);
        Some(work())
    }
}

/// Both doors in front of a store.
fn doors(store: Fake) -> (Counting, [(Router, &'static str); 2]) {
    let store = Counting { store, asides: Arc::default() };
    let meter = SharedMeter::default;
    let app = App { store: store.clone(), auth: UserAuth::Header, meter: meter() };
    let admin = Admin {
        store: store.clone(),
        readiness: Arc::new(|_| Ok("ready")),
        metrics: Arc::new(|| Box::pin(async { MetricsInput::default() })),
        authenticator: Authenticator::new(Tokens::default()),
        meter: meter(),
    };
    let app = with_cors(app_router(app), &["https://app.example".parse().unwrap()]);
    (store, [(app, "/chat/"), (admin_router(admin), "/call/")])
}

/// Sends a request with or without gzip. Returns status and text, whether it was compressed, and
/// whether `vary` says so.
async fn text(router: &Router, path: &str, body: &str, gzip: bool) -> (u16, String, bool, bool) {
    let mut request = Request::post(path).header("x-user-id", "alice");
    if gzip {
        request = request.header("accept-encoding", "gzip");
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let is_compressed =
        parts.headers.get("content-encoding").is_some_and(|coding| coding == "gzip");
    let mut text = String::new();
    match is_compressed {
        true => GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap(),
        false => (&bytes[..]).read_to_string(&mut text).unwrap(),
    };
    let mut vary = parts.headers.get_all("vary").iter();
    (parts.status.as_u16(), text, is_compressed, vary.any(|vary| vary == "accept-encoding"))
}

/// The longest replies that the store gives, and lists that are longer.
fn longest(command: &Command) -> Outcome {
    let many = |items: usize| std::iter::repeat_n((), items);
    Ok(match command {
        Command::List(list) => {
            let rows = list.limit.map_or(20_000, |limit| limit as usize);
            let items = many(rows).map(|()| list_reply().items.remove(0)).collect();
            Reply::List(ListReply { items, next_cursor: None })
        }
        Command::Detail(_) => {
            let items = many(1000).map(|()| detail_reply().items.remove(0)).collect();
            Reply::Detail(DetailReply { items })
        }
        Command::Conversations(_) => {
            let items = many(200).map(|()| conversations_reply().items.remove(0)).collect();
            Reply::Conversations(ConversationsReply { items, ..conversations_reply() })
        }
        Command::Sync(_) => {
            let items = many(1000).map(|()| sync_reply().items.remove(0)).collect();
            Reply::Sync(SyncReply { items, ..sync_reply() })
        }
        other => return Err(Error::not_applied(other.kind().name())),
    })
}

#[tokio::test]
async fn long_answers_are_made_aside_in_steps_and_compressed_if_asked() {
    // For the app's routes and for the commands behind them, with the least number of steps.
    let ids: Vec<String> = (0..1000).map(|n| format!("g_{n}")).collect();
    let ids = json!({"ids": ids}).to_string();
    let cases = [
        (["mine-list", "list"], "{}", 6),
        (["mine-list", "list"], r#"{"limit":10000}"#, 3),
        (["detail", "detail"], &ids, 1),
        (["conversations", "conversations"], "{}", 1),
        (["sync", "sync"], "{}", 1),
    ];
    let (store, doors) = doors(Fake::new(longest));
    for (door, (router, base)) in doors.iter().enumerate() {
        for (names, body, steps) in cases {
            let path = format!("{base}{}", names[door]);
            let body = match door {
                1 if names[door] != "detail" => body.replacen('{', r#"{"user_id":"alice","#, 1),
                _ => body.to_owned(),
            };
            let body = body.replace(",}", "}");
            let mut texts = Vec::new();
            for gzip in [false, true] {
                let before = store.asides.load(Ordering::Relaxed);
                let (status, text, is_compressed, varies) = text(router, &path, &body, gzip).await;
                let asides = store.asides.load(Ordering::Relaxed) - before;
                assert_eq!((status, is_compressed, varies), (200, gzip, true), "{path} {gzip}");
                assert!(asides >= steps, "{path}: {} bytes in {asides} steps", text.len());
                assert!(text.len() > 32 << 10, "{path}: {} bytes", text.len());
                texts.push(text);
            }
            assert!(texts[0] == texts[1], "{path}");
            serde_json::from_str::<Value>(&texts[0]).unwrap();
        }
    }
}

#[tokio::test]
async fn short_answers_are_sent_as_they_are() {
    let (_, doors) = doors(Fake::examples());
    for (router, base) in &doors {
        let ids = r#"{"ids":["g_1"]}"#;
        let list = if *base == "/call/" { "list" } else { "mine-list" };
        for (name, body) in [(list, r#"{"user_id":"alice"}"#), ("detail", ids)] {
            let (status, text, is_compressed, varies) =
                text(router, &format!("{base}{name}"), body, true).await;
            assert_eq!((status, is_compressed, varies), (200, false, false), "{name}: {text}");
        }
    }
}

/// The store's answer is over the bound: no part of it is sent.
#[tokio::test]
async fn an_answer_over_the_bound_is_told_what_to_do() {
    let (_, doors) = doors(Fake::new(longest));
    for (router, base) in &doors {
        let list = if *base == "/call/" { "list" } else { "mine-list" };
        for gzip in [false, true] {
            let body = r#"{"user_id":"alice","limit":150000}"#;
            let (status, text, ..) = text(router, &format!("{base}{list}"), body, gzip).await;
            assert_eq!(status, 413, "{base}");
            assert!(text.starts_with(r#"{"code":413,"data":null,"msg":"#), "{base}");
            assert!(text.contains("limit") && text.len() < 200, "{base}");
        }
    }
}
