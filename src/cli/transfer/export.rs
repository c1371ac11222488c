//! `export`: requests the next page from the server while it writes the previous one.

use std::time::Instant;

use super::line::Line;
use super::{ExportArgs, LineCounts, progress};
use crate::cli::Failure;
use crate::cli::failure::tell;
use crate::cli::progress::Progress;
use crate::cli::result_file::ResultFile;
use crate::command::export::{Export, ExportReply};
use crate::command::stats::Stats;
use crate::command::{Call, Reply};

/// Exports all chats and members of a server to a file.
pub async fn run(args: ExportArgs) -> Result<(), Failure> {
    let client = args.connection.open().await?;
    let output = ResultFile::create(&args.file)?;
    let expected = match client.call(Stats {}.into()).await {
        Ok(Reply::Stats(stats)) => Some(stats.chats + stats.dissolved + stats.memberships),
        // The bar then has no length: `stats` was refused, but `export` may still be allowed.
        _ => None,
    };
    let bar = progress(expected, false);
    let started = Instant::now();
    let done = export(client, output, &bar).await;
    bar.clear();
    tell(format_args!("{}", done?.summary("exported", started)));
    Ok(())
}

/// Writes all pages to `output`. Finishes it only if every page arrived, so that no incomplete file
/// appears.
pub async fn export<C: Call>(
    client: C,
    mut output: ResultFile,
    bar: &Progress,
) -> Result<LineCounts, Failure> {
    let mut counts = LineCounts::default();
    let mut page = fetch(client.clone(), None).await?;
    loop {
        let cursor = page.next_cursor.take();
        let next = cursor.map(|cursor| tokio::spawn(fetch(client.clone(), Some(cursor))));
        let written = write_page(page, &mut output)?;
        counts.add(written);
        bar.add(written.lines());
        let Some(next) = next else { break };
        page = next.await.map_err(|error| Failure::new(error.to_string()))??;
    }
    output.finish()?;
    Ok(counts)
}

async fn fetch<C: Call>(client: C, cursor: Option<String>) -> Result<ExportReply, Failure> {
    match client.call(Export { cursor, limit: None }.into()).await? {
        Reply::Export(page) => Ok(page),
        _ => Err(Failure::new("the server answered another command")),
    }
}

/// Writes the chats of a page before its members, because `import` needs that order.
fn write_page(page: ExportReply, output: &mut ResultFile) -> Result<LineCounts, Failure> {
    let counts = LineCounts {
        chats: u64::try_from(page.chats.len()).unwrap_or(u64::MAX),
        members: u64::try_from(page.members.len()).unwrap_or(u64::MAX),
    };
    let chats = page.chats.into_iter().map(Line::Chat);
    for line in chats.chain(page.members.into_iter().map(Line::Member)) {
        serde_json::to_writer(&mut *output.buffer(), &line)
            .map_err(|error| Failure::new(error.to_string()))?;
        output.buffer().push(b'\n');
        output.flush_if_full()?;
    }
    Ok(counts)
}
