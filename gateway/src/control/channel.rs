//! One connection to an executor's control channel: TLS with a pinned certificate, then HTTP/1.1.

use crate::body::Outgoing;
use crate::proxy::{CONNECT_TIMEOUT, NoAnswer};
use bigdata_chassis::secret::sha256_hex;
use bigdata_common::internal::{ControlGrant, SILENCE_LOOKED_AT, SILENCE_LOOKS};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why an executor could not be connected to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The grant names no address.
    #[error("its executor enrolled with {0:?}, which is no address")]
    Address(String),
    /// Nothing within the limit.
    #[error("its executor did not take a connection within {} s", CONNECT_TIMEOUT.as_secs())]
    Late,
    /// No connection.
    #[error("its executor takes no connection ({0})")]
    Connect(io::Error),
    /// Somebody answers who is not the executor.
    #[error("another certificate is shown at its address than its executor enrolled with")]
    Fingerprint,
    /// The TLS or HTTP handshake failed.
    #[error("its executor could not be spoken to ({0})")]
    Handshake(Box<dyn std::error::Error + Send + Sync>),
}

/// An open connection for one request.
pub(crate) struct Channel {
    requests: SendRequest<Outgoing>,
    host: HeaderValue,
}

impl Channel {
    /// Connects to the executor that the grant is for, and to no other.
    pub(crate) async fn open(grant: &ControlGrant) -> Result<Self, OpenError> {
        tokio::time::timeout(CONNECT_TIMEOUT, Self::connect(grant)).await.unwrap_or(Err(OpenError::Late))
    }

    async fn connect(grant: &ControlGrant) -> Result<Self, OpenError> {
        let invalid = || OpenError::Address(grant.control.clone());
        let address: SocketAddr = grant.control.parse().map_err(|_| invalid())?;
        let host = HeaderValue::from_str(&grant.control).map_err(|_| invalid())?;
        let config = pinned(&grant.fingerprint).map_err(|error| OpenError::Handshake(Box::new(error)))?;
        let tcp = TcpStream::connect(address).await.map_err(OpenError::Connect)?;
        tcp.set_nodelay(true).and_then(|()| look_at_silence(&tcp)).map_err(OpenError::Connect)?;
        let name = ServerName::IpAddress(address.ip().into());
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(of_handshake)?;
        let (requests, connection) =
            http1::handshake(TokioIo::new(tls)).await.map_err(|error| OpenError::Handshake(Box::new(error)))?;
        // It ends with its one request, or when the channel or the answer's body is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a control channel ended");
            }
        });
        Ok(Self { requests, host })
    }

    /// Sends the one request of this channel.
    pub(crate) async fn send(
        mut self,
        mut request: Request<Outgoing>,
        grant: &ControlGrant,
    ) -> Result<Response<Incoming>, NoAnswer> {
        let broken = |error: hyper::Error| NoAnswer::Broken(Box::new(error));
        let mut token = HeaderValue::from_str(&format!("Bearer {}", grant.token))
            .map_err(|_| NoAnswer::Broken("the framework's grant holds no token".into()))?;
        token.set_sensitive(true);
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().insert(AUTHORIZATION, token);
        self.requests.send_request(request).await.map_err(broken)
    }
}

/// Has the kernel find out that the other end is gone with its machine.
pub(crate) fn look_at_silence(socket: &impl AsFd) -> io::Result<()> {
    let (pause, looks) = SILENCE_LOOKS;
    let keepalive = TcpKeepalive::new().with_time(SILENCE_LOOKED_AT).with_interval(pause).with_retries(looks);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

fn of_handshake(error: io::Error) -> OpenError {
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match refused {
        Some(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) => {
            OpenError::Fingerprint
        }
        _ => OpenError::Handshake(Box::new(error)),
    }
}

/// TLS that believes the certificate with this SHA-256 (lower-case hexadecimal) alone.
fn pinned(fingerprint: &str) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Pinned { fingerprint: fingerprint.to_owned(), provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// Executors sign their certificates themselves: who has enrolled with this one has proved who it is, so the whole
/// check is that it is this one, and that the peer holds its key (the handshake's signature).
#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if sha256_hex(end_entity.as_ref()) == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
