//! What is sent along: standard input, a file, or what a command writes. Small ones are held whole, so that they can be sent
//! again; the others go piece by piece.

use bigdata_common::frames::{Frame, PIECE};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use std::io::{self, Read};
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{Instant, timeout_at};

/// The most that is held whole, in bytes.
const WHOLE_MAX: usize = 256 << 10;
/// Pieces that are read ahead.
const PIECES: usize = 4;

/// What is sent along.
pub(crate) enum Input {
    /// All of it.
    Whole(Vec<u8>),
    /// The first pieces, and where the others come from.
    Stream(Vec<Bytes>, Pieces),
}

/// Pieces as they are read.
pub(crate) type Pieces = Receiver<io::Result<Bytes>>;

impl Input {
    /// Begins to read. What has not come to its end within `patience` is not waited for.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn begin(source: impl Read + Send + 'static, patience: Duration) -> io::Result<Self> {
        let mut pieces = read(source);
        let (mut first, mut length) = (Vec::new(), 0);
        let until = Instant::now() + patience;
        while length <= WHOLE_MAX {
            match timeout_at(until, pieces.recv()).await {
                Ok(None) => return Ok(Self::Whole(first.concat())),
                Ok(Some(piece)) => {
                    let piece = piece?;
                    length += piece.len();
                    first.push(piece);
                }
                Err(_) => break,
            }
        }
        Ok(Self::Stream(first, pieces))
    }

    /// As frames, with their end.
    pub(crate) fn frames(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let encoded = |piece: Bytes| Bytes::from(Frame::Input(piece.to_vec()).encode());
        let (first, pieces) = match self {
            Self::Whole(bytes) => (bytes.chunks(PIECE).map(Bytes::copy_from_slice).collect(), None),
            Self::Stream(first, pieces) => (first, Some(pieces)),
        };
        let rest = stream::iter(pieces).flat_map(all);
        // Where reading failed the end is not sent: whoever reads on the other side knows then.
        stream::iter(first.into_iter().map(Ok))
            .chain(rest)
            .map(move |piece| piece.map(encoded))
            .chain(stream::once(async { Ok(Bytes::from(Frame::End.encode())) }))
    }
}

/// The pieces as a stream.
pub(crate) fn all(pieces: Pieces) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
    Box::pin(stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) }))
}

/// Reads on a thread of its own, which does not hold up the end of this process: standard input may stay open for ever.
pub(crate) fn read(mut source: impl Read + Send + 'static) -> Pieces {
    let (sender, receiver) = mpsc::channel(PIECES);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            let piece = match source.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(Bytes::copy_from_slice(&buffer[..count])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_last = piece.is_err();
            if sender.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use bigdata_common::frames::Decoder;
    use std::io::Cursor;

    async fn frames(input: Input) -> Vec<Frame> {
        let mut decoder = Decoder::default();
        let pieces: Vec<io::Result<Bytes>> = input.frames().collect().await;
        pieces.into_iter().flat_map(|piece| decoder.push(&piece.unwrap()).unwrap()).collect()
    }

    #[tokio::test]
    async fn small_input_is_whole_and_large_input_is_not() {
        let long = Duration::from_secs(60);
        for (size, is_whole) in [(0, true), (10, true), (WHOLE_MAX, true), (2 * WHOLE_MAX, false)] {
            let input = Input::begin(Cursor::new(vec![7; size]), long).await.unwrap();
            assert_eq!(matches!(input, Input::Whole(_)), is_whole, "{size}");
            let frames = frames(input).await;
            let sent: usize = frames.iter().map(|it| if let Frame::Input(piece) = it { piece.len() } else { 0 }).sum();
            assert_eq!((sent, frames.last()), (size, Some(&Frame::End)));
        }
    }

    #[tokio::test]
    async fn what_does_not_end_is_not_waited_for() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let input = Input::begin(reader, Duration::from_millis(5)).await.unwrap();
        assert!(matches!(input, Input::Stream(..)));
        std::io::Write::write_all(&mut writer, b"late").unwrap();
        drop(writer);
        assert_eq!(frames(input).await, [Frame::Input(b"late".to_vec()), Frame::End]);
    }
}
