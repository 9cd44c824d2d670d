//! An exec's answer: whole lines or frames, and a last one that says how it ended, also where the way to the node broke.

use super::wire::BodyError;
use bigdata_common::frames::{self, Frame as Piece};
use bigdata_common::internal::ExecFrame;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame};
use std::error::Error;
use std::pin::Pin;

/// The longest line, in bytes: a node sends pieces of some KiB.
const LINE_MAX: usize = 1 << 20;

/// A body of [`ExecFrame`] lines, or of [`frames`].
pub(super) struct Frames<B> {
    body: Pin<Box<B>>,
    pieces: Pieces,
    is_over: bool,
}

/// Gives whole lines or frames, and knows whether the last one has come.
#[derive(Debug, Default)]
struct Pieces {
    partial: BytesMut,
    is_framed: bool,
    has_end: bool,
}

impl Pieces {
    /// Takes a piece; the whole lines or frames that are there now.
    fn push(&mut self, piece: &[u8]) -> Result<Bytes, String> {
        self.partial.extend_from_slice(piece);
        let end = match self.is_framed {
            true => {
                let (end, is_last) = frames::whole(&self.partial).map_err(|error| error.to_string())?;
                self.has_end |= is_last;
                end
            }
            false => self.end_of_lines()?,
        };
        Ok(self.partial.split_to(end).freeze())
    }

    fn end_of_lines(&mut self) -> Result<usize, String> {
        let end = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if self.partial.len() - end > LINE_MAX {
            return Err("it sends something that is no line".to_owned());
        }
        // Pieces of output come again and again; only an end has one of these names.
        if let Some(last) = self.partial[..end].split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()) {
            self.has_end |= last.starts_with(b"{\"exit\"") || last.starts_with(b"{\"error\"");
        }
        Ok(end)
    }

    /// The last line or frame, where it has not come.
    fn end(&self, reason: &str) -> Option<Bytes> {
        if self.has_end {
            return None;
        }
        let reason = format!("the connection to the node ended before the command did: {reason}");
        if self.is_framed {
            return Some(Piece::Error(reason).encode().into());
        }
        let mut line = serde_json::to_vec(&ExecFrame::Error(reason)).unwrap_or_default();
        line.push(b'\n');
        Some(line.into())
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Send + 'static> Frames<B> {
    /// The answer of a node.
    pub(super) fn new(body: B, is_framed: bool) -> Self {
        Self { body: Box::pin(body), pieces: Pieces { is_framed, ..Pieces::default() }, is_over: false }
    }

    /// The body as the script gets it.
    pub(super) fn into_body(self) -> impl Body<Data = Bytes, Error = BodyError> + Send {
        StreamBody::new(stream::unfold(self, |mut frames| async move {
            let bytes = frames.next().await?;
            Some((Ok(Frame::data(bytes)), frames))
        }))
    }

    async fn next(&mut self) -> Option<Bytes> {
        while !self.is_over {
            let reason = match self.body.frame().await {
                Some(Ok(frame)) => match self.pieces.push(frame.data_ref().map_or(&[][..], |data| data)) {
                    Ok(whole) if whole.is_empty() => continue,
                    Ok(whole) => return Some(whole),
                    Err(reason) => reason,
                },
                Some(Err(error)) => root(error.as_ref()),
                None => "its answer has no end".to_owned(),
            };
            self.is_over = true;
            return self.pieces.end(&reason);
        }
        None
    }
}

/// What is at the bottom of an error.
fn root(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_end_with_a_reason() {
        let mut lines = Pieces::default();
        assert_eq!(lines.push(b"{\"stdout\":\"aG").unwrap(), "");
        assert_eq!(lines.push(b"k=\"}\n{\"stdout\"").unwrap(), "{\"stdout\":\"aGk=\"}\n");
        let end = lines.end("it broke").unwrap();
        let end: ExecFrame = serde_json::from_slice(&end).unwrap();
        assert!(matches!(end, ExecFrame::Error(reason) if reason.ends_with(": it broke")));
        assert!(lines.push(&vec![b'x'; LINE_MAX + 1]).is_err());

        let mut ended = Pieces::default();
        ended.push(b"{\"stdout\":\"aGk=\"}\n{\"exit\":0}\n").unwrap();
        assert!(ended.end("").is_none());
    }

    #[test]
    fn frames_are_whole_and_end_with_a_reason() {
        let framed = || Pieces { is_framed: true, ..Pieces::default() };
        let (piece, exit) = (Piece::Stdout(vec![b'x'; 100]).encode(), Piece::Exit(0).encode());
        let mut broken = framed();
        assert_eq!(broken.push(&piece[..50]).unwrap(), "");
        assert_eq!(broken.push(&[&piece[50..], &exit[..3]].concat()).unwrap(), piece);
        let end = frames::Decoder::default().push(&broken.end("it broke").unwrap()).unwrap();
        assert!(matches!(end.as_slice(), [Piece::Error(reason)] if reason.ends_with(": it broke")), "{end:?}");
        let mut ended = framed();
        ended.push(&[piece, exit].concat()).unwrap();
        assert!(ended.end("").is_none());
        assert!(framed().push(b"nonsense").is_err());
    }
}
