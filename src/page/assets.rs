//! The files that belong to our pages, which are part of the program.

/// A file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The last segment of its path.
    pub name: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// Its content.
    pub octets: &'static [u8],
}

/// Whether a page has the button that logs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogOut {
    /// There is no login, or none that the page can end.
    Absent,
    /// There is.
    Offered,
}

/// Declares [`ASSETS`]: each file by its name, with its media type.
macro_rules! assets {
    ($($name:literal: $media_type:expr,)*) => {
        /// All files except for the shell.
        pub(super) const ASSETS: &[Asset] = &[$(Asset {
            name: $name,
            media_type: $media_type,
            octets: include_bytes!(concat!("assets/", $name)),
        },)*];
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

assets! {
    "app.js": SCRIPT,
    "badge.js": SCRIPT,
    "boxes.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "icon.svg": PICTURE,
    "keys.js": SCRIPT,
    "live.js": SCRIPT,
    "message.js": SCRIPT,
    "place.js": SCRIPT,
    "rows.js": SCRIPT,
    "server.js": SCRIPT,
    "style.css": STYLE,
    "talk.js": SCRIPT,
    "views.js": SCRIPT,
    "welcome.js": SCRIPT,
}

/// The page without its content.
pub(super) const SHELL: &str = include_str!("assets/page.html");

/// Where the way from the page to the list is in the shell, several times.
const BASE: &str = "{{base}}";

/// Where the view without scripts is in the shell, once.
const PLAIN: &str = "{{noscript}}";

/// The form that logs out.
const LOG_OUT: &str =
    "<form method=\"post\" action=\"{{base}}logout\"><button>Log out</button></form>";

/// Where the form that logs out is in the shell, once.
const ACCOUNT: &str = "{{account}}";

/// The file with this name.
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

impl Asset {
    /// A number that is another one for another content (FNV-1a, 64 bits). It tells versions of our
    /// own files apart, so it need not withstand anybody.
    pub fn version(&self) -> u64 {
        let mix = |sum: u64, octet: &u8| (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        self.octets.iter().fold(0xcbf2_9ce4_8422_2325, mix)
    }
}

/// A page: the shell at a place from which `base` leads to the list, such as `../`, with a view for
/// those who do not run scripts.
pub fn shell(base: &'static str, plain: &super::Markup, log_out: LogOut) -> String {
    // What is put in is not looked through: a mail may contain the marks.
    let (before, after) = SHELL.split_once(PLAIN).unwrap_or((SHELL, ""));
    let account = match log_out {
        LogOut::Absent => "",
        LogOut::Offered => LOG_OUT,
    };
    let [before, after, own] = [before, after, account].map(|it| it.replace(BASE, base));
    let after = after.replacen(ACCOUNT, &own, 1);
    let below = match log_out {
        LogOut::Absent => own,
        LogOut::Offered => ["<div class=\"plain\">", &own, "</div>"].concat(),
    };
    [&before, plain.as_str(), &below, &after].concat()
}
