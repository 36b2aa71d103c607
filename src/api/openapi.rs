//! The description of all paths for programs, in `OpenAPI` 3.1.

use crate::http::{Body, Kind, Response, Status};

use super::{answer::Answer, call::Call, failure::Failure};

/// The description. It has exactly the paths of the router.
pub(super) const DESCRIPTION: &str = include_str!("openapi.json");

/// The description itself.
#[expect(clippy::unnecessary_wraps, reason = "all calls return the same")]
pub(super) fn describe(_: &Call<'_>) -> Result<Answer, Failure> {
    let body = Body::Octets(DESCRIPTION.as_bytes().into());
    let response = Response::with_body(Status::Ok, Kind::Api, "application/json", body);
    Ok(Answer::Response(Box::new(response)))
}
