//! Splits a body that arrives in pieces into lines.

use super::Api;
use crate::failure::Failure;
use bytes::BytesMut;

/// The longest line that is taken, in bytes: a longer one is an error, not a reason to swallow memory.
const LINE_MAX: usize = 4 * 1024 * 1024;

/// The lines of a reply that is still arriving.
pub(crate) struct Lines {
    response: reqwest::Response,
    url: String,
    buffer: BytesMut,
}

impl Lines {
    /// The lines of this reply.
    pub(crate) fn of(response: reqwest::Response) -> Self {
        let url = response.url().to_string();
        Self { response, url, buffer: BytesMut::new() }
    }

    /// The next line without its end; None after the last one.
    ///
    /// # Errors
    /// When the connection breaks, or a line is too long.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Failure> {
        let mut searched = 0;
        loop {
            if let Some(position) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(searched + position + 1);
                return Ok(Some(text_of(&line)));
            }
            searched = self.buffer.len();
            if searched > LINE_MAX {
                return Err(Failure::Failed(format!("{} sent a line of more than {LINE_MAX} bytes", self.url)));
            }
            match self.response.chunk().await {
                Ok(Some(piece)) => self.buffer.extend_from_slice(&piece),
                Ok(None) if self.buffer.is_empty() => return Ok(None),
                Ok(None) => return Ok(Some(text_of(&self.buffer.split()))),
                Err(error) => return Err(Api::unreachable(&self.url, &error)),
            }
        }
    }
}

fn text_of(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end_matches(['\n', '\r']).to_owned()
}
