//! Tables of commands and replies.

mod command;
mod reply;
