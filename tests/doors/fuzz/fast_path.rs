//! A connection answers requests on the fast path from their bytes. The reply has the same bytes as
//! one by way of a command, and both ways leave the same log and the same state.
//!
//! Input: frames, as a connection sends them.

use bytes::BytesMut;
use chatshard::command::advance::AdvanceReply;
use chatshard::command::mark_read::MarkReadReply;
use chatshard::command::{Command, Error};
use chatshard::limits::REQUEST_BYTES_MAX;
use chatshard::protocol::fast_path::{self, PlainCommand, PlainRequest};
use chatshard::protocol::{decode_request, encode_error, encode_reply, frame};
use chatshard::types::KeyHasher;

use crate::common::SimNode;

const HASHER: KeyHasher = KeyHasher::new(7);
/// Most requests of an input.
const REQUESTS_MAX: usize = 64;

/// Compares replies on the fast path with those of commands.
pub fn run(input: &[u8]) {
    let mut stream = input;
    let (mut plain, mut quick) = (SimNode::new(1, HASHER.seed()), SimNode::new(1, HASHER.seed()));
    for _ in 0..REQUESTS_MAX {
        let Ok(Some(payload)) = frame::first(stream, REQUEST_BYTES_MAX) else { break };
        stream = &stream[frame::HEADER_BYTES + payload.len()..];
        let Ok(request) = decode_request(payload) else { continue };
        if is_of_the_node(&request.command) {
            continue;
        }
        let expected = answered(&mut plain, request.id, request.command.clone());
        let answer = fast_path::read(payload, HASHER)
            .and_then(|request| run_fast(&mut quick, request))
            .unwrap_or_else(|| answered(&mut quick, request.id, request.command.clone()));
        assert_eq!(answer, expected, "{:?}", request.command);
        // Deliveries may finish in any order, and then the logs are compared.
        plain.settle();
        quick.settle();
    }
    assert_eq!(quick.log(), plain.log());
}

/// Commands that no core answers alone. `stats` counts requests that the fast path does not count,
/// and the others read every slot, which takes long.
fn is_of_the_node(command: &Command) -> bool {
    use Command::{Cancel, Export, Hello, Stats, Verify, Watch};
    matches!(command, Hello(_) | Watch(_) | Cancel(_) | Stats(_) | Export(_) | Verify(_))
}

fn answered(node: &mut SimNode, id: u64, command: Command) -> BytesMut {
    let mut out = BytesMut::new();
    encode_reply(id, &node.run(command), &mut out);
    out
}

/// A request on the fast path, as `node::worker::fast_path` answers it on a node of one shard.
fn run_fast(
    node: &mut SimNode,
    PlainRequest { id, command }: PlainRequest<'_>,
) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    let told = |result: Result<(), Error>, out: &mut BytesMut| {
        result.unwrap_or_else(|error| encode_error(id, &error, out));
    };
    node.at_shard(0, |shard, records| {
        match command {
            PlainCommand::List { user_id } => {
                fast_path::write_list(id, shard.read_list(user_id, fast_path::ROWS_MAX)?, &mut out);
            }
            PlainCommand::Detail { ids, user_id } => {
                shard.read_details(ids, user_id, |items| {
                    fast_path::write_detail(id, items, &mut out)
                })?;
            }
            PlainCommand::Advance(advance) => {
                let write = |reply: AdvanceReply| fast_path::write_advance(id, &reply, &mut out);
                let done = shard.fast_advance(advance, records)?.map(write);
                told(done, &mut out);
            }
            PlainCommand::MarkRead(read) => {
                let write = |reply: MarkReadReply| fast_path::write_mark_read(id, &reply, &mut out);
                let done = shard.fast_mark_read(read, records)?.map(write);
                told(done, &mut out);
            }
        }
        Some(())
    })?;
    Some(out)
}
