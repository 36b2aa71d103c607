//! The body of a request as JSON whose values know their place, such as `Attachments[0].Content`.
//!
//! A message that is to be sent has many fields, and its client should learn which one is wrong. A
//! value is taken apart only when it is asked for, and no more of it is kept than is allowed, so
//! the body takes no more than a few times its own memory (SEC-9). Names of fields may have any
//! case, as in Go, and each name is there once: which of two values counts is for nobody to guess.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::Refusal;

use super::{
    failure::{no_json, wrong},
    limits::BODY_FIELDS_MAX,
};

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
    /// By their names in lower case, with the names as they are.
    fields: Fields<'a>,
}

type Fields<'a> = BTreeMap<String, (String, &'a RawValue)>;

/// Reads the fields of an object, or what is wrong with them.
struct FieldsOf;

/// Reads the values of a list; `None` if there are more than so many.
struct ValuesOf(usize);

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
    /// 400: it is none, has a name twice, or has more than [`BODY_FIELDS_MAX`].
    pub(super) fn object(&self) -> Result<Object<'a>, Refusal> {
        let mut json = serde_json::Deserializer::from_str(self.raw.get());
        let fields = FieldsOf.deserialize(&mut json).ok();
        let fields = fields.ok_or_else(|| self.wrong("is not an object"))?;
        Ok(Object {
            place: self.place.clone(),
            fields: fields.map_err(|problem| self.wrong(&problem))?,
        })
    }

    /// The values of a list of at most `length_max`.
    ///
    /// # Errors
    /// 400: it is none, or longer.
    pub(super) fn list(&self, length_max: usize) -> Result<Vec<Self>, Refusal> {
        let mut json = serde_json::Deserializer::from_str(self.raw.get());
        let values = ValuesOf(length_max).deserialize(&mut json).ok();
        let values = values.ok_or_else(|| self.wrong("is not a list"))?;
        let Some(values) = values else {
            return Err(self.wrong(&format!("is a list of more than {length_max}")));
        };
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
        let (_, raw) = self.fields.remove(&name.to_ascii_lowercase())?;
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
        let value = |(index, (_, (name, raw)))| {
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

impl<'a> DeserializeSeed<'a> for FieldsOf {
    type Value = Result<Fields<'a>, String>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for FieldsOf {
    type Value = Result<Fields<'a>, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::new();
        let mut problem = None;
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            let is_full = fields.len() >= BODY_FIELDS_MAX;
            match fields.entry(name.to_ascii_lowercase()) {
                Entry::Occupied(_) => problem = Some("has the same name twice".to_owned()),
                Entry::Vacant(_) if is_full => {
                    problem = Some(format!("has more than {BODY_FIELDS_MAX} fields"));
                }
                Entry::Vacant(place) => drop(place.insert((name, value))),
            }
        }
        Ok(problem.map_or(Ok(fields), Err))
    }
}

impl<'a> DeserializeSeed<'a> for ValuesOf {
    type Value = Option<Vec<&'a RawValue>>;

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for ValuesOf {
    type Value = Option<Vec<&'a RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            if values.len() >= self.0 {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
            values.push(value);
        }
        Ok(Some(values))
    }
}
