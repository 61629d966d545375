//! One client of either system: put a key, read a key linearizably.
//!
//! Of etcd's interface (v3, `etcdserverpb`) only what is used is written out, in its own field numbers.

use bytes::Bytes;
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;
use whitewater::wire::kiwi::{
    Binlog, BinlogEntry, ReadRequest, WriteRequest,
    raft_client_service_client::RaftClientServiceClient,
};

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `etcdserverpb.RangeRequest`: one key, linearizable, which is its default.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

/// An answer whose header says which member gave it; the rest is not looked at.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EtcdAnswer {
    #[prost(message, tag = "1")]
    pub(crate) header: Option<Header>,
    /// Of `StatusResponse`: the member that leads.
    #[prost(uint64, tag = "4")]
    pub(crate) leader: u64,
}

/// `etcdserverpb.ResponseHeader`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Header {
    #[prost(uint64, tag = "2")]
    pub(crate) member_id: u64,
}

/// `etcdserverpb.StatusRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {}

/// A client with its connection.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    Kiwi(RaftClientServiceClient<Channel>),
    Etcd(Grpc<Channel>),
}

impl Client {
    pub(crate) async fn write(&mut self, key: Bytes, value: Bytes) -> Result<(), Status> {
        match self {
            Client::Kiwi(client) => {
                let entry = BinlogEntry {
                    cf_idx: 0,
                    op_type: "Put".to_owned(),
                    key,
                    value,
                };
                let binlog = Binlog {
                    db_id: 0,
                    slot_idx: 0,
                    entries: vec![entry],
                };
                let request = WriteRequest {
                    binlog: Some(binlog),
                    ..WriteRequest::default()
                };
                client.write(request).await.map(drop)
            }
            Client::Etcd(grpc) => {
                let request = PutRequest { key, value };
                etcd::<_, EtcdNothing>(grpc, "KV/Put", request)
                    .await
                    .map(drop)
            }
        }
    }

    pub(crate) async fn read(&mut self, key: Bytes) -> Result<(), Status> {
        match self {
            Client::Kiwi(client) => client.read(ReadRequest { key }).await.map(drop),
            Client::Etcd(grpc) => {
                let request = RangeRequest { key };
                etcd::<_, EtcdNothing>(grpc, "KV/Range", request)
                    .await
                    .map(drop)
            }
        }
    }
}

/// An answer of which nothing is looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct EtcdNothing {}

/// Asks a member who it is and who leads.
pub(crate) async fn etcd_status(channel: Channel) -> Result<EtcdAnswer, Status> {
    etcd(
        &mut Grpc::new(channel),
        "Maintenance/Status",
        StatusRequest {},
    )
    .await
}

async fn etcd<Q, R>(grpc: &mut Grpc<Channel>, method: &'static str, request: Q) -> Result<R, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    R: prost::Message + Default + Send + Sync + 'static,
{
    let path = format!("/etcdserverpb.{method}");
    let path = PathAndQuery::try_from(path).expect("a path");
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<Q, R>::default();
    let answer = grpc.unary(Request::new(request), path, codec).await?;
    Ok(answer.into_inner())
}
