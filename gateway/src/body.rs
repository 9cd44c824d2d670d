//! Bodies on their way through, in pieces: never more than a few of them are held.

use actix_web::HttpRequest;
use actix_web::body::{BoxBody, SizedStream};
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The largest request body but for files, in bytes.
pub(crate) const BODY_MAX: u64 = 1024 * 1024;
/// The largest request to run a command on a node, its input included, in bytes: as much as an executor takes.
pub(crate) const EXEC_MAX: u64 = 32 * 1024 * 1024;
/// The largest file that is sent to a node, in bytes.
pub(crate) const UPLOAD_MAX: u64 = 64 * 1024 * 1024;
/// The longest pause within a body, either way, where it is not a stream that may be silent.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Pieces of a request body that are held at most.
const PIECES: usize = 8;

/// A body as hyper's clients take it.
pub(crate) type Outgoing = UnsyncBoxBody<Bytes, io::Error>;

/// No body.
pub(crate) fn empty() -> Outgoing {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A request's body on its way to a service or node.
pub(crate) struct Upload {
    /// For the client.
    pub(crate) body: Outgoing,
    /// Its length, where the client told it.
    pub(crate) length: Option<u64>,
    /// Ends when the whole body is on its way, or given up.
    pub(crate) sent: oneshot::Receiver<()>,
    too_large: Arc<AtomicBool>,
}

/// A request body that is larger than its route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Upload {
    /// Takes up a request's body. actix's payloads stay on their thread, hence the channel.
    ///
    /// # Errors
    /// When the request says itself that it is larger than `max` bytes.
    pub(crate) fn begin(request: &HttpRequest, payload: web::Payload, max: u64) -> Result<Self, TooLarge> {
        let headers = request.headers();
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let too_large = Arc::new(AtomicBool::new(false));
        let (report, sent) = oneshot::channel();
        match length {
            Some(length) if length > max => return Err(TooLarge),
            Some(0) => return Ok(Self { body: empty(), length: Some(0), sent, too_large }),
            None if !headers.contains_key(TRANSFER_ENCODING) => {
                return Ok(Self { body: empty(), length: None, sent, too_large });
            }
            _ => {}
        }
        let (pieces, receiver) = mpsc::channel(PIECES);
        actix_web::rt::spawn(pump(payload, pieces, max, Arc::clone(&too_large), report));
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
            let piece: io::Result<Bytes> = receiver.recv().await?;
            Some((piece.map(Frame::data), receiver))
        });
        Ok(Self { body: StreamBody::new(stream).boxed_unsync(), length, sent, too_large })
    }

    /// Tells, later, whether the body turned out to be too large.
    pub(crate) fn watch(&self) -> impl Fn() -> bool + use<> {
        let too_large = Arc::clone(&self.too_large);
        move || too_large.load(Ordering::SeqCst)
    }
}

async fn pump(
    mut payload: web::Payload,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    max: u64,
    too_large: Arc<AtomicBool>,
    report: oneshot::Sender<()>,
) {
    let mut taken = 0;
    loop {
        let piece = match tokio::time::timeout(PAUSE_MAX, payload.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(bytes))) => Ok(bytes),
            Ok(Some(Err(error))) => Err(io::Error::other(error.to_string())),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        taken += piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let piece = if taken > max {
            too_large.store(true, Ordering::SeqCst);
            Err(io::ErrorKind::FileTooLarge.into())
        } else {
            piece
        };
        let last = piece.is_err();
        let handed_over = tokio::time::timeout(PAUSE_MAX, pieces.send(piece)).await;
        if last || !matches!(handed_over, Ok(Ok(()))) {
            break;
        }
    }
    // Nobody may wait for it any more.
    let _ = report.send(());
}

/// Hands an upstream's body to the client; `may_pause` where silence is part of it (events, a followed log).
pub(crate) fn relay(mut response: HttpResponseBuilder, body: Incoming, may_pause: bool) -> HttpResponse<BoxBody> {
    let length = body.size_hint().exact();
    if length == Some(0) {
        return response.finish();
    }
    let stream = futures_util::stream::unfold(Some(body), move |body| async move {
        let mut body = body?;
        loop {
            let frame = if may_pause {
                body.frame().await
            } else {
                match tokio::time::timeout(PAUSE_MAX, body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) => return Some((Err(io::ErrorKind::TimedOut.into()), None)),
                }
            };
            match frame? {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => return Some((Ok(bytes), Some(body))),
                    // Trailers end with this hop.
                    Err(_) => continue,
                },
                Err(error) => return Some((Err(io::Error::other(error)), None)),
            }
        }
    });
    match length {
        Some(length) => response.body(SizedStream::new(length, Box::pin(stream))),
        None => response.streaming(Box::pin(stream)),
    }
}
