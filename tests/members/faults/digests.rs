//! One member of three makes another state out of the same records: it is found, and it alone copies
//! the data of another member or hands over. This needs the feature `planted-faults`.

use std::time::Duration;

use chatshard::command::Kind;
use chatshard::journal::sim::SimFaults;
use chatshard::node::membership::MemberRole;
use serde_json::json;
use snapshot::Planted;
use snapshot::planted::plant;

use super::super::history::{Client, told};
use super::super::world::{MEMBERS, World};

const STEPS: usize = 200_000;

/// Three members on a network without faults, of which this one alters what it replays.
fn with_victim(seed: u64, victim: usize) -> World {
    let delay = Duration::from_millis(1);
    let mut world = World::new(seed, SimFaults { delay, ..SimFaults::default() });
    world.may_differ = true;
    world.planted = Some((victim, Planted::ReplayAlters));
    world
}

/// Plays with a client that writes until it is so. Returns whether it came to that.
fn until(world: &mut World, client: &mut Client, is_so: impl Fn(&World) -> bool) -> bool {
    for _ in 0..STEPS {
        world.step().unwrap();
        let at = usize::try_from(world.random.below(MEMBERS as u64)).unwrap();
        client.turn(world, at).unwrap();
        if is_so(world) {
            return true;
        }
    }
    false
}

fn active(world: &World) -> Option<usize> {
    (0..MEMBERS).find(|at| world.may_reply(*at))
}

/// Lets this member become the active.
fn until_active(world: &mut World, client: &mut Client, wanted: usize) {
    for _ in 0..50 {
        if until(world, client, |world| active(world).is_some()) && active(world) == Some(wanted) {
            return;
        }
        if let Some(at) = active(world) {
            drop(world.ask(at, Kind::Handover, json!({"to": format!("m{wanted}")})));
        }
        until(world, client, |world| active(world) == Some(wanted));
    }
    panic!("m{wanted} does not become the active");
}

#[test]
fn a_standby_that_is_alone_with_its_data_copies_that_of_another_one() {
    for seed in 0..6 {
        let mut world = with_victim(seed, 1);
        let mut client = Client::new(0);
        world.is_probed = false;
        until_active(&mut world, &mut client, 0);
        world.is_probed = true;
        let has_copied = |world: &World| !world.copies.is_empty();
        assert!(until(&mut world, &mut client, has_copied), "seed {seed}");
        assert_eq!(world.copies, [1], "seed {seed}");
        assert!(world.members[1].probes.differences() > 0);
        assert_eq!(world.members[2].probes.differences(), 0);
        // Here nothing is copied, and the fault stays. It does not copy again and again.
        let has_failed = |world: &World| {
            world.members[1].life.as_ref().is_some_and(|life| life.member.failure().is_some())
        };
        assert!(until(&mut world, &mut client, has_failed), "seed {seed}");
        assert_eq!(world.copies, [1], "seed {seed}");
        plant(None);
    }
}

#[test]
fn an_active_whose_data_no_standby_has_hands_over_and_recovers() {
    for seed in 0..6 {
        let mut world = with_victim(seed, 1);
        let mut client = Client::new(0);
        world.is_probed = false;
        until_active(&mut world, &mut client, 0);
        // The next message to a chat would set its time right again.
        let mut other = Client::new(1);
        while other.replied < 20 {
            until(&mut world, &mut other, |_| true);
        }
        until_active(&mut world, &mut client, 1);
        world.planted = None;
        plant(None);
        let differences = |world: &World, at: usize| world.members[at].probes.differences();
        assert_eq!([0, 1, 2].map(|at| differences(&world, at)), [0; 3]);
        world.is_probed = true;
        let is_replaced = |world: &World| active(world).is_some_and(|at| at != 1);
        assert!(until(&mut world, &mut client, is_replaced), "seed {seed}: {}", told(&world));
        assert!(differences(&world, 0) > 0 && differences(&world, 2) > 0, "seed {seed}");
        // It comes back with what its disk has, which is right.
        let is_back = |world: &World| {
            let life = world.members[1].life.as_ref();
            life.is_some_and(|life| life.member.role() == MemberRole::Standby)
                && world.members[1].probes.compared() > 20
        };
        assert!(until(&mut world, &mut client, is_back), "seed {seed}: {}", told(&world));
        assert_eq!(world.copies, [0_usize; 0], "seed {seed}");
    }
}
