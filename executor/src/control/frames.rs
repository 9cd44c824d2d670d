//! Input that comes as frames: of any size, and known to be whole only by its end frame.

use super::answer::Failure;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::frames::{Decoder, Frame, MEDIA_TYPE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use std::collections::VecDeque;

/// Whether a request's body is made of frames.
pub(super) fn are_in(head: &Parts) -> bool {
    head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == MEDIA_TYPE.as_bytes())
}

/// The frames of a body.
pub(super) struct Frames {
    body: Incoming,
    decoder: Decoder,
    ready: VecDeque<Frame>,
}

impl Frames {
    pub(super) fn of(body: Incoming) -> Self {
        Self { body, decoder: Decoder::default(), ready: VecDeque::new() }
    }

    /// The next frame.
    ///
    /// # Errors
    /// When there is none: a body that merely stops was broken off somewhere on its way.
    pub(super) async fn next(&mut self) -> Result<Frame, Failure> {
        let malformed = |detail: String| Failure::new(ProblemCode::MalformedBody, detail);
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(frame);
            }
            let Some(piece) = self.body.frame().await else {
                return Err(malformed("the stream broke off: its end frame did not come".to_owned()));
            };
            let piece = piece.map_err(|error| malformed(format!("the stream broke off: {error}")))?;
            let Ok(piece) = piece.into_data() else { continue };
            self.ready.extend(self.decoder.push(&piece).map_err(|error| malformed(error.to_string()))?);
        }
    }

    /// Whether the end is known to have come.
    pub(super) fn is_at_end(&self) -> bool {
        self.ready.front() == Some(&Frame::End)
    }

    /// The next piece of input; None at its end.
    ///
    /// # Errors
    /// As [`Frames::next`], and when another frame comes.
    pub(super) async fn input(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self.next().await? {
            Frame::Input(piece) => Ok(Some(piece)),
            Frame::End => Ok(None),
            _ => Err(Failure::new(ProblemCode::MalformedBody, "a frame of input or its end is wanted here")),
        }
    }
}
