//! etcd's JSON gateway, as far as it is needed here.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One request; nothing where no good answer came in time.
pub(crate) fn post(to: SocketAddr, path: &str, body: &str, patience: Duration) -> Option<String> {
    Connection::open(to, patience)?.post(path, body)
}

/// The keys that a node has, as the gateway writes them; nothing where it does not say.
pub(crate) fn keys(of: SocketAddr, patience: Duration) -> Option<BTreeSet<String>> {
    let all = "{\"key\":\"AA==\",\"range_end\":\"AA==\",\"keys_only\":true}";
    let answer = post(of, "/v3/kv/range", all, patience)?;
    let keys = answer.split("\"key\":\"").skip(1);
    let key = |rest: &str| Some(rest.split_once('"')?.0.to_owned());
    Some(keys.filter_map(key).collect())
}

/// A connection that is kept.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(to: SocketAddr, patience: Duration) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&to, patience).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self(BufReader::new(stream)))
    }

    /// Asks, and gives the body of a good answer. After anything else the connection is of no use.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> Option<String> {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: n\r\nContent-Length: {length}\r\n\r\n");
        let ask = format!("{head}{body}");
        self.0.get_mut().write_all(ask.as_bytes()).ok()?;
        let good = self.line()?.starts_with("HTTP/1.1 200");
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().ok()?,
                Some(("transfer-encoding", value)) => chunked = value == "chunked",
                Some(_) => {}
                None => break,
            }
        }
        let mut body = Vec::new();
        if chunked {
            while let size @ 1.. = usize::from_str_radix(&self.line()?, 16).ok()? {
                self.more(&mut body, size)?;
                self.line()?;
            }
            self.line()?;
        } else {
            self.more(&mut body, length)?;
        }
        good.then(|| String::from_utf8(body).ok())?
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }

    fn more(&mut self, body: &mut Vec<u8>, size: usize) -> Option<()> {
        let before = body.len();
        body.resize(before + size, 0);
        self.0.read_exact(&mut body[before..]).ok()
    }
}

/// The request that sets a key.
pub(crate) fn put(key: &str) -> String {
    format!("{{\"key\":\"{}\",\"value\":\"AAAA\"}}", base64(key))
}

/// As the gateway wants keys and values.
pub(crate) fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let bits = three
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
        (0..4)
            .map(|at| if at <= three.len() { digit(at) } else { '=' })
            .collect::<String>()
    };
    text.as_bytes().chunks(3).map(digits).collect()
}
