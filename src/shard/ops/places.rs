//! The join orders of imported rows, which are their places in the users' lists.
//!
//! Deliveries of several chats reach a user in any order. So each row gets its join order before
//! the first delivery is sent.

use std::iter::Peekable;

use crate::shard::machine::Slots;
use crate::shard::op::{Answer, Arrival, Arrivals};
use crate::shard::roster::Entry;

/// Chooses a join order for each row that an import brings. Changes nothing.
pub fn places(slots: &Slots, arrivals: &Arrivals) -> Answer {
    let users = arrivals.users.iter();
    Answer::Places(users.map(|arrival| places_of(slots, arrivals, arrival)).collect())
}

fn places_of(slots: &Slots, arrivals: &Arrivals, arrival: &Arrival) -> Vec<u64> {
    let lines: Vec<_> = arrival.lines.iter().filter_map(|at| arrivals.line(*at)).collect();
    let user = lines.first().and_then(|(line, _)| slots.find_user(&line.user_id));
    let stored = lines.iter().map(|(line, joins_again)| {
        let hash = slots.hash_of(line.chat_id.as_str());
        let row = user.filter(|_| !joins_again)?.rows.get(line.chat_id.as_str(), hash)?;
        Some(row.order())
    });
    let mut places: Vec<Option<u64>> = stored.collect();
    let new: Vec<Option<u64>> = lines
        .iter()
        .zip(&places)
        .filter_map(|((line, _), stored)| stored.is_none().then_some(line.join_order))
        .collect();
    let mut under_way = arrival.under_way.clone();
    under_way.sort_unstable();
    let behind = under_way.last().map_or(0, |last| last.saturating_add(1));
    let next = user.map_or(1, |user| user.head.next_order).max(behind);
    let first = new.iter().flatten().min();
    let rows = user.zip(first).map(|(user, first)| {
        let from = user.rows.iter_from(*first);
        from.map(Entry::order)
    });
    let taken = Taken(rows.into_iter().flatten().peekable(), under_way.into_iter().peekable());
    let mut found = find_places(&new, taken, next).into_iter();
    for place in places.iter_mut().filter(|place| place.is_none()) {
        *place = found.next();
    }
    places.into_iter().flatten().collect()
}

/// The join orders that are taken: by the user's rows, and by rows on their way. Both iterators
/// rise.
struct Taken<R: Iterator<Item = u64>, W: Iterator<Item = u64>>(Peekable<R>, Peekable<W>);

impl<R: Iterator<Item = u64>, W: Iterator<Item = u64>> Taken<R, W> {
    /// Whether a join order is taken. Each call must ask for a higher one than the call before.
    fn has(&mut self, place: u64) -> bool {
        while self.0.next_if(|taken| *taken < place).is_some() {}
        while self.1.next_if(|taken| *taken < place).is_some() {}
        self.0.peek() == Some(&place) || self.1.peek() == Some(&place)
    }
}

/// Chooses a join order for each row, in the order of the lines. A row whose line names one gets
/// it, or the next free one. Rows that name the same one follow each other in the order of their
/// lines. A row that names none comes behind all others, at `next` or later.
fn find_places(
    named: &[Option<u64>],
    mut taken: Taken<impl Iterator<Item = u64>, impl Iterator<Item = u64>>,
    next: u64,
) -> Vec<u64> {
    let mut by_place: Vec<(u64, usize)> =
        named.iter().enumerate().filter_map(|(line, place)| Some(((*place)?, line))).collect();
    by_place.sort_unstable();
    let mut places = vec![0; named.len()];
    let mut free = 0_u64;
    for (place, line) in by_place {
        free = free.max(place);
        while taken.has(free) {
            free = free.saturating_add(1);
        }
        if let Some(found) = places.get_mut(line) {
            *found = free;
        }
        free = free.saturating_add(1);
    }
    let behind =
        (free.max(next)..).zip(named.iter().zip(&mut places).filter(|(place, _)| place.is_none()));
    for (place, (_, found)) in behind {
        *found = place;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(named: &[Option<u64>], rows: &[u64], under_way: &[u64], next: u64) -> Vec<u64> {
        let taken = Taken(rows.iter().copied().peekable(), under_way.iter().copied().peekable());
        find_places(named, taken, next)
    }

    #[test]
    fn rows_without_a_place_come_behind_all_others() {
        assert_eq!(places(&[None, None], &[1, 2], &[], 3), [3, 4]);
        assert_eq!(places(&[None, Some(9), None], &[1, 2], &[], 3), [10, 9, 11]);
        assert_eq!(places(&[None, Some(2)], &[], &[], 7), [7, 2]);
    }

    #[test]
    fn of_equal_places_the_later_line_comes_later() {
        let five = Some(5);
        assert_eq!(places(&[five, five, Some(6), five], &[], &[], 1), [5, 6, 8, 7]);
        assert_eq!(places(&[Some(6), five], &[5, 7], &[6], 8), [9, 8]);
        assert_eq!(places(&[Some(0), Some(0)], &[], &[0], 1), [1, 2]);
    }
}
