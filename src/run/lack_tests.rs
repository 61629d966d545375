//! A target of processes and links and nothing else, from its children to its nemesis: what it lacks is refused in words,
//! and the rest works.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use checkers::history::Header;
use tokio::sync::mpsc;

use crate::cluster::{ChildState, ClusterConfig, ClusterError};
use crate::fault::plan::{Episode, Plan};
use crate::fault::{DiskHarm, Fault, NodeSelector, Way};
use crate::journal::Event;
use crate::nemesis::{Nemesis, Order, Parties};
use crate::proxy::{Level, NetworkConfig};
use crate::recorder::Recorder;
use crate::target::testing::Plain;
use crate::testbed::Testbed;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_a_target_lacks_is_refused_and_said_and_the_rest_of_it_can_be_broken() {
    let dir = tempfile::tempdir().unwrap();
    // A server that nobody dials, so that its address is all that there is to it.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let plain = Plain {
        script: format!("echo READY {address}; exec cat >/dev/null"),
        ..Plain::default()
    };
    let network = NetworkConfig {
        client_groups: BTreeSet::from([0]),
        client_level: Level::Messages,
        ..NetworkConfig::default()
    };
    let config = ClusterConfig::new(dir.path().into(), Arc::new(plain));
    let testbed = Testbed::new(network, config).unwrap();
    let nodes = [1, 2, 3];
    testbed.start(&nodes, &nodes, SOON).await.unwrap();
    let Testbed {
        cluster, network, ..
    } = testbed;
    let asked = cluster.state_hash(1).await.unwrap_err();
    assert!(matches!(asked, ClusterError::Ask(_)), "{asked}");

    let path = dir.path().join("history.jsonl");
    let recorder = Recorder::create(&path, &Header::register(1), Vec::new()).unwrap();
    let (tell, mut deeds) = mpsc::unbounded_channel();
    let nemesis = Nemesis::new(
        cluster.clone(),
        network.clone(),
        Arc::new(recorder),
        Parties {
            nodes: nodes.to_vec(),
            voters: nodes.to_vec(),
            groups: vec![0],
        },
        Plan::default(),
        Box::new(move |event| drop(tell.send(event))),
    );
    let (orders, queue) = mpsc::channel(8);
    let working = tokio::spawn(nemesis.work(queue));
    let mut inject = async |fault| {
        let episode = Episode::until_healed(vec![fault]);
        orders.send(Order::Inject(vec![episode])).await.unwrap();
        let deed = tokio::time::timeout(SOON, deeds.recv()).await;
        deed.expect("it does something").expect("it lives")
    };
    let (first, who) = (NodeSelector::Node(1), NodeSelector::Node(2));
    let harm = DiskHarm::Full;
    for (lacking, why) in [
        (Fault::Disk { who, harm, ms: 0 }, "a disk of its own"),
        (Fault::RemoveVoter { who }, "nobody to ask"),
    ] {
        match inject(lacking).await {
            Event::FaultSkipped { why: said, .. } => assert!(said.contains(why), "{said}"),
            other => panic!("{other:?}"),
        }
    }
    let isolate = Fault::Isolate {
        who: first,
        way: Way::Both,
    };
    for fault in [Fault::Kill { who }, isolate] {
        let deed = inject(fault).await;
        assert!(matches!(deed, Event::FaultIn { .. }), "{deed:?}");
    }
    assert_eq!(cluster.view(2).unwrap().state, ChildState::Dead);
    orders.send(Order::End).await.unwrap();
    tokio::time::timeout(SOON, working).await.unwrap().unwrap();
    assert_eq!(cluster.view(2).unwrap().state, ChildState::Up);
}
