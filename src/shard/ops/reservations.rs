//! Reservations: a request that several shards decide reserves its idempotency key first.

use crate::shard::idempotency::{Reservation, Reserving};
use crate::shard::keyed::Keyed;
use crate::shard::machine::{Remembered, Shard};
use crate::shard::op::{Answer, Output, Step};

/// Reserves the key of a request whose parts follow. A repeat of the request gets the first
/// reservation.
pub fn reserve(shard: &mut Shard, reserving: &Reserving, out: &mut Output) -> Step {
    let keyed = Keyed::of_reservation(reserving, shard.slots().hasher());
    let Keyed { slot, request, .. } = keyed;
    let number = match shard.remembered(&keyed) {
        Ok(Some(Remembered::Reservation(number))) => number,
        Ok(None) => shard.keep_reservation(keyed, out),
        Ok(Some(Remembered::Reply(_))) => return Step::Done(Err(Keyed::another_request())),
        Err(error) => return Step::Done(Err(error)),
    };
    Step::Part(Answer::Reserved(Reservation { slot, number, request }))
}
