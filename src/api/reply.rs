//! Responses with JSON.

use serde::Serialize;

use crate::http::{Body, Kind, Response, Status};

/// A response with this value as JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    let octets = serde_json::to_vec(value).unwrap_or_default();
    let body = Body::Octets(octets.into());
    Response::with_body(Status::Ok, Kind::Api, "application/json", body)
}
