//! Metrics of a member say what the engine does: whether it gives its word, and which entries count
//! for nobody. `broken_engine` has those of an engine that breaks its contract.

use std::time::Duration;

use chatshard::journal::engine::Condition;
use chatshard::journal::sim::SimFaults;

use super::cluster::{Cluster, Member, until};
use super::history::Client;
use super::world::{MEMBERS, World};

/// Steps until some appends have arrived twice.
const STEPS: u64 = 30_000;

async fn says(member: &Member, sample: &str) -> bool {
    member.get("/metrics").await.contains(&format!("chatshard_{sample}\n"))
}

#[tokio::test]
async fn the_state_of_the_journal_is_that_of_its_engine() {
    let cluster = Cluster::start();
    let active = cluster.member(1);
    active.until_active().await;
    assert!(says(&active, "journal_state{state=\"ok\"} 1").await);
    assert!(says(&active, "journal_state{state=\"silent\"} 0").await);
    let standby = cluster.member(2);
    until("a word of the engine", async || says(&standby, "journal_state{state=\"ok\"} 1").await)
        .await;
    for counter in ["journal_damage_total{from=\"nobody\"} 0", "journal_void_total 0"] {
        assert!(says(&active, counter).await && says(&standby, counter).await, "{counter}");
    }

    for node in [1, 2] {
        cluster.server.lock().unwrap().engine.cut(node, true, true);
    }
    for member in [&active, &standby] {
        until("silence", async || says(member, "journal_state{state=\"silent\"} 1").await).await;
        assert!(says(member, "journal_state{state=\"ok\"} 0").await);
    }
}

#[test]
fn entries_that_arrive_twice_are_void_and_counted() {
    // An engine without a condition takes the second copy of an append too.
    let faults = SimFaults {
        doubled_requests: 100,
        delay: Duration::from_millis(1),
        ..SimFaults::default()
    };
    let mut world = World::on(Condition::ReadBack, 1, faults);
    let mut clients: Vec<Client> = (0..3).map(Client::new).collect();
    for step in 0..STEPS {
        world.step().unwrap();
        let client = &mut clients[usize::try_from(step % 3).unwrap()];
        client.turn(&mut world, usize::try_from(step / 3).unwrap() % MEMBERS).unwrap();
    }
    let voids = world.members.iter().map(|member| member.figures.voids());
    let voids: Option<Vec<u64>> = voids.collect();
    println!("{voids:?} void entries");
    assert!(voids.unwrap().iter().all(|voids| *voids > 0));
    assert!(clients.iter().all(|client| client.replied > 20));
}
