//! RecordIO, the framing of Mesos's event streams: a record's length in decimal digits, a line feed, the record.
//!
//! Nothing here reads or writes: bytes go in with [`Decoder::push`], records come out of [`Decoder::next_record`].

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Decimal digits of the longest length that is looked at; more cannot be an acceptable length.
const MAX_LENGTH_DIGITS: usize = 10;

/// A stream that is not RecordIO, or a record that is too long. The stream cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The length holds something else than digits, or none.
    #[error("a record's length is not a decimal number")]
    NotALength,
    /// The length exceeds the limit.
    #[error("a record of more than {limit} bytes")]
    TooLong {
        /// What the decoder was told to accept, in bytes.
        limit: usize,
    },
    /// The record is no message of the type expected.
    #[error("a record is not the expected message")]
    Message(#[from] prost::DecodeError),
}

/// Splits a stream of bytes into records.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Length of the record being received, once its header was read.
    expected: Option<usize>,
    limit: usize,
}

impl Decoder {
    /// A decoder that refuses records of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Decoder { buffer: BytesMut::new(), expected: None, limit }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// The next whole record, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`RecordError`]: the stream is broken for good.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, RecordError> {
        let length = match self.expected {
            Some(length) => length,
            None => match self.take_length()? {
                Some(length) => *self.expected.insert(length),
                None => return Ok(None),
            },
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.expected = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Like [`next_record`](Self::next_record), decoded.
    ///
    /// # Errors
    /// [`RecordError`]: the stream is broken for good.
    pub fn next_message<M: prost::Message + Default>(&mut self) -> Result<Option<M>, RecordError> {
        match self.next_record()? {
            Some(record) => Ok(Some(M::decode(record)?)),
            None => Ok(None),
        }
    }

    fn take_length(&mut self) -> Result<Option<usize>, RecordError> {
        let head = &self.buffer[..self.buffer.len().min(MAX_LENGTH_DIGITS + 1)];
        let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
            return match head.iter().all(u8::is_ascii_digit) {
                false => Err(RecordError::NotALength),
                true if head.len() > MAX_LENGTH_DIGITS => Err(self.too_long()),
                true => Ok(None),
            };
        };
        let digits = &head[..end];
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(RecordError::NotALength);
        }
        let value = |sum: u64, digit: &u8| sum * 10 + u64::from(digit - b'0');
        let length = usize::try_from(digits.iter().fold(0, value)).map_err(|_| self.too_long())?;
        if length > self.limit {
            return Err(self.too_long());
        }
        self.buffer.advance(end + 1);
        Ok(Some(length))
    }

    fn too_long(&self) -> RecordError {
        RecordError::TooLong { limit: self.limit }
    }
}

/// One record, framed.
#[must_use]
pub fn encode(record: &[u8]) -> Bytes {
    let length = record.len().to_string();
    let mut framed = BytesMut::with_capacity(length.len() + 1 + record.len());
    framed.put_slice(length.as_bytes());
    framed.put_u8(b'\n');
    framed.put_slice(record);
    framed.freeze()
}

/// One message, encoded and framed.
#[must_use]
pub fn encode_message(message: &impl prost::Message) -> Bytes {
    encode(&message.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(decoder: &mut Decoder) -> Vec<Bytes> {
        std::iter::from_fn(|| decoder.next_record().unwrap()).collect()
    }

    #[test]
    fn a_stream_split_at_every_byte_yields_the_same_records() {
        let records: [&[u8]; 4] = [b"", b"a\n9", b"0123456789ab", b"\x00\xff"];
        let stream: Vec<u8> = records.iter().flat_map(|record| encode(record)).collect();
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut decoder = Decoder::new(100);
                let mut found = Vec::new();
                for part in [&stream[..first], &stream[first..second], &stream[second..]] {
                    decoder.push(part);
                    found.extend(drain(&mut decoder));
                }
                assert_eq!(found, records, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn malicious_lengths_are_errors() {
        let limit = 1000;
        let too_long = RecordError::TooLong { limit };
        for (stream, error) in [
            (&b"1001\n"[..], too_long.clone()),
            (b"9999999999\n", too_long.clone()),
            (b"99999999999999999999", too_long.clone()),
            (b"0000000000000000000000001\n", too_long),
            (b"\n", RecordError::NotALength),
            (b"-1\n", RecordError::NotALength),
            (b"+1\n", RecordError::NotALength),
            (b" 1\n", RecordError::NotALength),
            (b"1 \n", RecordError::NotALength),
            (b"0x10\n", RecordError::NotALength),
            (b"HTTP/1.1", RecordError::NotALength),
        ] {
            let mut decoder = Decoder::new(limit);
            decoder.push(stream);
            assert_eq!(decoder.next_record(), Err(error), "{stream:?}");
        }
    }

    #[test]
    fn a_length_is_awaited_and_a_limit_is_inclusive() {
        let mut decoder = Decoder::new(3);
        decoder.push(b"3");
        assert_eq!(decoder.next_record(), Ok(None));
        decoder.push(b"\nab");
        assert_eq!(decoder.next_record(), Ok(None));
        decoder.push(b"c");
        assert_eq!(decoder.next_record(), Ok(Some(Bytes::from_static(b"abc"))));
    }
}
