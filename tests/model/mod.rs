//! The model alone, for tests that compare something else with it. `tests/model.rs` plays stories
//! with it.

pub mod acts;
pub mod memory;
pub mod store;
pub mod views;
