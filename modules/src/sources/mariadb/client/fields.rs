//! The parts of a packet.

use super::error::ClientError;

/// What is left of a packet.
pub(super) struct Fields<'p>(&'p [u8]);

impl<'p> Fields<'p> {
    pub(super) fn new(packet: &'p [u8]) -> Self {
        Self(packet)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rest(self) -> &'p [u8] {
        self.0
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'p [u8], ClientError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(ClientError::Broken("a packet cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ClientError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(ClientError::Broken("a packet cut short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ClientError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, ClientError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, ClientError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, ClientError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads a number of 1 to 9 bytes.
    pub(super) fn number(&mut self) -> Result<u64, ClientError> {
        self.maybe_number()?.ok_or(ClientError::Broken("NULL where a number belongs"))
    }

    fn maybe_number(&mut self) -> Result<Option<u64>, ClientError> {
        Ok(Some(match self.u8()? {
            0xfb => return Ok(None),
            0xfc => self.u16()?.into(),
            0xfd => {
                let [a, b, c] = self.array()?;
                u32::from_le_bytes([a, b, c, 0]).into()
            }
            0xfe => self.u64()?,
            0xff => return Err(ClientError::Broken("a length that is none")),
            short => short.into(),
        }))
    }

    /// Reads bytes that their length stands before.
    pub(super) fn bytes(&mut self) -> Result<&'p [u8], ClientError> {
        self.value()?.ok_or(ClientError::Broken("NULL where bytes belong"))
    }

    /// As [`bytes`](Self::bytes), or NULL.
    pub(super) fn value(&mut self) -> Result<Option<&'p [u8]>, ClientError> {
        let Some(len) = self.maybe_number()? else { return Ok(None) };
        let len = usize::try_from(len).map_err(|_| ClientError::Broken("a packet cut short"))?;
        self.take(len).map(Some)
    }

    /// Reads bytes up to a zero, which is passed over, or to the end.
    pub(super) fn until_zero(&mut self) -> &'p [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let (text, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest.get(1..).unwrap_or_default();
        text
    }
}
