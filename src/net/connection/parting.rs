//! The end of a connection.
//!
//! The system resets a connection that is closed while bytes of the client are unread. A reset may
//! destroy the last reply, which gives the reason. So the connection ends its sending half first,
//! and then reads and discards the client's bytes for a while.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::BytesMut;

use super::Connection;

/// How long the server reads and discards what a client sends after its last reply.
const LINGER: Duration = Duration::from_secs(1);

impl Connection {
    /// Ends the connection after all of its replies were sent.
    pub(super) async fn part(mut self) -> io::Result<()> {
        self.stream.say_goodbye();
        self.stream.shut_down().await?;
        self.input = BytesMut::new();
        if self.stop.has_come() {
            self.stream.discard()?;
            return Ok(());
        }
        let Self { stream, guest, stop, .. } = &mut self;
        let closed = async {
            while stream.discard()? {
                stream.readable().await?;
            }
            Ok(())
        };
        tokio::select! {
            biased;
            closed = closed => closed,
            () = poll_fn(|context| guest.poll_evicted(context)) => Ok(()),
            () = stop.come() => Ok(()),
            () = tokio::time::sleep(LINGER) => Ok(()),
        }
    }
}
