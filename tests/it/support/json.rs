//! A strict reader of the log's JSON objects: one level of strings, numbers and booleans, and
//! nothing that RFC 8259 does not allow.

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    /// A string.
    Text(String),
    /// A whole number.
    Number(i128),
    /// A boolean.
    Truth(bool),
}

/// Reads one object, which must be all of `text`.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, Json)>, String> {
    let mut reader = Reader { rest: text };
    let object = reader.object();
    match object {
        Some(object) if reader.rest.is_empty() => {
            for (position, (key, _)) in object.iter().enumerate() {
                if object[..position].iter().any(|(former, _)| former == key) {
                    return Err(format!("{key} appears twice in {text}"));
                }
            }
            Ok(object)
        }
        _ => Err(format!("no JSON at {:?} of {text:?}", reader.rest)),
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn object(&mut self) -> Option<Vec<(String, Json)>> {
        self.take("{")?;
        let mut fields = Vec::new();
        loop {
            let key = self.string()?;
            self.take(":")?;
            fields.push((key, self.value()?));
            if self.take(",").is_none() {
                return self.take("}").map(|()| fields);
            }
        }
    }

    fn take(&mut self, expected: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(expected)?;
        Some(())
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn value(&mut self) -> Option<Json> {
        if self.rest.starts_with('"') {
            return self.string().map(Json::Text);
        }
        for (word, truth) in [("true", true), ("false", false)] {
            if self.take(word).is_some() {
                return Some(Json::Truth(truth));
            }
        }
        let is_number = |c: char| c.is_ascii_digit() || c == '-';
        let end = self.rest.find(|c| !is_number(c))?;
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        let value: i128 = number.parse().ok()?;
        // No leading zeros, and no sign without a number.
        (value.to_string() == number).then_some(Json::Number(value))
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut units = Vec::new();
        loop {
            match self.next()? {
                '"' => return String::from_utf16(&units).ok(),
                '\\' => units.push(self.escape()?),
                '\0'..='\x1f' => return None,
                character => units.extend_from_slice(character.encode_utf16(&mut [0; 2])),
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        Some(match self.next()? {
            '"' => 0x22,
            '\\' => 0x5c,
            '/' => 0x2f,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'u' => {
                let digits = self.rest.get(..4)?;
                self.rest = self.rest.get(4..)?;
                let are_digits = digits.bytes().all(|octet| octet.is_ascii_hexdigit());
                u16::from_str_radix(digits, 16)
                    .ok()
                    .filter(|_| are_digits)?
            }
            _ => return None,
        })
    }
}
