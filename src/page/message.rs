//! One message for those who do not run scripts.

use super::{Markup, limits::PLAIN_TEXT_OCTETS_MAX};

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Its ID.
    pub id: String,
    /// Its subject.
    pub subject: String,
    /// The names and values of what is known about it, such as From.
    pub fields: Vec<(&'static str, String)>,
    /// When it arrived, in the form of RFC 3339.
    pub arrived: String,
    /// What a person reads of it.
    pub text: String,
    /// Whether it has HTML.
    pub has_html: bool,
    /// Whether it can only be downloaded.
    pub is_too_complex: bool,
    /// Its attachments and pictures.
    pub files: Vec<File>,
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its ID.
    pub id: String,
    /// Its name, which may be anything.
    pub name: String,
    /// Its type.
    pub content_type: String,
    /// Its size.
    pub octets: u64,
}

impl Shown {
    /// The view of a message that is not there.
    pub fn gone() -> Markup {
        Markup::new().tags(
            "<main class=\"plain\"><p><a href=\"../\">All mail</a></p>\
             <p>This message is no longer here.</p></main>",
        )
    }

    /// The view, with links from the page of the message.
    pub fn view(&self) -> Markup {
        let view = Markup::new().tags("<main class=\"plain\"><p><a href=\"../\">All mail</a>");
        let view = view
            .tags("</p><h1><bdi>")
            .text(match self.subject.as_str() {
                "" => "(no subject)",
                subject => subject,
            });
        let mut view = view.tags("</bdi></h1><table>");
        for (name, value) in &self.fields {
            view = view.tags("<tr><th scope=\"row\">").tags(name);
            view = view.tags("<td><bdi>").text(value).tags("</bdi>");
        }
        let view = view.tags("<tr><th scope=\"row\">When<td>");
        let view = view.moment(&self.arrived).tags("</table>");
        let view = self.files(self.ways(view));
        if self.is_too_complex {
            let text = "<p>This message is too complex to show; download it.</p></main>";
            return view.tags(text);
        }
        let end = self.text.floor_char_boundary(PLAIN_TEXT_OCTETS_MAX);
        let text = self.text.get(..end).unwrap_or_default();
        let mut view = view.tags("<pre dir=\"auto\">\n").text(text).tags("</pre>");
        if end < self.text.len() {
            view = view.tags("<p><a href=\"../view/").segment(&self.id);
            view = view.tags(".txt\">The whole text</a></p>");
        }
        view.tags("</main>")
    }

    /// The ways to the other forms of the message.
    fn ways(&self, view: Markup) -> Markup {
        let mut view = view.tags("<p>");
        if self.has_html {
            view = view
                .tags("<a href=\"")
                .segment(&self.id)
                .tags("/html\">HTML</a> ");
        }
        let view = view.tags("<a href=\"../api/v1/message/").segment(&self.id);
        let view = view.tags("/raw\">Source</a> <a href=\"").segment(&self.id);
        view.tags("/raw\">Download</a></p>")
    }

    fn files(&self, view: Markup) -> Markup {
        if self.files.is_empty() {
            return view;
        }
        let mut view = view.tags("<ul>");
        for file in &self.files {
            view = view.tags("<li><a href=\"").segment(&self.id).tags("/part/");
            view = view.segment(&file.id).tags("\"><bdi>");
            view = match file.name.as_str() {
                "" => view.tags("part ").text(&file.id),
                name => view.text(name),
            };
            view = view.tags("</bdi></a> ").text(&file.content_type).tags(", ");
            view = view.size(file.octets);
        }
        view.tags("</ul>")
    }
}
