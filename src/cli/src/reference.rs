//! `docs/reference/cli.md`, made from the grammar: its test fails when the page is out of date.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

use crate::{args, snapshot::in_step};

#[test]
fn the_reference_is_what_the_grammar_says() {
    let mut command = args::command();
    command.build();
    let mut page = String::from(
        "# Reference of the command line\n\n\
         Made from the program's own grammar by a test of `leasehold-cli` (`LEASEHOLD_BLESS=1` writes it anew). What holds for all\n\
         commands is in [The command line](../cli.md), the exit codes in [Exit codes](../exit-codes.md), what programs read in\n\
         [json](json).\n\n## Options of every command\n\n",
    );
    options(&mut page, command.get_arguments().filter(|arg| arg.is_global_set()));
    for inner in command.get_subcommands() {
        section(&mut page, inner, "leasehold");
    }
    in_step("docs/reference/cli.md", &page);
}

fn section(page: &mut String, command: &Command, above: &str) {
    if command.get_name() == "help" {
        return;
    }
    let words = format!("{above} {}", command.get_name());
    let level = if above == "leasehold" { "##" } else { "###" };
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    writeln!(page, "\n{level} `{words}`\n\n{about}.").unwrap();
    let own = || command.get_arguments().filter(|arg| !arg.is_global_set() && arg.get_id() != "help");
    if !command.has_subcommands() {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage:").split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(page, "\n```text\n{usage}\n```\n").unwrap();
        options(page, own());
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().skip(1).map(str::trim).collect::<Vec<_>>().join("\n");
        writeln!(page, "\n```sh\n{lines}\n```").unwrap();
    }
    for inner in command.get_subcommands() {
        section(page, inner, &words);
    }
}

fn options<'a>(page: &mut String, all: impl Iterator<Item = &'a Arg>) {
    let rows: Vec<_> = all.map(row).collect();
    if !rows.is_empty() {
        writeln!(page, "| argument | meaning |\n| --- | --- |\n{}", rows.join("\n")).unwrap();
    }
}

fn row(arg: &Arg) -> String {
    let mut name = String::new();
    if let Some(short) = arg.get_short() {
        write!(name, "`-{short}`, ").unwrap();
    }
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value =
        arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
    match (arg.get_long(), takes) {
        (Some(long), true) if optional => write!(name, "`--{long}[={value}]`").unwrap(),
        (Some(long), true) => write!(name, "`--{long} {value}`").unwrap(),
        (Some(long), false) => write!(name, "`--{long}`").unwrap(),
        (None, _) => write!(name, "`{value}`").unwrap(),
    }
    let mut about = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let choices: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|choice| takes && !choice.is_hide_set())
        .map(|choice| format!("`{}`", choice.get_name()))
        .collect();
    if !choices.is_empty() {
        write!(about, " ({})", choices.join(", ")).unwrap();
    }
    if let Some(variable) = arg.get_env() {
        write!(about, "; variable `{}`", variable.to_string_lossy()).unwrap();
    }
    format!("| {name} | {} |", about.replace('|', "\\|").replace('\n', " "))
}
