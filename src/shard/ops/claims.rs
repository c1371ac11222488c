//! Claims: a request that several shards decide takes its idempotency key first.

use crate::shard::core::{Core, Remembered};
use crate::shard::idempotency::{Claim, Claiming};
use crate::shard::keyed::Keyed;
use crate::shard::op::{Answer, Output, Step};

/// Takes a key for a request whose parts follow. A repeat of the request gets the first
/// claim.
pub fn claim(core: &mut Core, claiming: &Claiming, out: &mut Output) -> Step {
    let keyed = Keyed::of_claim(claiming, core.slots().hasher());
    let Keyed { slot, request, .. } = keyed;
    let number = match core.remembered(&keyed) {
        Ok(Some(Remembered::Claim(number))) => number,
        Ok(None) => core.keep_claim(keyed, out),
        Ok(Some(Remembered::Reply(_))) => return Step::Done(Err(Keyed::another_request())),
        Err(error) => return Step::Done(Err(error)),
    };
    Step::Part(Answer::Claimed(Claim { slot, number, request }))
}
