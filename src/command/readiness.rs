//! What a node must be ready for, as `/readyz` is asked.

use std::time::Duration;

use super::Error;
use crate::limits::STALE_MS_MAX;

/// What whoever asks wants from a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyFor {
    /// Reads and writes: the active of a journal, or a node without one.
    Everything,
    /// Nothing of clients: a standby that is well is ready too.
    AnyRole,
    /// Reads from a state that is less than so old.
    StaleReads(Duration),
}

impl ReadyFor {
    /// What the query of `/readyz` asks for: nothing, `any`, or `stale_ms=N`.
    ///
    /// # Errors
    /// If N is not a number of ms that `hello` takes.
    pub fn of_query(query: Option<&str>) -> Result<Self, Error> {
        let Some(query) = query else { return Ok(Self::Everything) };
        match query.strip_prefix("stale_ms=") {
            Some(ms) => match ms.parse().ok().filter(|ms| (1..=STALE_MS_MAX).contains(ms)) {
                Some(ms) => Ok(Self::StaleReads(Duration::from_millis(ms))),
                None => Err(Error::invalid(format!("stale_ms: must be 1 to {STALE_MS_MAX}"))),
            },
            None if query == "any" => Ok(Self::AnyRole),
            None => Ok(Self::Everything),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_a_node_must_be_ready_for() {
        let ms = Duration::from_millis;
        for (query, wanted) in [
            (None, ReadyFor::Everything),
            (Some(""), ReadyFor::Everything),
            (Some("any"), ReadyFor::AnyRole),
            (Some("stale_ms=1"), ReadyFor::StaleReads(ms(1))),
            (Some("stale_ms=600000"), ReadyFor::StaleReads(ms(600_000))),
        ] {
            assert_eq!(ReadyFor::of_query(query), Ok(wanted), "{query:?}");
        }
        for wrong in ["stale_ms=", "stale_ms=0", "stale_ms=600001", "stale_ms=1s", "stale_ms=-1"] {
            let refused = ReadyFor::of_query(Some(wrong)).unwrap_err();
            assert_eq!(refused.message, "stale_ms: must be 1 to 600000", "{wrong}");
        }
    }
}
