//! Tables of commands and replies, and the transcripts.

mod transcripts;
