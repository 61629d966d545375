//! Asks what a file says a node is to be asked: in HTTP, in the Redis protocol, or by a program. Each question goes
//! straight to the node, past the proxy, on a connection of its own, and is nobody's operation.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::question::{Ask, HttpAsk, RespAsk, RunAsk};
use crate::target::protocol::resp;
use crate::target::template::Words;

/// Bytes of an answer: more is none.
const MOST_ANSWER: usize = 1 << 20;
/// So much of an answer that is none is shown.
const SHOWN: usize = 160;

impl Ask {
    /// Asks once. Gives the answer as JSON: what is none is a text.
    ///
    /// # Errors
    /// What came instead of an answer, in words.
    pub async fn put(&self, words: &Words, within: Duration) -> Result<Value, String> {
        let asked = async {
            match self {
                Ask::Http(ask) => http(ask, words).await,
                Ask::Run(ask) => run(ask, words).await,
                Ask::Resp(ask) => redis(ask, words).await,
            }
        };
        let answered = tokio::time::timeout(within, asked).await;
        answered.unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
    }
}

fn shown(text: &str) -> String {
    let start: String = text.trim().chars().take(SHOWN).collect();
    format!("{start:?}")
}

/// What a text says, if it is as it must be.
fn answer(text: &str, matches: bool) -> Result<Value, String> {
    match matches {
        true => Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))),
        false => Err(format!("the answer is {}", shown(text))),
    }
}

async fn http(ask: &HttpAsk, words: &Words) -> Result<Value, String> {
    let url = ask.request.to().fill(words);
    let uri: ::http::Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let authority = uri
        .authority()
        .ok_or_else(|| format!("{url} names no host"))?;
    let (host, port) = (authority.host(), authority.port_u16().unwrap_or(80));
    let failed = |error: &dyn std::error::Error| format!("{url}: {error}");
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|error| failed(&error))?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    // It ends with the sender, or with an error that is told below.
    tokio::spawn(async move { drop(driver.await) });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = ::http::Request::builder()
        .method(ask.request.method())
        .uri(path)
        .header(::http::header::HOST, authority.as_str());
    for (name, text) in &ask.headers {
        request = request.header(name, text.fill(words));
    }
    let body = ask.body.as_ref().map(|body| body.fill(words));
    let body: Full<Bytes> = Full::from(body.unwrap_or_default());
    let request = request.body(body).map_err(|error| failed(&error))?;
    let answered = sender.send_request(request).await;
    let answered = answered.map_err(|error| failed(&error))?;
    let status = answered.status();
    let body = Limited::new(answered.into_body(), MOST_ANSWER).collect();
    let body = body
        .await
        .map_err(|error| failed(error.as_ref()))?
        .to_bytes();
    let text = String::from_utf8_lossy(&body);
    if !status.is_success() {
        return Err(format!("{url} answers {status} {}", shown(&text)));
    }
    let matches = ask
        .pattern
        .as_ref()
        .is_none_or(|pattern| pattern.is_in(&text));
    answer(&text, matches).map_err(|why| format!("{url}: {why}"))
}

async fn run(ask: &RunAsk, words: &Words) -> Result<Value, String> {
    let command: Vec<String> = ask.command.iter().map(|part| part.fill(words)).collect();
    let (program, arguments) = command.split_first().ok_or("no program is named")?;
    let ran = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = ran.await.map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&ran.stdout);
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        return Err(format!(
            "{program} ended with {}: {}",
            ran.status,
            shown(&said)
        ));
    }
    let matches = ask
        .pattern
        .as_ref()
        .is_none_or(|pattern| pattern.is_in(&text));
    answer(&text, matches).map_err(|why| format!("{program}: {why}"))
}

async fn redis(ask: &RespAsk, words: &Words) -> Result<Value, String> {
    let at = ask.at.fill(words);
    let command = ask.command.iter().map(|part| part.fill(words)).collect();
    let said = resp::ask_once(&at, command).await?;
    let text = said.to_string();
    match ask
        .pattern
        .as_ref()
        .is_none_or(|pattern| pattern.is_in(&text))
    {
        true => Ok(said),
        false => Err(format!("{at}: the answer is {}", shown(&text))),
    }
}
