//! An example of every command, as `--help`, the manual pages and the reference show them. The tests understand each with
//! the grammar itself.

use clap::Command;

use crate::exit;

/// A command's words, and what one types. The empty words are the program itself.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "leasehold quickstart",
            "leasehold lease get prod/payments/db --field password",
            "leasehold context add prod --addr broker:8443 --identity /run/leasehold/tls",
        ],
    ),
    ("quickstart", &["leasehold quickstart", "leasehold quickstart --once --dir /tmp/leasehold"]),
    ("lease", &["leasehold lease get prod/payments/db", "leasehold lease list --watch"]),
    (
        "lease get",
        &[
            "leasehold lease get prod/payments/db",
            "leasehold lease get prod/payments/db --field password > password.txt",
            "leasehold lease get prod/payments/db --ttl 15m -o json | jq -r .value.fields.password",
        ],
    ),
    (
        "lease exec",
        &[
            "leasehold lease exec prod/payments/db -- ./migrate",
            "leasehold lease exec prod/payments/db --env PGUSER=username --env PGPASSWORD=password -- psql -h db orders",
            "leasehold lease exec prod/payments/api-key --fd --on-change restart -- ./worker",
        ],
    ),
    (
        "lease list",
        &[
            "leasehold lease list",
            "leasehold lease list --all --prefix prod/payments/ --state active",
            "leasehold lease list --secret prod/payments/db --secret-version v1 --watch=5s",
        ],
    ),
    ("lease watch", &["leasehold lease watch", "leasehold lease watch -o jsonl --resume AAAAAAAAAAE"]),
    ("lease show", &["leasehold lease show lease-aeaqcaibaeaqcaibaeaqcaibae"]),
    (
        "lease renew",
        &[
            "leasehold lease renew lease-aeaqcaibaeaqcaibaeaqcaibae --ttl 1h",
            "leasehold lease renew lease-aeaqcaibaeaqcaibaeaqcaibae --accept-rotation --field password",
        ],
    ),
    (
        "lease revoke",
        &[
            "leasehold lease revoke lease-aeaqcaibaeaqcaibaeaqcaibae",
            "leasehold lease revoke --holder spiffe://example.org/prod/payments/api --reason 'its host was broken into' --dry-run",
            "leasehold lease revoke --secret prod/payments/db --reason 'it leaked' --rotate --yes",
        ],
    ),
    ("lease retry", &["leasehold lease retry lease-aeaqcaibaeaqcaibaeaqcaibae"]),
    (
        "lease forget",
        &["leasehold lease forget lease-aeaqcaibaeaqcaibaeaqcaibae --reason 'the database is gone'"],
    ),
    ("revocation", &["leasehold revocation list"]),
    ("revocation list", &["leasehold revocation list", "leasehold revocation list --watch"]),
    (
        "revocation watch",
        &[
            "leasehold revocation watch revocation-aeaqcaibaeaqcaibaeaqcaibae",
            "leasehold revocation watch revocation-aeaqcaibaeaqcaibaeaqcaibae -o jsonl",
        ],
    ),
    ("secret", &["leasehold secret list", "leasehold secret put prod/payments/db --trim"]),
    ("secret list", &["leasehold secret list", "leasehold secret list --prefix prod/shared/ -o json"]),
    ("secret show", &["leasehold secret show prod/payments/db"]),
    (
        "secret put",
        &[
            "head -c 24 /dev/urandom | base64 | leasehold secret put prod/payments/db --trim",
            "leasehold secret put prod/payments/db --field user=@user.txt --field password=-",
            "leasehold secret put prod/payments/tls --file server.pem --expected v3",
        ],
    ),
    (
        "secret rotate",
        &[
            "leasehold secret rotate prod/payments/db --dry-run",
            "leasehold secret rotate prod/payments/db --reason 'somebody left' --wait",
            "leasehold secret rotate prod/payments/db --wait=current -o jsonl",
        ],
    ),
    ("secret versions", &["leasehold secret versions prod/payments/db"]),
    (
        "secret watch",
        &[
            "leasehold secret watch prod/payments/db",
            "leasehold secret watch prod/payments/db -o jsonl --limit 1",
        ],
    ),
    ("secret promote", &["leasehold secret promote prod/payments/db --version v2 --reason 'v3 was wrong'"]),
    ("secret disable", &["leasehold secret disable prod/payments/db --version v1 --reason 'it leaked'"]),
    ("secret enable", &["leasehold secret enable prod/payments/db --version v1"]),
    ("secret destroy", &["leasehold secret destroy prod/payments/db --version v1 --reason 'it leaked'"]),
    ("secret delete", &["leasehold secret delete prod/payments/old-db"]),
    ("secret restore", &["leasehold secret restore prod/payments/old-db"]),
    ("secret purge", &["leasehold secret purge prod/payments/old-db --reason 'nobody needs it' --yes"]),
    ("rotation", &["leasehold rotation list --attention", "leasehold rotation show prod/payments/db"]),
    (
        "rotation list",
        &[
            "leasehold rotation list --attention",
            "leasehold rotation list --prefix prod/payments/ --state draining -o jsonl",
            "leasehold rotation list --state draining --watch",
        ],
    ),
    ("rotation show", &["leasehold rotation show prod/payments/db"]),
    ("rotation watch", &["leasehold rotation watch prod/payments/db"]),
    ("rotation pause", &["leasehold rotation pause prod/payments/db --reason 'maintenance until ten'"]),
    ("rotation resume", &["leasehold rotation resume prod/payments/db"]),
    (
        "rotation rollback",
        &[
            "leasehold rotation rollback prod/payments/db --reason 'replica 2 refuses the new password' --wait",
        ],
    ),
    ("provider", &["leasehold provider list", "leasehold provider check vault-main"]),
    ("provider list", &["leasehold provider list", "leasehold provider list --watch=10s"]),
    ("provider check", &["leasehold provider check", "leasehold provider check vault-main -o jsonl"]),
    ("orphan", &["leasehold orphan list"]),
    ("orphan list", &["leasehold orphan list --provider pg-main"]),
    ("orphan sweep", &["leasehold orphan sweep --dry-run", "leasehold orphan sweep --provider pg-main"]),
    ("hold", &["leasehold hold show"]),
    ("hold show", &["leasehold hold show"]),
    ("hold release", &["leasehold hold release --reason 'compared with the back ends'"]),
    ("audit", &["leasehold audit tail --follow", "leasehold audit verify /var/lib/leasehold"]),
    (
        "audit tail",
        &["leasehold audit tail -n 20", "leasehold audit tail --follow --outcome denied -o jsonl"],
    ),
    (
        "audit query",
        &[
            "leasehold audit query --secret prod/payments/db --since 2026-11-01T00:00:00Z",
            "leasehold audit query --request-id call-aeaqcaibaeaqcaibaeaqcaibae --since 2026-11-01T00:00:00Z",
            "leasehold audit query --actor spiffe://example.org/prod/ --outcome denied --limit 20",
            "leasehold audit query --dir /var/lib/leasehold --kind lease.issued -o jsonl",
        ],
    ),
    (
        "audit verify",
        &[
            "leasehold audit verify /var/lib/leasehold",
            "leasehold audit verify /var/lib/leasehold --known 41:0101010101010101010101010101010101010101010101010101010101010101",
        ],
    ),
    ("status", &["leasehold status", "leasehold status --watch"]),
    (
        "top",
        &[
            "leasehold top",
            "leasehold top --interval 10s --filter prod/payments",
            "leasehold top --once > ticket.txt",
        ],
    ),
    ("policy", &["leasehold policy check /etc/leasehold/policies --trust-domain example.org"]),
    (
        "policy check",
        &[
            "leasehold policy check --config /etc/leasehold/leasehold.toml",
            "leasehold policy check policies --trust-domain example.org",
        ],
    ),
    (
        "policy explain",
        &[
            "leasehold policy explain --principal spiffe://example.org/prod/payments/api --action IssueLease --secret prod/payments/db",
        ],
    ),
    ("config", &["leasehold config show"]),
    ("config show", &["leasehold config show", "leasehold config show --context prod -o json"]),
    ("config path", &["leasehold config path"]),
    (
        "context",
        &[
            "leasehold context add prod --addr broker:8443 --identity /run/leasehold/tls",
            "leasehold context use prod",
        ],
    ),
    ("context list", &["leasehold context list"]),
    ("context show", &["leasehold context show", "leasehold context show prod -o json"]),
    ("context use", &["leasehold context use prod"]),
    (
        "context add",
        &[
            "leasehold context add prod --addr broker:8443 --identity /run/leasehold/tls",
            "leasehold context add stage --addr 10.0.0.7:8443 --cert me.pem --key me.key --ca ca.pem --server-id spiffe://example.org/leasehold/broker",
        ],
    ),
    ("context remove", &["leasehold context remove stage"]),
    (
        "completions",
        &[
            "leasehold completions bash > ~/.local/share/bash-completion/completions/leasehold",
            "leasehold completions zsh > ~/.zfunc/_leasehold",
            "leasehold completions fish > ~/.config/fish/completions/leasehold.fish",
        ],
    ),
    ("man", &["leasehold man | man -l -", "leasehold man --dir /usr/local/share/man/man1"]),
];

/// The command with the examples of itself and of those below it.
pub(crate) fn added(command: Command) -> Command {
    below(command, "")
}

fn below(command: Command, words: &str) -> Command {
    let names: Vec<_> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| {
        let inner = format!("{words} {name}").trim_start().to_owned();
        command.mut_subcommand(name, |found| below(found, &inner))
    });
    let Some((_, lines)) = EXAMPLES.iter().find(|(found, _)| *found == words) else { return command };
    let mut text = "Examples:".to_owned();
    for line in *lines {
        text.push_str(&format!("\n  {line}"));
    }
    if words.is_empty() {
        text.push_str(&format!("\n\n{}", exit::CODES));
    }
    command.after_help(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn every_command<'c>(command: &'c Command, words: &str, found: &mut Vec<(String, &'c Command)>) {
        found.push((words.to_owned(), command));
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            every_command(inner, format!("{words} {}", inner.get_name()).trim(), found);
        }
    }

    #[test]
    fn every_command_has_an_example_in_its_help() {
        let command = args::command();
        let mut all = Vec::new();
        every_command(&command, "", &mut all);
        assert!(all.len() > 50, "{}", all.len());
        for (words, command) in &all {
            let mut command = (*command).clone();
            let help = command.render_help().to_string();
            let (_, examples) =
                help.split_once("Examples:\n").unwrap_or_else(|| panic!("`{words}` has no examples"));
            let own = format!("leasehold {words}");
            assert!(
                examples.lines().any(|line| line.contains(own.trim())),
                "`{words}` has no example of itself: {examples}"
            );
        }
        for (words, _) in EXAMPLES {
            assert!(all.iter().any(|(known, _)| known == words), "there is no command `{words}`");
        }
    }

    /// The words of a line, as a shell takes them as far as the examples go.
    fn words(line: &str) -> Vec<String> {
        let own = line.split(" | ").find(|part| part.starts_with("leasehold ")).unwrap();
        let own = own.split(" > ").next().unwrap();
        let mut words = Vec::new();
        for (n, part) in own.split('\'').enumerate() {
            if n % 2 == 0 {
                words.extend(part.split_whitespace().map(str::to_owned));
            } else {
                words.push(part.to_owned());
            }
        }
        words
    }

    #[test]
    fn the_grammar_takes_every_example() {
        for line in EXAMPLES.iter().flat_map(|(_, lines)| *lines) {
            if let Err(why) = args::command().try_get_matches_from(words(line)) {
                panic!("{line}: {why}");
            }
        }
    }
}
