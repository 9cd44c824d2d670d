//! One connection to the broker, from its handshake to its end.

use super::settings::BusSettings;
use super::socket::{Kit, Socket};
use super::topology::Topology;
use futures_util::StreamExt;
use lapin::options::ConfirmSelectOptions;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Event};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// How often a session looks whether it still lives, beside being told.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The longest wait for the broker's farewell.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// What every connection of a bus has in common.
pub(super) struct Target {
    pub(super) settings: BusSettings,
    pub(super) uri: AMQPUri,
    pub(super) tls: Option<TlsConnector>,
    pub(super) topology: Topology,
}

/// A connection with its exchanges declared and one channel that confirms what is published.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    /// Cancelled when somebody noticed that it does not do its work.
    broken: CancellationToken,
    /// Cancelled to end its socket, whatever it waits for.
    cut: CancellationToken,
    blocked: Mutex<Option<String>>,
}

/// Runs `work`, and says so in words for people when it fails or takes longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = lapin::Result<T>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("{what}: {error}")),
        Err(_) => Err(format!("{what}: the broker did not answer within {} ms", limit.as_millis())),
    }
}

impl Session {
    /// Connects, for at most the settings' limit.
    pub(super) async fn open(target: &Target, name: &str) -> Result<Self, String> {
        let limit = target.settings.connect_limit();
        let cut = CancellationToken::new();
        // Whatever becomes of the attempt, nothing of it stays behind.
        let guard = cut.clone().drop_guard();
        let connection = within(limit, "connecting", connect(target, name, cut.clone())).await?;
        let channel = within(limit, "opening a channel", connection.create_channel()).await?;
        within(limit, "declaring the exchanges", target.topology.declare_exchanges(&channel)).await?;
        within(limit, "asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let cut = guard.disarm();
        Ok(Self { connection, channel, broken: CancellationToken::new(), cut, blocked: Mutex::default() })
    }

    /// Ends it: it does not do its work.
    pub(super) fn give_up(&self) {
        self.broken.cancel();
    }

    /// Why the broker takes no messages from this connection now: one of its alarms.
    pub(super) fn blocked(&self) -> Option<String> {
        if !self.connection.status().blocked() {
            return None;
        }
        let reason = self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(reason.unwrap_or_else(|| "no reason given".to_owned()))
    }

    /// Waits until it is of no use any more; the reason. `changed` is called when the broker begins or ends to block it.
    pub(super) async fn lost(&self, mut changed: impl FnMut()) -> String {
        let mut events = Box::pin(self.connection.events_listener());
        loop {
            tokio::select! {
                () = self.broken.cancelled() => return "the broker did not answer in time".to_owned(),
                event = events.next() => match event {
                    Some(Event::Error(error)) => return error.to_string(),
                    Some(Event::ConnectionBlocked(reason)) => {
                        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
                        changed();
                    }
                    Some(Event::ConnectionUnblocked) => changed(),
                    Some(_) => {}
                    None => return "the connection has ended".to_owned(),
                },
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            if !self.connection.status().connected() || !self.channel.status().connected() {
                return "the connection was lost".to_owned();
            }
        }
    }

    /// Waits until it is given up, or its connection is lost.
    pub(super) async fn given_up(&self) {
        self.cut.cancelled().await;
    }

    /// Says farewell, and ends it in any case.
    pub(super) async fn close(&self) {
        if self.connection.status().connected() && !self.connection.status().blocked() {
            // The broker notices the end without it, too.
            let _ = tokio::time::timeout(CLOSE_LIMIT, self.connection.close(200, "the service ends".into())).await;
        }
        self.cut.cancel();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.cut.cancel();
    }
}

async fn connect(target: &Target, name: &str, cut: CancellationToken) -> lapin::Result<Connection> {
    let mut uri = target.uri.clone();
    uri.query.heartbeat = Some(target.settings.heartbeat_s);
    // Connections are never taken up again by lapin: what was published meanwhile is known to the outbox alone.
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let (tls, limit) = (target.tls.clone(), target.settings.connect_limit());
    let socket = async move |uri: AMQPUri, _| {
        let connecting = Socket::connect(&uri, tls.as_ref(), cut.clone());
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let socket = tokio::time::timeout(limit, connecting).await.map_err(late).and_then(|socket| socket);
        socket.map(AsyncTcpStream::Plain).map_err(lapin::Error::from)
    };
    Connection::connector(uri, async_rs::Runtime::new(Kit::current()), socket, properties).await
}
