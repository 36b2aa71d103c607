//! HTTP without the socket: RFC 9110 and RFC 9112, the server's side, for one machine.
//!
//! A [`Session`] receives what happened as an [`Outcome`] and answers with a [`Step`]: at most one
//! [`Reply`], then exactly one [`Action`] for the driver. It hands out each [`Request`] when all of
//! it has arrived, and takes a [`Response`] back. It never sees a socket, a file, a clock or the
//! log, and knows nothing of mail: which path leads where is decided elsewhere.
//!
//! Implemented: HTTP/1.1 and 1.0, persistent connections, pipelining, `Expect: 100-continue`, HEAD,
//! bodies of known length in both directions and chunked responses, entity tags, HTTP Basic
//! (RFC 7617), a form and a cookie (RFC 6265) instead of it, Content-Disposition (RFC 6266), the
//! server's side of CORS, Fetch Metadata, and server-sent events.
//!
//! # Attacks handled here
//! - Request smuggling: [`Head`] refuses everything on which two programs could disagree.
//! - Response splitting: [`Response`] writes no value that could end a field.
//! - Pages of other origins, and DNS rebinding: [`admit`].
//! - Mail that contains HTML: [`Kind`] has the fields that isolate it.
//!
//! # Deviations
//! - RFC 9112 §3.2.2 requires the absolute form of targets to be understood, and RFC 9110 §9.3.7
//!   `OPTIONS *`. Only proxies send the one, and hardly anybody the other: both are refused.
//! - RFC 9112 §7.1 requires chunked requests to be understood. Clients of an API send a length; so
//!   there is one way less to disagree about the end of a request. 501 says so.
//! - RFC 9112 §2.2 allows a bare LF as the end of a line, and RFC 9110 §5.5 lets obsolete line
//!   folding be replaced. Both end the connection.
//! - RFC 9110 §8.6 allows a Content-Length that occurs twice with the same value. It is refused.

mod admission;
mod basic;
mod cookie;
mod date;
mod disposition;
mod entity_tag;
pub mod event_stream;
mod fields;
mod head;
mod host;
pub mod limits;
mod name;
mod outcome;
mod policy;
mod refusal;
mod request;
mod response;
mod scan;
mod session;
mod status;
mod step;
mod target;
#[cfg(test)]
mod tests;

pub use admission::{Admission, Rules, Scope, Way, admit};
pub use basic::Login;
pub use cookie::Token;
pub use date::date;
pub use disposition::attachment;
pub use entity_tag::EntityTag;
pub use fields::{Fields, Several};
pub use head::{Distance, Head, Method, Progress, Version};
pub use host::{Host, HostName, Origin, Scheme};
pub use name::Name;
pub use outcome::Outcome;
pub use policy::Kind;
pub use refusal::Refusal;
pub use request::{Reader, Request};
pub use response::{Body, Response, Sending};
pub use session::Session;
pub use status::Status;
pub use step::{Action, Client, Patience, Rendering, Reply, Step};
pub use target::{Pairs, Target};
