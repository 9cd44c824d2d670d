//! A server that stands for a node's executor: TLS with a certificate of its own, a token, and the control channel's
//! routes as far as the tests need them.

use bigdata_chassis::Tasks;
use bigdata_chassis::secret::sha256_hex;
use bigdata_common::AttemptId;
use bigdata_common::internal::ControlGrant;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

const TOKEN: &str = "6f0c9c4e-28a5-4c5e-8a3b-0b8f4a7d9e11.99999999999999.local.ab";

type Answer = Response<BoxBody<Bytes, Infallible>>;

pub(crate) struct Executor {
    address: SocketAddr,
    fingerprint: String,
    /// Lets a followed exec write its last line.
    pub(crate) go_on: Arc<Notify>,
    up: watch::Sender<bool>,
}

impl Executor {
    pub(crate) async fn start(tasks: &Tasks) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["node".to_owned()]).unwrap();
        let certificate = certified.cert.der().clone();
        let fingerprint = sha256_hex(&certificate);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (up, is_up) = watch::channel(true);
        let go_on = Arc::new(Notify::new());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tasks.spawn("executor", serve(listener, acceptor, is_up, Arc::clone(&go_on), tasks.clone()));
        Self { address, fingerprint, go_on, up }
    }

    /// What the framework hands out for it.
    pub(crate) fn grant(&self) -> ControlGrant {
        let attempt = AttemptId("6f0c9c4e-28a5-4c5e-8a3b-0b8f4a7d9e11".parse().unwrap());
        ControlGrant {
            control: self.address.to_string(),
            fingerprint: self.fingerprint.clone(),
            attempt,
            token: TOKEN.to_owned(),
        }
    }

    /// Ends it: nobody listens there any more.
    pub(crate) async fn end(&self) {
        self.up.send(false).unwrap();
        self.up.closed().await;
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    mut is_up: watch::Receiver<bool>,
    go_on: Arc<Notify>,
    tasks: Tasks,
) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = is_up.changed() => return,
            () = tasks.cancelled() => return,
        };
        let (acceptor, go_on) = (acceptor.clone(), Arc::clone(&go_on));
        tokio::spawn(async move {
            // A client that believes another certificate breaks off here.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(request, Arc::clone(&go_on)));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, go_on: Arc<Notify>) -> Result<Answer, hyper::Error> {
    let text = |text: String| Full::new(Bytes::from(text)).boxed();
    let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    if authorization.as_deref() != Some(&format!("Bearer {TOKEN}")) {
        let mut refused = Response::new(text("no".to_owned()));
        *refused.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(refused);
    }
    let foreign: Vec<String> = request
        .headers()
        .keys()
        .filter(|name| name.as_str().starts_with("x-bigdata"))
        .map(ToString::to_string)
        .collect();
    let (method, uri) = (request.method().to_string(), request.uri().to_string());
    if request.uri().path() == "/v1/exec" {
        let body = request.into_body().collect().await?.to_bytes();
        let first = format!("{}\n", serde_json::json!({"stdout": String::from_utf8_lossy(&body)}));
        let lines = futures_util::stream::once(async move { Bytes::from(first) });
        let last = futures_util::stream::once(async move {
            go_on.notified().await;
            Bytes::from("{\"exit\":0}\n")
        });
        let body = BodyExt::boxed(StreamBody::new(lines.chain(last).map(|line| Ok(Frame::data(line)))));
        return Ok(Response::builder().header("content-type", "application/jsonl").body(body).unwrap());
    }
    let body = request.into_body().collect().await?.to_bytes();
    let told = format!("{method} {uri} {} {} {foreign:?}", body.len(), sha256_hex(&body));
    Ok(Response::builder().header("content-type", "text/html").body(text(told)).unwrap())
}
