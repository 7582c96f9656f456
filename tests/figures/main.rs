//! `cargo figures [NAME...]`: the benchmarks by name, or all. Each prints one line a figure,
//! `figure <name> <value> <unit> target <op> <target> ok|short`, and the same as JSON lines under `target/figures/`.
//!
//! Ratios are against a baseline in the same run: both are measured in turn, several times, and the medians compared.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "figures are printed, and one that cannot be measured ends the run"
)]

mod alternating;
mod bulk;
mod cert_rotation;
mod cli_start;
mod client_overhead;
mod cold_reads;
mod conformance;
mod dynamic;
mod dynamic_pg;
mod expiries;
mod fanout;
mod figure;
mod flood;
mod idle;
mod isolation;
mod issue;
mod rotations;
mod scale;
mod sidecar;

use figure::Report;

const NAMES: [&str; 13] = [
    "issue_vs_echo",
    "issue_p99_at_half_load",
    "durable_check",
    "idle_rss",
    "cold_reads_upstream_calls",
    "provider_conformance_cases",
    "isolated_p99_ratio",
    "flood_fairness",
    "dynamic_issue_overhead_vault",
    "dynamic_pg_issue_ratio",
    "alternating_failed_logins",
    "client_lease_overhead",
    "cert_rotation_failed_calls",
];

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    // The echo runs in a process of its own, as the broker does.
    if asked.first().is_some_and(|first| first == issue::ECHO) {
        return issue::run_echo(&asked[1]);
    }
    // And so does the flood.
    if asked.first().is_some_and(|first| first == flood::FLOOD) {
        return flood::run_flood(&asked[1], &asked[2]);
    }
    let groups = [
        &NAMES[..],
        &scale::NAMES,
        &bulk::NAMES,
        &fanout::NAMES,
        &rotations::NAMES,
        &sidecar::NAMES,
        &cli_start::NAMES,
    ];
    let names = groups.concat();
    let unknown: Vec<_> = asked.iter().filter(|name| !names.contains(&name.as_str())).collect();
    if !unknown.is_empty() {
        Report::complain(&format!("no such figure: {unknown:?}; there are {names:?}"));
        std::process::exit(2);
    }
    let wants = |name: &str| asked.is_empty() || asked.iter().any(|one| one == name);
    let mut report = Report::open();
    if wants("provider_conformance_cases") {
        conformance::cases(&mut report);
    }
    if cli_start::NAMES.into_iter().any(wants) {
        cli_start::all(&mut report);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if wants("idle_rss") {
            idle::rss(&mut report).await;
        }
        if wants("cold_reads_upstream_calls") {
            cold_reads::upstream_calls(&mut report).await;
        }
        if wants("isolated_p99_ratio") {
            isolation::p99_ratio(&mut report).await;
        }
        if wants("flood_fairness") {
            flood::fairness(&mut report).await;
        }
        if wants("dynamic_issue_overhead_vault") {
            dynamic::overhead(&mut report).await;
        }
        if wants("dynamic_pg_issue_ratio") {
            dynamic_pg::ratio(&mut report).await;
        }
        if wants("alternating_failed_logins") {
            alternating::failed_logins(&mut report).await;
        }
        if wants("client_lease_overhead") {
            client_overhead::ratio(&mut report).await;
        }
        if wants("cert_rotation_failed_calls") {
            cert_rotation::failed_calls(&mut report).await;
        }
        if wants("issue_vs_echo") || wants("issue_p99_at_half_load") || wants("durable_check") {
            issue::all(&mut report, wants).await;
        }
        if scale::NAMES.into_iter().any(wants) {
            scale::all(&mut report, wants).await;
        }
        if bulk::NAMES.into_iter().any(wants) {
            bulk::all(&mut report).await;
        }
        if rotations::NAMES.into_iter().any(wants) {
            rotations::all(&mut report, wants).await;
        }
        if sidecar::NAMES.into_iter().any(wants) {
            sidecar::all(&mut report, wants).await;
        }
        if fanout::NAMES.into_iter().any(wants) {
            fanout::all(&mut report).await;
        }
    });
    if report.is_short() {
        std::process::exit(1);
    }
}
