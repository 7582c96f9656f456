//! Who may import whom. DESIGN's table is the law, and `cargo metadata` the witness.
//!
//! A new crate, a new edge and a new heavy dependency are decisions: this test makes them visible in a review.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that meets one of these has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    process::Command,
};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package};

/// What each crate may name as a normal dependency, among ours. `*`: anything.
const IMPORTS: &[(&str, &[&str])] = &[
    ("leasehold-proto", &[]),
    ("leasehold-core", &[]),
    // How TOML is read and its faults are told, by every program that has a configuration.
    ("leasehold-config", &["leasehold-core"]),
    // Other people's programs as children: what the broker, the sidecar and the command line run for operators.
    ("leasehold-programs", &["leasehold-core"]),
    // What tests of the programs make docs/reference and the manual pages with; in no program.
    ("leasehold-reference", &["leasehold-config"]),
    ("leasehold-quickstart", &[]),
    ("leasehold-engine", &["leasehold-core"]),
    ("leasehold-policy", &["leasehold-core"]),
    ("leasehold-audit", &["leasehold-core"]),
    ("leasehold-seal", &["leasehold-core"]),
    ("leasehold-generate", &["leasehold-core"]),
    ("leasehold-ledger", &["leasehold-audit", "leasehold-core", "leasehold-seal"]),
    ("leasehold-provider-local", &["leasehold-core", "leasehold-seal"]),
    ("leasehold-provider-aws", &["leasehold-core", "leasehold-endpoint", "leasehold-secret-file"]),
    ("leasehold-provider-vault", &["leasehold-core", "leasehold-endpoint", "leasehold-secret-file"]),
    ("leasehold-provider-azure", &["leasehold-core", "leasehold-secret-file"]),
    ("leasehold-provider-gcp", &["leasehold-core", "leasehold-endpoint", "leasehold-secret-file"]),
    ("leasehold-provider-postgres", &["leasehold-core", "leasehold-secret-file"]),
    ("leasehold-provider-conformance", &["leasehold-core"]),
    // Where plain HTTP may go, judged in one way by every provider that is asked at a configured URL.
    ("leasehold-endpoint", &[]),
    // The broker's own secrets in files, read in one way by every provider that has any.
    ("leasehold-secret-file", &["leasehold-core"]),
    (
        "leaseholdd",
        &[
            "leasehold-audit",
            "leasehold-config",
            "leasehold-core",
            "leasehold-engine",
            "leasehold-generate",
            "leasehold-ledger",
            "leasehold-policy",
            "leasehold-programs",
            "leasehold-proto",
            "leasehold-provider-aws",
            "leasehold-provider-azure",
            "leasehold-provider-gcp",
            "leasehold-provider-local",
            "leasehold-provider-postgres",
            "leasehold-provider-vault",
            "leasehold-seal",
        ],
    ),
    ("leasehold-client", &["leasehold-core", "leasehold-proto"]),
    // policy: `leasehold policy check` and `explain` work on a folder of files, without a daemon.
    (
        "leasehold-cli",
        &["leasehold-audit", "leasehold-client", "leasehold-core", "leasehold-policy", "leasehold-programs"],
    ),
    // seal: what its cache keeps on disk is sealed in the same envelope as the broker's.
    (
        "leasehold-sidecar",
        &["leasehold-client", "leasehold-config", "leasehold-core", "leasehold-programs", "leasehold-seal"],
    ),
    ("leasehold-tests", &["*"]),
];

/// What tests may import beyond that. A sibling is a stand-in for a port there, never a short cut.
const TEST_IMPORTS: &[(&str, &[&str])] = &[
    ("leaseholdd", &["leasehold-reference"]),
    ("leasehold-cli", &["leasehold-reference"]),
    ("leasehold-sidecar", &["leasehold-reference"]),
    ("leasehold-engine", &["leasehold-ledger"]),
    ("leasehold-provider-local", &["leasehold-provider-conformance"]),
    ("leasehold-provider-aws", &["leasehold-provider-conformance"]),
    ("leasehold-provider-vault", &["leasehold-provider-conformance"]),
    ("leasehold-provider-azure", &["leasehold-provider-conformance"]),
    ("leasehold-provider-gcp", &["leasehold-provider-conformance"]),
    ("leasehold-provider-postgres", &["leasehold-provider-conformance"]),
];

/// Crates that only some of ours may name, in any section of their manifests; a `*` ends a prefix.
const RESERVED: &[(&str, &[&str])] = &[
    ("cedar-policy*", &["leasehold-policy"]),
    ("sled", &["leasehold-ledger"]),
    ("aws-config", &["leasehold-provider-aws"]),
    ("aws-credential-types", &["leasehold-provider-aws"]),
    ("aws-sdk-*", &["leasehold-provider-aws"]),
    ("aws-sigv4", &["leasehold-provider-aws"]),
    ("aws-smithy-*", &["leasehold-provider-aws"]),
    ("aws-types", &["leasehold-provider-aws"]),
    ("azure_*", &["leasehold-provider-azure"]),
    ("google-cloud-*", &["leasehold-provider-gcp"]),
    ("vaultrs", &["leasehold-provider-vault"]),
    // The suite's peer is asked whom it lets in; an example of the SDK keeps a pool of connections.
    (
        "tokio-postgres*",
        &["leasehold-provider-postgres", "leasehold-provider-conformance", "leasehold-client"],
    ),
    ("etcd-client", &["leasehold-ledger"]),
];

/// What a crate must do without, to stay what it is.
const BARRED: &[(&str, &[&str])] = &[
    ("leasehold-core", &["tokio", "tokio-*", "tonic", "prost", "rustls", "rustix", "tracing", "aws-lc-rs"]),
    ("leasehold-engine", &["tonic", "prost", "rustls", "tokio-rustls", "rustix", "hyper", "http"]),
    ("leasehold-client", &["tokio-postgres", "deadpool"]),
    ("leasehold-policy", &["tokio", "tonic", "rustls"]),
    ("leasehold-audit", &["tokio", "tonic", "rustls"]),
    ("leasehold-seal", &["tokio", "tonic", "rustls"]),
    ("leasehold-ledger", &["tonic", "rustls"]),
    ("leasehold-secret-file", &["tokio", "tonic", "rustls"]),
    ("leasehold-endpoint", &["tokio", "tonic", "rustls", "hyper"]),
];

/// Never in the tree, however deep: one crypto provider, one TLS implementation.
const BANNED: [&str; 5] = ["ring", "openssl", "openssl-sys", "native-tls", "hyper-tls"];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .other_options(["--locked".to_owned()])
        .exec()
        .unwrap_or_else(|why| panic!("cargo does not tell the workspace's metadata: {why}"))
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

/// The names of a package's dependencies of one kind.
fn dependencies(package: &Package, kind: DependencyKind) -> impl Iterator<Item = &str> {
    package.dependencies.iter().filter(move |each| each.kind == kind).map(|each| each.name.as_str())
}

/// Every edge that one of the tables does not allow, as a sentence.
fn violations(metadata: &Metadata) -> Vec<String> {
    let imports: BTreeMap<_, _> = IMPORTS.iter().copied().collect();
    let test_imports: BTreeMap<_, _> = TEST_IMPORTS.iter().copied().collect();
    let members = metadata.workspace_packages();
    let ours: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    let mut found = Vec::new();
    for package in &members {
        let name = package.name.as_str();
        let Some(allowed) = imports.get(name) else {
            found.push(format!("{name} is a new crate: give it a line in IMPORTS"));
            continue;
        };
        let also = test_imports.get(name).copied().unwrap_or_default();
        let sections = [
            (DependencyKind::Normal, &[][..]),
            (DependencyKind::Build, &[][..]),
            (DependencyKind::Development, also),
        ];
        for (kind, also) in sections {
            for other in dependencies(package, kind).filter(|other| ours.contains(other)) {
                if !allowed.contains(&"*") && !allowed.contains(&other) && !also.contains(&other) {
                    found.push(format!("{name} must not import {other} ({kind})"));
                }
            }
            for other in dependencies(package, kind) {
                for (pattern, owners) in RESERVED {
                    if matches(pattern, other) && !owners.contains(&name) {
                        found
                            .push(format!("{name} must not name {other}: that is for {}", owners.join(", ")));
                    }
                }
            }
        }
        for (_, barred) in BARRED.iter().filter(|(of, _)| *of == name) {
            for other in dependencies(package, DependencyKind::Normal) {
                if barred.iter().any(|pattern| matches(pattern, other)) {
                    found.push(format!("{name} must do without {other}"));
                }
            }
        }
    }
    found
}

#[test]
fn imports_follow_the_design() {
    let found = violations(&metadata());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The names of all packages that are built for any target with any feature. `cargo tree` is the witness here: the
/// metadata also lists what a feature only would enable if something else did.
fn tree() -> BTreeSet<String> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["tree", "--workspace", "--all-features", "--locked", "--target=all", "--prefix=none"])
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn what_is_banned_is_nowhere_in_the_tree() {
    let tree = tree();
    assert!(tree.contains("rustls") && tree.contains("aws-lc-rs"), "this is not the tree: {tree:?}");
    let found: Vec<_> = BANNED.iter().filter(|name| tree.contains(**name)).collect();
    assert!(found.is_empty(), "{found:?} in the tree: `cargo tree --invert` says through what");
}

#[test]
fn every_crate_takes_the_workspaces_lints_and_versions() {
    for package in metadata().workspace_packages() {
        let text = std::fs::read_to_string(&package.manifest_path).expect("a manifest can be read");
        let name = &package.name;
        assert!(text.contains("[lints]\nworkspace = true"), "{name} is without the workspace's lints");
        assert!(
            !text.contains("version = \""),
            "{name} names a version: put it into [workspace.dependencies]"
        );
    }
}

#[test]
fn the_tables_name_crates_that_there_are() {
    let metadata = metadata();
    let ours: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    for (name, others) in IMPORTS.iter().chain(TEST_IMPORTS) {
        for each in others.iter().chain([name]).filter(|each| **each != "*") {
            assert!(ours.contains(each), "the tables name {each}, which there is not");
        }
    }
}

#[test]
fn a_violation_would_be_found() {
    let mut metadata = metadata();
    let core = metadata.packages.iter().position(|package| package.name == "leasehold-core");
    let daemon = metadata.packages.iter().find(|package| package.name == "leaseholdd");
    let edges = daemon.expect("there is a daemon").dependencies.clone();
    metadata.packages[core.expect("there is a core")].dependencies = edges;
    let found = violations(&metadata);
    assert!(
        found.contains(&"leasehold-core must not import leasehold-engine (normal)".to_owned()),
        "{found:#?}"
    );
    assert!(found.contains(&"leasehold-core must do without tokio".to_owned()), "{found:#?}");
}
