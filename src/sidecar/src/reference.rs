//! `docs/reference/sidecar.md` and `leasehold-sidecar(1)`, made from the grammar, and from what the sidecar's page says of exit
//! codes.

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
        "# Reference of `leasehold-sidecar`\n\n\
         Made from the program's own grammar by a test of `leasehold-sidecar` (`LEASEHOLD_BLESS=1` writes it anew). What it reads is in\n\
         [the configuration's reference](sidecar-configuration.md), its exit codes are with [the sidecar](../sidecar.md#exit-codes).\n\
         Without a command it does what `run` does.\n",
    );
    page.push_str(&commands::sections(&command, 2));
    in_step(MEMBER, "docs/reference/sidecar.md", &page).unwrap();
}

#[test]
fn the_manual_page_is_what_the_grammar_and_the_page_say() {
    let text = fs::read_to_string(Path::new(MEMBER).join("../../docs/sidecar.md")).unwrap();
    let (_, codes) = text.split_once("## Exit codes\n").expect("the heading is there");
    let codes = codes.split("\n## ").next().unwrap();
    for exit in [Exit::Ok, Exit::Failed, Exit::Config, Exit::Directory, Exit::Unwell] {
        assert!(codes.contains(&format!("| {} | ", exit as u8)), "{exit:?} in docs/sidecar.md");
    }
    let more = [
        ("EXIT STATUS", codes),
        ("SIGNALS", SIGNALS),
        ("ENVIRONMENT", ENVIRONMENT),
        ("FILES", FILES),
        (
            "SEE ALSO",
            "leasehold-sidecar.toml(5), leasehold(1), leaseholdd(8), and the pages below /usr/share/doc/leasehold.",
        ),
    ];
    let page = manual::program(&Cli::command(), "1", DESCRIPTION, &more).unwrap();
    in_step(MEMBER, "packaging/man/leasehold-sidecar.1", &page).unwrap();
}

const DESCRIPTION: &str = "\
Stands next to a program that cannot or will not speak gRPC: leases what one file names, keeps the leases, puts the values
where the program looks for them, and tells it when they change. Without a command it does what `run` does.";

const SIGNALS: &str = "\
| signal | effect |
| --- | --- |
| SIGTERM, SIGINT | ends in order |
| SIGHUP | reads the configuration again and takes it over as a whole, or not at all |

`exec` passes signals on to its program, SIGHUP and SIGINT among them; SIGTERM reaches it as `stop_signal`.
";

const ENVIRONMENT: &str = "\
| variable | meaning |
| --- | --- |
| `LEASEHOLD_SIDECAR_CONFIG` | the configuration file, when no option names one |
| `LEASEHOLD_LOG` | what is logged, before what the configuration says |
| `CREDENTIALS_DIRECTORY` | where the files are that `credential:NAME` names; systemd sets it |
| `NOTIFY_SOCKET`, `WATCHDOG_USEC` | where systemd wants to hear how the sidecar is; systemd sets them |
";

const FILES: &str = "\
| file | meaning |
| --- | --- |
| `/etc/leasehold/sidecar.toml` | the configuration |
| `/etc/leasehold/sidecar/NAME.toml` | that of `leasehold-sidecar@NAME.service` |
| `/run/leasehold-sidecar/NAME` | the files and sockets of that unit |
| `/var/lib/leasehold-sidecar/NAME` | its cache |
";
