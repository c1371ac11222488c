//! Import and export against a server that only records commands: lines, batches, refusals and
//! retries.

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use crate::common::TestServer;
use chatshard::cli::Failure;
use chatshard::cli::progress::Progress;
use chatshard::cli::result_file::ResultFile;
use chatshard::cli::transfer::LineCounts;
use chatshard::cli::transfer::export::export;
use chatshard::cli::transfer::import::import;
use chatshard::cli::transfer::line::{BATCH_BYTES_MAX, BATCH_LINES_MAX, Line, LineBatches};
use chatshard::client::{Client, ClientOptions};
use chatshard::command::export::ExportReply;
use chatshard::command::import::{Import, ImportReply};
use chatshard::command::list::List;
use chatshard::command::{Call, Command, Error, ErrorCode, Outcome, Reply};

type Script = dyn Fn(usize, &Command) -> Outcome + Send + Sync;

/// A server that records each command, and replies by a script that gets the command's number.
#[derive(Clone)]
struct Fake {
    seen: Arc<Mutex<Vec<Command>>>,
    script: Arc<Script>,
}

impl Fake {
    fn new(script: impl Fn(usize, &Command) -> Outcome + Send + Sync + 'static) -> Self {
        Self { seen: Arc::default(), script: Arc::new(script) }
    }

    fn taking_all() -> Self {
        Self::new(|_, command| taken(command))
    }

    fn imports(&self) -> Vec<Import> {
        let seen = self.seen.lock().unwrap();
        let imports = seen.iter().filter_map(|command| match command {
            Command::Import(import) => Some(import.clone()),
            _ => None,
        });
        imports.collect()
    }
}

impl Call for Fake {
    async fn call(&self, command: Command) -> Outcome {
        command.check()?;
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(command.clone());
            seen.len() - 1
        };
        tokio::task::yield_now().await;
        (self.script)(number, &command)
    }
}

fn taken(command: &Command) -> Outcome {
    let Command::Import(import) = command else { panic!("only imports are sent") };
    let (chats, members) = (import.chats.len() as u64, import.members.len() as u64);
    Ok(Reply::Import(ImportReply { chats, members }))
}

fn batches(text: &str) -> LineBatches<Cursor<Vec<u8>>> {
    LineBatches::new(Cursor::new(text.as_bytes().to_vec()), "data.jsonl", false)
}

async fn run(fake: &Fake, text: &str) -> Result<LineCounts, String> {
    let done = import(fake.clone(), batches(text), "data.jsonl", &Progress::hidden()).await;
    done.map_err(|failure| failure.to_string())
}

fn chat(id: &str) -> String {
    format!("{{\"chat\":{{\"id\":\"{id}\",\"creator_id\":\"u\",\"type\":2}}}}\n")
}

fn member(chat: &str, user: &str) -> String {
    format!("{{\"member\":{{\"user_id\":\"{user}\",\"chat_id\":\"{chat}\"}}}}\n")
}

fn many(lines: usize) -> String {
    let members = (1..lines).map(|number| member("g", &format!("user-{number}")));
    chat("g") + &members.collect::<String>()
}

#[test]
fn lines_are_checked() {
    let good = r#"{"member":{"user_id":"u","chat_id":"c","id":"c","is_top":1,"join_seq":4}}"#;
    let line = Line::parse(good.as_bytes()).unwrap();
    let again = serde_json::to_vec(&line).unwrap();
    assert_eq!(Line::parse(&again).unwrap(), line);

    for (text, why) in [
        (r#"{"chat":{"id":"c","creator_id":"u"}}"#, "type"),
        (r#"{"chat":{"id":"","creator_id":"u","type":1}}"#, "empty"),
        (r#"{"chat":{"id":"c","creator_id":"u","type":4}}"#, "1 single"),
        (r#"{"member":{"user_id":"u","chat_id":"c","is_top":true}}"#, "0 or 1"),
        (r#"{"member":{"user_id":"u","chat_id":"c","max_read_seq":-1}}"#, "sequence"),
        (r#"{"member":{"user_id":"u","chat_id":"c","pinned":1}}"#, "pinned"),
        (r#"{"member":{"user_id":"u","chat_id":"c","id":"d"}}"#, "differ"),
        (r#"{"member":{"user_id":"u","chat_id":"c","version":4503599627370497}}"#, "2^52"),
        (r#"{"member":{"user_id":"u","chat_id":"c","join_order":9007199254740991}}"#, "join_order"),
        (r#"{"chat":{"id":"c","creator_id":"u","type":2,"version":4503599627370497}}"#, "2^52"),
        (r#"{"chat":{"id":"c","creator_id":"u","type":2,"request_digest":"1f"}}"#, "16 hex"),
        (r#"{"message":{}}"#, "message"),
        (r#"{"chat":{"id":"c","creator_id":"u","type":1}} x"#, "trailing"),
        ("[]", "line 1"),
        ("\u{feff}{}", ""),
    ] {
        let error = Line::parse(text.as_bytes()).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn batches_fit_a_request_and_keep_the_order() {
    let mut reader = batches(&many(12_000));
    let (mut next_line, mut chats, mut members, mut bytes) = (1, 0, 0, 0);
    while let Some(batch) = reader.next_batch().unwrap() {
        let import = &batch.import;
        let lines = import.chats.len() + import.members.len();
        assert!(lines <= BATCH_LINES_MAX);
        assert_eq!(batch.first_line, next_line);
        next_line = batch.last_line + 1;
        assert_eq!(next_line - batch.first_line, lines as u64);
        let numbers = members..members + import.members.len();
        for (number, row) in numbers.zip(&import.members) {
            assert_eq!(row.user_id.as_str(), format!("user-{}", number + 1));
        }
        chats += import.chats.len();
        members += import.members.len();
        bytes += batch.file_bytes;
    }
    assert_eq!((chats, members), (1, 11_999));
    assert_eq!(bytes, many(12_000).len() as u64);
}

#[test]
fn the_encoded_request_is_below_the_bound() {
    // The worst lines there are: longest ids, largest numbers.
    let (big, most) = (9_007_199_254_740_991_u64, 1_u64 << 52);
    let id = "x".repeat(128);
    let line = format!(
        "{{\"member\":{{\"user_id\":\"{id}\",\"chat_id\":\"{id}\",\"id\":\"{id}\",\
         \"max_read_seq\":{big},\"last_online_time\":{big},\"join_seq\":{big},\
         \"deleted_to_seq\":{big},\"sent_seq\":{big},\"join_order\":{most},\"version\":{most}}}}}\n"
    );
    let short = member("c", "u");
    for text in [line.repeat(5000), short.repeat(5000), (line + &short).repeat(2500)] {
        let mut reader = batches(&text);
        while let Some(batch) = reader.next_batch().unwrap() {
            let encoded = rmp_serde::to_vec(&batch.import).unwrap();
            assert!(encoded.len() <= BATCH_BYTES_MAX + 64, "{} bytes", encoded.len());
        }
    }
}

#[test]
fn blank_lines_and_a_missing_last_newline_are_fine() {
    let text = format!("\n{}\r\n  \n{}", chat("c"), member("c", "u").trim_end());
    let batch = batches(&text).next_batch().unwrap().unwrap();
    assert_eq!((batch.import.chats.len(), batch.import.members.len()), (1, 1));
    assert!(batches("\n \n").next_batch().unwrap().is_none());
}

#[test]
fn a_line_without_end_is_refused() {
    let text = chat("c") + &"x".repeat(1 << 20);
    let mut reader = batches(&text);
    let before = reader.next_batch().unwrap().expect("the line before it");
    assert_eq!((before.last_line, before.import.chats.len()), (1, 1));
    let Err(Failure::Message(message)) = reader.next_batch() else { panic!("refused") };
    assert!(message.starts_with("data.jsonl:2: longer than"), "{message}");
}

#[tokio::test]
async fn everything_is_sent_once_and_counted() {
    let fake = Fake::taking_all();
    let counts = run(&fake, &many(60_001)).await.unwrap();
    assert_eq!(counts, LineCounts { chats: 1, members: 60_000 });
    let sent: usize = fake.imports().iter().map(|import| import.members.len()).sum();
    assert_eq!(sent, 60_000);
}

#[tokio::test]
async fn a_bad_line_is_named() {
    let text = chat("c") + &member("c", "u") + "{\"member\":{}}\n" + &member("c", "v");
    let fake = Fake::taking_all();
    let message = run(&fake, &text).await.unwrap_err();
    assert!(message.starts_with("data.jsonl:3: member: missing field `user_id`"), "{message}");
    // The lines before it were applied, and the message says so.
    assert!(message.ends_with(" (lines 1 to 2 were taken)"), "{message}");
    let [import] = &fake.imports()[..] else { panic!("one request") };
    assert_eq!((import.chats.len(), import.members.len()), (1, 1));
    let message = run(&Fake::taking_all(), &format!("\u{feff}{text}")).await.unwrap_err();
    assert!(message.starts_with("data.jsonl:1: begins with a byte order mark"), "{message}");
    assert!(message.ends_with(" (no line was taken)"), "{message}");
}

#[tokio::test]
async fn a_refusal_names_the_lines() {
    let fake = Fake::new(|number, command| match number {
        1 => Err(Error::new(ErrorCode::Conflict, "the chat is there")),
        _ => taken(command),
    });
    let message = run(&fake, &many(20_000)).await.unwrap_err();
    let first = fake.imports()[0].members.len() + 1;
    let lines = format!("data.jsonl: lines {} to ", first + 1);
    assert!(message.starts_with(&lines), "{message}");
    assert!(message.contains("conflict: the chat is there"), "{message}");
    // Those behind were on their way, and were taken.
    let sent = fake.imports();
    let ends: Vec<usize> = sent
        .iter()
        .scan(0, |line, import| {
            *line += import.chats.len() + import.members.len();
            Some(*line)
        })
        .collect();
    let taken = ends[1..].windows(2).map(|ends| format!(", {} to {}", ends[0] + 1, ends[1]));
    let told = format!(" (taken: lines 1 to {}{})", ends[0], taken.collect::<String>());
    assert!(ends.len() > 2 && message.ends_with(&told), "{message}: {ends:?}");
    let none = Fake::new(|_, _| Err(Error::new(ErrorCode::Conflict, "the chat is there")));
    let message = run(&none, &chat("c")).await.unwrap_err();
    assert!(message.ends_with(" (no other line was taken)"), "{message}");
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    // The second request is refused, and the third finds no chat because of that.
    let fake = Fake::new(|number, command| match number {
        0 | 3 => Err(Error::new(ErrorCode::Busy, "later")),
        1 => Err(Error::no_chat()),
        _ => taken(command),
    });
    let counts = run(&fake, &many(20_000)).await.unwrap();
    assert_eq!(counts, LineCounts { chats: 1, members: 19_999 });
    // A chat that is missing for another reason stays an error.
    let fake = Fake::new(|_, _| Err(Error::no_chat()));
    assert!(run(&fake, &member("c", "u")).await.unwrap_err().contains("not_found"));
}

#[tokio::test]
async fn pages_become_lines_and_a_half_file_never_stays() {
    let page = |number: usize| {
        let chats = vec![
            serde_json::from_str(&format!(r#"{{"id":"c{number}","creator_id":"u","type":2}}"#))
                .unwrap(),
        ];
        let members =
            vec![serde_json::from_str(r#"{"user_id":"u","chat_id":"c0","join_order":9}"#).unwrap()];
        let next_cursor = (number < 2).then(|| number.to_string());
        Ok(Reply::Export(ExportReply { chats, members, next_cursor }))
    };
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("all.jsonl");
    std::fs::write(&out, "before").unwrap();

    let failing = Fake::new(move |number, _| match number {
        2 => Err(Error::new(ErrorCode::Unavailable, "stopping")),
        number => page(number),
    });
    let output = ResultFile::create(&out).unwrap();
    assert!(export(failing, output, &Progress::hidden()).await.is_err());
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "before");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);

    let output = ResultFile::create(&out).unwrap();
    let fake = Fake::new(move |number, _| page(number));
    let counts = export(fake.clone(), output, &Progress::hidden()).await.unwrap();
    assert_eq!(counts, LineCounts { chats: 3, members: 3 });
    let text = std::fs::read_to_string(&out).unwrap();
    let lines: Vec<Line> = text.lines().map(|line| Line::parse(line.as_bytes()).unwrap()).collect();
    assert!(matches!(&lines[..2], [Line::Chat(_), Line::Member(_)]) && lines.len() == 6);
    let cursors = fake
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|command| match command {
            Command::Export(export) => export.cursor.clone(),
            _ => panic!("only exports are sent"),
        })
        .collect::<Vec<_>>();
    assert_eq!(cursors, [None, Some("0".to_owned()), Some("1".to_owned())]);
}

/// A user's list, oldest row first.
async fn listed(client: &Client, user: &str) -> Vec<String> {
    let list = List { user_id: user.parse().unwrap(), limit: None, cursor: None };
    let Ok(Reply::List(list)) = client.call(list.into()).await else { panic!("no list") };
    list.items.iter().rev().map(|row| row.chat_id.to_string()).collect()
}

async fn import_file(client: &Client, text: &str) -> LineCounts {
    let bar = Progress::hidden();
    import(client.clone(), batches(text), "data.jsonl", &bar).await.unwrap()
}

async fn export_file(client: &Client) -> String {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("all.jsonl");
    let output = ResultFile::create(&out).unwrap();
    export(client.clone(), output, &Progress::hidden()).await.unwrap();
    std::fs::read_to_string(&out).unwrap()
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Several requests are under way at once, and lists still come in the order of the file.
#[test]
fn lists_come_in_the_files_order_and_an_export_is_the_store() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let servers = ["3", "1"].map(|shards| TestServer::start(&[("shards", shards)]));
    let [first, second] = [&servers[0], &servers[1]].map(|server| {
        let address = server.tcp().to_string();
        runtime.block_on(Client::connect(&address, ClientOptions::default())).unwrap()
    });
    let ids = |from: u64| -> Vec<String> {
        // In an order that neither ids nor shards have.
        (0..3000).map(|number| format!("c{}", from + number * 1009 % 3000)).collect()
    };
    let file = |ids: &[String]| -> String {
        let lines =
            |id: &String| chat(id) + &member(id, "u") + &member(id, &format!("v{}", id.len()));
        ids.iter().map(lines).collect()
    };
    let (old, new) = (ids(0), ids(3000));
    runtime.block_on(async {
        let taken = import_file(&first, &file(&old)).await;
        assert_eq!(taken, LineCounts { chats: 3000, members: 6000 });
        assert!(listed(&first, "u").await == old, "a list comes in the order of the file");
        // Later lines join later.
        import_file(&first, &file(&new)).await;
        let all: Vec<String> = old.iter().chain(&new).cloned().collect();
        assert!(listed(&first, "u").await == all, "and in the order of the files");

        let text = export_file(&first).await;
        import_file(&second, &text).await;
        // Each server has slots of its own, and so another order of chats.
        let again = export_file(&second).await;
        assert!(sorted(&again) == sorted(&text), "an import of an export is the store");
        assert!(listed(&second, "u").await == all, "and its lists");
    });
    servers.into_iter().for_each(TestServer::stop);
}
