//! Divides the file descriptors of the process among connections, log and snapshots.
//!
//! Invariants:
//! - The places of all doors and the reserve are together at most the limit of the process. So
//!   connections never use the descriptors that the log and snapshots need.
//! - The admin listener has places of its own, which no other door uses.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, info, warn};

use super::{ADMIN_CONNECTIONS_MAX, StartError};
use crate::admission::door::strangers_max;
use crate::config::Config;

/// Descriptors for the data directory, the listeners, and short uses such as rejected connections.
/// An idle server with one shard uses 20.
const RESERVE: usize = 48;
/// Descriptors that the async runtime of one core needs.
const RESERVE_A_SHARD: usize = 6;
/// Fewest places of a door. With fewer it would be of no use.
const PLACES_MIN: usize = 8;

/// How many connections a door accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    /// Most connections that have shown their credentials.
    pub(super) known: usize,
    /// Most strangers; they do not count among the others.
    pub(super) strangers: usize,
}

impl Places {
    /// The places of a door that has room for `max` connections with credentials.
    fn wanted(max: usize) -> Self {
        Self { known: max, strangers: strangers_max(max) }
    }

    /// The places of a door with at most `max` connections with credentials and at most
    /// `descriptors` in all.
    fn within(max: usize, descriptors: usize) -> Self {
        let wanted = Self::wanted(max);
        if wanted.descriptors() <= descriptors {
            return wanted;
        }
        // Strangers get a quarter as many places as the others, unless a bound on their number
        // applies.
        let strangers = strangers_max(descriptors / 5 * 4).min(descriptors / 2);
        Self { known: max.min(descriptors - strangers), strangers }
    }

    const fn descriptors(self) -> usize {
        self.known + self.strangers
    }
}

/// The places of all doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DescriptorPlan {
    /// The places of the TCP door. The HTTP door has as many.
    pub(super) door: Places,
    /// Places of the admin listener.
    pub(super) admin: Places,
}

impl DescriptorPlan {
    /// Divides `limit` descriptors among the doors. If they are too few, the error is the smallest
    /// limit that is enough.
    fn of(need: Need, limit: usize) -> Result<Self, usize> {
        let open_doors = need.doors + usize::from(need.admin);
        let least = need.reserve() + open_doors * PLACES_MIN;
        let mut left = limit.checked_sub(need.reserve()).filter(|_| limit >= least).ok_or(least)?;
        // The admin listener needs few descriptors: it gets at most a quarter.
        let admin = Places::within(ADMIN_CONNECTIONS_MAX, (left / 4).max(PLACES_MIN));
        if need.admin {
            left -= admin.descriptors();
        }
        Ok(Self { door: Places::within(need.connections_max, left / need.doors), admin })
    }
}

/// The parts of a configuration that need descriptors.
#[derive(Debug, Clone, Copy)]
struct Need {
    shards: usize,
    /// How many doors have `connections_max` places: TCP, and HTTP if it is on.
    doors: usize,
    admin: bool,
    connections_max: usize,
}

impl Need {
    const fn reserve(self) -> usize {
        RESERVE + RESERVE_A_SHARD * self.shards
    }

    /// How many descriptors the configuration needs to serve all the connections that it allows.
    fn wanted(self) -> usize {
        let admin =
            if self.admin { Places::wanted(ADMIN_CONNECTIONS_MAX).descriptors() } else { 0 };
        let doors = self.doors.saturating_mul(Places::wanted(self.connections_max).descriptors());
        doors.saturating_add(admin + self.reserve())
    }
}

/// Raises the process's limit of open files as far as the system allows and the doors need, and
/// divides it.
///
/// # Errors
/// If the limit leaves no places for connections.
pub(super) fn make_room(config: &Config) -> Result<DescriptorPlan, StartError> {
    let need = Need {
        shards: config.shards.all().count(),
        doors: 1 + usize::from(config.http.is_some()),
        admin: config.admin.is_some(),
        connections_max: config.connections_max,
    };
    let limit = raise(need.wanted());
    let plan = DescriptorPlan::of(need, limit)
        .map_err(|needed| StartError::Descriptors { limit, needed })?;
    if plan.door.known < need.connections_max {
        warn!(
            connections_max = need.connections_max,
            door_max = plan.door.known,
            limit,
            wanted = need.wanted(),
            "the limit of open files is too low for connections_max: each door takes at most \
             door_max connections; raise the limit (LimitNOFILE=, ulimit -n)"
        );
    } else {
        info!(limit, reserve = need.reserve(), "the limit of open files covers connections_max");
    }
    Ok(plan)
}

/// Raises the limit of open files to `wanted`, if it is lower. Returns the limit that then applies.
fn raise(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let as_count = |limit: Option<u64>| {
        limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    };
    let current = as_count(limit.current);
    if current >= wanted {
        return current;
    }
    let possible = wanted.min(as_count(limit.maximum));
    let raised = Rlimit { current: u64::try_from(possible).ok(), maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => {
            debug!(descriptors = possible, "the limit of open files was raised");
            possible
        }
        Err(error) => {
            warn!(%error, "the limit of open files could not be raised");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_places_and_the_reserve_fit_the_limit() {
        for (shards, connections_max) in [(1, 1), (2, 100), (8, 10_000), (64, 1_000_000)] {
            for (doors, admin) in [(1, false), (1, true), (2, false), (2, true)] {
                let need = Need { shards, doors, admin, connections_max };
                for limit in (0..600).chain([1024, 4096, 20_000, 1 << 20, usize::MAX]) {
                    let Ok(plan) = DescriptorPlan::of(need, limit) else { continue };
                    let admin = if admin { plan.admin.descriptors() } else { 0 };
                    let taken = doors * plan.door.descriptors() + admin;
                    assert!(taken + need.reserve() <= limit, "{need:?} {limit} {plan:?}");
                    for places in [plan.door, plan.admin] {
                        assert!(places.known > 0 && places.strangers > 0, "{limit} {plan:?}");
                    }
                    assert!(plan.door.known <= connections_max);
                    if limit >= need.wanted() {
                        assert_eq!(plan.door, Places::wanted(connections_max));
                    }
                }
            }
        }
    }

    #[test]
    fn a_limit_without_places_says_how_many_are_needed() {
        let need = Need { shards: 2, doors: 2, admin: true, connections_max: 10_000 };
        let needed = DescriptorPlan::of(need, 16).unwrap_err();
        assert!(
            DescriptorPlan::of(need, needed).is_ok()
                && DescriptorPlan::of(need, needed - 1).is_err()
        );
    }

    #[test]
    fn three_hundred_descriptors_are_enough_for_all_doors() {
        let need = Need { shards: 8, doors: 2, admin: true, connections_max: 10_000 };
        let plan = DescriptorPlan::of(need, 300).unwrap();
        assert!(plan.door.known >= 32 && plan.admin.known >= 16, "{plan:?}");
    }
}
