//! A client of nodes that speak by lines: Maelstrom's requests, by the post that carries the nodes' own messages.
//!
//! A node may pass a request on, so that another one answers it: an answer is known by `in_reply_to` alone. One that comes
//! after its deadline is heard by nobody.

use std::fmt;
use std::sync::Arc;

use checkers::history::Call;
use checkers::types::{self, Asked};
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::maelstrom::{self, Message};
use super::typed::{self, Workload};
use super::{Protocol, Refusal, Reply};
use crate::target::Post;

type Body = serde_json::Map<String, serde_json::Value>;

/// A client by the post.
pub struct Posted {
    post: Arc<dyn Post>,
    group: u32,
    workload: Workload,
    /// As whom it is known, and what it is told.
    open: Option<(String, mpsc::Receiver<Message>)>,
    next: u64,
}

impl fmt::Debug for Posted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.open.as_ref().map(|(name, _)| name);
        write!(f, "Posted({name:?})")
    }
}

impl Posted {
    /// A client on the links of this group, which asks by these messages.
    #[must_use]
    pub fn new(post: Arc<dyn Post>, group: u32, workload: Workload) -> Posted {
        Posted {
            post,
            group,
            workload,
            open: None,
            next: 1,
        }
    }

    /// Sends a body to a node and waits for the answer to it.
    async fn exchange(
        &mut self,
        node: u64,
        id: u64,
        body: Body,
        deadline: Instant,
    ) -> Result<Body, Refusal> {
        let (name, heard) = self.open.get_or_insert_with(|| self.post.open(self.group));
        let message = Message {
            src: name.clone(),
            dest: format!("n{node}"),
            addr: None,
            body,
        };
        if !self.post.send(self.group, node, &message) {
            let why = format!("the request was lost on its way to n{node}");
            return Err(Refusal::not_applied(why));
        }
        loop {
            match timeout_at(deadline, heard.recv()).await {
                Err(_) => {
                    return Err(Refusal::unknown(format!("n{node} did not answer in time")));
                }
                Ok(None) => return Err(Refusal::unknown("nobody carries lines any more")),
                Ok(Some(answer)) if answer.in_reply_to() == Some(id) => return Ok(answer.body),
                // It comes after its deadline.
                Ok(Some(_)) => {}
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        id
    }
}

impl Protocol for Posted {
    fn ask<'a>(
        &'a mut self,
        node: u64,
        key: &'a str,
        call: Call,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply, Refusal>> {
        Box::pin(async move {
            let id = self.next_id();
            let body = maelstrom::request(id, key, call)?;
            let body = self.exchange(node, id, body, deadline).await?;
            maelstrom::answer(node, call, &body)
        })
    }

    fn ask_typed<'a>(
        &'a mut self,
        node: u64,
        asked: &'a Asked,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Reply<types::Outcome>, Refusal>> {
        Box::pin(async move {
            let id = self.next_id();
            let body = typed::request(self.workload, id, asked);
            let body = self.exchange(node, id, body, deadline).await?;
            typed::answer(self.workload, node, asked, &body)
        })
    }

    fn reset(&mut self) {
        self.open = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use checkers::history::Outcome;
    use serde_json::json;

    use super::*;

    /// A post with one client, whose node answers by these bodies, or never gets a line.
    #[derive(Debug, Default)]
    struct Answers {
        bodies: Vec<serde_json::Value>,
        lost: bool,
        client: Mutex<Option<mpsc::Sender<Message>>>,
        opened: Mutex<u64>,
    }

    impl Post for Answers {
        fn is_ready(&self, _: u64) -> bool {
            true
        }

        fn open(&self, _: u32) -> (String, mpsc::Receiver<Message>) {
            let (hears, heard) = mpsc::channel(8);
            *self.client.lock().unwrap() = Some(hears);
            let mut opened = self.opened.lock().unwrap();
            *opened += 1;
            (format!("c{opened}"), heard)
        }

        fn send(&self, _: u32, _: u64, message: &Message) -> bool {
            let client = self.client.lock().unwrap();
            for body in self.bodies.iter().filter(|_| !self.lost) {
                let answer = json!({ "src": "n3", "dest": message.src, "body": body });
                let answer = Message::parse(&answer.to_string()).unwrap();
                client.as_ref().unwrap().try_send(answer).unwrap();
            }
            !self.lost
        }
    }

    async fn ask(client: &mut Posted, within: u64) -> Result<Outcome, Refusal> {
        let deadline = Instant::now() + Duration::from_millis(within);
        let asked = client.ask(1, "k", Call::Write(7), deadline).await;
        asked.map(|reply| reply.outcome)
    }

    #[tokio::test]
    async fn an_answer_belongs_to_its_request_whoever_gives_it() {
        let post = Arc::new(Answers {
            bodies: vec![
                json!({ "type": "error", "code": 11, "in_reply_to": 99 }),
                json!({ "type": "write_ok", "in_reply_to": 1 }),
            ],
            ..Answers::default()
        });
        let mut client = Posted::new(post.clone(), 0, Workload::LinKv);
        assert_eq!(ask(&mut client, 5_000).await.unwrap(), Outcome::Ok(None));
        // The same bodies answer nothing that it asks now.
        let late = ask(&mut client, 20).await;
        assert!(matches!(late, Err(Refusal::Unknown { .. })), "{late:?}");
        client.reset();
        let _ = ask(&mut client, 20).await;
        assert_eq!(*post.opened.lock().unwrap(), 2, "nobody was it before");
    }

    #[tokio::test]
    async fn a_request_that_never_arrives_was_not_applied() {
        let post = Answers {
            lost: true,
            ..Answers::default()
        };
        let mut client = Posted::new(Arc::new(post), 0, Workload::LinKv);
        let lost = ask(&mut client, 5_000).await;
        assert!(matches!(lost, Err(Refusal::NotApplied { .. })), "{lost:?}");
    }
}
