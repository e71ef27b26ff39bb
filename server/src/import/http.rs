//! The server as an import meets it over HTTP: lines are posted, each batch with its number, on a connection
//! that is kept.
//!
//! No more of HTTP/1.1 than that needs: our own server answers with a length.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::command::ImportArguments;
use crate::import::ATTEMPTS_MAX;
use crate::import::error::{BatchError, ImportError};
use crate::import::source::Batch;

/// Longer answers are none of ours.
const ANSWER_BYTES_MAX: usize = 1 << 20;

const UNAVAILABLE: u16 = 503;

/// Where lines go.
pub(super) struct LineTarget {
    address: String,
    authorization: String,
    precision: String,
    /// `None` before the first batch.
    stream: Option<TcpStream>,
}

/// An answer.
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl LineTarget {
    pub(super) fn new(arguments: &ImportArguments) -> LineTarget {
        let authorization = match &arguments.password {
            Some(password) => {
                let pair = BASE64.encode(format!("{}:{password}", arguments.user));
                format!("Authorization: Basic {pair}\r\n")
            }
            None => String::new(),
        };
        let precision =
            arguments.precision.bytes().filter(u8::is_ascii_alphanumeric).map(char::from).collect();
        LineTarget { address: arguments.http.clone(), authorization, precision, stream: None }
    }

    /// Writes a batch with its number, unless it was written before.
    pub(super) async fn write(&mut self, number: (&str, u64), batch: &Batch) -> Result<(), BatchError> {
        for _ in 0..ATTEMPTS_MAX {
            let answer = self.exchange(number, &batch.data).await?;
            match answer.status {
                204 => return Ok(()),
                UNAVAILABLE => {}
                _ => return Err(refused(&answer)),
            }
        }
        let reason = "the server has had no room for more rows for too long".to_owned();
        Err(ImportError::Refused { doing: "loading lines", reason }.into())
    }

    async fn exchange(
        &mut self,
        (producer, sequence): (&str, u64),
        body: &[u8],
    ) -> Result<Answer, ImportError> {
        let address = self.address.clone();
        let lost =
            |error: std::io::Error| ImportError::Lost { address: address.clone(), reason: error.to_string() };
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let opened = TcpStream::connect(&address).await.map_err(|error| ImportError::Connect {
                    address: address.clone(),
                    reason: error.to_string(),
                })?;
                opened.set_nodelay(true).map_err(lost)?;
                none.insert(opened)
            }
        };
        let head = format!(
            "POST /write?precision={} HTTP/1.1\r\nHost: {address}\r\n{}X-Tidemark-Producer: {producer}\r\n\
             X-Tidemark-Sequence: {sequence}\r\nContent-Length: {}\r\n\r\n",
            self.precision,
            self.authorization,
            body.len()
        );
        stream.write_all(head.as_bytes()).await.map_err(lost)?;
        stream.write_all(body).await.map_err(lost)?;
        let answer = read_answer(stream).await.map_err(lost)?;
        if answer.status != 204 {
            // What follows a refusal may be the end of the connection.
            self.stream = None;
        }
        Ok(answer)
    }
}

async fn read_answer(stream: &mut TcpStream) -> std::io::Result<Answer> {
    let wrong = |what: &str| std::io::Error::other(format!("the answer is not one of ours: {what}"));
    let mut input = Vec::new();
    let head_bytes = loop {
        if let Some(end) = memchr::memmem::find(&input, b"\r\n\r\n") {
            break end + 4;
        }
        read_more(stream, &mut input).await?;
    };
    let head = String::from_utf8_lossy(&input[..head_bytes]).into_owned();
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| wrong("it has no status"))?;
    let lengths = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lengths.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = match lengths.next() {
        Some((_, length)) => length.trim().parse().map_err(|_| wrong("its length is none"))?,
        None => 0,
    };
    if length > ANSWER_BYTES_MAX {
        return Err(wrong("it is too long"));
    }
    while input.len() < head_bytes + length {
        read_more(stream, &mut input).await?;
    }
    Ok(Answer { status, body: input[head_bytes..head_bytes + length].to_vec() })
}

async fn read_more(stream: &mut TcpStream, input: &mut Vec<u8>) -> std::io::Result<()> {
    let count = stream.read_buf(input).await?;
    if count == 0 || input.len() > 2 * ANSWER_BYTES_MAX {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Which lines are wrong, as the server's answer names them.
fn refused(answer: &Answer) -> BatchError {
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let lines = said["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<(Option<u64>, String)> = lines
        .iter()
        .map(|line| {
            let reason = format!("{}: {}", text(&line["error_message"]), text(&line["original_line"]));
            (line["line_number"].as_u64(), reason)
        })
        .collect();
    if !rows.is_empty() {
        return BatchError::Rows(rows);
    }
    let said = said["message"].as_str().map(str::to_owned);
    let said = said.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).trim().to_owned());
    let reason = format!("{said} (status {})", answer.status);
    ImportError::Refused { doing: "loading lines", reason }.into()
}
