//! The table of all paths.

use crate::http::{Method, Refusal, Request, Scope, Status};

use super::{
    answer::Answer, asker::Asker, base::Api, call::Call, entry::Entry, failure::Failure, inbucket,
    login, mailhog, mailpit, missing, openapi, own, pages,
};

/// What is asked of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET, and HEAD.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
}

/// Who asks for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Programs: it is a part of the API, and described as such.
    Programs,
    /// Our pages, because it belongs to them.
    Pages,
    /// People: a page, which a link from elsewhere may open.
    People,
}

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    /// What is asked.
    pub verb: Verb,
    /// The path. A segment in braces, such as `{id}`, stands for any text that is not empty.
    pub path: &'static str,
    /// For whom it is.
    pub audience: Audience,
    /// What it needs in closed mode.
    pub entry: Entry,
    call: fn(&Call<'_>) -> Result<Answer, Failure>,
}

impl Route {
    const fn new(
        verb: Verb,
        path: &'static str,
        call: fn(&Call<'_>) -> Result<Answer, Failure>,
    ) -> Self {
        Self {
            verb,
            path,
            audience: Audience::Programs,
            entry: Entry::Login,
            call,
        }
    }

    /// A path that is only read.
    const fn read_by(
        audience: Audience,
        path: &'static str,
        call: fn(&Call<'_>) -> Result<Answer, Failure>,
    ) -> Self {
        Self {
            audience,
            ..Self::new(Verb::Get, path, call)
        }
    }

    /// A path that needs something other than a login.
    const fn with(self, entry: Entry) -> Self {
        Self { entry, ..self }
    }

    /// A form of our pages that is sent.
    const fn form(path: &'static str, entry: Entry) -> Self {
        Self {
            audience: Audience::Pages,
            ..Self::new(Verb::Post, path, login::no_form).with(entry)
        }
    }
}

/// All paths, by the API that they come from. Where two rows fit, the first one counts.
static ROUTES: &[Route] = &[
    // Pages.
    Route::read_by(Audience::People, "/", pages::list),
    Route::read_by(Audience::People, "/m/{id}", pages::message),
    Route::read_by(Audience::Pages, "/assets/{name}", pages::file).with(Entry::Anybody),
    Route::read_by(Audience::Pages, "/m/{id}/html", pages::html),
    Route::read_by(Audience::Pages, "/m/{id}/raw", pages::raw),
    Route::read_by(Audience::Pages, "/m/{id}/part/{part}", pages::part),
    Route::read_by(Audience::People, "/login", login::page),
    Route::form("/login", Entry::LogIn),
    Route::form("/logout", Entry::LogOut),
    // Ours.
    Route::new(Verb::Get, "/api/cursor", own::cursor),
    Route::new(Verb::Get, "/api/wait", own::wait),
    Route::new(Verb::Get, "/api/events", own::events),
    Route::new(Verb::Get, "/api/mailboxes", own::mailboxes),
    Route::new(Verb::Get, "/api/mailboxes/{address}", own::mailbox),
    Route::new(Verb::Delete, "/api/mailboxes/{address}", own::purge),
    Route::new(Verb::Get, "/api/openapi.json", openapi::describe),
    Route::new(Verb::Get, "/metrics", own::metrics),
    // Mailpit.
    Route::new(Verb::Get, "/api/v1/messages", mailpit::messages),
    Route::new(Verb::Put, "/api/v1/messages", mailpit::mark),
    Route::new(Verb::Delete, "/api/v1/messages", mailpit::delete),
    Route::new(Verb::Get, "/api/v1/search", mailpit::searched),
    Route::new(Verb::Delete, "/api/v1/search", mailpit::delete_searched),
    Route::new(Verb::Get, "/api/v1/message/{id}", mailpit::message),
    Route::new(Verb::Get, "/api/v1/message/{id}/headers", mailpit::headers),
    Route::new(Verb::Get, "/api/v1/message/{id}/raw", mailpit::raw),
    Route::new(Verb::Get, "/api/v1/message/{id}/part/{part}", mailpit::part),
    Route::new(Verb::Post, "/api/v1/send", mailpit::send),
    Route::new(Verb::Get, "/api/v1/info", mailpit::info),
    Route::new(Verb::Get, "/view/{file}", pages::view),
    Route::new(Verb::Get, "/livez", mailpit::live).with(Entry::Anybody),
    Route::new(Verb::Get, "/readyz", mailpit::ready).with(Entry::Anybody),
    // What Mailpit has and facteur has not.
    Route::new(Verb::Get, "/api/v1/webui", missing::web_ui),
    Route::new(Verb::Get, "/api/v1/tags", missing::tags),
    Route::new(Verb::Put, "/api/v1/tags", missing::tags),
    Route::new(Verb::Put, "/api/v1/tags/{tag}", missing::tags),
    Route::new(Verb::Delete, "/api/v1/tags/{tag}", missing::tags),
    Route::new(Verb::Get, "/api/v1/chaos", missing::chaos),
    Route::new(Verb::Put, "/api/v1/chaos", missing::chaos),
    Route::new(Verb::Post, "/api/v1/message/{id}/release", missing::release),
    Route::new(
        Verb::Get,
        "/api/v1/message/{id}/html-check",
        missing::checks,
    ),
    Route::new(
        Verb::Get,
        "/api/v1/message/{id}/link-check",
        missing::checks,
    ),
    Route::new(Verb::Get, "/api/v1/message/{id}/sa-check", missing::checks),
    Route::new(
        Verb::Get,
        "/api/v1/message/{id}/part/{part}/thumb",
        missing::thumbnails,
    ),
    // MailHog. Its `DELETE /api/v1/messages` is Mailpit's without a body.
    Route::new(Verb::Get, "/api/v2/messages", mailhog::messages),
    Route::new(Verb::Get, "/api/v2/search", mailhog::searched),
    Route::new(Verb::Get, "/api/v1/messages/{id}", mailhog::message),
    Route::new(Verb::Delete, "/api/v1/messages/{id}", mailhog::delete),
    Route::new(
        Verb::Post,
        "/api/v1/messages/{id}/release",
        missing::release,
    ),
    // inbucket.
    Route::new(Verb::Get, "/api/v1/mailbox/{name}", inbucket::list),
    Route::new(Verb::Delete, "/api/v1/mailbox/{name}", inbucket::purge),
    Route::new(Verb::Get, "/api/v1/mailbox/{name}/{id}", inbucket::show),
    Route::new(
        Verb::Delete,
        "/api/v1/mailbox/{name}/{id}",
        inbucket::delete,
    ),
    Route::new(
        Verb::Get,
        "/api/v1/mailbox/{name}/{id}/source",
        inbucket::source,
    ),
];

/// All paths, for what is compared with them.
pub fn routes() -> &'static [Route] {
    ROUTES
}

/// Finds the row of a request and calls its function.
///
/// # Errors
/// [`Failure`]: a refusal, or what went wrong in the store, which is for the log.
pub fn answer(api: &Api, request: &Request, asker: &Asker) -> Result<Answer, Failure> {
    let segments = request.target.segments();
    // A client of Mailpit asks for `//view/…`.
    let segments = match segments.as_slice() {
        ["", rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    let verb = verb(request);
    let mut others = Vec::new();
    for route in ROUTES {
        let Some(parameters) = parameters(route.path, segments) else {
            continue;
        };
        if verb != Some(route.verb) {
            others.push(route.verb);
            continue;
        }
        if request.scope == Scope::Pages && route.audience != Audience::People {
            return Err(Refusal::pages_only().into());
        }
        return (route.call)(&Call {
            api,
            request,
            asker,
            parameters,
        });
    }
    if others.is_empty() {
        let refusal = Refusal::new(
            Status::NotFound,
            "There is nothing at this path; /api/openapi.json has all paths",
        );
        return Err(refusal.into());
    }
    Err(Refusal::method_not_allowed(methods(&others)).into())
}

/// What a request needs in closed mode: a login, also where there is nothing.
pub fn entry(request: &Request) -> Entry {
    let segments = request.target.segments();
    let verb = verb(request);
    let fits = |it: &&Route| verb == Some(it.verb) && parameters(it.path, &segments).is_some();
    ROUTES.iter().find(fits).map_or(Entry::Login, |it| it.entry)
}

fn verb(request: &Request) -> Option<Verb> {
    match request.method {
        Method::Get | Method::Head => Some(Verb::Get),
        Method::Post => Some(Verb::Post),
        Method::Put => Some(Verb::Put),
        Method::Delete => Some(Verb::Delete),
        Method::Options => None,
    }
}

/// The segments that stand for the names in braces, if `segments` fit the path.
fn parameters<'a>(path: &str, segments: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut names = path.split('/').skip(1);
    let mut found = Vec::new();
    for segment in segments {
        let name = names.next()?;
        if !name.starts_with('{') {
            if name != *segment {
                return None;
            }
        } else if segment.is_empty() {
            return None;
        } else {
            found.push(*segment);
        }
    }
    names.next().is_none().then_some(found)
}

/// The methods of a path, as `Allow` lists them.
fn methods(verbs: &[Verb]) -> &'static str {
    let has = |verb| verbs.contains(&verb);
    match (
        has(Verb::Get),
        has(Verb::Post),
        has(Verb::Put),
        has(Verb::Delete),
    ) {
        (true, false, false, false) => "GET, HEAD",
        (true, true, false, false) => "GET, HEAD, POST",
        (true, false, true, false) => "GET, HEAD, PUT",
        (true, false, false, true) => "GET, HEAD, DELETE",
        (true, false, true, true) => "GET, HEAD, PUT, DELETE",
        (false, true, false, false) => "POST",
        (false, false, true, false) => "PUT",
        (false, false, false, true) => "DELETE",
        _ => "GET, HEAD, POST, PUT, DELETE",
    }
}
