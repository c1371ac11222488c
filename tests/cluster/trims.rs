//! A journal that is kept small stays small, and members come back behind its trims.

use std::time::{Duration, Instant};

use chatshard::client::{Client, ClientOptions, Connection};
use chatshard::command::cluster::{Cluster, ClusterMember};
use chatshard::command::create::Create;
use chatshard::command::{Call, Command, ErrorCode, Reply};
use chatshard::journal::client::EngineClient;
use chatshard::journal::engine::EngineAccess;
use chatshard::journal::etcd::{EtcdSettings, start};
use chatshard::node::genesis::read_origin;
use chatshard::node::journal_end::{read_base, read_to_end};
use chatshard::types::{ChatId, ChatType, UserId};
use tempfile::TempDir;

use super::engine::Engine;
use super::process::{PATIENCE, Server};
use super::{asked, begin_node, engine_with};

const BYTES_MAX: u64 = 512 << 10;
/// What may be under way when writes begin to be refused.
const UNDER_WAY_MAX: u64 = 256 << 10;
/// Chats that are created at once, and the members of each: so much that entries are large, and one
/// read of the journal brings more than the maximum.
const CHATS: u64 = 4;
const USERS: u64 = 100;

/// Two nodes on one engine, of which it keeps little.
struct Pair {
    nodes: [Option<Server>; 2],
    directory: TempDir,
    engine: Engine,
    client: EngineClient,
    journal: u64,
    chats: u64,
}

impl Pair {
    fn start() -> Option<Self> {
        let engine = engine_with("small")?;
        let access = EngineAccess::default();
        let client = start(EtcdSettings::new(engine.hosts(), "small".to_owned(), access)).unwrap();
        let journal = read_origin(&client).unwrap().journal;
        let directory = TempDir::new().unwrap();
        Some(Self { nodes: [None, None], directory, engine, client, journal, chats: 0 })
    }

    async fn begin(&mut self, node: usize, is_active: bool) {
        let sizes = ["--journal-keep-bytes", "64KiB", "--journal-bytes-max", "512KiB"];
        let further = [&sizes[..], &["--copies-min", "2"]].concat();
        let journal = self.engine.address("small");
        self.nodes[node] = Some(begin_node(&journal, &self.directory, node, &further));
        if is_active {
            self.until_active(node).await;
        } else {
            self.until_level(1 - node).await;
        }
    }

    async fn stop(&mut self, node: usize) {
        let mut server = self.nodes[node].take().unwrap();
        server.terminate();
        assert!(server.wait().success(), "{}", server.messages());
    }

    fn node(&self, node: usize) -> &Server {
        self.nodes[node].as_ref().unwrap()
    }

    async fn until_active(&self, node: usize) {
        let deadline = Instant::now() + PATIENCE;
        while asked(self.node(node).address).await.is_none_or(|outcome| outcome.is_err()) {
            assert!(Instant::now() < deadline, "{}", self.node(node).messages());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until both members have everything that the active has written.
    async fn until_level(&self, active: usize) {
        let client = Client::connect(self.node(active).address, ClientOptions::default()).await;
        let (client, deadline) = (client.unwrap(), Instant::now() + PATIENCE);
        // Digests follow behind the writes, one a second.
        let mut written = None;
        loop {
            let Ok(Reply::Cluster(reply)) = client.call(Cluster {}.into()).await else { panic!() };
            let durable = |member: &ClusterMember| member.durable_lsn;
            let is_new = |member: &ClusterMember| member.heard_ms.is_none_or(|age| age < 2000);
            let all: Vec<_> = reply.members.iter().filter(|one| is_new(one)).map(durable).collect();
            let newest = reply.members.iter().filter_map(|member| member.lsn).max();
            let written = *written.get_or_insert(newest);
            if matches!(all[..], [one, other] if one.min(other) >= written && one.is_some()) {
                return;
            }
            assert!(Instant::now() < deadline, "{reply:?}\n{}", self.node(1 - active).messages());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Creates some chats at once. Returns whether that was refused for want of copies.
    async fn write(&mut self, connection: &mut Connection) -> bool {
        for _ in 0..CHATS {
            self.chats += 1;
            connection.send(&create(self.chats)).unwrap();
        }
        connection.flush().await.unwrap();
        let mut is_refused = false;
        for _ in 0..CHATS {
            if let Err(error) = connection.receive().await.unwrap().outcome {
                assert_eq!(error.code, ErrorCode::Unavailable, "{error:?}");
                assert!(error.message.contains("too few standbys"), "{error:?}");
                is_refused = true;
            }
        }
        is_refused
    }

    /// Writes until the engine has trimmed the journal for so many times. What it keeps stays
    /// bounded.
    async fn write_until_trimmed(&mut self, active: usize, times: u64) {
        let address = self.node(active).address;
        let mut connection =
            Connection::connect(address, &ClientOptions::default()).await.unwrap().0;
        let (mut before, mut trims, deadline) = (self.trimmed(), 0, Instant::now() + PATIENCE);
        while trims < times {
            if self.write(&mut connection).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let kept = self.kept_bytes();
            assert!(kept <= BYTES_MAX + UNDER_WAY_MAX, "the engine keeps {kept} bytes");
            let trimmed = self.trimmed();
            trims += u64::from(trimmed > before);
            before = trimmed;
            let told = || format!("{trims} trims, {kept} bytes:\n{}", self.node(active).messages());
            assert!(Instant::now() < deadline, "{}", told());
        }
    }

    fn trimmed(&self) -> u64 {
        let base = read_base(&self.client, self.journal).unwrap();
        base.map_or(0, |base| base.place.seq)
    }

    fn kept_bytes(&self) -> u64 {
        let end = read_to_end(&self.client, self.journal).unwrap();
        end.reader.boundary_cost().map_or(0, |(_, bytes)| bytes)
    }
}

fn create(number: u64) -> Command {
    let user = |user| UserId::new(&format!("{:-<50}{user}", "user")).unwrap();
    Create {
        id: Some(ChatId::new(&format!("chat-{number}")).unwrap()),
        chat_type: ChatType::Group,
        creator_id: user(0),
        is_enc: None,
        created_at: None,
        user_ids: (0..USERS).map(user).collect(),
        idempotency_key: None,
    }
    .into()
}

#[tokio::test]
async fn the_journal_stays_bounded_and_a_standby_restarts_behind_a_trim() {
    let Some(mut pair) = Pair::start() else { return };
    pair.begin(0, true).await;
    pair.begin(1, false).await;
    pair.write_until_trimmed(0, 3).await;

    pair.stop(1).await;
    let mut connection =
        Connection::connect(pair.node(0).address, &ClientOptions::default()).await.unwrap().0;
    let deadline = Instant::now() + PATIENCE;
    while !pair.write(&mut connection).await {
        assert!(Instant::now() < deadline, "without a standby all writes are taken");
    }
    let trimmed = pair.trimmed();
    assert!(trimmed > 1, "{trimmed}");
    pair.begin(1, false).await;
    pair.write_until_trimmed(0, 2).await;

    // It has read what the journal keeps in few reads, and trims it as the active.
    pair.stop(1).await;
    pair.begin(1, false).await;
    pair.stop(0).await;
    pair.until_active(1).await;
    pair.begin(0, false).await;
    let begun = Instant::now();
    pair.write_until_trimmed(1, 3).await;
    println!("the next active trimmed three times within {:?}", begun.elapsed());
    pair.until_level(1).await;
}
