//! `cluster` and `handover`: the members of a journal, and how the active gives its place away.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::query::{Format, ask, table, unexpected};
use super::result_file::{print, print_json};
use super::{ConnectArgs, Failure};
use crate::command::Reply;
use crate::command::cluster::{Cluster, ClusterMember, ClusterReply};
use crate::command::handover::{Handover, HandoverReply};

/// Arguments of `cluster`: only the format and the server.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// The format of the output.
    #[command(flatten)]
    pub format: Format,
    /// The server to ask.
    #[command(flatten)]
    pub connection: ConnectArgs,
}

/// Prints the members, and how old this is.
pub async fn run(args: ClusterArgs) -> Result<(), Failure> {
    let client = args.connection.open().await?;
    let reply = ask(&args.connection, &client, Cluster {}).await?;
    let Reply::Cluster(reply) = reply else { return Err(unexpected()) };
    if args.format.is_json() { print_json(&reply) } else { print(&as_text(&reply)) }
}

/// Arguments of `handover`: who is to follow.
#[derive(Debug, Args)]
pub struct HandoverArgs {
    /// Name of the standby that claims first, as `cluster` shows it [default: any]
    #[arg(long, value_name = "NAME")]
    pub to: Option<String>,
    /// The format of the output.
    #[command(flatten)]
    pub format: Format,
    /// The members to ask.
    #[command(flatten)]
    pub connection: ConnectArgs,
}

/// How long a handover waits for the claim of the next active.
const CLAIM_PATIENCE: Duration = Duration::from_secs(10);

/// Asks the active to hand over, and prints where its stint has ended and who follows.
pub async fn hand_over(args: HandoverArgs) -> Result<(), Failure> {
    let client = args.connection.open().await?;
    let active = client.active().await.map_err(|error| args.connection.failure(&error))?;
    // The request may be sent again, to another member: then it must not end the stint of that one.
    let epoch = Some(active.epoch).filter(|epoch| *epoch > 0);
    let handover = Handover { to: args.to.clone(), epoch };
    let reply = ask(&args.connection, &client, handover).await?;
    let Reply::Handover(reply) = reply else { return Err(unexpected()) };
    let HandoverReply { epoch, last_lsn } = reply;
    let Some(next) = client.next_active(epoch, CLAIM_PATIENCE).await else {
        return Err(Failure::new(format!(
            "epoch {epoch} has ended with LSN {last_lsn}, and no member has claimed within {} s; \
             /readyz of each says why",
            CLAIM_PATIENCE.as_secs()
        )));
    };
    let next = if next.member.is_empty() { next.address } else { next.member };
    if args.format.is_json() {
        return print_json(&json!({ "epoch": epoch, "last_lsn": last_lsn, "next": next }));
    }
    print(&format!("epoch {epoch} has ended with LSN {last_lsn}; {next} is the active now"))
}

fn as_text(reply: &ClusterReply) -> String {
    if reply.members.is_empty() {
        return "this node has no journal".to_owned();
    }
    let header = ["member", "role", "address", "version", "lsn", "lag", "durable lsn", "heard"];
    let mut table = table(&header);
    for member in &reply.members {
        let ClusterMember { member: name, role, address, version, .. } = member;
        table.add_row([
            name.clone(),
            role.clone(),
            address.clone(),
            version.clone().unwrap_or_else(unknown),
            number(member.lsn),
            number(member.lag),
            number(member.durable_lsn),
            member.heard_ms.map_or_else(unknown, |ms| format!("{} s ago", ms / 1000)),
        ]);
    }
    let source = match reply.age_ms {
        Some(0) => "from the active".to_owned(),
        Some(ms) => format!("from a standby that heard of it {} s ago", ms / 1000),
        None => "from a standby that has not heard from the active".to_owned(),
    };
    let mut text = format!("{table}\nepoch {}, {source}", reply.epoch);
    for ClusterMember { member, disk, .. } in &reply.members {
        if let Some(why) = disk {
            text.push_str(&format!("\nThe disk of {member} takes nothing: {why}"));
        }
    }
    if let Some(why) = &reply.no_claim {
        text.push_str(&format!("\nThis node waits: {why}"));
    }
    text
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(unknown, |number| number.to_string())
}

fn unknown() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_shown_as_zero() {
        let known = ClusterMember {
            member: "m1".into(),
            role: "active".into(),
            lsn: Some(7),
            lag: Some(0),
            heard_ms: Some(1999),
            ..ClusterMember::default()
        };
        let other = ClusterMember { member: "m2".into(), ..ClusterMember::default() };
        let reply = ClusterReply {
            members: vec![known, other],
            epoch: 3,
            age_ms: Some(0),
            ..ClusterReply::default()
        };
        let text = as_text(&reply);
        let row = |name: &str| {
            let line = text.lines().find(|line| line.contains(name)).unwrap();
            line.split(['│', '┆']).map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(row("m1")[1..9], ["m1", "active", "", "-", "7", "0", "-", "1 s ago"]);
        assert_eq!(row("m2")[4..9], ["-", "-", "-", "-", "-"]);
        assert!(text.ends_with("epoch 3, from the active"), "{text}");
        let mut full = reply.clone();
        full.members[1].disk = Some("it is full".into());
        assert!(as_text(&full).ends_with("\nThe disk of m2 takes nothing: it is full"));
        let waiting = ClusterReply { no_claim: Some("it is alone".into()), ..reply };
        assert!(as_text(&waiting).ends_with("This node waits: it is alone"));
        assert_eq!(as_text(&ClusterReply::default()), "this node has no journal");
    }
}
