//! A command line's reference as Markdown, from its grammar.

use clap::{Arg, ArgAction, Command};

/// Every command below `command`, each with a heading of `level` and what follows it.
pub fn sections(command: &Command, level: usize) -> String {
    let name = command.get_name();
    command.get_subcommands().map(|inner| section(inner, name, level)).collect()
}

/// A table of arguments; nothing when there are none.
pub fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows: String = arguments.map(row).collect();
    if rows.is_empty() { rows } else { format!("| argument | meaning |\n| --- | --- |\n{rows}") }
}

/// A command's own arguments.
pub fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    let tells = |action: &ArgAction| {
        matches!(action, ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version)
    };
    let shown = move |arg: &&Arg| !arg.is_global_set() && !tells(arg.get_action());
    command.get_arguments().filter(shown)
}

/// How a command is called.
pub fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let words: Vec<_> = usage.trim_start_matches("Usage:").split_whitespace().collect();
    format!("\n```text\n{}\n```\n", words.join(" "))
}

fn section(command: &Command, above: &str, level: usize) -> String {
    if command.get_name() == "help" {
        return String::new();
    }
    let words = format!("{above} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("\n{} `{words}`\n\n{about}.\n", "#".repeat(level));
    if !command.has_subcommands() {
        text.push_str(&format!("{}\n{}", usage(command), table(own(command))));
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().skip(1).map(str::trim).collect::<Vec<_>>().join("\n");
        if !lines.is_empty() {
            text.push_str(&format!("\n```sh\n{lines}\n```\n"));
        }
    }
    for inner in command.get_subcommands() {
        text.push_str(&section(inner, &words, level.saturating_add(1)));
    }
    text
}

fn row(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value =
        arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
    let name = match (arg.get_long(), takes) {
        (Some(long), true) if optional => format!("`--{long}[={value}]`"),
        (Some(long), true) => format!("`--{long} {value}`"),
        (Some(long), false) => format!("`--{long}`"),
        (None, _) => format!("`{value}`"),
    };
    let mut about = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let choices: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|choice| takes && !choice.is_hide_set())
        .map(|choice| format!("`{}`", choice.get_name()))
        .collect();
    if !choices.is_empty() {
        about.push_str(&format!(" ({})", choices.join(", ")));
    }
    let defaults = arg.get_default_values().iter().map(|value| value.to_string_lossy());
    let defaults: Vec<_> =
        defaults.filter(|value| takes && !value.is_empty()).map(|value| format!("`{value}`")).collect();
    if !defaults.is_empty() {
        about.push_str(&format!("; {} when nothing is said", defaults.join(", ")));
    }
    if let Some(variable) = arg.get_env() {
        about.push_str(&format!("; variable `{}`", variable.to_string_lossy()));
    }
    format!("| {short}{name} | {} |\n", about.replace('|', "\\|").replace('\n', " "))
}
