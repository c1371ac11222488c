//! `schema`: prints the protocol as JSON, from which clients are generated.

use super::Failure;
use super::result_file::print;
use crate::command::schema::Protocol;

/// Prints the protocol of this build, with a line for each value.
pub fn run() -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&Protocol::of_this_build());
    print(&text.map_err(|error| Failure::new(error.to_string()))?)
}
