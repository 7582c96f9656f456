//! The command line's grammar: the commands and what holds for all of them. Each command's own arguments are with it.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    again::Again, audit::AuditCommand, config::ConfigCommand, context::ContextCommand, examples,
    hold::HoldCommand, lease::LeaseCommand, orphan::OrphanCommand, policy::PolicyCommand,
    provider::ProviderCommand, quickstart::Quickstart, revocation::RevocationCommand,
    rotation::RotationCommand, secret::SecretCommand, settings::Options, top::Top,
};

/// Borrow secrets, and look after the broker that lends them.
#[derive(Debug, Parser)]
#[command(name = "leasehold", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// The whole grammar, with an example of every command.
pub(crate) fn command() -> clap::Command {
    examples::added(Cli::command())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a broker of your own on this machine and take a tour
    Quickstart(Quickstart),

    /// Take leases, and look after them
    Lease {
        #[command(subcommand)]
        command: LeaseCommand,
    },

    /// See how far the revocations of many leases have come
    Revocation {
        #[command(subcommand)]
        command: RevocationCommand,
    },

    /// See which secrets and versions there are, write them and change them
    Secret {
        #[command(subcommand)]
        command: SecretCommand,
    },

    /// See when secrets are rotated and how far that has come; pause, resume and take back
    Rotation {
        #[command(subcommand)]
        command: RotationCommand,
    },

    /// See the back ends, and whether they let the broker do what it is to do
    Provider {
        #[command(subcommand)]
        command: ProviderCommand,
    },

    /// See and end credentials at back ends that no lease stands for
    Orphan {
        #[command(subcommand)]
        command: OrphanCommand,
    },

    /// Look at a broker that was put on hold or restored, and let it end things again
    Hold {
        #[command(subcommand)]
        command: HoldCommand,
    },

    /// Read the audit journal, and prove that it is whole
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },

    /// How the broker is doing
    Status {
        #[command(flatten)]
        again: Again,
    },

    /// A page that stays: leases, rates, errors, rotations, back ends and the audit tail, as they change
    Top(Top),

    /// Check policies, and ask what they would decide; needs no broker
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },

    /// See what the command goes by, and who says so
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },

    /// Keep several brokers under names of your own
    Context {
        #[command(subcommand)]
        command: ContextCommand,
    },

    /// Write to standard output what a shell reads to complete commands, and secrets and leases as the broker has them
    Completions {
        /// The shell
        shell: Shell,
    },

    /// Write the manual page to standard output, or every command's page into a folder
    Man {
        /// The folder
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    #[test]
    fn the_grammar_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn what_people_type() {
        const ID: &str = "lease-aeaqcaibaeaqcaibaeaqcaibae";
        let good = [
            "quickstart --once --dir /tmp/x",
            "lease get prod/payments/db",
            "lease get prod/payments/db --ttl 15m --field password --reveal",
            "lease get prod/payments/db -o json --addr broker:8443 --identity /run/tls",
            "--addr broker:8443 lease list",
            "lease list --all --holder spiffe://example.org/prod/api --secret prod/payments/db --state active",
            &format!("lease show {ID}"),
            "lease exec prod/payments/db --env PGUSER=username --on-change HUP -- psql -h db",
            &format!("lease renew {ID} --ttl 1h30m"),
            &format!("lease renew {ID} --accept-rotation --field password --reveal"),
            &format!("lease revoke {ID} {ID} --reason gone"),
            "lease revoke --secret prod/payments/db --secret-version v1 --reason leaked --dry-run",
            "lease revoke --prefix prod/payments/ --provider pg-main --reason leaked --yes --no-wait",
            "lease revoke --holder spiffe://example.org/prod/api --reason stolen",
            "lease list --prefix prod/ --provider pg-main --state quarantined --state forgotten",
            &format!("lease retry {ID}"),
            &format!("lease forget {ID} --reason gone --yes"),
            "revocation list",
            "revocation watch revocation-aeaqcaibaeaqcaibaeaqcaibae -o jsonl",
            "lease revoke lease-aeaqcaibaeaqcaibaeaqcaibae --rotate --reason leaked",
            "lease revoke --secret prod/payments/db --rotate --reason leaked --yes",
            "rotation list --prefix prod/ --state draining --state idle --attention --limit 5",
            "rotation show prod/payments/db",
            "rotation watch prod/payments/db -o jsonl",
            "rotation pause prod/payments/db --reason maintenance",
            "rotation resume prod/payments/db",
            "rotation rollback prod/payments/db --reason broken --wait",
            "secret rotate prod/payments/db",
            "secret rotate --wait prod/payments/db",
            "secret rotate prod/payments/db --wait=current --reason left --request-id r-1",
            "secret rotate prod/payments/db --dry-run",
            "secret list --prefix prod/",
            "secret show prod/payments/db",
            "secret put prod/payments/db",
            "secret put prod/payments/db --file /tmp/v --expected v1",
            "secret put prod/payments/db --field user=@/tmp/u --field password=-",
            "secret versions prod/payments/db",
            "secret watch prod/payments/db --resume AAAAAAAAAAE --limit 3 -o jsonl",
            "secret promote prod/payments/db --version v2",
            "secret disable prod/payments/db --version v1 --reason leaked",
            "secret enable prod/payments/db --version v1",
            "secret destroy prod/payments/db --version v1 --yes",
            "secret delete prod/payments/db",
            "secret restore prod/payments/db",
            "secret purge prod/payments/db --yes",
            "provider list",
            "provider check",
            "provider check vault-main -o jsonl",
            "hold show",
            "hold release --reason compared",
            "orphan list",
            "orphan list --provider pg-main",
            "orphan sweep --provider pg-main --dry-run",
            "orphan sweep -o jsonl",
            "audit tail -n 5 --follow",
            "audit query --kind lease.issued --outcome denied --since 2026-01-01T00:00:00Z --limit 5",
            "audit query --since 1h30m --until 10m",
            "audit query --dir /var/lib/leasehold/journal --secret prod/payments/db",
            "audit verify /var/lib/leasehold",
            "status --output jsonl",
            "status --watch",
            "top",
            "top --interval 10s --filter prod/payments",
            "top --once",
            "lease list --watch=5s --color never",
            "--context prod lease list",
            "config show -o json",
            "config path",
            "context list",
            "context show",
            "context use prod",
            "context add prod --addr broker:8443 --identity /run/tls",
            "context remove prod",
            "policy check config/policies --trust-domain example.org",
            "policy explain --principal spiffe://example.org/prod/api --action IssueLease --secret prod/payments/db",
            "completions bash",
            "man",
        ];
        for line in good {
            let words = ["leasehold"].into_iter().chain(line.split(' '));
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let bad = [
            ("lease get prod", "a secret path has an environment and a name"),
            ("lease get prod/../db", "segment"),
            ("lease show 17", "is not a lease id"),
            ("lease get prod/payments/db --ttl soon", "a duration is written"),
            ("lease get prod/payments/db --field a/b", "a field name is"),
            ("lease list --holder bob", "a SPIFFE ID starts with"),
            ("lease list --addr http://broker:1", "reached by TLS only"),
            ("lease renew lease-aeaqcaibaeaqcaibaeaqcaibae --field password", "--accept-rotation"),
            ("lease exec prod/payments/db ./migrate", "unexpected argument"),
            ("lease exec prod/payments/db --env A -- x", "NAME=FIELD"),
            ("lease exec prod/payments/db --on-change kill -- x", "a signal is one of"),
            ("lease revoke", "required"),
            ("lease revoke --secret prod/a/b", "--reason"),
            ("lease revoke --secret-version v1 --reason x", "--secret"),
            ("lease revoke lease-aeaqcaibaeaqcaibaeaqcaibae --secret prod/a/b", "cannot be used with"),
            ("lease revoke --prefix prod --reason x", "ends with `/`"),
            ("lease forget lease-aeaqcaibaeaqcaibaeaqcaibae", "--reason"),
            ("revocation watch 17", "is not a revocation's id"),
            ("secret put prod/payments/db --field password", "NAME=@FILE"),
            ("secret put prod/payments/db --file x --field a=@b", "cannot be used with"),
            ("secret destroy prod/payments/db", "--version"),
            ("secret delete prod/payments/db --version v1", "--version"),
            ("secret rotate prod/payments/db --dry-run --wait", "cannot be used with"),
            ("secret rotate prod/payments/db --wait=soon", "retired"),
            ("rotation rollback prod/payments/db", "--reason"),
            ("rotation list --state over", "draining"),
            ("provider check Vault", "a provider's name is"),
            ("hold release", "--reason"),
            ("orphan list --dry-run", "--dry-run"),
            ("audit query --kind lease.borrowed", "lease.issued"),
            ("audit query --secret prod/a/b --prefix prod/", "cannot be used with"),
            ("audit tail --follow --dir x", "cannot be used with"),
            ("policy explain --principal spiffe://e.org/a --action Issue --secret prod/a/b", "IssueLease"),
            ("lease get prod/payments/db --cert a.pem", "--key"),
            ("status --output yaml", "jsonl"),
            ("status --color sometimes", "always"),
            ("status --watch=often", "a duration is written"),
            ("top --interval 20ms", "at least a second"),
            ("context use", "NAME"),
            ("lease list --context a/b", "a context's name is"),
        ];
        for (line, why) in bad {
            let words = ["leasehold"].into_iter().chain(line.split(' '));
            match Cli::try_parse_from(words) {
                Ok(_) => panic!("{line} was taken"),
                Err(error) => {
                    assert!(error.to_string().contains(why), "{line}: {error}");
                    assert_eq!(error.exit_code(), exit::Exit::Usage as i32, "{line}");
                }
            }
        }
    }
}
