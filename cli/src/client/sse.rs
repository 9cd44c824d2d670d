//! Server-sent events: parsed as the HTML standard says, resumed after a broken connection.

use super::{Api, Lines};
use crate::failure::Failure;
use reqwest::Method;
use std::time::Duration;
use tokio::sync::mpsc;

/// The wait before a broken stream is taken up again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Events read ahead of whoever shows them.
const EVENTS_WAITING: usize = 64;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamEvent {
    /// Its `data`.
    pub(crate) data: String,
}

/// Reads the events at `path` after the event `last_id` in a task of its own, and takes the stream up again whenever it
/// breaks. The receiver yields a failure where the platform refuses the stream, and then nothing more; the task ends
/// with the receiver.
pub(crate) fn follow(api: &Api, path: String, last_id: Option<u64>) -> mpsc::Receiver<Result<StreamEvent, Failure>> {
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING);
    let mut stream = EventStream {
        api: api.clone(),
        path,
        lines: None,
        parser: Parser { last_id: last_id.map(|id| id.to_string()), ..Parser::default() },
    };
    tokio::spawn(async move {
        loop {
            let step = tokio::select! {
                () = sender.closed() => return,
                step = stream.step() => step,
            };
            let message = match step {
                Ok(None) => continue,
                Ok(Some(event)) => Ok(event),
                Err(Failure::Problem(problem)) if problem.status < 500 => Err(Failure::Problem(problem)),
                Err(_) => {
                    stream.lines = None;
                    tokio::time::sleep(RETRY_AFTER).await;
                    continue;
                }
            };
            let refused = message.is_err();
            if sender.send(message).await.is_err() || refused {
                return;
            }
        }
    });
    receiver
}

struct EventStream {
    api: Api,
    path: String,
    lines: Option<Lines>,
    parser: Parser,
}

impl EventStream {
    /// One line further; an event where the line completes one.
    async fn step(&mut self) -> Result<Option<StreamEvent>, Failure> {
        let lines = match &mut self.lines {
            Some(lines) => lines,
            None => {
                let mut request = self.api.stream(Method::GET, &self.path).header("accept", "text/event-stream");
                if let Some(last_id) = &self.parser.last_id {
                    request = request.header("last-event-id", last_id);
                }
                self.parser.data.clear();
                self.lines.insert(Lines::of(self.api.send(request).await?))
            }
        };
        match lines.next().await? {
            Some(line) => Ok(self.parser.line(&line)),
            None => {
                self.lines = None;
                tokio::time::sleep(RETRY_AFTER).await;
                Ok(None)
            }
        }
    }
}

/// The state of the format between two lines.
#[derive(Debug, Default)]
struct Parser {
    data: String,
    pending_id: Option<String>,
    last_id: Option<String>,
}

impl Parser {
    fn line(&mut self, line: &str) -> Option<StreamEvent> {
        if line.is_empty() {
            if let Some(id) = self.pending_id.take() {
                self.last_id = Some(id);
            }
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then_some(StreamEvent { data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "id" => self.pending_id = Some(value.to_owned()),
            // Comments keep the connection alive; other fields are none of ours.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_comments_and_ids() {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for line in [": keep", "", "id: 7", "event: status", "data: {\"a\":", "data: 1}", "", "id: 8", "data:x", ""] {
            events.extend(parser.line(line));
        }
        assert_eq!(events, [StreamEvent { data: "{\"a\":\n1}".to_owned() }, StreamEvent { data: "x".to_owned() }]);
        assert_eq!(parser.last_id.as_deref(), Some("8"));
    }

    #[test]
    fn an_event_that_was_cut_off_does_not_move_the_position() {
        let mut parser = Parser::default();
        for line in ["id: 1", "data: a", "", "id: 2", "data: b"] {
            parser.line(line);
        }
        assert_eq!(parser.last_id.as_deref(), Some("1"));
    }
}
