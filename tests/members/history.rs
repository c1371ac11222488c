//! Random histories of three members: kills, crashes, pauses, cuts, stalls, disks that take nothing,
//! clocks that are set, and handovers, while clients write and read. Afterwards all members are equal, and nothing acknowledged is lost.
//!
//! `CHATSHARD_MEMBERS_SEEDS` sets the number of seeds, and draws new ones. One can be played again
//! alone: `CHATSHARD_MEMBERS_SEED=17 cargo test --test members histories`.

use std::time::Duration;

use chatshard::command::{Kind, Outcome, Reply};
use chatshard::journal::entry::JournalEntry;
use chatshard::journal::sim::SimFaults;
use chatshard::node::membership::MemberRole;
use serde_json::{Value, json};
use tokio::sync::oneshot::error::TryRecvError;

use super::crowds::Crowds;
use super::handover::Operator;
use super::readers::{Promises, Reader};
use super::watchers::Hopper;
use super::world::{Asked, Fault, MEMBERS, World};
use crate::common::random::Random;

const CHATS: usize = 3;
/// Steps of a history with faults, and of the time after it.
const STEPS: u64 = 30_000;
const STEPS_TO_REST: u64 = 400_000;
const SEEDS: u64 = 12;
const READERS: usize = 4;
const WATCHERS: usize = 2;
/// Steps in which watchers get what is left.
const STEPS_OF_WATCHERS: u64 = 2000;

/// A client that writes one chat, one request at a time.
pub struct Client {
    chat: String,
    open: Option<Open>,
    is_made: bool,
    /// The largest sequence that an acknowledged request reached, and the largest that any may have.
    acked: u64,
    most: u64,
    /// Requests with a reply, and those that may or may not have been applied.
    pub replied: u64,
    pub unknown: u64,
}

struct Open {
    asked: Asked,
    what: What,
    /// The largest acknowledged sequence when it was sent.
    acked: u64,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Make,
    Advance(u64),
    Allocate,
    Delete,
    Look,
}

impl Client {
    pub fn new(number: usize) -> Self {
        Self {
            chat: format!("c{number}"),
            open: None,
            is_made: false,
            acked: 0,
            most: 0,
            replied: 0,
            unknown: 0,
        }
    }

    /// Its chat, and the largest sequence that was promised.
    pub fn promised(&self) -> (&str, u64) {
        (&self.chat, self.acked)
    }

    /// Sends the next request to a member, or looks for the reply to the last one.
    pub fn turn(&mut self, world: &mut World, at: usize) -> Result<(), Fault> {
        if let Some(open) = &mut self.open {
            let outcome = match open.asked.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Closed) => None,
            };
            let Open { what, acked, .. } = self.open.take().expect("it is open");
            return self.replied(what, acked, outcome);
        }
        let chat = &self.chat;
        let drawn = world.random.below(8);
        let (what, kind, arguments) = match drawn {
            _ if !self.is_made => {
                let make =
                    json!({"id": chat, "creator_id": "a", "type": 2, "user_ids": ["a", "b"]});
                (What::Make, Kind::Create, make)
            }
            0..3 => {
                let to = self.most + 1;
                (What::Advance(to), Kind::Advance, json!({"chat_id": chat, "to": to}))
            }
            3 => (What::Allocate, Kind::Advance, json!({"chat_id": chat, "allocate": 1})),
            4 => (What::Delete, Kind::Delete, json!({"user_id": "b", "ids": [chat]})),
            _ => (What::Look, Kind::Detail, json!({"ids": [chat]})),
        };
        if let Some(asked) = world.ask(at, kind, arguments) {
            match what {
                What::Advance(to) => self.most = self.most.max(to),
                What::Allocate => self.most += 1,
                What::Make | What::Delete | What::Look => {}
            }
            self.open = Some(Open { asked, what, acked: self.acked });
        }
        Ok(())
    }

    fn replied(&mut self, what: What, acked: u64, outcome: Option<Outcome>) -> Result<(), Fault> {
        let is_known = outcome.as_ref().is_some_and(|outcome| {
            outcome.as_ref().err().is_none_or(|error| !error.is_outcome_unknown())
        });
        self.unknown += u64::from(!is_known);
        let Some(Ok(reply)) = outcome else { return Ok(()) };
        self.replied += 1;
        match (what, reply) {
            (What::Make, Reply::Create(_)) => self.is_made = true,
            (What::Advance(_) | What::Allocate, Reply::Advance(reply)) => {
                let reply = serde_json::to_value(&reply).unwrap();
                let last = reply["last_sequence"].as_u64().unwrap_or(0);
                if last < acked {
                    return Err(format!("{} is at {last} and was at {acked}", self.chat));
                }
                let first = reply["first_sequence"].as_u64();
                if let (What::Allocate, Some(first)) = (what, first)
                    && first <= acked
                {
                    return Err(format!("{} gave {first} again, after {acked}", self.chat));
                }
                self.acked = self.acked.max(last);
            }
            (What::Delete, Reply::Delete(())) => {}
            (What::Look, Reply::Detail(reply)) => {
                let reply = serde_json::to_value(&reply).unwrap();
                let last = reply["items"][0]["last_sequence"].as_u64().unwrap_or(0);
                if last < acked || last > self.most {
                    let (chat, most) = (&self.chat, self.most);
                    return Err(format!("{chat} shows {last}: {acked} was promised, {most} asked"));
                }
            }
            (what, reply) => return Err(format!("{what:?} got {reply:?}")),
        }
        Ok(())
    }
}

pub fn faults(random: &mut Random) -> SimFaults {
    let mut some = |most: u64| u16::try_from(random.below(most)).unwrap();
    SimFaults {
        lost_requests: some(60),
        doubled_requests: some(60),
        lost_replies: some(60),
        doubled_replies: some(60),
        unknown_replies: some(60),
        late_ones: some(30),
        delay: Duration::from_millis(1 + u64::from(some(8))),
        late: Duration::from_millis(50 + u64::from(some(500))),
        bad_follows: some(200),
    }
}

/// Something happens to a member or to its network.
pub fn mishap(world: &mut World) {
    let at = usize::try_from(world.random.below(MEMBERS as u64)).unwrap();
    let later = |world: &mut World, most: u64| {
        world.now() + Duration::from_millis(world.random.below(most))
    };
    let node = u32::try_from(at).unwrap();
    match world.random.below(13) {
        0 => {
            let until = later(world, 1500);
            world.kill(at, false, until);
        }
        1 => {
            let until = later(world, 1500);
            world.kill(at, true, until);
        }
        2 | 3 => {
            // It stands still, and knows nothing of it.
            let until = later(world, 1500);
            let member = &mut world.members[at];
            member.until = member.until.max(until);
        }
        4 => {
            let (requests, replies) = (world.one_in(2), world.one_in(2));
            world.server.engine.cut(node, requests, replies);
        }
        5 | 6 => world.server.engine.cut(node, false, false),
        7 => {
            let until = later(world, 800);
            world.server.engine.stall(node, until);
        }
        8 if world.members[at].life.is_some() => {
            let room = world.random.below(3000);
            world.members[at].is_disk_bad = true;
            match world.random.below(4) {
                0 => world.disk(at).displace(true),
                1 => world.disk(at).fail_sync(1 + room % 8),
                _ => world.disk(at).full_after(room),
            }
        }
        9 | 10 => world.heal_disk(at),
        11 => {
            let set_ms = i64::try_from(world.random.below(1_200_000)).unwrap() - 600_000;
            world.set_clock(at, set_ms);
        }
        _ => match world.one_in(2) {
            true => world.begin_image(at),
            false => world.server.engine.restart(),
        },
    }
}

/// How often things happened.
#[derive(Default)]
pub struct Counts {
    takeovers: u64,
    trims: u64,
    begun_at_base: u64,
    handovers: u64,
    /// Reads that a standby replied to.
    stale_reads: u64,
    /// Changes that a standby showed to watchers.
    watched: u64,
    compared: u64,
}

/// Plays one seed.
pub fn play(seed: u64) -> Result<Counts, Fault> {
    let mut random = Random::new(seed ^ 0x006d_656d_6265_7273);
    let mut world = World::new(seed, faults(&mut random));
    world.confirms_reads = seed % 3 == 2;
    let mut clients: Vec<Client> = (0..CHATS).map(Client::new).collect();
    let (mut crowds, mut operator) = (Crowds::default(), Operator::default());
    let mut readers: Vec<Reader> = (0..READERS).map(Reader::new).collect();
    let mut hoppers: Vec<Hopper> = (0..WATCHERS).map(|_| Hopper::default()).collect();
    let (mut promises, mut stale_reads) = (Promises::default(), 0);
    let mishaps = 200 + random.below(2000);
    for _ in 0..STEPS {
        world.step()?;
        if world.one_in(mishaps) {
            mishap(&mut world);
        }
        if world.one_in(3) {
            let client = usize::try_from(world.random.below(CHATS as u64)).unwrap();
            let at = usize::try_from(world.random.below(MEMBERS as u64)).unwrap();
            let client = &mut clients[client];
            client.turn(&mut world, at)?;
            promises.note(world.now(), &client.chat, client.acked);
        }
        if world.one_in(4) {
            let reader = usize::try_from(world.random.below(READERS as u64)).unwrap();
            stale_reads += u64::from(readers[reader].turn(&mut world, &promises)?);
        }
        if world.one_in(10) {
            let hopper = usize::try_from(world.random.below(WATCHERS as u64)).unwrap();
            hoppers[hopper].turn(&mut world)?;
        }
        let at = usize::try_from(world.random.below(MEMBERS as u64)).unwrap();
        crowds.turn(&mut world, at);
        operator.turn(&mut world, at);
    }
    rest(&mut world, &mut clients, &crowds)?;
    for _ in 0..STEPS_OF_WATCHERS {
        world.step()?;
        hoppers.iter_mut().try_for_each(|hopper| hopper.turn(&mut world))?;
    }
    hoppers.iter().try_for_each(|hopper| hopper.check(&world))?;
    let trims = world.members.iter().map(|member| member.figures.trims()).sum();
    Ok(Counts {
        takeovers: world.takeovers,
        trims,
        begun_at_base: world.begun_at_base,
        handovers: operator.done,
        stale_reads,
        watched: hoppers.iter().map(|hopper| hopper.of_standbys).sum(),
        compared: world.members.iter().map(|member| member.probes.compared()).sum(),
    })
}

/// Heals everything, and compares the members when nothing is under way.
pub fn rest(world: &mut World, clients: &mut [Client], crowds: &Crowds) -> Result<(), Fault> {
    world
        .server
        .engine
        .set_faults(SimFaults { delay: Duration::from_millis(1), ..SimFaults::default() });
    for at in 0..MEMBERS {
        world.heal_disk(at);
        world.server.engine.cut(u32::try_from(at).unwrap(), false, false);
        world.server.engine.stall(u32::try_from(at).unwrap(), Duration::ZERO);
        world.wake(at);
    }
    for _ in 0..STEPS_TO_REST {
        world.step()?;
        if is_at_rest(world) {
            break;
        }
    }
    if !is_at_rest(world) {
        return Err(format!("the members do not come to rest: {}", told(world)));
    }
    check_times(world)?;
    let mut exports = Vec::new();
    for at in 0..MEMBERS {
        exports.push(export(world, at)?);
    }
    if exports.iter().any(|other| *other != exports[0]) {
        return Err(format!("the members differ: {exports:#?}"));
    }
    let chats: Vec<Value> =
        exports[0].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    if let Some(chat) = crowds.missing(&chats) {
        return Err(format!("{chat} is gone, and was promised"));
    }
    for client in clients {
        let own = chats.iter().find(|line| line["id"] == client.chat.as_str());
        let last = own.and_then(|line| line["last_sequence"].as_u64()).unwrap_or(0);
        if client.is_made && own.is_none() || last < client.acked {
            let (chat, acked) = (&client.chat, client.acked);
            return Err(format!("{chat} ends at {last}, and {acked} was promised"));
        }
    }
    let active = active(world).expect("one is the active");
    let stats = serde_json::to_value(wait(world, active, Kind::Stats, json!({}))?).unwrap();
    if stats["outbox"] != 0 {
        return Err(format!("{} deliveries are left", stats["outbox"]));
    }
    let verified = wait(world, active, Kind::Verify, json!({}))?;
    let verified = serde_json::to_value(verified).unwrap();
    if verified["differences"] != 0 {
        return Err(format!("verify: {verified}"));
    }
    Ok(())
}

/// The times at which the members decided never go back, whoever was the active.
pub fn check_times(world: &World) -> Result<(), Fault> {
    let mut newest = 0;
    for entry in world.server.engine.history() {
        let time = JournalEntry::decode(&entry.bytes).unwrap().header.time_ms;
        if time < newest {
            return Err(format!("entry {} goes back from {newest} to {time}", entry.seq));
        }
        newest = time;
    }
    Ok(())
}

fn active(world: &World) -> Option<usize> {
    (0..MEMBERS).find(|at| world.may_reply(*at))
}

/// One member is the active, the others have all of its records, and no core has anything to do. The
/// engine keeps no more than it should.
fn is_at_rest(world: &World) -> bool {
    let Some(active) = active(world) else { return false };
    let lives: Option<Vec<_>> = world.members.iter().map(|member| member.life.as_ref()).collect();
    let Some(lives) = lives else { return false };
    let log = |at: usize| &lives[at].info.log;
    let end = log(active).tail();
    world.kept_bytes() <= world.trim.bytes_max
        && lives.iter().all(|life| {
            let log = &life.info.log;
            let is_level = log.tail() == end && log.reached() == end && log.durable() == end;
            is_level && life.is_idle()
        })
        && lives.iter().enumerate().all(|(at, life)| {
            let due = if at == active { MemberRole::Active } else { MemberRole::Standby };
            life.member.role() == due
        })
}

pub fn told(world: &World) -> String {
    let member = |at: usize| match &world.members[at].life {
        None => "down".to_owned(),
        Some(life) => format!(
            "{} tail {} reached {} durable {} {:?}",
            life.member.role().name(),
            life.info.log.tail(),
            life.info.log.reached(),
            life.info.log.durable(),
            life.member.failure()
        ),
    };
    let members = (0..MEMBERS).map(member).collect::<Vec<_>>().join("; ");
    format!("{members}; the engine keeps {} bytes", world.kept_bytes())
}

fn wait(world: &mut World, at: usize, kind: Kind, arguments: Value) -> Result<Reply, Fault> {
    let mut asked = world.ask_anybody(at, kind, arguments);
    for _ in 0..STEPS_TO_REST {
        match asked.try_recv() {
            Ok(outcome) => return outcome.map_err(|error| error.to_string()),
            Err(TryRecvError::Empty) => world.step()?,
            Err(TryRecvError::Closed) => break,
        }
    }
    Err(format!("member {at} does not reply to {}", kind.name()))
}

/// Everything that a member has, one line for each chat and row, in order.
fn export(world: &mut World, at: usize) -> Result<Vec<String>, Fault> {
    let (mut lines, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let page = wait(world, at, Kind::Export, json!({"cursor": cursor}))?;
        let mut page = serde_json::to_value(page).unwrap();
        for part in ["chats", "members"] {
            lines.extend(page[part].as_array().unwrap().iter().map(Value::to_string));
        }
        cursor = page["next_cursor"].take();
        if cursor.is_null() {
            lines.sort();
            return Ok(lines);
        }
    }
}

#[test]
fn three_members_keep_their_promises_whatever_happens() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match (number("CHATSHARD_MEMBERS_SEED"), number("CHATSHARD_MEMBERS_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(seeds)) => {
            let first = getrandom::u64().unwrap() >> 1;
            first..first + seeds
        }
        (None, None) => 0..SEEDS,
    };
    let mut all = Counts::default();
    for seed in seeds.clone() {
        let counts = play(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        all.takeovers += counts.takeovers;
        all.trims += counts.trims;
        all.begun_at_base += counts.begun_at_base;
        all.handovers += counts.handovers;
        all.stale_reads += counts.stale_reads;
        all.watched += counts.watched;
        all.compared += counts.compared;
    }
    let Counts { takeovers, trims, begun_at_base, handovers, stale_reads, watched, compared } = all;
    println!(
        "{takeovers} takeovers, {handovers} of them planned, {trims} trims, {begun_at_base} at the \
         base, {stale_reads} reads and {watched} changes of standbys, {compared} digests compared in \
         {seeds:?}"
    );
    let count = seeds.end - seeds.start;
    assert!(takeovers > count, "the members hardly ever take over");
    assert!(handovers > count, "the active hardly ever hands over");
    assert!(trims > 5 * count, "the journal is hardly ever trimmed");
    assert!(begun_at_base > count, "hardly any life begins at the base");
    assert!(stale_reads > 20 * count, "standbys hardly ever reply to reads");
    assert!(watched > 20 * count, "watchers hardly ever get a change from a standby");
    assert!(compared > 20 * count, "digests are hardly ever compared");
}
