//! Tables of commands and replies, and the transcripts.

mod command;
mod reply;
mod transcripts;
