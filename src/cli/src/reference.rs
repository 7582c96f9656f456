//! `docs/reference/cli.md` and `cli-configuration.md`, made from the grammar and from what the file takes: their tests fail
//! when a page is out of date.

use std::path::Path;

use clap::ValueEnum;
use leasehold_reference::commands;

use crate::{
    args,
    look::ColorWhen,
    output::Format,
    settings::{TIMEOUT, file::File},
    snapshot::in_step,
};

#[test]
fn the_reference_is_what_the_grammar_says() {
    let mut command = args::command();
    command.build();
    let mut page = String::from(
        "# Reference of the command line\n\n\
         Made from the program's own grammar by a test of `leasehold-cli` (`LEASEHOLD_BLESS=1` writes it anew). What holds for all\n\
         commands is in [The command line](../cli.md), the exit codes in [Exit codes](../exit-codes.md), its own file in\n\
         [the configuration's reference](cli-configuration.md), what programs read in [json](json).\n\n\
         ## Options of every command\n\n",
    );
    page.push_str(&commands::table(command.get_arguments().filter(|arg| arg.is_global_set())));
    page.push_str(&commands::sections(&command, 2));
    in_step("docs/reference/cli.md", &page);
}

#[test]
fn the_files_reference_has_every_key_that_the_file_takes() {
    let mut page = String::from(
        "# The command line's configuration, key by key\n\n\
         `$XDG_CONFIG_HOME/leasehold/config.toml`, else `~/.config/leasehold/config.toml`; it need not be there. `leasehold context` edits it,\n\
         `leasehold config show` says what holds and who said it, and [The command line](../cli.md) which goes before which. A file or a\n\
         folder that others can write to is refused, and so is a key that is not here. Relative paths start from the file's folder.\n\n\
         A test of `leasehold-cli` holds this page to the code (`LEASEHOLD_BLESS=1` writes it anew).\n",
    );
    for (heading, probe, keys) in [
        ("At the top of the file", "unknown = 1", top()),
        ("`[context.NAME]`", "[context.a]\nunknown = 1", context()),
    ] {
        let told: Vec<_> = keys.iter().map(|[key, ..]| key.clone()).collect();
        assert_eq!(told, taken(probe), "the keys of {heading}");
        page.push_str(&format!(
            "\n## {heading}\n\n| key | value | without it | meaning |\n| --- | --- | --- | --- |\n"
        ));
        for [key, value, without, meaning] in keys {
            page.push_str(&format!("| `{key}` | {value} | {without} | {meaning} |\n"));
        }
    }
    in_step("docs/reference/cli-configuration.md", &page);
}

/// The keys that are taken where an unknown one stands, as its refusal lists them.
fn taken(probe: &str) -> Vec<String> {
    let refusal = File::parse(probe, Path::new("/c/config.toml")).unwrap_err().message;
    let (_, known) = refusal.split_once("expected one of ").expect("the keys are listed");
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn top() -> Vec<[String; 4]> {
    vec![
        row("current", "a text", "", "The context that is used when none is named"),
        row("output", &names::<Format>(), &default::<Format>(), "How to write what is found"),
        row("color", &names::<ColorWhen>(), &default::<ColorWhen>(), "When to write in colours"),
        row(
            "timeout",
            "a duration",
            &format!("`\"{}s\"`", TIMEOUT.as_secs()),
            "How long the broker may take to answer",
        ),
        row("context", "tables", "", "The brokers, by the names that you give them"),
    ]
}

fn context() -> Vec<[String; 4]> {
    let folder = "A folder with `tls.crt`, `tls.key` and `ca.crt`, as Kubernetes mounts them; each of them can be said by itself";
    vec![
        row("addr", "a text", "", "Where the broker listens, `host:port`; several with commas between them"),
        row("identity", "a path", "", folder),
        row("cert", "a path", "`tls.crt` in `identity`", "Your certificate chain (PEM); it needs `key`"),
        row("key", "a path", "`tls.key` in `identity`", "Your private key (PEM); it needs `cert`"),
        row(
            "ca",
            "a path",
            "`ca.crt` in `identity`",
            "The authorities that the broker's certificate must come from (PEM)",
        ),
        row("server_id", "a SPIFFE ID", "", "The broker's, when it is not known by its host name"),
        row("timeout", "a duration", "the file's own", "How long this broker may take to answer"),
    ]
}

fn row(key: &str, value: &str, without: &str, meaning: &str) -> [String; 4] {
    [key, value, without, meaning].map(str::to_owned)
}

fn name(value: &impl ValueEnum) -> String {
    format!("`\"{}\"`", value.to_possible_value().unwrap().get_name())
}

fn names<T: ValueEnum>() -> String {
    T::value_variants().iter().map(name).collect::<Vec<_>>().join(", ")
}

fn default<T: ValueEnum + Default>() -> String {
    name(&T::default())
}
