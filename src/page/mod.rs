//! The pages of the inbox for people: what the server puts into them.
//!
//! # Theory of operation
//! A page is a [`shell`]: one document for the list and for a message, which the scripts among the
//! [`assets`](asset) fill with what the API says. For those who do not run scripts, the shell has a
//! place for a plain view of the same: a [`Listed`] or a [`Shown`]. All links are relative, so the
//! pages work below any prefix of a proxy.
//!
//! The HTML of a mail is a [`Document`] of its own. It is isolated, not cleaned: the response has a
//! policy under which a browser runs no script of it and loads nothing. Changed is only what the
//! policy does not do; see `document.rs`.
//!
//! # Invariants
//! - Nothing from a mail gets into a page of ours without [`Markup::text`], which leaves no
//!   character that means something in HTML.
//! - Time is linear in the length of the input, and memory has a limit.
//!
//! # Failures
//! None: every mail has some page.

mod assets;
mod charset;
mod document;
pub mod limits;
mod list;
mod login;
mod markup;
mod message;

#[cfg(test)]
mod tests;

pub use assets::{Asset, LogOut, asset, shell};
pub use document::{Document, Picture, Piece};
pub use list::{Listed, Row};
pub use login::LoginForm;
pub use markup::Markup;
pub use message::{File, Shown};
