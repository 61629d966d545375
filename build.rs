//! `proto/*.proto` to Rust, with protox: no protoc on the machine.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files([
        "types.proto",
        "raft.proto",
        "admin.proto",
        "client.proto",
        "chaos.proto",
    ])?;
    // Reflection serves these descriptors.
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(compiler.file_descriptor_set())?;
    // What others serve, and ours does not: no part of what reflection says of our node.
    let mut others = protox::Compiler::new(["proto"])?;
    others.include_imports(true).include_source_info(true);
    others.open_file("etcd.proto")?;
    tonic_prost_build::configure()
        .bytes(".")
        .build_server(false)
        .compile_fds(others.file_descriptor_set())?;
    Ok(())
}
