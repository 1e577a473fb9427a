// SPDX-License-Identifier: Apache-2.0
//! A registry that misbehaves by script: one request per connection, each answered by a function of the test.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// How often this method and path came before.
    pub(crate) before: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The first byte of `Range: bytes=N-`.
    pub(crate) fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What to answer, and how to spoil it.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) spoil: Spoil,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spoil {
    No,
    /// Announce all, send so many bytes, close.
    Cut(usize),
    /// The same, then reset the connection.
    Reset(usize),
    /// The same, then say nothing for so long.
    Stall(usize, Duration),
    /// One byte, a pause, one byte, …
    Drip(Duration),
    /// Send the body as chunks; end without the last chunk where true.
    Chunked {
        cut: bool,
    },
    /// Send `body` as the whole answer, status line included.
    Raw,
    /// Repeat the body as chunks until the client hangs up.
    Endless,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), spoil: Spoil::No }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn spoil(mut self, spoil: Spoil) -> Self {
        self.spoil = spoil;
        self
    }

    pub(crate) fn raw(text: impl Into<Vec<u8>>) -> Self {
        Self::new(0, text).spoil(Spoil::Raw)
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A running server. Its thread ends with the test process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(handler))
    }

    pub(crate) fn start_tls(
        config: Arc<rustls::ServerConfig>,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(config), Arc::new(handler))
    }

    fn listen(tls: Option<Arc<rustls::ServerConfig>>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Record { seen: seen.clone(), counts: Arc::default(), handler };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (record, tls) = (record.clone(), tls.clone());
                std::thread::spawn(move || record.serve(stream, tls));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method && seen.target.contains(part)).count()
    }
}

#[derive(Clone)]
struct Record {
    seen: Arc<Mutex<Vec<Seen>>>,
    counts: Arc<Mutex<HashMap<String, usize>>>,
    handler: Arc<Handler>,
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

impl Record {
    fn serve(&self, tcp: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) {
        let raw = tcp.try_clone().unwrap();
        let mut wire: Box<dyn Wire> = match tls {
            Some(config) => {
                Box::new(rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), tcp))
            }
            None => {
                // Speak HTTP even to who says TLS, as plain servers do.
                let mut first = [0; 1];
                if matches!(tcp.peek(&mut first), Ok(1)) && first[0] == 0x16 {
                    let _gone = (&tcp).write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
                    return;
                }
                Box::new(tcp)
            }
        };
        let Some(mut seen) = read_request(&mut wire) else { return };
        let key = format!("{} {}", seen.method, seen.target.split('?').next().unwrap());
        {
            let mut counts = self.counts.lock().unwrap();
            let count = counts.entry(key).or_default();
            seen.before = *count;
            *count += 1;
        }
        self.seen.lock().unwrap().push(seen.clone());
        let reply = (self.handler)(&seen);
        // The client may hang up at any time: that is its right.
        let _hung_up = write_reply(&mut wire, &raw, &seen, &reply);
    }
}

fn read_request(wire: &mut Box<dyn Wire>) -> Option<Seen> {
    let mut reader = BufReader::with_capacity(1, wire);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut seen = Seen { method, target, headers, body: Vec::new(), before: 0 };
    let length = seen.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body).ok()?;
    seen.body = body;
    Some(seen)
}

fn write_reply(wire: &mut Box<dyn Wire>, tcp: &TcpStream, seen: &Seen, reply: &Reply) -> std::io::Result<()> {
    if reply.spoil == Spoil::Raw {
        wire.write_all(&reply.body)?;
        return end(wire, tcp);
    }
    let mut head = format!("HTTP/1.1 {} Scripted\r\nconnection: close\r\n", reply.status);
    let own_length = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match reply.spoil {
        Spoil::Chunked { .. } | Spoil::Endless => head.push_str("transfer-encoding: chunked\r\n"),
        _ if own_length => {}
        _ => head.push_str(&format!("content-length: {}\r\n", reply.body.len())),
    }
    for (name, value) in reply.headers.iter().filter(|(_, value)| value != "none") {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    wire.write_all(head.as_bytes())?;
    if seen.method == "HEAD" {
        return end(wire, tcp);
    }
    write_body(wire, tcp, reply)
}

fn write_body(wire: &mut Box<dyn Wire>, tcp: &TcpStream, reply: &Reply) -> std::io::Result<()> {
    let body = &reply.body;
    match reply.spoil {
        Spoil::Cut(at) => wire.write_all(&body[..at])?,
        Spoil::Reset(at) => {
            wire.write_all(&body[..at])?;
            wire.flush()?;
            return reset(tcp);
        }
        Spoil::Stall(at, pause) => {
            wire.write_all(&body[..at])?;
            wire.flush()?;
            std::thread::sleep(pause);
        }
        Spoil::Drip(pause) => {
            for byte in body {
                wire.write_all(&[*byte])?;
                wire.flush()?;
                std::thread::sleep(pause);
            }
        }
        Spoil::Chunked { cut } => {
            wire.write_all(format!("{:x}\r\n", body.len()).as_bytes())?;
            wire.write_all(if cut { &body[..body.len() / 2] } else { body })?;
            wire.write_all(if cut { b"" } else { b"\r\n0\r\n\r\n" })?;
        }
        Spoil::Endless => loop {
            wire.write_all(format!("{:x}\r\n", body.len()).as_bytes())?;
            wire.write_all(body)?;
            wire.write_all(b"\r\n")?;
        },
        Spoil::No | Spoil::Raw => wire.write_all(body)?,
    }
    end(wire, tcp)
}

fn end(wire: &mut Box<dyn Wire>, tcp: &TcpStream) -> std::io::Result<()> {
    wire.flush()?;
    tcp.shutdown(Shutdown::Write)?;
    // Let the client close first: a close with unread bytes would reset what is still on its way.
    let mut rest = tcp;
    tcp.set_read_timeout(Some(Duration::from_secs(2)))?;
    let _whatever = rest.read_to_end(&mut Vec::new());
    Ok(())
}

/// Linux resets a connection that is closed while it lingers for zero seconds.
fn reset(tcp: &TcpStream) -> std::io::Result<()> {
    rustix::net::sockopt::set_socket_linger(tcp, Some(Duration::ZERO))?;
    Ok(())
}
