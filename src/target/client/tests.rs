//! Whom a client asks, with a protocol that answers by hand.

use std::collections::VecDeque;

use super::*;

/// Answers in order, and remembers who was asked.
#[derive(Debug, Default)]
struct ByHand {
    answers: VecDeque<Result<Reply, Refusal>>,
    asked: Vec<u64>,
    resets: u32,
}

impl Protocol for ByHand {
    fn ask<'a>(
        &'a mut self,
        node: u64,
        _: &'a str,
        _: Call,
        _: Instant,
    ) -> BoxFuture<'a, Result<Reply, Refusal>> {
        self.asked.push(node);
        let answer = self.answers.pop_front();
        Box::pin(async move { answer.expect("nobody asks so often") })
    }

    fn reset(&mut self) {
        self.resets += 1;
    }
}

fn done() -> Result<Reply, Refusal> {
    Ok(Reply {
        outcome: Outcome::Ok(None),
        at: None,
        error: None,
    })
}

fn not_applied(leader: Option<u64>) -> Result<Reply, Refusal> {
    let why = "no".to_owned();
    Err(Refusal::NotApplied { leader, why })
}

fn unknown() -> Result<Reply, Refusal> {
    let why = "nobody knows".to_owned();
    Err(Refusal::Unknown { why })
}

fn client(follow: Follow, answers: Vec<Result<Reply, Refusal>>) -> Routed<ByHand> {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let config = ClientConfig {
        dial: (1..=3).map(|id| (id, address)).collect(),
        group: 0,
        follow,
        turn: 0,
        deadline: Duration::from_secs(60),
        patient: false,
        aimed: false,
        session: None,
    };
    let protocol = ByHand {
        answers: answers.into(),
        ..ByHand::default()
    };
    Routed::new(protocol, &config)
}

/// Asks for a write; gives its outcome, and who has been asked so far.
async fn write(client: &mut Routed<ByHand>) -> (Outcome, Vec<u64>) {
    let answer = client.perform("k", Call::Write(1)).await;
    (answer.outcome, client.protocol.asked.clone())
}

#[tokio::test]
async fn only_a_refusal_that_proves_something_leads_to_another_node() {
    let mut hinted = client(Follow::Leader, vec![not_applied(Some(3)), done()]);
    assert_eq!(write(&mut hinted).await, (Outcome::Ok(None), vec![1, 3]));
    assert_eq!(hinted.first_node(), 3, "it leads, as far as is known");

    let mut lost = client(Follow::Leader, vec![unknown(), done()]);
    assert_eq!(write(&mut lost).await, (Outcome::Unknown, vec![1]));
    assert_eq!(lost.first_node(), 2, "the next one has its turn");
    let read = client(Follow::Leader, vec![unknown()]);
    let mut read: Box<dyn Client> = Box::new(read);
    let answer = read.perform("k", Call::Read).await;
    assert_eq!(answer.outcome, Outcome::Failed, "it had no effect");
}

#[tokio::test]
async fn without_a_hint_the_next_operation_asks_the_next_node() {
    let answers = vec![not_applied(None), not_applied(Some(9)), done()];
    let mut client = client(Follow::Leader, answers);
    assert_eq!(write(&mut client).await, (Outcome::Failed, vec![1]));
    assert_eq!(write(&mut client).await, (Outcome::Failed, vec![1, 2]));
    let third = (Outcome::Ok(None), vec![1, 2, 3]);
    assert_eq!(write(&mut client).await, third);
}

#[tokio::test]
async fn nodes_that_name_one_another_are_not_asked_for_ever() {
    let round = [2, 1].into_iter().cycle().map(|id| not_applied(Some(id)));
    let mut round = client(Follow::Leader, round.take(9).collect());
    assert_eq!(write(&mut round).await, (Outcome::Failed, vec![1, 2, 1, 2]));
}

#[tokio::test]
async fn a_pinned_client_asks_its_node_and_nobody_else() {
    let answers = vec![not_applied(Some(1)), unknown(), done()];
    let mut pinned = client(Follow::Pinned(2), answers);
    assert_eq!(write(&mut pinned).await.0, Outcome::Failed);
    assert_eq!(write(&mut pinned).await.0, Outcome::Unknown);
    assert_eq!(write(&mut pinned).await, (Outcome::Ok(None), vec![2, 2, 2]));
}

#[tokio::test]
async fn whoever_takes_over_begins_with_no_connection_of_the_one_before() {
    let mut client = client(Follow::Leader, Vec::new());
    client.succeed(7);
    assert_eq!(client.protocol.resets, 1);
    assert!(!client.has_session());
}
