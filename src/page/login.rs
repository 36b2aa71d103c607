//! The form with which a person logs in.

use super::Markup;

/// The form. It needs no script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginForm {
    /// How many segments of the path lead from the list to where the form is shown.
    pub depth: usize,
    /// Where to go then: a path and a query without the slash at their begin.
    pub to: String,
    /// The name that was typed, if it was not right.
    pub user: String,
    /// Why the form is shown again.
    pub note: String,
}

impl LoginForm {
    /// The page.
    pub fn view(&self) -> Markup {
        let view = Markup::new().tags(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>Log in: facteur</title>\n<link rel=\"icon\" type=\"image/svg+xml\" href=\"",
        );
        let view = self.base(view).tags("assets/icon.svg\">\n");
        let view = self.base(view.tags("<link rel=\"stylesheet\" href=\""));
        let view = view.tags(
            "assets/style.css\">\n</head>\n<body>\n<main class=\"plain\">\n<h1>facteur</h1>\n",
        );
        let view = if self.note.is_empty() {
            view
        } else {
            let view = view.tags("<p role=\"alert\">").text(&self.note);
            view.tags("</p>\n")
        };
        let view = self.base(view.tags("<form method=\"post\" action=\""));
        let view = view.tags("login\">\n<input type=\"hidden\" name=\"to\" value=\"");
        let view = view.text(&self.to).tags(
            "\">\n<p><label>Address<br>\
             <input name=\"user\" autocomplete=\"username\" autocapitalize=\"none\" required",
        );
        let (at_user, at_password) = match self.user.as_str() {
            "" => (" autofocus", ""),
            _ => ("", " autofocus"),
        };
        let view = view.tags(at_user).tags(" value=\"");
        let view = view.text(&self.user).tags(
            "\"></label></p>\n<p><label>Password<br>\
             <input name=\"password\" type=\"password\" autocomplete=\"current-password\" required",
        );
        let view = view.tags(at_password);
        view.tags(
            "></label></p>\n<p><button>Log in</button></p>\n</form>\n</main>\n</body>\n</html>\n",
        )
    }

    /// The way to the list.
    fn base(&self, view: Markup) -> Markup {
        (0..self.depth).fold(view, |view, _| view.tags("../"))
    }
}
