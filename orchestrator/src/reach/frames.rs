//! An exec's answer: whole lines, and a last one that says how it ended, also where the way to the node broke.

use super::wire::BodyError;
use bigdata_common::internal::ExecFrame;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame};
use std::error::Error;
use std::pin::Pin;

/// The longest line, in bytes: a node sends pieces of some KiB.
const LINE_MAX: usize = 1 << 20;

/// A body of [`ExecFrame`] lines.
pub(super) struct Frames<B> {
    body: Pin<Box<B>>,
    lines: Lines,
    is_over: bool,
}

/// Gives whole lines, and knows whether the last one has come.
#[derive(Debug, Default)]
struct Lines {
    partial: BytesMut,
    has_end: bool,
}

impl Lines {
    /// Takes a piece; the whole lines that are there now.
    fn push(&mut self, piece: &[u8]) -> Result<Bytes, &'static str> {
        self.partial.extend_from_slice(piece);
        let end = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if self.partial.len() - end > LINE_MAX {
            return Err("it sends something that is no line");
        }
        let whole = self.partial.split_to(end).freeze();
        // Pieces of output come again and again; only an end has one of these names.
        if let Some(last) = whole.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()) {
            self.has_end |= last.starts_with(b"{\"exit\"") || last.starts_with(b"{\"error\"");
        }
        Ok(whole)
    }

    /// The last line, where it has not come.
    fn end(&self, reason: &str) -> Option<Bytes> {
        if self.has_end {
            return None;
        }
        let frame = ExecFrame::Error(format!("the connection to the node ended before the command did: {reason}"));
        let mut line = serde_json::to_vec(&frame).unwrap_or_default();
        line.push(b'\n');
        Some(line.into())
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Send + 'static> Frames<B> {
    /// The answer of a node.
    pub(super) fn new(body: B) -> Self {
        Self { body: Box::pin(body), lines: Lines::default(), is_over: false }
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
                Some(Ok(frame)) => match self.lines.push(frame.data_ref().map_or(&[][..], |data| data)) {
                    Ok(lines) if lines.is_empty() => continue,
                    Ok(lines) => return Some(lines),
                    Err(reason) => reason.to_owned(),
                },
                Some(Err(error)) => root(error.as_ref()),
                None => "its answer has no end".to_owned(),
            };
            self.is_over = true;
            return self.lines.end(&reason);
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
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"{\"stdout\":\"aG").unwrap(), "");
        assert_eq!(lines.push(b"k=\"}\n{\"stdout\"").unwrap(), "{\"stdout\":\"aGk=\"}\n");
        let end = lines.end("it broke").unwrap();
        let end: ExecFrame = serde_json::from_slice(&end).unwrap();
        assert!(matches!(end, ExecFrame::Error(reason) if reason.ends_with(": it broke")));
        assert!(lines.push(&vec![b'x'; LINE_MAX + 1]).is_err());

        let mut ended = Lines::default();
        ended.push(b"{\"stdout\":\"aGk=\"}\n{\"exit\":0}\n").unwrap();
        assert!(ended.end("").is_none());
    }
}
