//! Descriptors: each connection takes one, and many systems begin with fewer than the doors let in.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

use super::ADMIN_CONNECTIONS_MAX;
use crate::admission::door::strangers_max;

/// For listeners, files of the data directory and the runtimes of many cores.
const OTHERS: usize = 1024;

/// Raises the limit of this process, as far as the system lets it, to what the doors may need.
pub(super) fn make_room(connections_max: usize) {
    let places = |max| max + strangers_max(max);
    let wanted = 2 * places(connections_max) + places(ADMIN_CONNECTIONS_MAX) + OTHERS;
    let Ok(wanted) = u64::try_from(wanted) else { return };
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let possible = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = Rlimit { current: Some(possible), maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => debug!(descriptors = possible, "the limit of descriptors was raised"),
        Err(error) => warn!(%error, "the limit of descriptors could not be raised"),
    }
    if possible < wanted {
        warn!(
            possible,
            wanted,
            "the system gives fewer descriptors than connections_max needs for all doors; \
             connections beyond them wait"
        );
    }
}
