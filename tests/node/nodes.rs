//! A few node processes for a test; whatever happens, they and their files are gone afterwards.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use whitewater::wire::{
    chaos::{
        DefectCountersRequest, DefectCountersResponse, StateDumpRequest, StateHashRequest,
        StateHashResponse, chaos_service_client::ChaosServiceClient,
    },
    kiwi::{
        Binlog, BinlogEntry, InitializeRequest, MetricsRequest, MetricsResponse, NodeConfig,
        ReadRequest, ReadResponse, WriteRequest, WriteResponse,
        raft_admin_service_client::RaftAdminServiceClient,
        raft_client_service_client::RaftClientServiceClient,
        raft_metrics_service_client::RaftMetricsServiceClient,
    },
    metadata::{AuthorizedChannel, Credentials, TOKEN_VARIABLE, Token},
};

/// A state that does not come in this time never comes.
const DEADLINE: Duration = Duration::from_secs(20);

static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub(crate) struct Nodes {
    _turn: tokio::sync::MutexGuard<'static, ()>,
    children: BTreeMap<u64, Running>,
    addresses: BTreeMap<u64, String>,
    flags: Vec<String>,
    /// What the nodes ask for; they are started by hand, so by themselves for nothing.
    token: Option<String>,
    folder: TempDir,
}

/// A stopped process; it goes on when this is dropped.
pub(crate) struct Paused(rustix::process::Pid);

impl Drop for Paused {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = rustix::process::kill_process(self.0, rustix::process::Signal::CONT);
    }
}

struct Running {
    child: Child,
    chaos: String,
    resp: Option<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[allow(dead_code)]
impl Nodes {
    /// Starts nodes 1 to `count`, each told where all nodes up to 9 are; no cluster yet.
    pub(crate) async fn start(count: u64, flags: &[&str]) -> Nodes {
        Nodes::start_with_token(count, flags, None).await
    }

    /// The same, with a token in their environment.
    pub(crate) async fn start_with_token(count: u64, flags: &[&str], token: Option<&str>) -> Nodes {
        // One cluster at a time: elections are a matter of time, and the machine may be small.
        let turn = TURN.lock().await;
        let mut nodes = Nodes {
            _turn: turn,
            children: BTreeMap::new(),
            // Bound together, so that no address comes twice.
            addresses: free_addresses(9),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            token: token.map(str::to_owned),
            folder: tempfile::tempdir().expect("temporary directory"),
        };
        for id in 1..=count {
            nodes.spawn(id);
        }
        nodes
    }

    pub(crate) fn spawn(&mut self, id: u64) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whitewater"));
        command.args([
            "node",
            "--id",
            &id.to_string(),
            "--listen",
            &self.addresses[&id],
        ]);
        command.args(["--chaos-listen", "127.0.0.1:0", "--data"]);
        command.arg(self.folder.path().join(id.to_string()));
        for (peer, address) in self.addresses.iter().filter(|(peer, _)| **peer != id) {
            command.args(["--peer", &format!("{peer}={address}")]);
        }
        command
            .args(self.flags.iter().map(|flag| self.fill_in(flag, id)))
            .env_remove(TOKEN_VARIABLE)
            .envs(self.token.iter().map(|token| (TOKEN_VARIABLE, token)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the node starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let field = |name: &str| {
            let mut fields = line.split_whitespace();
            fields
                .find_map(|field| field.strip_prefix(name))
                .map(str::to_owned)
        };
        assert!(line.starts_with("READY "), "{line:?}");
        assert_eq!(field("raft=").as_ref(), self.addresses.get(&id), "{line:?}");
        let chaos = field("chaos=").expect("chaos");
        let resp = field("resp=");
        self.children.insert(id, Running { child, chaos, resp });
    }

    /// `{id}` in a flag is the node's number, `{folder}` the test's own folder.
    fn fill_in(&self, flag: &str, id: u64) -> String {
        let folder = self.folder.path().to_str().expect("text");
        flag.replace("{id}", &id.to_string())
            .replace("{folder}", folder)
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn address(&self, id: u64) -> &str {
        &self.addresses[&id]
    }

    /// Where the running node serves Redis, if it does.
    pub(crate) fn resp(&self, id: u64) -> Option<&str> {
        self.children.get(&id)?.resp.as_deref()
    }

    pub(crate) fn config(&self, id: u64) -> NodeConfig {
        NodeConfig {
            node_id: id,
            raft_addr: self.addresses[&id].clone(),
            resp_addr: self.resp(id).unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn channel(&self, address: &str) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        endpoint
            .connect_timeout(Duration::from_secs(1))
            .timeout(DEADLINE)
            .connect_lazy()
    }

    /// A channel to a node, whose calls carry what it asks for and say whom they are for.
    fn authorized(&self, id: u64, address: &str) -> AuthorizedChannel {
        let token = self.token.as_deref().map(Token::new);
        let token = token.transpose().expect("a token");
        Credentials::new(token, id).on(self.channel(address))
    }

    pub(crate) fn client(&self, id: u64) -> RaftClientServiceClient<AuthorizedChannel> {
        RaftClientServiceClient::new(self.authorized(id, &self.addresses[&id]))
    }

    pub(crate) fn admin(&self, id: u64) -> RaftAdminServiceClient<AuthorizedChannel> {
        RaftAdminServiceClient::new(self.authorized(id, &self.addresses[&id]))
    }

    fn chaos_client(&self, id: u64) -> ChaosServiceClient<AuthorizedChannel> {
        ChaosServiceClient::new(self.authorized(id, self.chaos(id)))
    }

    /// Where the running node serves what the bench asks.
    pub(crate) fn chaos(&self, id: u64) -> &str {
        &self.children[&id].chaos
    }

    /// What nodes are told that are started from now on, and what calls carry.
    pub(crate) fn set_token(&mut self, token: &str) {
        self.token = Some(token.to_owned());
    }

    pub(crate) async fn initialize(&self) {
        let nodes = self.children.keys().map(|id| self.config(*id)).collect();
        let first = *self.children.keys().next().expect("a node");
        let request = InitializeRequest { nodes };
        self.admin(first)
            .initialize(request)
            .await
            .expect("initialize");
    }

    pub(crate) async fn try_metrics(&self, id: u64) -> Option<MetricsResponse> {
        let channel = self.authorized(id, &self.addresses[&id]);
        let mut client = RaftMetricsServiceClient::new(channel);
        Some(client.metrics(MetricsRequest {}).await.ok()?.into_inner())
    }

    pub(crate) async fn metrics(&self, id: u64) -> MetricsResponse {
        self.try_metrics(id).await.expect("metrics")
    }

    /// Writes through whoever leads. Goes on to another node only where nothing was applied.
    pub(crate) async fn write(&self, request: WriteRequest) -> WriteResponse {
        let ask = async |id| self.client(id).write(request.clone()).await;
        self.through_leader(ask).await
    }

    /// Reads through whoever leads.
    pub(crate) async fn read(&self, key: &str) -> ReadResponse {
        let key = key.to_owned();
        let request = ReadRequest { key: key.into() };
        let ask = async |id| self.client(id).read(request.clone()).await;
        self.through_leader(ask).await
    }

    async fn through_leader<T>(
        &self,
        ask: impl AsyncFn(u64) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> T {
        let began = Instant::now();
        loop {
            let mut refusals = Vec::new();
            for id in self.children.keys() {
                match ask(*id).await {
                    Ok(answer) => return answer.into_inner(),
                    Err(status) => {
                        let outcome = status.metadata().get("kiwi-outcome");
                        let unreached = status.message().contains("tcp connect error");
                        let nothing = outcome.is_some_and(|outcome| outcome == "not-applied");
                        assert!(nothing || unreached, "node {id}: {status:?}");
                        refusals.push((*id, status));
                    }
                }
            }
            assert!(began.elapsed() < DEADLINE, "nobody answers: {refusals:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a node's metrics are as they should be.
    pub(crate) async fn wait_metrics(
        &self,
        id: u64,
        right: impl Fn(&MetricsResponse) -> bool,
    ) -> MetricsResponse {
        let began = Instant::now();
        loop {
            let metrics = self.try_metrics(id).await;
            if let Some(metrics) = metrics.clone().filter(&right) {
                return metrics;
            }
            assert!(
                began.elapsed() < DEADLINE,
                "node {id}; last seen: {metrics:#?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a node leads and every running one says so.
    pub(crate) async fn leader(&self) -> u64 {
        self.leader_other_than(0).await
    }

    /// Waits until a node other than `old` leads and all others say so.
    pub(crate) async fn leader_other_than(&self, old: u64) -> u64 {
        let began = Instant::now();
        loop {
            let mut seen = Vec::new();
            for id in self.children.keys().filter(|id| **id != old) {
                let metrics = self.try_metrics(*id).await;
                seen.push((*id, metrics.map(|metrics| metrics.current_leader)));
            }
            let leader = seen.first().and_then(|(_, leader)| *leader).unwrap_or(0);
            let agreed = seen.iter().all(|(_, at)| *at == Some(leader));
            if agreed && leader != 0 && leader != old {
                return leader;
            }
            let waited = began.elapsed();
            assert!(
                waited < DEADLINE,
                "no leader; last seen (node, leader): {seen:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn hash(&self, id: u64) -> StateHashResponse {
        self.chaos_client(id)
            .state_hash(StateHashRequest {})
            .await
            .expect("hash")
            .into_inner()
    }

    /// Every key and value that the node holds.
    pub(crate) async fn dump(&self, id: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut client = self.chaos_client(id);
        let rows = client.state_dump(StateDumpRequest {}).await.expect("dump");
        let mut rows = rows.into_inner();
        let mut all = Vec::new();
        while let Some(row) = rows.message().await.expect("a row") {
            all.push((row.key.to_vec(), row.value.to_vec()));
        }
        all
    }

    pub(crate) async fn defect_counters(&self, id: u64) -> DefectCountersResponse {
        self.chaos_client(id)
            .defect_counters(DefectCountersRequest {})
            .await
            .expect("counters")
            .into_inner()
    }

    /// Waits until all running nodes have the same state at the same applied log id.
    pub(crate) async fn equal_hashes(&self, deadline: Duration) -> StateHashResponse {
        let began = Instant::now();
        loop {
            let mut hashes = Vec::new();
            for id in self.children.keys() {
                hashes.push(self.hash(*id).await);
            }
            if hashes.iter().all(|hash| *hash == hashes[0]) {
                return hashes.swap_remove(0);
            }
            assert!(began.elapsed() < deadline, "states differ: {hashes:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the node's process until the guard is dropped.
    pub(crate) fn pause(&self, id: u64) -> Paused {
        let pid = rustix::process::Pid::from_child(&self.children[&id].child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("signal");
        Paused(pid)
    }

    pub(crate) fn kill(&mut self, id: u64) {
        self.children.remove(&id).expect("a running node");
    }

    pub(crate) async fn restart(&mut self, id: u64) {
        self.spawn(id);
    }

    pub(crate) async fn terminate(&mut self, id: u64) -> Option<i32> {
        let running = self.children.remove(&id).expect("a running node");
        let pid = rustix::process::Pid::from_child(&running.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal");
        ended(running).await
    }

    pub(crate) async fn close_stdin(&mut self, id: u64) -> Option<i32> {
        let mut running = self.children.remove(&id).expect("a running node");
        drop(running.child.stdin.take());
        ended(running).await
    }
}

async fn ended(mut running: Running) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = running.child.try_wait().expect("wait") {
            return status.code();
        }
        assert!(began.elapsed() < DEADLINE, "the node goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn free_addresses(count: u64) -> BTreeMap<u64, String> {
    let bind = |id| (id, TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let listeners: Vec<_> = (1..=count).map(bind).collect();
    let address = |(id, listener): &(u64, TcpListener)| {
        (*id, listener.local_addr().expect("bound").to_string())
    };
    listeners.iter().map(address).collect()
}

pub(crate) fn put(key: &str, value: &str) -> WriteRequest {
    let entry = BinlogEntry {
        cf_idx: 0,
        op_type: "Put".to_owned(),
        key: key.to_owned().into_bytes().into(),
        value: value.to_owned().into_bytes().into(),
    };
    WriteRequest {
        binlog: Some(Binlog {
            db_id: 0,
            slot_idx: 0,
            entries: vec![entry],
        }),
        ..WriteRequest::default()
    }
}
