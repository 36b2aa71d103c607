//! HTML of our own.

/// HTML with texts in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup(String);

impl Markup {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends tags: only what stands in the source.
    #[must_use]
    pub fn tags(mut self, tags: &'static str) -> Self {
        self.0.push_str(tags);
        self
    }

    /// Appends a text, as the content of an element or of an attribute in double quotes. This is
    /// the only way by which something from a mail gets into a page.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // They have no place in HTML (§13.2.3.5): some browsers drop them.
                '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}' => {
                    self.0.push(char::REPLACEMENT_CHARACTER);
                }
                c => self.0.push(c),
            }
        }
        self
    }

    /// Appends a text as one segment of a path, or as a value in a query (RFC 3986 §2.3).
    #[must_use]
    pub fn segment(mut self, text: &str) -> Self {
        for octet in text.bytes() {
            if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
                self.0.push(char::from(octet));
            } else {
                let digits = [octet >> 4, octet & 0xf].map(u32::from);
                let digits = digits.map(|it| char::from_digit(it, 16)).into_iter();
                self.0.push('%');
                self.0
                    .extend(digits.flatten().map(|it| it.to_ascii_uppercase()));
            }
        }
        self
    }

    /// Appends a number.
    #[must_use]
    pub fn number(self, number: usize) -> Self {
        self.text(&number.to_string())
    }

    /// Appends a size in octets as people read it: `1.2 kB`.
    #[must_use]
    pub fn size(self, octets: u64) -> Self {
        if octets < 1_000 {
            return self.text(&octets.to_string()).tags(" B");
        }
        let plus = |half: u64| octets.saturating_add(half);
        // Rounded to tenths, and to whole numbers.
        let (tenths, ones, unit) = if octets < 999_500 {
            (plus(50) / 100, plus(500) / 1_000, " kB")
        } else {
            (plus(50_000) / 100_000, plus(500_000) / 1_000_000, " MB")
        };
        let text = if tenths < 100 {
            format!("{}.{}", tenths / 10, tenths % 10)
        } else {
            ones.to_string()
        };
        self.text(&text).tags(unit)
    }

    /// Appends a moment in the form of RFC 3339 in UTC, as people read it.
    #[must_use]
    pub fn moment(self, rfc3339: &str) -> Self {
        let text = rfc3339.get(..16).unwrap_or(rfc3339).replace('T', " ");
        let begin = self.tags("<time datetime=\"").text(rfc3339).tags("\">");
        begin.text(&text).tags(" UTC</time>")
    }

    /// The HTML.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
