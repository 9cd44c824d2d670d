//! Streams of any length through the control channel: pieces of input and output, and how they end.
//!
//! A frame is one byte (its kind), four bytes (the length of its content, big-endian) and its content. What is sent ends with
//! an end frame of its own: a stream that merely stops was broken off, wherever on its way that happened.

/// The media type of a body of frames.
pub const MEDIA_TYPE: &str = "application/vnd.bigdata.frames";
/// The longest content of a frame, in bytes.
pub const CONTENT_MAX: usize = 1 << 20;
/// How much of a stream one frame usually holds, in bytes.
pub const PIECE: usize = 64 << 10;
/// Kind and length.
const HEAD: usize = 5;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of an exec's request: an [`ExecRequest`](crate::internal::ExecRequest) without `stdin`, as JSON.
    Request(Vec<u8>),
    /// A piece of input: of a command, or of a file that is written.
    Input(Vec<u8>),
    /// The input was sent whole.
    End,
    /// A piece of standard output.
    Stdout(Vec<u8>),
    /// A piece of standard error.
    Stderr(Vec<u8>),
    /// The last frame of an exec's reply: the exit code, 128 + signal for a death by one.
    Exit(i32),
    /// The last frame where the command could not be run or was ended.
    Error(String),
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No such kind.
    #[error("a frame of kind {0} is not known")]
    Kind(u8),
    /// Too long.
    #[error("a frame of {0} bytes is longer than frames may be")]
    Long(usize),
    /// Its content is not of its form.
    #[error("a frame's content is not of its form")]
    Content,
}

impl Frame {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let code;
        let (kind, content): (u8, &[u8]) = match self {
            Self::Request(content) => (b'r', content),
            Self::Input(content) => (b'i', content),
            Self::End => (b'.', &[]),
            Self::Stdout(content) => (b'o', content),
            Self::Stderr(content) => (b'e', content),
            Self::Exit(exit) => {
                code = exit.to_be_bytes();
                (b'x', &code)
            }
            Self::Error(reason) => (b'!', reason.as_bytes()),
        };
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD + content.len());
        bytes.push(kind);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(content);
        bytes
    }

    fn read(kind: u8, content: &[u8]) -> Result<Self, FrameError> {
        Ok(match kind {
            b'r' => Self::Request(content.to_vec()),
            b'i' => Self::Input(content.to_vec()),
            b'.' => Self::End,
            b'o' => Self::Stdout(content.to_vec()),
            b'e' => Self::Stderr(content.to_vec()),
            b'x' => Self::Exit(i32::from_be_bytes(content.try_into().map_err(|_| FrameError::Content)?)),
            b'!' => Self::Error(String::from_utf8_lossy(content).into_owned()),
            other => return Err(FrameError::Kind(other)),
        })
    }

    /// Whether nothing follows it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::End | Self::Exit(_) | Self::Error(_))
    }
}

/// Puts frames together from bytes that come in pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Vec<u8>,
}

impl Decoder {
    /// Takes a piece; the frames that are whole now.
    ///
    /// # Errors
    /// When the bytes are no frames. Nothing that follows is of use then.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Frame>, FrameError> {
        self.partial.extend_from_slice(piece);
        let (mut frames, mut at) = (Vec::new(), 0);
        while let Some((kind, content)) = first(&self.partial[at..])? {
            frames.push(Frame::read(kind, content)?);
            at += HEAD + content.len();
        }
        self.partial.drain(..at);
        Ok(frames)
    }
}

/// The first frame's kind and content, where it is whole.
fn first(bytes: &[u8]) -> Result<Option<(u8, &[u8])>, FrameError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
    let [kind, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    if length > CONTENT_MAX {
        return Err(FrameError::Long(length));
    }
    Ok(rest.get(..length).map(|content| (kind, content)))
}

/// How many of the bytes are whole frames, and whether the last of them ends the stream.
///
/// # Errors
/// As [`Decoder::push`].
pub fn whole(bytes: &[u8]) -> Result<(usize, bool), FrameError> {
    let (mut at, mut is_last) = (0, false);
    while let Some((kind, content)) = first(&bytes[at..])? {
        is_last = matches!(kind, b'.' | b'x' | b'!');
        at += HEAD + content.len();
    }
    Ok((at, is_last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_whatever_the_pieces() {
        let frames = [
            Frame::Request(b"{}".to_vec()),
            Frame::Input(vec![7; 1000]),
            Frame::End,
            Frame::Stdout(Vec::new()),
            Frame::Stderr(b"x".to_vec()),
            Frame::Error("why".into()),
            Frame::Exit(-1),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        for size in [1, 3, 7, 100, bytes.len()] {
            let mut decoder = Decoder::default();
            let out: Vec<Frame> = bytes.chunks(size).flat_map(|piece| decoder.push(piece).unwrap()).collect();
            assert_eq!(out, frames, "{size}");
        }
        assert_eq!(whole(&bytes), Ok((bytes.len(), true)));
        let last = frames[6].encode().len();
        assert_eq!(whole(&bytes[..bytes.len() - 1]), Ok((bytes.len() - last, true)), "the error before it is one");
        assert_eq!(whole(&bytes[..10]), Ok((7, false)));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [&b"?\0\0\0\0"[..], b"i\xff\0\0\0", b"x\0\0\0\x01a"] {
            assert!(Decoder::default().push(bytes).is_err(), "{bytes:?}");
        }
    }
}
