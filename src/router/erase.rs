//! `erase_user`: removes the user from a few chats at a time, in rounds. Then it searches all
//! shards for what is left of the user. The steps on shards are in [`crate::shard::machine`].

use std::collections::VecDeque;

use super::Sent;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use crate::command::erase_user::EraseUser;
use crate::command::{Error, Outcome};
use crate::shard::listing::UserRows;
use crate::shard::op::{Answer, Op, ReplyTo};
use crate::types::{ChatId, ShardId};

/// Most chats from which one operation removes the user.
const CHATS_A_STEP: usize = 64;
/// Most rounds of one command. Another round follows if the user was added to chats meanwhile.
const ROUNDS_MAX: u32 = 16;

/// An `erase_user` under way.
pub(super) struct Erasing {
    erase: EraseUser,
    memberships: u64,
    /// Groups of chats from which the user is still to be removed, each with their shard.
    left: VecDeque<(ShardId, Vec<ChatId>)>,
    /// The shard that is being searched for leftovers of the user; `None` until all rows are gone.
    swept: Option<ShardId>,
    rounds: u32,
}

impl Scatter {
    pub(super) fn scatter_erase(
        &self,
        entry: u64,
        erase: EraseUser,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let shard = self.shard_of_user(&erase.user_id);
        out.push((shard, self.reply_to(entry, 0), Op::EraseBegin(erase.clone())));
        Scattered::asked(Erasing {
            erase,
            memberships: 0,
            left: VecDeque::new(),
            swept: None,
            rounds: 0,
        })
    }

    /// The chats of the user's rows, in groups of one shard and at most [`CHATS_A_STEP`] chats.
    fn by_shard(&self, rows: &[UserRows]) -> VecDeque<(ShardId, Vec<ChatId>)> {
        let mut shards: Vec<Vec<ChatId>> = vec![Vec::new(); usize::from(self.shards.get())];
        for row in rows.iter().flat_map(|user| &user.chunks).flat_map(|chunk| chunk.iter()) {
            if let Some(ids) = shards.get_mut(self.shard_of_chat(&row.chat_id).index()) {
                ids.push(row.chat_id.clone());
            }
        }
        let groups = self.shards.all().zip(shards);
        groups
            .flat_map(|(shard, ids)| {
                ids.chunks(CHATS_A_STEP).map(|ids| (shard, ids.to_vec())).collect::<Vec<_>>()
            })
            .collect()
    }
}

impl Gather for Erasing {
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        let user_id = self.erase.user_id.clone();
        let mut ask = |shard, op| out.push((shard, scatter.reply_to(to.entry, 0), op));
        match answer {
            Answer::Rows(rows) => {
                self.rounds += 1;
                if self.rounds > ROUNDS_MAX {
                    return Some(Err(Error::outcome_unknown(
                        "the user is being added to chats all the time; try again",
                    )));
                }
                self.left = scatter.by_shard(&rows);
            }
            Answer::EraseMember(memberships) => self.memberships += memberships,
            Answer::EraseSweep(Some(next)) => {
                if let Some(shard) = self.swept {
                    ask(shard, Op::EraseSweep(user_id, next));
                    return None;
                }
                return Some(mixed_up());
            }
            Answer::EraseSweep(None) => {
                self.swept = self.swept.map(|shard| ShardId(shard.0 + 1));
                if let Some(shard) = self.swept.filter(|shard| shard.0 < scatter.shards.get()) {
                    ask(shard, Op::EraseSweep(user_id, 0));
                    return None;
                }
            }
            // Earlier rounds already removed memberships, so the error says that a part was
            // applied.
            Answer::Done(Err(error)) if self.rounds > 0 => return Some(Err(error.of_a_part())),
            Answer::Done(outcome) => return Some(outcome),
            _ => return Some(mixed_up()),
        }
        if let Some((shard, ids)) = self.left.pop_front() {
            ask(shard, Op::EraseMember(user_id, ids));
        } else if self.swept.is_none() {
            self.swept = Some(ShardId(0));
            ask(ShardId(0), Op::EraseSweep(user_id, 0));
        } else {
            let end = Op::EraseEnd(self.erase.clone(), self.memberships);
            ask(scatter.shard_of_user(&user_id), end);
        }
        None
    }
}
