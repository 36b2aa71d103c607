//! The summary of a message: what a list of messages shows, about 600 octets.

use super::{
    charset::to_text,
    guarded, header,
    html::html_to_text,
    limits,
    outline::Outline,
    part::{Part, cut, without_brackets},
    person::Person,
    transfer, words,
};

/// What a list of messages shows about one. Texts that the message lacks are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// From.
    pub from: Vec<Person>,
    /// To; several fields count as one, here and below.
    pub to: Vec<Person>,
    /// Cc.
    pub cc: Vec<Person>,
    /// Bcc, which few messages have.
    pub bcc: Vec<Person>,
    /// Reply-To.
    pub reply_to: Vec<Person>,
    /// Sender.
    pub sender: Option<Person>,
    /// The subject, decoded, on one line.
    pub subject: String,
    /// Date, in seconds since 1970 (UTC); `None` if there is no valid one.
    pub date: Option<i64>,
    /// Message-ID, without brackets.
    pub message_id: String,
    /// Return-Path, without brackets: the topmost, which the store wrote.
    pub return_path: String,
    /// List-Unsubscribe as it was written, on one line.
    pub list_unsubscribe: String,
    /// List-Unsubscribe-Post (RFC 8058).
    pub list_unsubscribe_post: String,
    /// The beginning of the readable text on one line, of at most
    /// [`limits::SNIPPET_CHARACTERS_MAX`] characters.
    pub snippet: String,
    /// The number of attachments.
    pub attachments: usize,
    /// The type of the message, such as `multipart/mixed`.
    pub content_type: String,
}

impl Summary {
    /// The summary of the message with this outline.
    pub fn of(outline: &Outline) -> Self {
        let mut summary = Self {
            snippet: snippet(outline),
            attachments: outline.attachments().len(),
            content_type: outline
                .parts()
                .first()
                .map(|part| part.content_type.clone())
                .unwrap_or_default(),
            ..Self::default()
        };
        for (name, value) in header::fields(outline.header()) {
            summary.add(&name.to_ascii_lowercase(), &header::unfolded(value));
        }
        summary
    }

    /// The octets of memory that it holds.
    pub fn held_octets(&self) -> usize {
        let lists = [&self.from, &self.to, &self.cc, &self.bcc, &self.reply_to];
        let people = lists.into_iter().flatten().chain(&self.sender);
        let texts = people.flat_map(|one| [&one.name, &one.address]);
        let texts = texts.chain([
            &self.subject,
            &self.message_id,
            &self.return_path,
            &self.list_unsubscribe,
            &self.list_unsubscribe_post,
            &self.snippet,
            &self.content_type,
        ]);
        let texts = texts.map(String::capacity);
        let lists = lists
            .into_iter()
            .map(|list| list.capacity().saturating_mul(size_of::<Person>()));
        texts
            .chain(lists)
            .fold(size_of::<Self>(), usize::saturating_add)
    }

    /// Adds a field; of those that occur once, the first counts.
    fn add(&mut self, name: &[u8], value: &[u8]) {
        let text = |it: &mut String, value: String| {
            if it.is_empty() {
                *it = cut(value, limits::SUMMARY_TEXT_OCTETS_MAX);
            }
        };
        match name {
            b"from" => add_people(&mut self.from, value),
            b"to" => add_people(&mut self.to, value),
            b"cc" => add_people(&mut self.cc, value),
            b"bcc" => add_people(&mut self.bcc, value),
            b"reply-to" => add_people(&mut self.reply_to, value),
            b"sender" if self.sender.is_none() => {
                self.sender = people(value).into_iter().next();
            }
            b"subject" => text(&mut self.subject, words::decode(value)),
            b"date" => self.date = self.date.or_else(|| guarded::date(value)),
            b"message-id" => text(
                &mut self.message_id,
                without_brackets(&to_text(value, None)),
            ),
            b"return-path" => text(
                &mut self.return_path,
                without_brackets(&to_text(value, None)),
            ),
            b"list-unsubscribe" => text(&mut self.list_unsubscribe, words::decode(value)),
            b"list-unsubscribe-post" => text(&mut self.list_unsubscribe_post, words::decode(value)),
            _ => {}
        }
    }
}

fn people(value: &[u8]) -> Vec<Person> {
    guarded::people(&words::disarmed(value))
}

fn add_people(list: &mut Vec<Person>, value: &[u8]) {
    let free = limits::PERSONS_MAX.saturating_sub(list.len());
    if free > 0 {
        list.extend(people(value).into_iter().take(free));
        list.shrink_to_fit();
    }
}

/// The beginning of the readable text: of the plain text, or else of the HTML.
fn snippet(outline: &Outline) -> String {
    let lead = |part: &&Part| {
        let octets = transfer::decode(outline.lead(part), part.encoding);
        to_text(&octets, part.charset.as_deref())
    };
    let text = outline.text().first().map(lead);
    let folded = folded(&text.unwrap_or_default());
    if !folded.is_empty() {
        return folded;
    }
    let html = outline.html().first().map(lead);
    self::folded(&html_to_text(&html.unwrap_or_default()))
}

/// `text` on one line, cut. Characters that fill the previews of mail programs count as spaces.
fn folded(text: &str) -> String {
    let is_space = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(
                c,
                '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{feff}'
            )
    };
    let words = text.split(is_space).filter(|word| !word.is_empty());
    let mut folded = String::new();
    let mut n_characters: usize = 0;
    for word in words {
        let space = (!folded.is_empty()).then_some(' ');
        for c in space.into_iter().chain(word.chars()) {
            if n_characters >= limits::SNIPPET_CHARACTERS_MAX {
                folded.shrink_to_fit();
                return folded;
            }
            folded.push(c);
            n_characters = n_characters.saturating_add(1);
        }
    }
    folded.shrink_to_fit();
    folded
}
