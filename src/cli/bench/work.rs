//! The work of a run: requests of one kind, or a mix of them like that of a chat backend.

use clap::ValueEnum;

use super::super::generate::random::Random;
use super::data::{CHATS_A_USER, Data, ROWS_MARKED, sequence_now};
use super::draw::{KeyDraw, Keys};

/// What a run asks of the server, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Details of one chat for one of its members
    Detail1,
    /// Details of 20 chats of one user
    Detail20,
    /// A user's list of 50 rows
    List50,
    /// Hand out the next sequence of a chat
    Advance,
    /// Raise a read position
    #[value(name = "mark_read")]
    MarkRead,
    /// 40 % list50, 30 % detail20, 15 % advance, 14 % mark_read, 1 % delete
    Mixed,
}

impl Workload {
    /// The name of the work on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Detail1 => "detail1",
            Self::Detail20 => "detail20",
            Self::List50 => "list50",
            Self::Advance => "advance",
            Self::MarkRead => "mark_read",
            Self::Mixed => "mixed",
        }
    }
}

/// One request of the load, with chats and users as numbers of [`super::data`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadRequest {
    /// A list of all rows of a user.
    List {
        /// The number of the user whose rows are listed.
        user: u64,
    },
    /// Details of some of a user's chats.
    Detail {
        /// The number of the user who looks at the chats.
        user: u64,
        /// The row of the first chat. The next rows follow; after the last one comes row 0.
        row: u64,
        /// How many chats the request names, from the first row on.
        count: u64,
    },
    /// An advance by one sequence.
    Advance {
        /// The number of the chat that advances.
        chat: u64,
    },
    /// A new read position of a user in one chat.
    MarkRead {
        /// The number of the user who has read.
        user: u64,
        /// The row of the chat in the user's list.
        row: u64,
        /// The new read position.
        seq: u64,
    },
    /// A delete of one chat from a user's list.
    Delete {
        /// The number of the user who deletes the chat.
        user: u64,
        /// The row of the chat in the user's list.
        row: u64,
    },
}

impl LoadRequest {
    /// Whether the request changes data, so that its latency counts among the writes.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Advance { .. } | Self::MarkRead { .. } | Self::Delete { .. })
    }
}

/// An endless stream of requests of one kind of work.
pub struct LoadRequests {
    work: Workload,
    users: KeyDraw,
    chats: KeyDraw,
    random: Random,
}

impl LoadRequests {
    /// Starts a stream. The same seed gives the same requests, except for read positions, which
    /// follow the clock.
    pub fn new(work: Workload, keys: Keys, data: &Data, seed: u64) -> Self {
        Self {
            work,
            users: KeyDraw::new(keys, data.users()),
            chats: KeyDraw::new(keys, data.chats()),
            random: Random::new(seed),
        }
    }

    /// Draws the next request.
    pub fn draw(&mut self) -> LoadRequest {
        match self.work {
            Workload::Detail1 => self.detail(1),
            Workload::Detail20 => self.detail(20),
            Workload::List50 => self.list(),
            Workload::Advance => self.advance(),
            Workload::MarkRead => self.mark_read(),
            Workload::Mixed => match self.random.below(100) {
                0..40 => self.list(),
                40..70 => self.detail(20),
                70..85 => self.advance(),
                85..99 => self.mark_read(),
                _ => self.delete(),
            },
        }
    }

    fn list(&mut self) -> LoadRequest {
        LoadRequest::List { user: self.users.next(&mut self.random) }
    }

    fn detail(&mut self, count: u64) -> LoadRequest {
        let user = self.users.next(&mut self.random);
        LoadRequest::Detail { user, row: self.random.below(CHATS_A_USER), count }
    }

    fn advance(&mut self) -> LoadRequest {
        LoadRequest::Advance { chat: self.chats.next(&mut self.random) }
    }

    fn mark_read(&mut self) -> LoadRequest {
        let user = self.users.next(&mut self.random);
        LoadRequest::MarkRead { user, row: self.random.below(ROWS_MARKED), seq: sequence_now() }
    }

    fn delete(&mut self) -> LoadRequest {
        let user = self.users.next(&mut self.random);
        LoadRequest::Delete {
            user,
            row: ROWS_MARKED + self.random.below(CHATS_A_USER - ROWS_MARKED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::data::DataArgs;

    #[test]
    fn the_mix_is_as_it_says() {
        let data = Data::new(DataArgs { chats: 1000, users: 20 }).unwrap();
        let mut asks = LoadRequests::new(Workload::Mixed, Keys::Uniform, &data, 1);
        let mut found = [0_u32; 5];
        for _ in 0..100_000 {
            let kind = match asks.draw() {
                LoadRequest::List { .. } => 0,
                LoadRequest::Detail { count, .. } => {
                    assert_eq!(count, 20);
                    1
                }
                LoadRequest::Advance { .. } => 2,
                LoadRequest::MarkRead { row, .. } => {
                    assert!(row < ROWS_MARKED);
                    3
                }
                LoadRequest::Delete { row, .. } => {
                    assert!((ROWS_MARKED..CHATS_A_USER).contains(&row));
                    4
                }
            };
            found[kind] += 1;
        }
        for (found, wanted) in found.into_iter().zip([40_000, 30_000, 15_000, 14_000, 1000]) {
            assert!(found.abs_diff(wanted) < 800, "{found} instead of {wanted}");
        }
    }
}
