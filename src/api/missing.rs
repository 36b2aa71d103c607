//! What other mail catchers have and facteur does not: each answer says so.

use crate::http::{Refusal, Status};

use super::{answer::Answer, call::Call, failure::Failure};

fn refuse(text: &'static str) -> Result<Answer, Failure> {
    Err(Refusal::new(Status::NotImplemented, text).into())
}

pub(super) fn tags(_: &Call<'_>) -> Result<Answer, Failure> {
    refuse("facteur has no tags; search with mailbox: or with a sub-address in to:")
}

pub(super) fn chaos(_: &Call<'_>) -> Result<Answer, Failure> {
    refuse("facteur has no chaos: it refuses no mail at random")
}

pub(super) fn release(_: &Call<'_>) -> Result<Answer, Failure> {
    refuse("facteur has no release: it connects to no other server")
}

pub(super) fn checks(_: &Call<'_>) -> Result<Answer, Failure> {
    refuse("facteur has no checks of HTML, links or spam")
}

pub(super) fn thumbnails(_: &Call<'_>) -> Result<Answer, Failure> {
    refuse("facteur has no thumbnails; get the part itself, without /thumb")
}

pub(super) fn web_ui(_: &Call<'_>) -> Result<Answer, Failure> {
    refuse("facteur has no settings of a page")
}
