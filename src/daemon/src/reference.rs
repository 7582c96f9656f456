//! `docs/reference/leaseholdd.md` and `leaseholdd(8)`, made from the grammar, and from the page of exit codes and signals.
#![cfg(feature = "local")]

use std::{fs, path::Path};

use clap::CommandFactory;
use leasehold_reference::{commands, in_step, manual};

use crate::args::{Cli, Exit};

const MEMBER: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_reference_is_what_the_grammar_says() {
    let mut command = Cli::command();
    command.build();
    let mut page = String::from(
        "# Reference of `leaseholdd`\n\n\
         Made from the program's own grammar by a test of `leaseholdd` (`LEASEHOLD_BLESS=1` writes it anew). What it reads is in\n\
         [the configuration's reference](configuration.md), its exit codes and signals in [Exit codes](../exit-codes.md). Without a\n\
         command it does what `run` does.\n",
    );
    page.push_str(&commands::sections(&command, 2));
    in_step(MEMBER, "docs/reference/leaseholdd.md", &page).unwrap();
}

#[test]
fn the_manual_page_is_what_the_grammar_and_the_pages_say() {
    let text = fs::read_to_string(Path::new(MEMBER).join("../../docs/exit-codes.md")).unwrap();
    let (codes, signals) = (section(&text, "## `leaseholdd`"), section(&text, "## Signals of `leaseholdd`"));
    for exit in [Exit::Ok, Exit::Failed, Exit::Config, Exit::State, Exit::InUse, Exit::Poisoned] {
        assert!(codes.contains(&format!("| {} | ", exit as u8)), "{exit:?} in docs/exit-codes.md");
    }
    let more = [
        ("EXIT STATUS", codes),
        ("SIGNALS", signals),
        ("ENVIRONMENT", ENVIRONMENT),
        ("FILES", FILES),
        (
            "SEE ALSO",
            "leasehold.toml(5), leasehold(1), leasehold-sidecar(1), and the pages below /usr/share/doc/leasehold.",
        ),
    ];
    let page = manual::program(&Cli::command(), "8", DESCRIPTION, &more).unwrap();
    in_step(MEMBER, "packaging/man/leaseholdd.8", &page).unwrap();
}

const DESCRIPTION: &str = "\
Lends short-lived leases on secrets to workloads that it knows by mutual TLS, rotates the secrets, and records every
access. Without a command it does what `run` does.";

const ENVIRONMENT: &str = "\
| variable | meaning |
| --- | --- |
| `LEASEHOLD_CONFIG` | the configuration file, when no option names one |
| `LEASEHOLD_LOG` | what is logged, before what the configuration says |
| `CREDENTIALS_DIRECTORY` | where the files are that `credential:NAME` names; systemd sets it |
| `NOTIFY_SOCKET`, `WATCHDOG_USEC` | where systemd wants to hear how the broker is; systemd sets them |
";

const FILES: &str = "\
| file | meaning |
| --- | --- |
| `/etc/leasehold/leasehold.toml` | the configuration |
| `/etc/leasehold/secrets.d/*.toml` | more secrets and mounts |
| `/etc/leasehold/policies/*.cedar` | the policies |
| `/var/lib/leasehold` | the state: journal, snapshots, index, sealed local secrets |
";

/// What is below a heading of a page.
fn section<'t>(page: &'t str, heading: &str) -> &'t str {
    let (_, rest) = page.split_once(&format!("{heading}\n")).expect("the heading is there");
    rest.split("\n## ").next().unwrap()
}
