//! The stream of changes (`watch` and `cancel`): complete, in order, resumable, and no burden to
//! other clients.

mod kept;
mod manners;
mod many;
mod ops;
mod resume;
mod ring;
mod tools;
