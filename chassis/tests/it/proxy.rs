//! A way to the broker that a test can make silent, or give TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Listens on loopback and hands on to another address; ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    silent: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Hands on to the broker of `url`, behind TLS where `tls` is given.
    pub(crate) async fn start(url: &str, tls: Option<TlsAcceptor>) -> Self {
        let broker = url.rsplit_once('@').unwrap().1.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (silent, is_silent) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (broker, is_silent, tls) = (broker.clone(), is_silent.clone(), tls.clone());
                tokio::spawn(async move {
                    let broker = TcpStream::connect(&broker).await.unwrap();
                    match tls {
                        None => carry(client, broker, is_silent).await,
                        Some(tls) => match tls.accept(client).await {
                            Ok(client) => carry(client, broker, is_silent).await,
                            Err(error) => eprintln!("no TLS: {error}"),
                        },
                    }
                });
            }
        });
        Self { address, silent, task }
    }

    /// The URL of the broker by way of this.
    pub(crate) fn url(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://guest:guest@{host}:{}/%2f", self.address.port())
    }

    /// From now on nothing goes through, and nothing is closed; or it does again.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: impl AsyncRead + AsyncWrite, broker: TcpStream, is_silent: watch::Receiver<bool>) {
    let (client_reads, client_writes) = tokio::io::split(client);
    let (broker_reads, broker_writes) = tokio::io::split(broker);
    let (client_reads, client_writes) = (Box::pin(client_reads), Box::pin(client_writes));
    tokio::join!(
        pump(client_reads, Box::pin(broker_writes), is_silent.clone()),
        pump(Box::pin(broker_reads), client_writes, is_silent),
    );
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut is_silent: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer).await {
        let speaks = is_silent.wait_for(|silent| !*silent).await.is_ok();
        if length == 0 || !speaks || to.write_all(&buffer[..length]).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    // Whoever is at the other end shall see it; it may be gone already.
    let _ = to.shutdown().await;
}

/// A TLS server's end with a certificate for `localhost`, and the PEM text of the authority that signed it.
pub(crate) fn tls() -> (TlsAcceptor, String) {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = parameters.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}
