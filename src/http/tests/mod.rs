//! The parts of the room by themselves; `session/tests.rs` plays whole connections.

mod admission;
mod head;
mod response;
mod target;
