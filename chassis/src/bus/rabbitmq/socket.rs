//! The socket below a connection: TLS by our own provider, and an end that nobody has to wait for.
//!
//! lapin reads and writes on a thread of its own, which waits for the socket for as long as the broker is silent. A
//! [`Socket`] fails once its token is cancelled, so that the thread always ends.

use super::settings::BusSettings;
use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::TryFutureExt;
use lapin::uri::AMQPUri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tokio_util::sync::CancellationToken;

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}

/// A connection's bytes; see the [module](self).
pub(super) struct Socket {
    stream: Compat<Box<dyn Stream>>,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    token: CancellationToken,
}

impl Socket {
    /// Connects to the broker of `uri`, through `tls` where it is given; fails once `cut` is cancelled.
    pub(super) async fn connect(uri: &AMQPUri, tls: Option<&TlsConnector>, cut: CancellationToken) -> io::Result<Self> {
        let (host, port) = (uri.authority.host.as_str(), uri.authority.port);
        let connecting = async {
            let tcp = TcpStream::connect((host, port)).await?;
            tcp.set_nodelay(true)?;
            Ok::<Box<dyn Stream>, io::Error>(match tls {
                None => Box::new(tcp),
                Some(tls) => {
                    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                    Box::new(tls.connect(name, tcp).await?)
                }
            })
        };
        let stream = tokio::select! {
            () = cut.cancelled() => return Err(ended()),
            stream = connecting => stream?,
        };
        Ok(Self::over(stream, cut))
    }

    fn over(stream: Box<dyn Stream>, cut: CancellationToken) -> Self {
        Self { stream: stream.compat(), cut: Box::pin(cut.clone().cancelled_owned()), token: cut }
    }
}

/// What TLS trusts: the system's certificates and those of the settings.
///
/// # Errors
/// When the file of the settings cannot be read, or the system's store cannot.
pub(super) fn tls(settings: &BusSettings) -> Result<TlsConnector, String> {
    let mut extra = Vec::new();
    if let Some(file) = &settings.ca_file {
        let unreadable = |error: rustls::pki_types::pem::Error| format!("{}: {error}", file.display());
        for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
            extra.push(certificate.map_err(unreadable)?);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(|error| error.to_string())?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn ended() -> io::Error {
    io::Error::new(ErrorKind::ConnectionAborted, "the connection was given up")
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        // Also wakes the reader when it waits already.
        if self.token.is_cancelled() || self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(ended()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        if self.token.is_cancelled() {
            return Poll::Ready(Err(ended()));
        }
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.token.is_cancelled() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_close(context)
    }
}

/// Tokio as lapin's runtime, with our socket in place of its own.
#[derive(Debug, Clone)]
pub(super) struct Kit(async_rs::Tokio);

impl Kit {
    pub(super) fn current() -> Self {
        Self(async_rs::Tokio::current())
    }
}

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <async_rs::Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(&self, future: F) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(&self, work: F) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Socket;
    type Sleep = <async_rs::Tokio as Reactor>::Sleep;

    /// lapin registers no socket of its own kind.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Socket, _>(ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl futures_util::Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        TcpStream::connect(address).map_ok(|tcp| Socket::over(Box::new(tcp), CancellationToken::new()))
    }
}
