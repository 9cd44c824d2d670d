//! A subscription's answer: records as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use crate::engine::backlog::Records;
use crate::engine::effects::{Connection, Input};
use crate::engine::shell::Message;

/// Ends when the shell drops the sender; says so to the shell when the other side is gone.
#[derive(Debug)]
pub(super) struct EventStream {
    events: Records,
    connection: Connection,
    messages: mpsc::Sender<Message>,
}

impl EventStream {
    pub(super) fn new(events: Records, connection: Connection, messages: mpsc::Sender<Message>) -> Self {
        EventStream { events, connection, messages }
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let record = self.events.poll_next(context);
        record.map(|record| record.map(|record| Ok(Frame::data(record))))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let closed = Message::Input(Input::Closed(self.connection));
        let Err(mpsc::error::TrySendError::Full(closed)) = self.messages.try_send(closed) else {
            return;
        };
        let messages = self.messages.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { messages.send(closed).await });
        }
    }
}
