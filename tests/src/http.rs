//! Line protocol over HTTP/1.1: one connection that is kept alive, one request at a time.
//!
//! No more of HTTP than the tests and the bench need. A client library would take processor time from
//! the server that is measured on the same machine.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{Context, Result};

/// Longer heads of answers are refused.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// So much of an answer's text is shown when it is not the one hoped for.
const EXCERPT_BYTES: usize = 500;

/// How to reach the server.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host and port.
    pub address: String,
    /// Path and query of what is posted to.
    pub path: String,
    /// The token of the `Authorization` header.
    pub token: Option<String>,
    /// How long the server may take for an answer.
    pub answer_within: Duration,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    endpoint: Endpoint,
    /// What came and was not yet looked at.
    input: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn open(endpoint: &Endpoint) -> Result<Self> {
        let doing = || format!("connect to http://{}", endpoint.address);
        let stream = TcpStream::connect(&endpoint.address).await.context(doing)?;
        stream.set_nodelay(true).context(doing)?;
        Ok(Self { stream, endpoint: endpoint.clone(), input: Vec::new() })
    }

    /// Sends a batch and waits for the 204 that says it is durable and visible.
    ///
    /// # Errors
    /// The connection is lost, the answer late, or another one.
    pub async fn write(&mut self, body: &[u8]) -> Result<()> {
        let answer_within = self.endpoint.answer_within;
        let (status, text) = timeout(answer_within, self.exchange(body))
            .await
            .map_err(|_| format!("no answer within {answer_within:?}"))?
            .context(|| format!("write to http://{}{}", self.endpoint.address, self.endpoint.path))?;
        if status == 204 {
            return Ok(());
        }
        let excerpt = String::from_utf8_lossy(&text[..text.len().min(EXCERPT_BYTES)]).into_owned();
        Err(format!("the server answered {status} instead of 204: {excerpt}").into())
    }

    /// Sends a body, and reads the status and the text of the answer.
    ///
    /// # Errors
    /// The connection is lost, or what comes is not an answer of HTTP/1.1.
    pub async fn exchange(&mut self, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.exchange_with("", body).await
    }

    /// The same with more headers, each with the end of its line.
    ///
    /// # Errors
    /// The connection is lost, or what comes is not an answer of HTTP/1.1.
    pub async fn exchange_with(&mut self, headers: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let Endpoint { address, path, token, .. } = &self.endpoint;
        let authorization =
            token.as_ref().map_or(String::new(), |token| format!("Authorization: Token {token}\r\n"));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}{headers}\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(body).await?;
        let head = loop {
            if let Some(head) = parse_head(&self.input)? {
                break head;
            }
            self.read_more().await?;
        };
        while self.input.len() < head.bytes + head.content_bytes {
            self.read_more().await?;
        }
        let text = self.input[head.bytes..head.bytes + head.content_bytes].to_vec();
        self.input.drain(..head.bytes + head.content_bytes);
        Ok((head.status, text))
    }

    async fn read_more(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err("the server closed the connection".into()),
            _ => Ok(()),
        }
    }
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    content_bytes: usize,
    /// The length of the head itself.
    bytes: usize,
}

/// The head at the beginning of `input`, if all of it is there.
fn parse_head(input: &[u8]) -> Result<Option<Head>> {
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
        if input.len() > HEAD_BYTES_MAX {
            return Err("the head of the answer has no end".into());
        }
        return Ok(None);
    };
    let text = std::str::from_utf8(&input[..end])?;
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| format!("not an answer of HTTP/1.1: {status_line}"))?;
    let mut content_bytes = 0;
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            content_bytes = value.trim().parse()?;
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(
                format!("the server answered {status} in chunks, which this client does not read").into()
            );
        }
    }
    Ok(Some(Head { status, content_bytes, bytes: end + 4 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn heads_are_parsed_once_they_are_whole() {
        let head = |text: &str| parse_head(text.as_bytes()).unwrap();
        assert_eq!(head("HTTP/1.1 204 No Content\r\nDate: x\r\n"), None);
        assert_eq!(
            head("HTTP/1.1 204 No Content\r\n\r\n"),
            Some(Head { status: 204, content_bytes: 0, bytes: 27 })
        );
        assert_eq!(
            head("HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\nbad"),
            Some(Head { status: 400, content_bytes: 3, bytes: 47 })
        );
        for wrong in ["HTTP/2 204\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] {
            assert!(parse_head(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn batches_are_sent_one_after_the_other_and_answers_checked() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint {
            address: listener.local_addr().unwrap().to_string(),
            path: "/write?precision=ns".to_owned(),
            token: None,
            answer_within: Duration::from_secs(60),
        };
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            for answer in [
                "HTTP/1.1 204 No Content\r\n\r\n",
                "HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\nline 1",
            ] {
                while !received.ends_with(b"row\n") {
                    stream.read_buf(&mut received).await.unwrap();
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                received.push(b'|');
            }
            String::from_utf8(received).unwrap()
        });
        let mut connection = Connection::open(&endpoint).await.unwrap();
        connection.write(b"row\n").await.unwrap();
        let refused = connection.write(b"row\n").await.unwrap_err().to_string();
        assert_eq!(refused, "the server answered 400 instead of 204: line 1");
        let received = server.await.unwrap();
        assert_eq!(received.matches("Content-Length: 4\r\n\r\nrow\n|").count(), 2);
    }
}
