//! A command on a node: what it reads and writes, and how it ends.

use super::{Node, framed};
use crate::client::Lines;
use crate::commands::input::Input;
use crate::context::Context;
use crate::failure::Failure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bigdata_common::api::problem::ProblemCode;
use bigdata_common::frames::{Decoder, Frame, MEDIA_TYPE, PIECE};
use bigdata_common::internal::{EXEC_LIMIT_MAX, ExecFrame, ExecRequest};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Body, Method, Response};
use std::io::Write;
use std::time::Duration;

/// How long input may take to end before the command is begun: what a pipe brings at once can be sent again.
const INPUT_PATIENCE: Duration = Duration::from_millis(20);

/// What is asked of the node. Input comes from a person or another program, and ends when they are done: it is theirs to say
/// when. The command ends with its caller in any case.
pub(super) fn exec_request(stdin: bool, timeout: Option<u64>, command: Vec<String>) -> ExecRequest {
    let usual = if stdin { EXEC_LIMIT_MAX.as_secs() } else { ExecRequest::default_timeout_ms() / 1000 };
    ExecRequest { command, stdin: None, timeout_ms: timeout.unwrap_or(usual) * 1000 }
}

pub(super) async fn exec(node: &Node, context: &Context, stdin: bool, request: ExecRequest) -> Result<(), Failure> {
    let input = match stdin {
        true => Input::begin(std::io::stdin(), INPUT_PATIENCE).await?,
        false => Input::Whole(Vec::new()),
    };
    let mut response = match input {
        Input::Whole(input) => send_whole(node, request, stdin.then_some(input)).await?,
        Input::Stream(..) => {
            let head = stream::once(std::future::ready(Ok(Bytes::from(head(&request)?))));
            let body = Body::wrap_stream(head.chain(Box::pin(input.frames())));
            node.api.send(framed(node.request(Method::POST, "/exec")).body(body)).await?
        }
    };
    let unreadable = |cause: String| Failure::Failed(format!("the node's answer cannot be read: {cause}"));
    if !is_framed(&response) {
        return lines(response, context).await;
    }
    let mut decoder = Decoder::default();
    while let Some(piece) = response.chunk().await.map_err(|error| Failure::of(&error))? {
        for frame in decoder.push(&piece).map_err(|error| unreadable(error.to_string()))? {
            if let Some(end) = shown(frame, context)? {
                return end;
            }
        }
    }
    Err(broken_off())
}

/// A command with what it reads, which may be sent again while a service or the node is away. A node that was started by
/// an earlier version takes no frames.
async fn send_whole(node: &Node, request: ExecRequest, input: Option<Vec<u8>>) -> Result<Response, Failure> {
    let mut body = head(&request)?;
    for piece in input.iter().flat_map(|input| input.chunks(PIECE)) {
        body.extend_from_slice(&Frame::Input(piece.to_vec()).encode());
    }
    body.extend_from_slice(&Frame::End.encode());
    let sent = node.api.send(framed(node.request(Method::POST, "/exec")).body(body)).await;
    match sent {
        Err(Failure::Problem(problem)) if problem.code == ProblemCode::MalformedBody => {
            let request = ExecRequest { stdin: input.map(|input| STANDARD.encode(input)), ..request };
            node.api.send(node.request(Method::POST, "/exec").json(&request)).await
        }
        sent => sent,
    }
}

fn head(request: &ExecRequest) -> Result<Vec<u8>, Failure> {
    let request = serde_json::to_vec(request).map_err(|error| Failure::of(&error))?;
    Ok(Frame::Request(request).encode())
}

fn is_framed(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == MEDIA_TYPE.as_bytes())
}

/// Passes a frame on; how the command ended, where this is its end.
fn shown(frame: Frame, context: &Context) -> Result<Option<Result<(), Failure>>, Failure> {
    if context.output.json {
        let line = match &frame {
            Frame::Stdout(piece) => ExecFrame::Stdout(STANDARD.encode(piece)),
            Frame::Stderr(piece) => ExecFrame::Stderr(STANDARD.encode(piece)),
            Frame::Exit(code) => ExecFrame::Exit(*code),
            Frame::Error(reason) => ExecFrame::Error(reason.clone()),
            Frame::Request(_) | Frame::Input(_) | Frame::End => return Ok(None),
        };
        context.output.line(serde_json::to_string(&line).map_err(|error| Failure::of(&error))?)?;
    }
    Ok(match frame {
        Frame::Stdout(_) | Frame::Stderr(_) if context.output.json => None,
        Frame::Stdout(piece) => context.output.bytes(&piece).map(|()| None)?,
        Frame::Stderr(piece) => std::io::stderr().write_all(&piece).map(|()| None)?,
        Frame::Exit(0) => Some(Ok(())),
        Frame::Exit(code) => Some(Err(Failure::Exit(code))),
        Frame::Error(reason) => Some(Err(not_run(reason))),
        Frame::Request(_) | Frame::Input(_) | Frame::End => None,
    })
}

fn broken_off() -> Failure {
    Failure::Failed("the connection to the node ended before the command did".to_owned())
}

/// The answer of a node that knows no frames.
async fn lines(response: Response, context: &Context) -> Result<(), Failure> {
    let mut lines = Lines::of(response);
    let unreadable = |cause: String| Failure::Failed(format!("the node's answer cannot be read: {cause}"));
    let decode = |text: &str| STANDARD.decode(text).map_err(|error| unreadable(error.to_string()));
    while let Some(line) = lines.next().await? {
        if line.is_empty() {
            continue;
        }
        let frame = match serde_json::from_str(&line).map_err(|error| unreadable(error.to_string()))? {
            ExecFrame::Stdout(piece) => Frame::Stdout(decode(&piece)?),
            ExecFrame::Stderr(piece) => Frame::Stderr(decode(&piece)?),
            ExecFrame::Exit(code) => Frame::Exit(code),
            ExecFrame::Error(reason) => Frame::Error(reason),
        };
        if let Some(end) = shown(frame, context)? {
            return end;
        }
    }
    Err(broken_off())
}

/// A command that did not run or did not end by itself: the codes are those of shells (POSIX, 2.8.2).
fn not_run(reason: String) -> Failure {
    let code = match &reason {
        missing if missing.contains("command not found") => 127,
        refused if refused.contains("cannot execute") => 126,
        _ => return Failure::Failed(reason),
    };
    Failure::NotRun { code, reason }
}

#[cfg(test)]
mod tests {
    use super::super::NodeCommand;
    use super::exec_request;
    use clap::Parser;

    #[derive(Parser)]
    struct Words {
        #[command(subcommand)]
        command: NodeCommand,
    }

    #[test]
    fn input_is_given_a_day_and_other_commands_five_minutes() {
        let seconds = |options: &[&str]| {
            let words = [&["node", "exec", "cluster", "node"], options, &["--", "sh"]].concat();
            let Ok(Words { command: NodeCommand::Exec { stdin, timeout, command, .. } }) = Words::try_parse_from(words)
            else {
                return None;
            };
            let request = exec_request(stdin, timeout, command);
            assert!(request.limit().is_ok_and(|limit| limit.as_millis() == request.timeout_ms.into()));
            Some(request.timeout_ms / 1000)
        };
        assert_eq!(seconds(&[]), Some(300));
        assert_eq!(seconds(&["-i"]), Some(86_400));
        for options in [&["--timeout", "7200"][..], &["-i", "--timeout", "7200"]] {
            assert_eq!(seconds(options), Some(7200));
        }
        assert_eq!(seconds(&["--timeout", "86400"]), Some(86_400));
        assert_eq!(seconds(&["-i", "--timeout", "86401"]), None);
    }
}
