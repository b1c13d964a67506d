//! A row of the binary form.

use super::error::ClientError;
use super::fields::Fields;

/// A value as it was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Sent<'p> {
    Null,
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    Bytes(&'p [u8]),
    /// Year, month, day, hour, minute, second, millionths of it.
    Date(u16, u8, u8, u8, u8, u8, u32),
    /// Whether it is below zero, days, hours, minutes, seconds, millionths.
    Time(bool, u32, u8, u8, u8, u32),
}

/// How the values of a column are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    /// Integers of 1, 2, 4 or 8 bytes; whether they are without a sign.
    Int8(bool),
    Int16(bool),
    Int32(bool),
    Int64(bool),
    Float,
    Double,
    Date,
    Time,
    Bytes,
}

impl Kind {
    /// Reads what the server says of a column.
    pub(super) fn read(packet: &[u8]) -> Result<Self, ClientError> {
        let mut fields = Fields::new(packet);
        // Where it comes from, and its names.
        for _ in 0..6 {
            fields.bytes()?;
        }
        let mut about = Fields::new(fields.bytes()?);
        // Character set and length.
        about.take(6)?;
        let (kind, flags) = (about.u8()?, about.u16()?);
        let unsigned = flags & 0x20 != 0;
        Ok(match kind {
            1 => Self::Int8(unsigned),
            2 => Self::Int16(unsigned),
            13 => Self::Int16(true),
            3 | 9 => Self::Int32(unsigned),
            8 => Self::Int64(unsigned),
            4 => Self::Float,
            5 => Self::Double,
            6 => Self::Null,
            7 | 10 | 12 | 17 | 18 => Self::Date,
            11 | 19 => Self::Time,
            0 | 15 | 16 | 245..=255 => Self::Bytes,
            _ => return Err(ClientError::Broken("a column of an unknown type")),
        })
    }
}

/// A row: its values are read one after another.
pub(in super::super) struct Row<'p> {
    kinds: &'p [Kind],
    at: usize,
    nulls: &'p [u8],
    fields: Fields<'p>,
}

impl<'p> Row<'p> {
    pub(super) fn new(packet: &'p [u8], kinds: &'p [Kind]) -> Result<Self, ClientError> {
        let mut fields = Fields::new(packet);
        if fields.u8()? != 0 {
            return Err(ClientError::Broken("a row that is none"));
        }
        // The first two bits of them mean nothing.
        let nulls = fields.take((kinds.len() + 9) / 8)?;
        Ok(Self { kinds, at: 0, nulls, fields })
    }

    /// Returns the next value; NULL behind the last one.
    pub(in super::super) fn next(&mut self) -> Result<Sent<'p>, ClientError> {
        let Some(kind) = self.kinds.get(self.at) else { return Ok(Sent::Null) };
        let bit = self.at + 2;
        self.at += 1;
        if self.nulls.get(bit / 8).is_some_and(|bits| bits >> (bit % 8) & 1 == 1) {
            return Ok(Sent::Null);
        }
        let fields = &mut self.fields;
        Ok(match kind {
            Kind::Null => Sent::Null,
            Kind::Int8(false) => Sent::Int(i8::from_le_bytes(fields.array()?).into()),
            Kind::Int8(true) => Sent::UInt(fields.u8()?.into()),
            Kind::Int16(false) => Sent::Int(i16::from_le_bytes(fields.array()?).into()),
            Kind::Int16(true) => Sent::UInt(fields.u16()?.into()),
            Kind::Int32(false) => Sent::Int(i32::from_le_bytes(fields.array()?).into()),
            Kind::Int32(true) => Sent::UInt(fields.u32()?.into()),
            Kind::Int64(false) => Sent::Int(i64::from_le_bytes(fields.array()?)),
            Kind::Int64(true) => Sent::UInt(fields.u64()?),
            Kind::Float => Sent::Float(f32::from_le_bytes(fields.array()?)),
            Kind::Double => Sent::Double(f64::from_le_bytes(fields.array()?)),
            Kind::Bytes => Sent::Bytes(fields.bytes()?),
            Kind::Date => date(fields)?,
            Kind::Time => time(fields)?,
        })
    }

    /// Ends the row; nothing may be left of it.
    pub(in super::super) fn finish(self) -> Result<(), ClientError> {
        match self.at == self.kinds.len() && self.fields.is_empty() {
            true => Ok(()),
            false => Err(ClientError::Broken("a row of another form than its columns")),
        }
    }
}

/// Trailing parts that are zero are left out.
fn date<'p>(fields: &mut Fields<'_>) -> Result<Sent<'p>, ClientError> {
    let len = fields.u8()?;
    if !matches!(len, 0 | 4 | 7 | 11) {
        return Err(ClientError::Broken("a date of an unknown form"));
    }
    let (mut day, mut time, mut micros) = ((0, 0, 0), (0, 0, 0), 0);
    if len >= 4 {
        day = (fields.u16()?, fields.u8()?, fields.u8()?);
    }
    if len >= 7 {
        time = (fields.u8()?, fields.u8()?, fields.u8()?);
    }
    if len == 11 {
        micros = fields.u32()?;
    }
    Ok(Sent::Date(day.0, day.1, day.2, time.0, time.1, time.2, micros))
}

fn time<'p>(fields: &mut Fields<'_>) -> Result<Sent<'p>, ClientError> {
    let len = fields.u8()?;
    if len == 0 {
        return Ok(Sent::Time(false, 0, 0, 0, 0, 0));
    }
    if !matches!(len, 8 | 12) {
        return Err(ClientError::Broken("a time of an unknown form"));
    }
    let (is_negative, days) = (fields.u8()? != 0, fields.u32()?);
    let time = (fields.u8()?, fields.u8()?, fields.u8()?);
    let micros = if len == 12 { fields.u32()? } else { 0 };
    Ok(Sent::Time(is_negative, days, time.0, time.1, time.2, micros))
}
