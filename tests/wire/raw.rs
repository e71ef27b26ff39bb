//! A client that says anything, whether it makes sense or not, and shows every answer as a line.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tidemark_tests::server::{Options, Server};

/// A server that does not answer within this time does not answer at all.
pub(crate) const ANSWER_BOUND: Duration = Duration::from_secs(60);

pub(crate) const PROTOCOL_3_0: u32 = 0x0003_0000;
pub(crate) const CANCEL_REQUEST: u32 = 80_877_102;
pub(crate) const SSL_REQUEST: u32 = 80_877_103;
pub(crate) const GSSENC_REQUEST: u32 = 80_877_104;

/// Anything that bytes go through.
pub(crate) trait Transport: Read + Write + Send {}

impl<T: Read + Write + Send> Transport for T {}

/// Whom the tests talk to that say what PostgreSQL does.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Our server, unless a real PostgreSQL is asked.
    _server: Option<Server>,
    pub(crate) address: SocketAddr,
    /// What a table needs at its end to be made with a time key `ts`.
    pub(crate) table_options: &'static str,
}

impl Peer {
    pub(crate) fn start() -> Peer {
        if let Ok(address) = std::env::var("TIDEMARK_TEST_REFERENCE") {
            let address = address.parse().expect("TIDEMARK_TEST_REFERENCE is an address and a port");
            Raw::connect(address).run("DROP TABLE IF EXISTS t");
            return Peer { _server: None, address, table_options: "" };
        }
        let server = Options::new().start();
        let table_options = "WITH (kind = 'timeseries', time_key = 'ts')";
        Peer { address: server.pg, _server: Some(server), table_options }
    }
}

/// A message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

/// A connection.
pub(crate) struct Raw {
    stream: Box<dyn Transport>,
    /// The number and the secret of the session, for cancelling.
    pub(crate) key: Vec<u8>,
    /// The parameters the server told of.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Raw {
    /// Connects, and says nothing.
    pub(crate) fn open(address: SocketAddr) -> Raw {
        Raw::over(tcp(address))
    }

    /// On top of a stream that is there already.
    pub(crate) fn over(stream: impl Transport + 'static) -> Raw {
        Raw { stream: Box::new(stream), key: Vec::new(), parameters: Vec::new() }
    }

    /// Connects as the first superuser, and waits until the server is ready.
    pub(crate) fn connect(address: SocketAddr) -> Raw {
        let mut raw = Raw::open(address);
        raw.send(&startup(&[("user", "tidemark"), ("database", "tidemark")]));
        raw.finish_startup();
        raw
    }

    /// Reads until the server is ready, as it is after authentication.
    pub(crate) fn finish_startup(&mut self) {
        loop {
            let message = self.read();
            match message.tag {
                b'K' => self.key.clone_from(&message.body),
                b'S' => {
                    let mut parts = message.body.split(|byte| *byte == 0).map(text);
                    let (name, value) = (parts.next().unwrap(), parts.next().unwrap());
                    self.parameters.push((name, value));
                }
                b'R' | b'v' => {}
                b'Z' => return,
                _ => panic!("not let in: {}", message.show()),
            }
        }
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// The connection is closed.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// Sends bytes; a server that closes meanwhile is no error.
    pub(crate) fn send_anyway(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).ok();
        self.stream.flush().ok();
    }

    /// Exactly so many bytes, without looking at them.
    pub(crate) fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next message; `None` when the server closed the connection.
    pub(crate) fn try_read(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if is_closed(error.kind()) => return None,
            Err(error) => panic!("no answer: {error}"),
        }
        let len = u32::from_be_bytes(head[1..].try_into().unwrap());
        let body = self.read_bytes(usize::try_from(len).unwrap() - 4);
        Some(Message { tag: head[0], body })
    }

    /// The next message.
    ///
    /// # Panics
    /// There is none.
    pub(crate) fn read(&mut self) -> Message {
        self.try_read().expect("the server closed the connection")
    }

    /// All messages up to ReadyForQuery, as lines.
    pub(crate) fn until_ready(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let message = self.read();
            lines.push(message.show());
            if message.tag == b'Z' {
                return lines;
            }
        }
    }

    /// All messages until the server closes, as lines.
    pub(crate) fn until_closed(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.try_read()).map(|message| message.show()).collect()
    }

    /// Sends bytes, and gives all messages up to ReadyForQuery.
    pub(crate) fn ask(&mut self, bytes: &[u8]) -> Vec<String> {
        self.send(bytes);
        self.until_ready()
    }

    /// The answer to a simple query.
    pub(crate) fn query(&mut self, sql: &str) -> Vec<String> {
        self.ask(&query(sql))
    }

    /// Runs statements that succeed.
    ///
    /// # Panics
    /// One does not.
    pub(crate) fn run(&mut self, sql: &str) {
        let answer = self.query(sql);
        assert!(!answer.iter().any(|line| line.starts_with("error")), "{sql}: {answer:?}");
    }

    /// The first value that a query gives.
    pub(crate) fn value(&mut self, sql: &str) -> String {
        let answer = self.query(sql);
        let row = answer.iter().find_map(|line| line.strip_prefix("row "));
        row.unwrap_or_else(|| panic!("{sql}: {answer:?}")).to_owned()
    }

    /// The parameter as the server told it last.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

fn is_closed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

/// A connection of the system.
pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(ANSWER_BOUND)).unwrap();
    stream.set_write_timeout(Some(ANSWER_BOUND)).unwrap();
    stream
}

/// Asks the server to cancel what a session does.
pub(crate) fn cancel(address: SocketAddr, key: &[u8]) {
    let mut raw = Raw::open(address);
    raw.send(&request(CANCEL_REQUEST, key));
    // The server says nothing, and closes.
    assert_eq!(raw.try_read(), None);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A message of the startup phase, without a tag.
pub(crate) fn request(code: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(8 + body.len()).unwrap();
    [&len.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
}

/// The startup message of protocol 3.0.
pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    startup_of(PROTOCOL_3_0, parameters)
}

pub(crate) fn startup_of(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body: Vec<u8> =
        parameters.iter().flat_map(|(name, value)| [string(name), string(value)].concat()).collect();
    body.push(0);
    request(version, &body)
}

/// A message: its tag, its length, its body.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(4 + body.len()).unwrap();
    [&[tag][..], &len.to_be_bytes(), body].concat()
}

/// A string with the zero byte that ends it.
pub(crate) fn string(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &string(sql))
}

pub(crate) fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let count = u16::try_from(types.len()).unwrap().to_be_bytes();
    let types: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
    message(b'P', &[string(name), string(sql), count.to_vec(), types].concat())
}

/// What Bind says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bind<'a> {
    pub(crate) portal: &'a str,
    pub(crate) statement: &'a str,
    pub(crate) parameter_formats: &'a [i16],
    pub(crate) parameters: &'a [Option<&'a [u8]>],
    pub(crate) result_formats: &'a [i16],
}

pub(crate) fn bind(bind: Bind<'_>) -> Vec<u8> {
    let formats = |codes: &[i16]| {
        let mut bytes = u16::try_from(codes.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(codes.iter().flat_map(|code| code.to_be_bytes()));
        bytes
    };
    let mut body = [string(bind.portal), string(bind.statement), formats(bind.parameter_formats)].concat();
    body.extend(u16::try_from(bind.parameters.len()).unwrap().to_be_bytes());
    for parameter in bind.parameters {
        match parameter {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend(*value);
            }
        }
    }
    body.extend(formats(bind.result_formats));
    message(b'B', &body)
}

/// Binds the unnamed statement to a portal, without parameters.
pub(crate) fn bind_portal(portal: &str, statement: &str) -> Vec<u8> {
    bind(Bind { portal, statement, ..Bind::default() })
}

pub(crate) fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[vec![kind], string(name)].concat())
}

pub(crate) fn execute(portal: &str, rows_max: i32) -> Vec<u8> {
    message(b'E', &[string(portal), rows_max.to_be_bytes().to_vec()].concat())
}

pub(crate) fn close(kind: u8, name: &str) -> Vec<u8> {
    message(b'C', &[vec![kind], string(name)].concat())
}

pub(crate) fn sync() -> Vec<u8> {
    message(b'S', b"")
}

pub(crate) fn flush() -> Vec<u8> {
    message(b'H', b"")
}

/// Parse, Bind, Execute of a statement without parameters.
pub(crate) fn run_extended(sql: &str) -> Vec<u8> {
    [parse("", sql, &[]), bind_portal("", ""), execute("", 0)].concat()
}

impl Message {
    /// The message as a line.
    pub(crate) fn show(&self) -> String {
        let body = &self.body;
        match self.tag {
            b'R' => format!("authentication {}", int(body, 0)),
            b'S' => format!("parameter {}", text(&body[..body.len() - 1]).replacen('\0', "=", 1)),
            b'K' => "key".to_owned(),
            b'Z' => format!("ready {}", char::from(body[0])),
            b'1' => "parsed".to_owned(),
            b'2' => "bound".to_owned(),
            b'3' => "closed".to_owned(),
            b'n' => "no columns".to_owned(),
            b's' => "suspended".to_owned(),
            b'I' => "empty".to_owned(),
            b'c' => "copied".to_owned(),
            b'C' => format!("done {}", text(&body[..body.len() - 1])),
            b'E' => format!("error {}", self.notice()),
            b'N' => format!("notice {}", self.notice()),
            b'D' => format!("row {}", self.values().iter().map(show_value).collect::<Vec<_>>().join("|")),
            b'T' => format!("columns {}", self.columns().join(" ")),
            b't' => {
                let oids: Vec<String> =
                    (0..short(body, 0)).map(|at| int(body, 2 + 4 * at).to_string()).collect();
                format!("parameters {}", oids.join(" "))
            }
            b'G' | b'H' => {
                let way = if self.tag == b'G' { "in" } else { "out" };
                format!("copy {way} {} {}", body[0], short(body, 1))
            }
            b'd' => format!("data {}", text(body)),
            b'v' => {
                let options = text(&body[8..]).replace('\0', " ");
                format!("version {:x} {options}", int(body, 0)).trim_end().to_owned()
            }
            other => format!("message {}", char::from(other)),
        }
    }

    /// A field of an error or a notice.
    pub(crate) fn field(&self, name: u8) -> Option<String> {
        let mut fields = self.body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
        fields.find(|field| field[0] == name).map(|field| text(&field[1..]))
    }

    fn notice(&self) -> String {
        let field = |name| self.field(name).unwrap_or_default();
        format!("{} {} {}", field(b'V'), field(b'C'), field(b'M'))
    }

    /// The values of a row.
    pub(crate) fn values(&self) -> Vec<Option<Vec<u8>>> {
        assert_eq!(self.tag, b'D', "{}", self.show());
        let mut at = 2;
        let count = short(&self.body, 0);
        let value = |_| {
            let len = int(&self.body, at);
            at += 4;
            let len = usize::try_from(len).ok()?;
            at += len;
            Some(self.body[at - len..at].to_vec())
        };
        (0..count).map(value).collect()
    }

    /// The columns of a result: name, type, modifier where there is one, `b` for binary.
    fn columns(&self) -> Vec<String> {
        let mut rest = &self.body[2..];
        let mut columns = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == 0).unwrap();
            let (name, fields) = (text(&rest[..end]), &rest[end + 1..]);
            let mut column = format!("{name}:{}", int(fields, 6));
            let modifier = int(fields, 12);
            if modifier != -1 {
                write!(column, "({modifier})").unwrap();
            }
            if short(fields, 16) == 1 {
                column.push('b');
            }
            columns.push(column);
            rest = &fields[18..];
        }
        columns
    }
}

fn short(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap()))
}

fn int(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn show_value(value: &Option<Vec<u8>>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(bytes) if bytes.iter().all(|byte| *byte >= b' ') => text(bytes),
        Some(bytes) => hex(bytes),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
