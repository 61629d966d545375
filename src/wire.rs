//! The generated gRPC types: the only file that includes what `build.rs` wrote; and what calls carry beside their
//! messages ([`metadata`]).
//!
//! `proto/` is the source; nothing in this file is written by hand but the module names.

pub mod metadata;

pub use packages::etcdserverpb as etcd;
pub use packages::kiwi::raft::v1 as kiwi;
pub use packages::whitewater::chaos::v1 as chaos;

/// The encoded `FileDescriptorSet` of our own two packages, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// One module a package: the generated paths from one package to the other rely on this nesting.
#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
mod packages {
    pub mod etcdserverpb {
        tonic::include_proto!("etcdserverpb");
    }
    pub mod kiwi {
        pub mod raft {
            pub mod v1 {
                tonic::include_proto!("kiwi.raft.v1");
            }
        }
    }
    pub mod whitewater {
        pub mod chaos {
            pub mod v1 {
                tonic::include_proto!("whitewater.chaos.v1");
            }
        }
    }
}
