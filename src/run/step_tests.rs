//! Steps on plain processes: in their order, each when it has seen what it waits for, and over where one cannot be done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use checkers::history::Header;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cluster::{ChildState, Cluster, ClusterConfig};
use crate::fault::plan::Plan;
use crate::fault::step::{Ask, Step};
use crate::fault::{Fault, NodeId};
use crate::journal::Event;
use crate::nemesis::{Asked, Asks, Nemesis, Order, Parties};
use crate::proxy::NetworkConfig;
use crate::recorder::Recorder;
use crate::target::testing::Plain;
use crate::testbed::Testbed;

const SOON: Duration = Duration::from_secs(20);

/// What a test says of the operations that were asked for.
#[derive(Default)]
struct Said {
    asked: Vec<(usize, Vec<NodeId>)>,
    ok: bool,
    acknowledged: BTreeMap<NodeId, u64>,
}

#[derive(Clone, Default)]
struct Operations(Arc<Mutex<Said>>);

impl Asks for Operations {
    fn ask(&self, step: usize, _: &Ask, nodes: &[NodeId]) -> Arc<dyn Asked> {
        let mut said = self.0.lock().unwrap();
        said.asked.push((step, nodes.to_vec()));
        Arc::new(self.clone())
    }

    fn acknowledged(&self, node: NodeId) -> u64 {
        let said = self.0.lock().unwrap();
        said.acknowledged.get(&node).copied().unwrap_or_default()
    }
}

impl Asked for Operations {
    fn is_ok(&self) -> bool {
        self.0.lock().unwrap().ok
    }

    fn has_ended(&self) -> bool {
        self.is_ok()
    }

    fn is_sent(&self) -> bool {
        true
    }
}

struct Stage {
    _dir: tempfile::TempDir,
    _testbed: Testbed,
    cluster: Arc<Cluster>,
    operations: Operations,
    orders: mpsc::Sender<Order>,
    deeds: mpsc::UnboundedReceiver<Event>,
    working: JoinHandle<()>,
}

impl Stage {
    /// Three processes, and a nemesis that does these steps.
    async fn of(steps: &str) -> Stage {
        #[derive(serde::Deserialize)]
        struct File {
            steps: Vec<Step>,
        }
        let File { steps } = toml::from_str(steps).unwrap();
        crate::fault::step::check(&steps, 3).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let plain = Plain {
            script: format!("echo READY {address}; exec cat >/dev/null"),
            ..Plain::default()
        };
        let config = ClusterConfig::new(dir.path().into(), Arc::new(plain));
        let testbed = Testbed::new(NetworkConfig::default(), config).unwrap();
        let nodes = vec![1, 2, 3];
        testbed.start(&nodes, &nodes, SOON).await.unwrap();
        let path = dir.path().join("history.jsonl");
        let recorder = Recorder::create(&path, &Header::register(1), Vec::new()).unwrap();
        let (tell, deeds) = mpsc::unbounded_channel();
        let operations = Operations::default();
        let nemesis = Nemesis::new(
            testbed.cluster.clone(),
            testbed.network.clone(),
            Arc::new(recorder),
            Parties {
                nodes: nodes.clone(),
                voters: nodes,
                groups: vec![0],
            },
            Plan {
                steps,
                ..Plan::default()
            },
            Box::new(move |event| drop(tell.send(event))),
        );
        let nemesis = nemesis.asking(Arc::new(operations.clone()));
        let (orders, queue) = mpsc::channel(8);
        let working = tokio::spawn(nemesis.work(queue));
        Stage {
            cluster: testbed.cluster.clone(),
            _dir: dir,
            _testbed: testbed,
            operations,
            orders,
            deeds,
            working,
        }
    }

    async fn next(&mut self) -> Event {
        let deed = tokio::time::timeout(SOON, self.deeds.recv()).await;
        deed.expect("it does something").expect("it lives")
    }

    /// The number of the next step that is done, whatever happens before.
    async fn step(&mut self) -> u64 {
        loop {
            match self.next().await {
                Event::Step { step, .. } => return step,
                Event::StepsOver { why, .. } => panic!("they are over: {why:?}"),
                _ => {}
            }
        }
    }

    /// How the steps end.
    async fn over(&mut self) -> (u64, Option<String>) {
        loop {
            if let Event::StepsOver { done, why, .. } = self.next().await {
                return (done, why);
            }
        }
    }

    fn state(&self, node: NodeId) -> ChildState {
        self.cluster.view(node).unwrap().state
    }

    async fn end(self) {
        self.orders.send(Order::End).await.unwrap();
        tokio::time::timeout(SOON, self.working)
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn steps_wait_for_what_they_name_and_are_done_in_their_order() {
    let mut stage = Stage::of(
        r#"
        [[steps]]
        name = "stands"
        put = [{ fault = "pause", who = "n2" }]
        [[steps]]
        name = "B"
        ask = { operation = "read", key = "k1", at = ["n2"] }
        [[steps]]
        when = { sent = "B" }
        name = "held"
        put = [{ fault = "hold-back", from = "n1", to = "n3", dialled_by = "n3" }]
        [[steps]]
        when = { ok = "B" }
        within_ms = 15000
        take = "stands"
        [[steps]]
        when = { acknowledged = ["n1", "n3"] }
        within_ms = 15000
        let_out = { of = "held", before = "B" }
        [[steps]]
        again = { from = "held", times = 1 }
        "#,
    )
    .await;
    assert!(
        stage.deeds.try_recv().is_err(),
        "nothing before the run begins"
    );
    stage.orders.send(Order::Begin).await.unwrap();
    for expected in 1..=3 {
        assert_eq!(stage.step().await, expected);
    }
    assert_eq!(
        stage.state(2),
        ChildState::Paused,
        "it is asked as it stands"
    );
    assert_eq!(stage.operations.0.lock().unwrap().asked, [(1, vec![2])]);
    stage.operations.0.lock().unwrap().ok = true;
    assert_eq!(stage.step().await, 4);
    assert_eq!(stage.state(2), ChildState::Up);
    stage.operations.0.lock().unwrap().acknowledged.insert(3, 1);
    for expected in [5, 6] {
        assert_eq!(stage.step().await, expected);
    }
    // The second time its fault is in already, which ends them.
    let (done, why) = stage.over().await;
    let why = why.expect("not all were done");
    assert_eq!(done, 2);
    assert!(why.contains("hold back n1 → n3"), "{why}");
    assert!(why.contains("did not take effect"), "{why}");
    stage.end().await;
}

#[tokio::test]
async fn a_step_that_waits_in_vain_ends_them_and_says_for_what() {
    let mut stage = Stage::of(
        r#"
        [[steps]]
        name = "w"
        ask = { operation = "write", key = "k1", at = "all" }
        [[steps]]
        when = { ok = "w" }
        within_ms = 100
        put = [{ fault = "kill", who = "n1" }]
        "#,
    )
    .await;
    stage.orders.send(Order::Begin).await.unwrap();
    let (done, why) = stage.over().await;
    let why = why.expect("not all were done");
    assert_eq!(
        (done, why.as_str()),
        (1, "“kill n1” waited 100 ms for “w” to be done")
    );
    assert_eq!(stage.state(1), ChildState::Up);
    stage.end().await;
}

#[tokio::test]
async fn what_steps_left_in_is_taken_out_at_the_end_and_what_was_to_come_is_said() {
    let mut stage = Stage::of(
        r#"
        [[steps]]
        put = [{ fault = "kill", who = "n1" }]
        [[steps]]
        after_ms = 3600000
        "#,
    )
    .await;
    stage.orders.send(Order::Begin).await.unwrap();
    let deed = stage.next().await;
    assert!(
        matches!(
            &deed,
            Event::FaultIn {
                fault: Fault::Kill { who: 1 },
                ..
            }
        ),
        "{deed:?}"
    );
    assert_eq!(stage.step().await, 1);
    stage.orders.send(Order::End).await.unwrap();
    let (done, why) = stage.over().await;
    assert_eq!(done, 1);
    assert!(
        why.expect("one was left")
            .contains("the run was over before")
    );
    tokio::time::timeout(SOON, &mut stage.working)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stage.cluster.view(1).unwrap().state, ChildState::Up);
}
