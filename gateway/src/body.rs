//! Bodies on their way through. Those of requests to services are small and held whole, so that another replica can be
//! sent the same; files of nodes and large answers go in pieces, of which never more than a few are held.

use crate::routes::Route;
use actix_web::body::{BoxBody, SizedStream};
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::{HttpMessage, HttpRequest};
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use bigdata_chassis::http::ApiError;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::frames;
use bigdata_common::internal::EXEC_LIMIT_MAX;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// The largest request body but for files, in bytes.
pub(crate) const BODY_MAX: u64 = 1024 * 1024;
/// The largest request to run a command on a node, its input included, in bytes: as much as an executor takes.
pub(crate) const EXEC_MAX: u64 = 32 * 1024 * 1024;
/// The largest file that is sent to a node, in bytes.
pub(crate) const UPLOAD_MAX: u64 = 64 * 1024 * 1024;
/// The longest pause within a body, either way, where it is not a stream that may be silent.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The longest pause of a body of frames: what it holds is made as it goes, or typed by a person.
const FRAMES_PAUSE_MAX: Duration = EXEC_LIMIT_MAX;
/// Pieces of a request body that are held at most.
const PIECES: usize = 8;

/// A body as hyper's clients take it.
pub(crate) type Outgoing = UnsyncBoxBody<Bytes, io::Error>;

/// Reads a request's whole body, which may then be sent more than once; None where it has none.
///
/// # Errors
/// 413 beyond `max` bytes, 400 where it breaks off.
pub(crate) async fn whole(
    request: &HttpRequest,
    mut payload: web::Payload,
    route: &Route,
) -> Result<Option<Bytes>, ApiError> {
    let max = route.body_max();
    let length = match declared(request) {
        Declared::None => return Ok(None),
        Declared::Length(length) if length > max => return Err(too_large(route)),
        Declared::Length(length) => usize::try_from(length).unwrap_or_default(),
        Declared::Chunks => 0,
    };
    let mut body = BytesMut::with_capacity(length);
    loop {
        let broken = match tokio::time::timeout(PAUSE_MAX, payload.next()).await {
            Ok(None) => return Ok(Some(body.freeze())),
            Ok(Some(Ok(piece))) if (body.len() + piece.len()) as u64 > max => return Err(too_large(route)),
            Ok(Some(Ok(piece))) => {
                body.extend_from_slice(&piece);
                continue;
            }
            Ok(Some(Err(error))) => error.to_string(),
            Err(_) => format!("nothing more of it came within {} s", PAUSE_MAX.as_secs()),
        };
        return Err(ApiError::new(ProblemCode::MalformedBody, format!("the body broke off: {broken}")));
    }
}

/// 413 with the route's limit.
pub(crate) fn too_large(route: &Route) -> ApiError {
    let detail =
        format!("the body is larger than the {} MiB that this address takes", route.body_max() / (1024 * 1024));
    ApiError::new(ProblemCode::BodyTooLarge, detail)
}

/// What a request says of its body.
enum Declared {
    None,
    Length(u64),
    Chunks,
}

fn declared(request: &HttpRequest) -> Declared {
    let headers = request.headers();
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) => Declared::Length(length),
        None if headers.contains_key(TRANSFER_ENCODING) => Declared::Chunks,
        None => Declared::None,
    }
}

/// No body.
fn empty() -> Outgoing {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A request's body on its way to a node.
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
    /// Takes up a request's body of at most `max` bytes; one of frames may be of any size, and may pause. actix's payloads
    /// stay on their thread, hence the channel.
    ///
    /// # Errors
    /// When the request says itself that it is larger.
    pub(crate) fn begin(request: &HttpRequest, payload: web::Payload, max: u64) -> Result<Self, TooLarge> {
        let is_framed = request.content_type() == frames::MEDIA_TYPE;
        let (max, pause) = if is_framed { (u64::MAX, FRAMES_PAUSE_MAX) } else { (max, PAUSE_MAX) };
        let too_large = Arc::new(AtomicBool::new(false));
        let (report, sent) = oneshot::channel();
        let length = match declared(request) {
            Declared::Length(length) if length > max => return Err(TooLarge),
            Declared::Length(0) => return Ok(Self { body: empty(), length: Some(0), sent, too_large }),
            Declared::None => return Ok(Self { body: empty(), length: None, sent, too_large }),
            Declared::Length(length) => Some(length),
            Declared::Chunks => None,
        };
        let (pieces, receiver) = mpsc::channel(PIECES);
        actix_web::rt::spawn(pump(payload, pieces, (max, pause), Arc::clone(&too_large), report));
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
    (max, pause): (u64, Duration),
    too_large: Arc<AtomicBool>,
    report: oneshot::Sender<()>,
) {
    let mut taken = 0;
    loop {
        let piece = tokio::select! {
            piece = tokio::time::timeout(pause, payload.next()) => piece,
            // The node wants no more of it.
            () = pieces.closed() => break,
        };
        let piece = match piece {
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
        let handed_over = tokio::time::timeout(pause, pieces.send(piece)).await;
        if last || !matches!(handed_over, Ok(Ok(()))) {
            break;
        }
    }
    // Nobody may wait for it any more.
    let _ = report.send(());
}

/// How long a body on its way to the client may be silent.
#[derive(Debug, Clone)]
pub(crate) enum Pauses {
    /// For [`PAUSE_MAX`].
    Short,
    /// For as long as it wants: what it holds is made as it goes, and breaking it off would lose its end.
    Any,
    /// For as long as it wants, but it ends when this is cancelled: it goes on as things happen (events, a followed log).
    Until(CancellationToken),
}

impl Pauses {
    async fn next(&self, body: &mut Incoming) -> Option<io::Result<Frame<Bytes>>> {
        let frame = match self {
            Self::Short => match tokio::time::timeout(PAUSE_MAX, body.frame()).await {
                Ok(frame) => frame,
                Err(_) => return Some(Err(io::ErrorKind::TimedOut.into())),
            },
            Self::Any => body.frame().await,
            Self::Until(end) => tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = end.cancelled() => None,
            },
        };
        Some(frame?.map_err(io::Error::other))
    }
}

/// Hands an upstream's body to the client.
pub(crate) fn relay(mut response: HttpResponseBuilder, body: Incoming, pauses: Pauses) -> HttpResponse<BoxBody> {
    let length = body.size_hint().exact();
    if length == Some(0) {
        return response.finish();
    }
    let stream = futures_util::stream::unfold(Some((body, pauses)), |going| async move {
        let (mut body, pauses) = going?;
        loop {
            match pauses.next(&mut body).await? {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => return Some((Ok(bytes), Some((body, pauses)))),
                    // Trailers end with this hop.
                    Err(_) => continue,
                },
                Err(error) => return Some((Err(error), None)),
            }
        }
    });
    match length {
        Some(length) => response.body(SizedStream::new(length, Box::pin(stream))),
        None => response.streaming(Box::pin(stream)),
    }
}
