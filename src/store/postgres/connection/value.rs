//! Values in the binary form of PostgreSQL: parameters of statements, and rows of answers.

use std::{error::Error, ops::Range};

use bytes::{BufMut as _, Bytes, BytesMut};
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::{IsNull, Oid, message::backend::DataRowBody};

/// The types of the elements of arrays.
const BYTEA: Oid = 17;
const INT8: Oid = 20;
const INT4: Oid = 23;
const TEXT: Oid = 25;

/// The octets of a UUID.
pub(in crate::store::postgres) const UUID_OCTETS: usize = 16;

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub(in crate::store::postgres) enum Value<'a> {
    /// A `bool`.
    Bool(bool),
    /// An `int8`.
    Int(i64),
    /// A `text`.
    Text(&'a str),
    /// A `uuid`.
    Uuid([u8; UUID_OCTETS]),
    /// An `int4[]`.
    Shorts(&'a [i32]),
    /// An `int8[]`.
    Ints(&'a [i64]),
    /// A `text[]`.
    Texts(&'a [&'a str]),
    /// A `bytea[]`.
    Blobs(&'a [&'a [u8]]),
}

/// Why a value cannot be sent: it is too long.
type Unsendable = Box<dyn Error + Sync + Send>;

impl Value<'_> {
    /// Appends the value to a message.
    pub(super) fn write(self, out: &mut BytesMut) -> Result<IsNull, Unsendable> {
        match self {
            Self::Bool(value) => out.put_u8(value.into()),
            Self::Int(value) => out.put_i64(value),
            Self::Text(value) => out.extend_from_slice(value.as_bytes()),
            Self::Uuid(value) => out.extend_from_slice(&value),
            Self::Shorts(values) => {
                put_array(out, INT4, values, |out, value| out.put_i32(*value))?;
            }
            Self::Ints(values) => put_array(out, INT8, values, |out, value| out.put_i64(*value))?,
            Self::Texts(values) => put_array(out, TEXT, values, |out, value| {
                out.extend_from_slice(value.as_bytes());
            })?,
            Self::Blobs(values) => put_array(out, BYTEA, values, |out, value| {
                out.extend_from_slice(value);
            })?,
        }
        Ok(IsNull::No)
    }
}

/// Appends an array of one dimension.
fn put_array<T>(
    out: &mut BytesMut,
    kind: Oid,
    values: &[T],
    put: impl Fn(&mut BytesMut, &T),
) -> Result<(), Unsendable> {
    let dimensions = i32::from(!values.is_empty());
    out.put_i32(dimensions);
    out.put_i32(0); // no NULL
    out.put_u32(kind);
    if values.is_empty() {
        return Ok(());
    }
    out.put_i32(values.len().try_into()?);
    out.put_i32(1); // the first index
    let mut element = BytesMut::new();
    for value in values {
        element.clear();
        put(&mut element, value);
        out.put_i32(element.len().try_into()?);
        out.extend_from_slice(&element);
    }
    Ok(())
}

/// A row of an answer.
#[derive(Clone, Debug)]
pub(in crate::store::postgres) struct Row {
    octets: Bytes,
    columns: Vec<Option<Range<usize>>>,
}

impl Row {
    /// The row in this message; `None` if it has another form.
    pub(super) fn of(body: &DataRowBody) -> Option<Self> {
        Some(Self {
            octets: body.buffer_bytes().clone(),
            columns: body.ranges().collect().ok()?,
        })
    }

    /// The octets of a column; `None` if it is NULL or does not exist.
    pub(in crate::store::postgres) fn octets(&self, column: usize) -> Option<&[u8]> {
        let range = self.columns.get(column)?.clone()?;
        self.octets.get(range)
    }

    /// The value of a column of the type `text`.
    pub(in crate::store::postgres) fn text(&self, column: usize) -> Option<&str> {
        std::str::from_utf8(self.octets(column)?).ok()
    }

    /// The value of a column of the type `int8`, or of one with the same form: `timestamptz` (in
    /// microseconds) and `pg_lsn`.
    pub(in crate::store::postgres) fn int(&self, column: usize) -> Option<i64> {
        let octets = self.octets(column)?.try_into().ok()?;
        Some(i64::from_be_bytes(octets))
    }

    /// The value of a column of the type `int8` that is not negative.
    pub(in crate::store::postgres) fn count(&self, column: usize) -> Option<u64> {
        self.int(column)?.try_into().ok()
    }

    /// The value of a column of the type `bool`.
    pub(in crate::store::postgres) fn bool(&self, column: usize) -> Option<bool> {
        match self.octets(column)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// The memory that it takes, in octets.
    pub(super) fn held_octets(&self) -> usize {
        let of_columns = self
            .columns
            .len()
            .saturating_mul(size_of::<Option<Range<usize>>>());
        size_of::<Self>()
            .saturating_add(self.octets.len())
            .saturating_add(of_columns)
    }
}
