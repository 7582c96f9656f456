//! The generated code is what the protos say. `LEASEHOLD_REGENERATE=1 cargo test -p leasehold-proto` writes it anew.

use std::{env, error::Error, fs, path::Path};

use protox::Compiler;

const FILES: [&str; 12] = [
    "leasehold/v1/audit.proto",
    "leasehold/v1/error_reason.proto",
    "leasehold/v1/hold.proto",
    "leasehold/v1/lease.proto",
    "leasehold/v1/lease_service.proto",
    "leasehold/v1/operator_service.proto",
    "leasehold/v1/orphan.proto",
    "leasehold/v1/provider_check.proto",
    "leasehold/v1/revocation.proto",
    "leasehold/v1/rotation.proto",
    "leasehold/v1/secret.proto",
    "leasehold/v1/status.proto",
];
const CODE: &str = "leasehold.v1.rs";
const DESCRIPTORS: &str = "leasehold.v1.fds";

#[test]
fn generated_code_is_current() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/gen");
    let fresh = tempfile::tempdir()?;
    generate(root, fresh.path())?;
    for name in [CODE, DESCRIPTORS] {
        let now = fs::read(fresh.path().join(name))?;
        if env::var_os("LEASEHOLD_REGENERATE").is_some() {
            fs::create_dir_all(&committed)?;
            fs::write(committed.join(name), &now)?;
        }
        // Not assert_eq: a difference of whole files helps nobody.
        assert!(
            fs::read(committed.join(name))? == now,
            "proto/src/gen/{name} is not what the protos say: run `LEASEHOLD_REGENERATE=1 cargo test -p leasehold-proto`"
        );
    }
    Ok(())
}

#[test]
fn every_proto_file_is_generated() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("leasehold/v1"))? {
        found.push(format!("leasehold/v1/{}", entry?.file_name().display()));
    }
    found.sort();
    assert_eq!(found, FILES);
    Ok(())
}

fn generate(root: &Path, into: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = Compiler::new([root])?;
    compiler.include_source_info(true).include_imports(true);
    for file in FILES {
        compiler.open_file(root.join(file))?;
    }
    let described = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .btree_map(".")
        .boxed(".leasehold.v1.RevokeLeaseResult.outcome.lease")
        .skip_debug([".leasehold.v1.SecretValue"])
        .out_dir(into)
        .compile_fds(described)?;
    // Well-known types make files of their own, which prost-types has already.
    let reflected = compiler.include_source_info(false).encode_file_descriptor_set();
    fs::write(into.join(DESCRIPTORS), reflected)?;
    Ok(())
}
