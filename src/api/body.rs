//! The body of a request as JSON whose values know their place, such as `Attachments[0].Content`.
//!
//! A message that is to be sent has many fields, and its client should learn which one is wrong. A
//! value is taken apart only when it is asked for, so the body takes no more than a few times its
//! own memory (SEC-9). Names of fields may have any case, as in Go.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::http::Refusal;

use super::failure::{no_json, wrong};

/// A value, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    /// Of our own names and numbers: nothing that the client has sent. Empty for the body itself.
    place: String,
    raw: &'a RawValue,
}

/// The fields of an object. Those that are wanted are taken, and none may be left.
#[derive(Debug)]
pub(super) struct Object<'a> {
    place: String,
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> Value<'a> {
    /// The whole body.
    ///
    /// # Errors
    /// 400: it is not JSON.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Refusal> {
        if body.trim_ascii().is_empty() {
            return Err(wrong("The body is empty; it has to be an object, in JSON"));
        }
        let raw = serde_json::from_slice(body).map_err(|error| no_json(&error))?;
        Ok(Self {
            place: String::new(),
            raw,
        })
    }

    /// Where it is.
    pub(super) fn place(&self) -> &str {
        match self.place.as_str() {
            "" => "The body",
            place => place,
        }
    }

    /// 400: the value is wrong, and `problem` says why.
    pub(super) fn wrong(&self, problem: &str) -> Refusal {
        wrong(format!("{} {problem}", self.place()))
    }

    /// The fields of an object.
    ///
    /// # Errors
    /// 400: it is none.
    pub(super) fn object(&self) -> Result<Object<'a>, Refusal> {
        let fields = serde_json::from_str(self.raw.get()).ok();
        Ok(Object {
            place: self.place.clone(),
            fields: fields.ok_or_else(|| self.wrong("is not an object"))?,
        })
    }

    /// The values of a list of at most `length_max`.
    ///
    /// # Errors
    /// 400: it is none, or longer.
    pub(super) fn list(&self, length_max: usize) -> Result<Vec<Self>, Refusal> {
        let values: Option<Vec<&RawValue>> = serde_json::from_str(self.raw.get()).ok();
        let values = values.ok_or_else(|| self.wrong("is not a list"))?;
        if values.len() > length_max {
            return Err(self.wrong(&format!("is a list of more than {length_max}")));
        }
        let value = |(index, raw)| Self {
            place: format!("{}[{index}]", self.place),
            raw,
        };
        Ok(values.into_iter().enumerate().map(value).collect())
    }

    /// The characters of a text.
    ///
    /// # Errors
    /// 400: it is none.
    pub(super) fn text(&self) -> Result<String, Refusal> {
        let text = serde_json::from_str(self.raw.get()).ok();
        text.ok_or_else(|| self.wrong("is not a text"))
    }

    /// The characters of a text on one line.
    ///
    /// # Errors
    /// 400: it is none, or has control characters.
    pub(super) fn line(&self) -> Result<String, Refusal> {
        let text = self.text()?;
        if text.chars().any(char::is_control) {
            return Err(self.wrong("has a line ending or another control character"));
        }
        Ok(text)
    }
}

impl<'a> Object<'a> {
    /// Takes the field of this name; `None` if there is none, or if it is null.
    pub(super) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let names = self.fields.keys();
        let found = names.filter(|it| it.eq_ignore_ascii_case(name)).max();
        let raw = self.fields.remove(&found?.clone())?;
        let place = match self.place.as_str() {
            "" => name.to_owned(),
            place => format!("{place}.{name}"),
        };
        (raw.get() != "null").then_some(Value { place, raw })
    }

    /// Takes the text on one line of this name; empty if there is none.
    ///
    /// # Errors
    /// As [`Value::line`].
    pub(super) fn take_line(&mut self, name: &str) -> Result<String, Refusal> {
        let value = self.take(name);
        Ok(value
            .map(|value| value.line())
            .transpose()?
            .unwrap_or_default())
    }

    /// All fields that are left, by name. The names are not part of the places.
    pub(super) fn rest(self) -> Vec<(String, Value<'a>)> {
        let Self { place, fields } = self;
        let fields = fields.into_iter().enumerate();
        let value = |(index, (name, raw))| {
            let place = format!("{place}[{index}]");
            (name, Value { place, raw })
        };
        fields.map(value).collect()
    }

    /// # Errors
    /// 400: a field is left, which nobody knows.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        if self.fields.is_empty() {
            return Ok(());
        }
        let place = match self.place.as_str() {
            "" => "The body",
            place => place,
        };
        let text = "has a field that is not known; /api/openapi.json describes all fields";
        Err(wrong(format!("{place} {text}")))
    }
}
