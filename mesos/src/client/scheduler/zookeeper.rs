//! Finds the leading master where masters elect their leader through ZooKeeper.
//!
//! Every master that stands for election has an ephemeral sequential node `json.info_NNNNNNNNNN` below the ensemble's
//! path, whose content is its `MasterInfo` in JSON; the lowest number leads
//! (<https://mesos.apache.org/documentation/latest/high-availability/>). Reading it takes two requests of ZooKeeper's
//! protocol (<https://github.com/apache/zookeeper>, `zookeeper-jute`): frames with a length in front, integers big endian.
//! Nothing is watched: a subscription that is lost asks again.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::StartError;

/// How the names of masters' nodes begin.
const LABEL: &str = "json.info_";
/// The longest that one server of the ensemble may take.
const SERVER_LIMIT: Duration = Duration::from_secs(5);
/// The longest frame that is read, in bytes: a list of a few masters is short.
const FRAME_MAX: usize = 1 << 20;
/// Session timeout that is asked for, in milliseconds; the session is closed at once.
const SESSION_MILLIS: i32 = 10_000;

/// Operation codes (`ZooDefs.OpCode`).
const GET_DATA: i32 = 4;
const GET_CHILDREN: i32 = 8;
const AUTH: i32 = 100;
const CLOSE: i32 = -11;
/// The request number that `AUTH` has (`ClientCnxn.AUTHPACKET_XID`).
const AUTH_NUMBER: i32 = -4;
/// Error code: the node is not there (`KeeperException.Code.NONODE`).
const NO_NODE: i32 = -101;

/// Where to ask: `zk://[user:password@]host:port[,host:port…]/path`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Ensemble {
    servers: Vec<String>,
    path: String,
    /// `user:password` of the scheme `digest`.
    digest: Option<String>,
}

impl std::fmt::Debug for Ensemble {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "zk://{}{}", self.servers.join(","), self.path)
    }
}

/// Why the leader is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error("no connection")]
    Io(#[from] std::io::Error),
    #[error("no answer within {} s", SERVER_LIMIT.as_secs())]
    Silent,
    #[error("it answers with error {0}")]
    Refused(i32),
    #[error("there is nothing at {0}: no master has ever registered there")]
    NoPath(String),
    #[error("no master stands for election at {0}")]
    NoMaster(String),
    #[error("what it says cannot be read")]
    Unreadable,
}

impl Ensemble {
    /// Reads `text`; None where it is no ZooKeeper address at all.
    pub(super) fn parse(text: &str) -> Option<Result<Self, StartError>> {
        let rest = text.strip_prefix("zk://")?;
        Some(Self::parts(rest).ok_or_else(|| StartError::NotAnEnsemble(without_password(text))))
    }

    fn parts(rest: &str) -> Option<Self> {
        let (digest, rest) = match rest.rsplit_once('@') {
            Some((digest, rest)) if digest.contains(':') => (Some(digest.to_owned()), rest),
            Some(_) => return None,
            None => (None, rest),
        };
        let (servers, path) = rest.split_once('/')?;
        let servers: Vec<String> = servers.split(',').map(str::to_owned).collect();
        let port = |server: &str| {
            server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        let path = path.trim_end_matches('/');
        (!path.is_empty() && servers.iter().all(|server| port(server))).then(|| Self {
            servers,
            path: format!("/{path}"),
            digest,
        })
    }

    /// `http://host:port` of the leading master. Asks one server after the other, beginning at the `turn`th.
    pub(super) async fn leader(&self, turn: usize) -> Result<String, String> {
        let mut reasons = Vec::new();
        for offset in 0..self.servers.len() {
            let server = &self.servers[(turn + offset) % self.servers.len()];
            match timeout(SERVER_LIMIT, self.ask(server)).await.unwrap_or(Err(LookupError::Silent)) {
                Ok(master) => return Ok(master),
                Err(error) => reasons.push(format!("{server}: {}", crate::client::chain(&error))),
            }
        }
        Err(format!("the leading master is not known to ZooKeeper ({})", reasons.join("; ")))
    }

    async fn ask(&self, server: &str) -> Result<String, LookupError> {
        let mut session = Session::open(server).await?;
        if let Some(digest) = &self.digest {
            session.authenticate(digest).await?;
        }
        let children = session.call(1, GET_CHILDREN, &self.path).await.map_err(|error| self.missing(error))?;
        let mut children = Reader(&children);
        let count = children.int()?.max(0);
        let names: Result<Vec<String>, LookupError> = (0..count).map(|_| children.text()).collect();
        let leader = names?.into_iter().filter(|name| name.starts_with(LABEL)).min();
        let leader = leader.ok_or_else(|| LookupError::NoMaster(self.path.clone()))?;
        let data = session.call(2, GET_DATA, &format!("{}/{leader}", self.path)).await?;
        session.close().await;
        address_of(Reader(&data).bytes()?).ok_or(LookupError::Unreadable)
    }

    fn missing(&self, error: LookupError) -> LookupError {
        match error {
            LookupError::Refused(NO_NODE) => LookupError::NoPath(self.path.clone()),
            other => other,
        }
    }
}

/// The URL of the master whose `MasterInfo` this is.
fn address_of(info: &[u8]) -> Option<String> {
    let info: Value = serde_json::from_slice(info).ok()?;
    let address = info.get("address")?;
    let text = |key: &str| address.get(key).and_then(Value::as_str);
    let host = text("ip").or_else(|| text("hostname"))?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Some(format!("http://{host}:{}", address.get("port")?.as_u64()?))
}

fn without_password(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("zk://…@{rest}"),
        None => text.to_owned(),
    }
}

struct Session(TcpStream);

impl Session {
    async fn open(server: &str) -> Result<Self, LookupError> {
        let mut session = Self(TcpStream::connect(server).await?);
        let mut request = Vec::new();
        request.extend(0_i32.to_be_bytes()); // protocol version
        request.extend(0_i64.to_be_bytes()); // last transaction seen
        request.extend(SESSION_MILLIS.to_be_bytes());
        request.extend(0_i64.to_be_bytes()); // a new session
        put_bytes(&mut request, &[0; 16]);
        session.send(&request).await?;
        session.receive().await?;
        Ok(session)
    }

    async fn authenticate(&mut self, digest: &str) -> Result<(), LookupError> {
        let mut request = header(AUTH_NUMBER, AUTH);
        request.extend(0_i32.to_be_bytes());
        put_bytes(&mut request, b"digest");
        put_bytes(&mut request, digest.as_bytes());
        self.send(&request).await?;
        self.answer(AUTH_NUMBER).await.map(drop)
    }

    /// A request for one path, without a watch.
    async fn call(&mut self, number: i32, operation: i32, path: &str) -> Result<Vec<u8>, LookupError> {
        let mut request = header(number, operation);
        put_bytes(&mut request, path.as_bytes());
        request.push(0);
        self.send(&request).await?;
        self.answer(number).await
    }

    /// Ends the session; a server that does not hear it ends it by its timeout.
    async fn close(mut self) {
        let _ = self.send(&header(3, CLOSE)).await;
    }

    /// What follows the header of the answer to a request.
    async fn answer(&mut self, number: i32) -> Result<Vec<u8>, LookupError> {
        let frame = self.receive().await?;
        let mut reader = Reader(&frame);
        if reader.int()? != number {
            return Err(LookupError::Unreadable);
        }
        reader.take(8)?; // the transaction
        match reader.int()? {
            0 => Ok(reader.0.to_vec()),
            error => Err(LookupError::Refused(error)),
        }
    }

    async fn send(&mut self, frame: &[u8]) -> Result<(), LookupError> {
        let length = i32::try_from(frame.len()).map_err(|_| LookupError::Unreadable)?;
        let mut message = length.to_be_bytes().to_vec();
        message.extend(frame);
        Ok(self.0.write_all(&message).await?)
    }

    async fn receive(&mut self) -> Result<Vec<u8>, LookupError> {
        let length = usize::try_from(self.0.read_i32().await?).map_err(|_| LookupError::Unreadable)?;
        if length > FRAME_MAX {
            return Err(LookupError::Unreadable);
        }
        let mut frame = vec![0; length];
        self.0.read_exact(&mut frame).await?;
        Ok(frame)
    }
}

fn header(number: i32, operation: i32) -> Vec<u8> {
    [number.to_be_bytes(), operation.to_be_bytes()].concat()
}

fn put_bytes(message: &mut Vec<u8>, bytes: &[u8]) {
    // Paths and digests are short.
    message.extend(i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    message.extend(bytes);
}

/// Takes the parts of a frame off its front.
struct Reader<'frame>(&'frame [u8]);

impl<'frame> Reader<'frame> {
    fn take(&mut self, count: usize) -> Result<&'frame [u8], LookupError> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(LookupError::Unreadable)?;
        self.0 = rest;
        Ok(front)
    }

    fn int(&mut self) -> Result<i32, LookupError> {
        let bytes = self.take(4)?.try_into().map_err(|_| LookupError::Unreadable)?;
        Ok(i32::from_be_bytes(bytes))
    }

    fn bytes(&mut self) -> Result<&'frame [u8], LookupError> {
        let length = usize::try_from(self.int()?).map_err(|_| LookupError::Unreadable)?;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, LookupError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| LookupError::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_servers_path_and_perhaps_a_user() {
        let ensemble = Ensemble::parse("zk://user:pass@a:2181,b:2182/mesos/").unwrap().unwrap();
        assert_eq!(ensemble.servers, ["a:2181", "b:2182"]);
        assert_eq!((ensemble.path.as_str(), ensemble.digest.as_deref()), ("/mesos", Some("user:pass")));
        assert_eq!(format!("{ensemble:?}"), "zk://a:2181,b:2182/mesos");
        assert_eq!(Ensemble::parse("http://a:5050").map(drop), None);
        for wrong in ["zk://a:2181", "zk://a:2181/", "zk://a/mesos", "zk:///mesos", "zk://user@a:2181/mesos"] {
            assert!(Ensemble::parse(wrong).unwrap().is_err(), "{wrong}");
        }
        let refused = Ensemble::parse("zk://user:secret@a/mesos").unwrap().unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }

    #[tokio::test]
    async fn a_server_that_says_nonsense_is_a_reason_not_a_hang() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&[0x7f, 0xff, 0xff, 0xff]).await.unwrap();
        });
        let ensemble = Ensemble::parse(&format!("zk://{address}/mesos")).unwrap().unwrap();
        let reason = ensemble.leader(0).await.unwrap_err();
        assert!(reason.contains("cannot be read"), "{reason}");
    }
}
