//! Texts by others, as a person sees them: nothing in them can control the terminal (SEC-7).

use std::io;

use crate::system::terminal::Output;

/// Standard output.
pub(super) struct Screen<'a> {
    output: &'a mut dyn Output,
    /// The width of the terminal, if it is one.
    pub(super) columns: Option<usize>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(output: &'a mut dyn Output) -> Self {
        let columns = output.columns();
        Self { output, columns }
    }

    /// Writes a text of ours, or one that is made printable already.
    pub(super) fn print(&mut self, text: &str) -> io::Result<()> {
        self.output.write_all(text.as_bytes())
    }

    /// Writes a text by others, and ends its last line: as it is to a program, and printable to a
    /// terminal.
    pub(super) fn print_theirs(&mut self, text: &str) -> io::Result<()> {
        if self.columns.is_some() {
            self.print(&printable_lines(text))?;
        } else {
            self.print(text)?;
        }
        if text.is_empty() || text.ends_with('\n') {
            return Ok(());
        }
        self.print("\n")
    }

    /// Writes octets as they are.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.output.write_all(octets)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// The text in one line: line endings and what could control a terminal are escaped as in the log.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    text.chars().for_each(|c| push(c, &mut printable));
    printable
}

/// The same with its lines and tabs.
pub(super) fn printable_lines(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.replace("\r\n", "\n").chars() {
        match c {
            '\n' | '\t' => printable.push(c),
            c => push(c, &mut printable),
        }
    }
    printable
}

/// JSON in which nothing can control a terminal: such characters are in strings only.
pub(super) fn printable_json(json: &str) -> String {
    let mut printable = String::with_capacity(json.len());
    for c in json.chars() {
        let mut units = [0; 2];
        if matches!(c, '\n' | '\r' | '\t') || is_harmless(c) {
            printable.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut units) {
            printable.extend([format!("\\u{unit:04x}")]);
        }
    }
    printable
}

fn push(c: char, to: &mut String) {
    if is_harmless(c) {
        to.push(c);
    } else {
        to.extend(c.escape_default());
    }
}

/// Whether a terminal shows it, or joins it with its neighbours. Controls, marks of the direction
/// and characters that do not exist are not harmless.
fn is_harmless(c: char) -> bool {
    // A mark that combines is not escaped behind a letter, nor are these, which join letters.
    let is_joiner = matches!(c, '\u{200c}' | '\u{200d}' | '"' | '\'' | '\\');
    let behind_a_letter = || ['x', c].iter().collect::<String>();
    matches!(c, ' '..='~') || is_joiner || behind_a_letter().escape_debug().nth(2).is_none()
}

/// The columns that a printable text takes: almost exactly, because terminals differ.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).fold(0, usize::saturating_add)
}

fn columns_of(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// The text in at most `width` columns; `…` stands for what does not fit.
pub(super) fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let Some(rest) = left.checked_sub(columns_of(c)) else {
            break;
        };
        left = rest;
        kept.push(c);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_control_a_terminal_is_escaped() {
        for (text, expect) in [
            ("Hello \"Bob\" \\o/ it's me", "Hello \"Bob\" \\o/ it's me"),
            ("Grüße, नमस्ते, 你好", "Grüße, नमस्ते, 你好"),
            (
                "e\u{301} 👨\u{200d}👩\u{200d}👧",
                "e\u{301} 👨\u{200d}👩\u{200d}👧",
            ),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{7f}\u{9b}1m", "\\u{7f}\\u{9b}1m"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
        ] {
            assert_eq!(printable(text), expect);
        }
        assert_eq!(printable_lines("a\r\nb\tc\rd\u{7}"), "a\nb\tc\\rd\\u{7}");
        let json = "{\"a\":\"\u{9b}\u{202e}\u{e0001}é\\n\"}\n";
        let expect = "{\"a\":\"\\u009b\\u202e\\udb40\\udc01é\\n\"}\n";
        assert_eq!(printable_json(json), expect);
    }

    #[test]
    fn a_text_is_cut_to_its_columns() {
        for (text, width, expect) in [
            ("hello", 5, "hello"),
            ("hello", 4, "hel…"),
            ("hello", 1, "…"),
            ("hello", 0, ""),
            ("你好吗", 6, "你好吗"),
            ("你好吗", 5, "你好…"),
            ("你好吗", 4, "你…"),
            ("", 0, ""),
        ] {
            assert_eq!(fit(text, width), expect, "{text} {width}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_controls_is_left(text in any::<String>(), width in 0_usize..20) {
            let shown = printable(&text);
            prop_assert!(!shown.chars().any(char::is_control), "{}", shown);
            prop_assert_eq!(printable(&shown), shown.clone());
            prop_assert!(columns(&fit(&shown, width)) <= width);
            let json = serde_json::Value::from(text.clone()).to_string();
            let read: String = serde_json::from_str(&printable_json(&json)).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}
