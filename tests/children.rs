//! The one global list: a panic or a signal ends every child, a paused one too. In a file of its own, because it
//! ends the children of every test in its program.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use whitewater::cluster::{ChildState, Cluster, ClusterConfig, end_all_children};
use whitewater::target::kiwi::{Kiwi, KiwiConfig};

#[tokio::test]
async fn a_panic_hook_can_end_all_children_without_their_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo READY raft=127.0.0.1:1 chaos=127.0.0.1:2; exec cat >/dev/null";
    let start = || async {
        let kiwi = Kiwi::new(KiwiConfig {
            command: ["sh", "-c", script, "sh"].map(Into::into).to_vec(),
            ..KiwiConfig::default()
        });
        let config = ClusterConfig::new(dir.path().into(), Arc::new(kiwi));
        let cluster = Cluster::new(config).unwrap();
        cluster.start_all(&[1, 2]).await.unwrap();
        cluster.pause(2).await.unwrap();
        cluster
    };
    let clusters = [start().await, start().await];
    let views = clusters.iter().flat_map(Cluster::views);
    let pids: Vec<u32> = views.filter_map(|view| view.pid).collect();
    assert_eq!(pids.len(), 4);

    assert_eq!(end_all_children(), 4);
    let began = Instant::now();
    while pids
        .iter()
        .any(|pid| Path::new(&format!("/proc/{pid}")).exists())
    {
        assert!(began.elapsed() < Duration::from_secs(10), "{pids:?} live");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for cluster in &clusters {
        let mut changes = cluster.changes();
        let dead = |cluster: &Cluster| {
            let views = cluster.views();
            views.iter().all(|view| view.state == ChildState::Dead)
        };
        while !dead(cluster) {
            let changed = tokio::time::timeout(Duration::from_secs(10), changes.changed()).await;
            changed.unwrap().unwrap();
        }
    }
    assert_eq!(end_all_children(), 0, "the list is empty");
}
