//! The list of messages for those who do not run scripts.

use super::Markup;

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Whose messages these are, if not all.
    pub mailbox: String,
    /// The words of the search, which may be none.
    pub words: String,
    /// The messages on this page.
    pub rows: Vec<Row>,
    /// How many messages precede it.
    pub start: usize,
    /// How many messages the list has.
    pub total: usize,
    /// Why the list may lack messages, or why there is none.
    pub note: String,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its ID.
    pub id: String,
    /// Who has sent it.
    pub from: String,
    /// Its subject.
    pub subject: String,
    /// When it arrived, in the form of RFC 3339.
    pub arrived: String,
    /// Its size.
    pub octets: u64,
    /// Whether nobody has read it.
    pub is_unread: bool,
}

impl Listed {
    /// The view, with links from the list.
    pub fn view(&self) -> Markup {
        let view = Markup::new().tags("<main class=\"plain\"><h1>");
        let view = if self.mailbox.is_empty() {
            view.tags("All mail")
        } else {
            view.tags("<bdi>").text(&self.mailbox).tags("</bdi>")
        };
        let view = self.form(view.tags("</h1>"));
        let view = if self.note.is_empty() {
            view
        } else {
            view.tags("<p>").text(&self.note).tags("</p>")
        };
        self.links(self.table(view)).tags("</main>")
    }

    fn form(&self, view: Markup) -> Markup {
        let view = view.tags("<form><input name=\"q\" aria-label=\"Search\" value=\"");
        let view = view.text(&self.words).tags("\"> ");
        let view = if self.mailbox.is_empty() {
            view
        } else {
            let begin = view.tags("<input type=\"hidden\" name=\"mailbox\" value=\"");
            begin.text(&self.mailbox).tags("\">")
        };
        let view = view.tags("<button name=\"plain\" value=\"1\">Search</button></form>");
        if self.mailbox.is_empty() && self.words.is_empty() {
            return view;
        }
        view.tags("<p><a href=\"?\">All mail</a></p>")
    }

    fn table(&self, view: Markup) -> Markup {
        if self.rows.is_empty() {
            return view.tags("<p>No messages.</p>");
        }
        let head = "<table><thead><tr><th>From<th>Subject<th>When<th>Size<tbody>";
        let mut view = view.tags(head);
        for row in &self.rows {
            view = view.tags(if row.is_unread {
                "<tr class=\"unread\"><td><bdi>"
            } else {
                "<tr><td><bdi>"
            });
            let subject = match row.subject.as_str() {
                "" => "(no subject)",
                subject => subject,
            };
            view = view.text(&row.from).tags("</bdi><td><bdi><a href=\"m/");
            view = view.segment(&row.id).tags("\">").text(subject);
            view = view.tags("</a></bdi><td>").moment(&row.arrived);
            view = view.tags("<td>").size(row.octets);
        }
        view.tags("</table>")
    }

    /// The ways to the other pages.
    fn links(&self, view: Markup) -> Markup {
        let end = self.start.saturating_add(self.rows.len());
        let mut view = view.tags("<p>");
        if !self.rows.is_empty() {
            let first = self.start.saturating_add(1);
            view = view.number(first).tags(" to ").number(end);
            view = view.tags(" of ").number(self.total).tags(".");
        }
        if self.start > 0 {
            view = self.link(view.tags(" "), (0, "Newest"));
        }
        if end < self.total && !self.rows.is_empty() {
            view = self.link(view.tags(" "), (end, "Older"));
        }
        view.tags("</p>")
    }

    fn link(&self, view: Markup, (start, label): (usize, &'static str)) -> Markup {
        let mut view = view.tags("<a href=\"?start=").number(start);
        for (name, value) in [
            ("&amp;mailbox=", &self.mailbox),
            ("&amp;plain=1&amp;q=", &self.words),
        ] {
            if !value.is_empty() {
                view = view.tags(name).segment(value);
            }
        }
        view.tags("\">").tags(label).tags("</a>")
    }
}
