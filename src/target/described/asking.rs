//! Asks nodes what their description wants to know: whether they are ready, who leads, what their state is; and makes
//! them a cluster.
//!
//! In: a question with the words of one node, and how long the answer may take. Out: the answer, or why there is none, in
//! words. Nothing but the making of a cluster asks twice; whoever waits for something asks again.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::Instant;

use super::question::{Ask, HttpAsk, Pattern, Ready, ReadyBy, RespAsk, RunAsk};
use super::{Description, Mode, Wiring};
use crate::target::protocol::{http, resp};
use crate::target::template::{Template, Words};

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(String);

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leads {
    /// Whether it leads.
    pub leads: bool,
    /// In which term it believes to be, where the file says how to tell.
    pub term: Option<u64>,
}

/// A node's state, to be compared with the others' once nobody writes any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSeen {
    /// As of where in the log.
    pub index: u64,
    /// What must be equal at an equal index.
    pub hash: String,
}

/// One try of a step that makes a cluster has so long.
const FORM_ASK: Duration = Duration::from_secs(2);
/// Between two tries of it.
const FORM_AGAIN: Duration = Duration::from_millis(100);
/// So much of what was said instead is shown.
const SHOWN: usize = 200;

impl Ask {
    /// Asks a node once, past every proxy, on a connection of its own. Gives the answer as JSON: what is none is a text.
    ///
    /// # Errors
    /// If it does not answer in time, or not as it must.
    pub async fn answer(&self, words: &Words, within: Duration) -> Result<Value, NoAnswer> {
        let asked = async {
            let (text, pattern) = match self {
                Ask::Http(ask) => (by_http(ask, words).await?, &ask.pattern),
                Ask::Run(ask) => (by_program(ask, words).await?, &ask.pattern),
                Ask::Resp(ask) => (by_resp(ask, words).await?, &ask.pattern),
            };
            fits(pattern.as_ref(), text)
        };
        match tokio::time::timeout(within, asked).await {
            Ok(answer) => answer.map(json).map_err(NoAnswer),
            Err(_) => Err(NoAnswer(format!(
                "no answer within {} ms",
                within.as_millis()
            ))),
        }
    }
}

fn fits(pattern: Option<&Pattern>, text: String) -> Result<String, String> {
    match pattern {
        Some(pattern) if !pattern.is_in(&text) => {
            let start: String = text.chars().take(SHOWN).collect();
            Err(format!("{pattern:?} is not in {start:?}"))
        }
        _ => Ok(text),
    }
}

async fn by_http(ask: &HttpAsk, words: &Words) -> Result<String, String> {
    let headers = ask.headers.iter();
    let headers = headers.map(|(name, text)| (name.clone(), text.fill(words)));
    let body = ask.body.as_ref().map(|body| body.fill(words));
    let (method, url) = (ask.request.method(), ask.request.to().fill(words));
    let answer = http::once(method, &url, headers.collect(), body.unwrap_or_default()).await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if (200..300).contains(&answer.status) {
        return Ok(text);
    }
    let start: String = text.chars().take(SHOWN).collect();
    Err(format!("{url} answers {} {start:?}", answer.status))
}

async fn by_program(ask: &RunAsk, words: &Words) -> Result<String, String> {
    let parts: Vec<String> = ask.command.iter().map(|part| part.fill(words)).collect();
    let (name, args) = parts.split_first().expect("a command has a program");
    let output = Command::new(name)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let output = output.map_err(|error| format!("`{name}` could not be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().next_back().unwrap_or_default();
    Err(format!(
        "`{}` ended with {}: {last}",
        parts.join(" "),
        output.status
    ))
}

async fn by_resp(ask: &RespAsk, words: &Words) -> Result<String, String> {
    let command = ask.command.iter().map(|part| part.fill(words)).collect();
    let answer = resp::once(&ask.at.fill(words), command).await?;
    Ok(answer.to_string())
}

fn json(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

impl Ready {
    /// Whether a node is ready now. `log` is what it has printed so far.
    ///
    /// # Errors
    /// Why not yet, or that it is not seen by asking.
    pub async fn is(&self, words: &Words, log: &str, within: Duration) -> Result<(), NoAnswer> {
        match &self.by {
            ReadyBy::Tcp(at) => {
                let at = at.fill(words);
                match tokio::time::timeout(within, TcpStream::connect(&at)).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(NoAnswer(format!("no connection to {at}: {error}"))),
                    Err(_) => Err(NoAnswer(format!("no connection to {at} in time"))),
                }
            }
            ReadyBy::Log(pattern) if pattern.is_in(log) => Ok(()),
            ReadyBy::Log(pattern) => Err(NoAnswer(format!("it has not printed {pattern:?}"))),
            ReadyBy::Init(_) => Err(NoAnswer("its network says that".to_owned())),
            ReadyBy::Ask(ask) => ask.answer(words, within).await.map(drop),
        }
    }

    /// By what one sees that a node is ready, in words.
    #[must_use]
    pub fn seen_by(&self, words: &Words) -> String {
        match &self.by {
            ReadyBy::Tcp(at) => format!("{} takes connections", at.fill(words)),
            ReadyBy::Log(pattern) => format!("it printed {pattern:?}"),
            ReadyBy::Init(_) => "it answered init by init_ok".to_owned(),
            ReadyBy::Ask(ask) => format!("{} is answered", ask.asks(words)),
        }
    }
}

impl Ask {
    /// What is asked, in words.
    #[must_use]
    pub fn asks(&self, words: &Words) -> String {
        let filled = |parts: &[Template]| {
            let parts: Vec<String> = parts.iter().map(|part| part.fill(words)).collect();
            parts.join(" ")
        };
        match self {
            Ask::Http(ask) => {
                let (method, to) = (ask.request.method(), ask.request.to().fill(words));
                format!("{method} {to}")
            }
            Ask::Run(ask) => format!("`{}`", filled(&ask.command)),
            Ask::Resp(ask) => format!("{} at {}", filled(&ask.command), ask.at.fill(words)),
        }
    }
}

impl Description {
    /// Makes nodes a cluster: every step of the file, in its order, at each node that it is for. A step is asked again until it
    /// succeeds: a node that is ready may not yet have heard of the others.
    ///
    /// # Errors
    /// If a step has not succeeded `within` this time; each question has a part of it.
    pub async fn form(
        &self,
        mode: &Mode,
        wiring: &Wiring,
        within: Duration,
    ) -> Result<(), NoAnswer> {
        for (step, form) in self.form.iter().enumerate() {
            for place in (0..wiring.members.len()).filter(|place| form.on.meets(*place)) {
                let words = self.words(mode, place, wiring);
                let id = wiring.members[place].id;
                let began = Instant::now();
                while let Err(why) = form.ask.answer(&words, FORM_ASK).await {
                    if began.elapsed() >= within {
                        let step = step + 1;
                        return Err(NoAnswer(format!("[[form]] {step} failed at n{id}: {why}")));
                    }
                    tokio::time::sleep(FORM_AGAIN).await;
                }
            }
        }
        Ok(())
    }

    /// Whether a node leads; `None` where the file does not say how to see it.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn leads(&self, words: &Words, within: Duration) -> Result<Option<Leads>, NoAnswer> {
        let Some(question) = &self.leader else {
            return Ok(None);
        };
        let answer = question.ask.answer(words, within).await?;
        let leads = question.leader.holds(&answer);
        let term = match &question.term {
            None => None,
            Some(path) => {
                let term = path.text_of(&answer).and_then(|term| term.parse().ok());
                let none = || NoAnswer(format!("there is no term at {path:?} in {answer}"));
                Some(term.ok_or_else(none)?)
            }
        };
        Ok(Some(Leads { leads, term }))
    }

    /// A node's state; `None` where the file does not say how to see it.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn state_of(
        &self,
        words: &Words,
        within: Duration,
    ) -> Result<Option<StateSeen>, NoAnswer> {
        let Some(question) = &self.state else {
            return Ok(None);
        };
        let answer = question.ask.answer(words, within).await?;
        let index = question
            .index
            .text_of(&answer)
            .and_then(|index| index.parse().ok());
        let none = |path| NoAnswer(format!("there is none at {path:?} in {answer}"));
        let hash = question.hash.text_of(&answer);
        Ok(Some(StateSeen {
            index: index.ok_or_else(|| none(&question.index))?,
            hash: hash.ok_or_else(|| none(&question.hash))?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(script: &str, pattern: Option<&str>) -> Ask {
        let part = |text: &str| Template::parse(text, &["node"]).unwrap();
        Ask::Run(RunAsk {
            command: ["sh", "-c", script].map(part).to_vec(),
            pattern: pattern.map(|pattern| Pattern::new(pattern).unwrap()),
        })
    }

    async fn asked(ask: &Ask) -> Result<Value, String> {
        let words = Words::default().with("node", "n2");
        let answer = ask.answer(&words, Duration::from_secs(5)).await;
        answer.map_err(|why| why.to_string())
    }

    #[tokio::test]
    async fn a_program_answers_by_ending_well_and_by_what_it_prints() {
        let yes = program("echo {node} is up", Some("n2 is up"));
        assert_eq!(
            asked(&yes).await,
            Ok(Value::String("n2 is up\n".to_owned()))
        );
        let number = asked(&program("echo 7", None)).await;
        assert_eq!(number, Ok(Value::from(7)));
        let no = asked(&program("echo {node} is down", Some("is up"))).await;
        assert_eq!(no, Err("/is up/ is not in \"n2 is down\\n\"".to_owned()));
        let bad = asked(&program("echo oh >&2; exit 3", None)).await;
        assert_eq!(
            bad,
            Err("`sh -c echo oh >&2; exit 3` ended with exit status: 3: oh".to_owned())
        );
    }

    #[tokio::test]
    async fn whoever_does_not_answer_in_time_is_not_waited_for() {
        let ask = program("exec sleep 60", None);
        let late = ask
            .answer(&Words::default(), Duration::from_millis(50))
            .await;
        assert_eq!(late.unwrap_err().to_string(), "no answer within 50 ms");
    }
}
