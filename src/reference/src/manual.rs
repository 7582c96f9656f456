//! Manual pages: of programs, from their grammars, and of their configurations, from their references.

use std::io;

use clap::{Arg, Command};
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, roman},
};

use crate::{
    markdown::{meaning, value, without},
    merge::{Reference, Row},
};

/// A program's page. `description` and `more` are sections that its grammar does not know, as a heading and a text in the little Markdown of the
/// references: paragraphs, `- ` items, and tables of two columns or more.
///
/// # Errors
/// Never, but for what writing into memory could.
pub fn program(
    command: &Command,
    section: &str,
    description: &str,
    more: &[(&str, &str)],
) -> io::Result<String> {
    let name = command.get_name().to_owned();
    let mut page = Vec::new();
    // The exit codes, which its help ends with, have a section of their own.
    let command = command.clone().after_help("").disable_help_subcommand(true);
    let man =
        Man::new(command.clone()).title(name.to_uppercase()).section(section).date("").manual("Leasehold");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    let mut roff = Roff::default();
    roff.control("SH", ["SYNOPSIS"]);
    let mut built = command;
    built.build();
    for inner in leaves(&built) {
        // Where options and commands exclude each other, there is a line for each.
        let usage = inner.clone().render_usage().to_string();
        let usage = usage.lines().next().unwrap_or_default().trim_start_matches("Usage:").trim().to_owned();
        let words = inner.get_bin_name().unwrap_or(inner.get_name()).to_owned();
        let rest = usage.strip_prefix(&words).unwrap_or(&usage).to_owned();
        roff.text([bold(words), roman(rest)]);
        roff.control("br", []);
    }
    roff.control("SH", ["DESCRIPTION"]);
    blocks(&mut roff, description);
    roff.control("SH", ["COMMANDS"]);
    // What the program does without a command is told with the command that does it.
    let told = leaves(&built).into_iter().filter(|inner| !inner.has_subcommands());
    for inner in told {
        let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
        roff.control("SS", [inner.get_bin_name().unwrap_or(inner.get_name())]);
        roff.text(inlines(&format!("{about}.")));
        crate::commands::own(inner).for_each(|arg| argument(&mut roff, arg));
    }
    for (heading, text) in more {
        roff.control("SH", [*heading]);
        blocks(&mut roff, text);
    }
    page.extend(roff.render().into_bytes());
    String::from_utf8(page).map_err(io::Error::other)
}

/// A configuration file's page, in section 5.
pub fn configuration(reference: &Reference, file: &str, about: &str, see_also: &str) -> String {
    let mut roff = Roff::default();
    roff.control("TH", [file.to_uppercase().as_str(), "5", "", "", "Leasehold"]);
    roff.control("SH", ["NAME"]).text([roman(format!("{file} - {about}"))]);
    roff.control("SH", ["DESCRIPTION"]);
    blocks(&mut roff, &reference.about);
    for chapter in &reference.chapters {
        let heading = match &chapter.with {
            Some(with) if with.contains(" = ") => {
                format!("{} with {}", chapter.heading(), with.replace('"', ""))
            }
            Some(with) => format!("{} of {with}", chapter.heading()),
            None => chapter.heading(),
        };
        roff.control("SH", [heading.as_str()]);
        blocks(&mut roff, &chapter.about);
        for row in &chapter.rows {
            key(&mut roff, row);
        }
    }
    roff.control("SH", ["SEE ALSO"]).text([roman(see_also)]);
    roff.render()
}

/// The commands that can be called, the program itself first.
fn leaves(command: &Command) -> Vec<&Command> {
    let mut all = Vec::new();
    if !command.has_subcommands() || !command.is_subcommand_required_set() {
        all.push(command);
    }
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        all.extend(leaves(inner));
    }
    all
}

fn argument(roff: &mut Roff, arg: &Arg) {
    let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names: Vec<_> = arg.get_short().map(|short| format!("-{short}")).into_iter().chain(long).collect();
    let takes = arg.get_action().takes_values();
    let mut tag = vec![bold(names.join(", "))];
    if let (Some(value), true) = (value, takes) {
        tag.push(roman(if names.is_empty() { value } else { format!(" {value}") }));
    }
    let mut about = arg.get_help().map(ToString::to_string).unwrap_or_default();
    for default in arg.get_default_values().iter().filter(|value| takes && !value.is_empty()) {
        about.push_str(&format!("; `{}` when nothing is said", default.to_string_lossy()));
    }
    if let Some(variable) = arg.get_env() {
        about.push_str(&format!("; variable `{}`", variable.to_string_lossy()));
    }
    roff.control("TP", []).text(tag).text(inlines(&about));
}

fn key(roff: &mut Roff, row: &Row) {
    let name = if row.key.name == "*" { "NAME" } else { row.key.name };
    let without = match without(row) {
        nothing if nothing.is_empty() => String::new(),
        needed if needed == "**required**" => "; required".to_owned(),
        default => format!("; without it, {default}"),
    };
    roff.control("TP", []).text([bold(name)]);
    let text = format!("{}{}. {}.", value(&row.key), without, meaning(row));
    roff.text(inlines(&text));
}

/// Paragraphs, items and the rows of tables.
fn blocks(roff: &mut Roff, text: &str) {
    let mut lines = text.lines().peekable();
    let mut paragraph = String::new();
    let flush = |roff: &mut Roff, paragraph: &mut String| {
        if !paragraph.is_empty() {
            roff.control("PP", []).text(inlines(&std::mem::take(paragraph)));
        }
    };
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(row) = line.strip_prefix('|') {
            flush(roff, &mut paragraph);
            let rules = lines.peek().is_some_and(|next| next.starts_with("| ---"));
            if rules || row.trim_start().starts_with("---") {
                continue;
            }
            let mut cells = row.trim_end_matches('|').split(" | ").map(str::trim);
            let first = cells.next().unwrap_or_default().replace('`', "");
            let rest: Vec<_> = cells.filter(|cell| !cell.is_empty()).collect();
            roff.control("TP", []).text([bold(first)]).text(inlines(&rest.join("; ")));
        } else if let Some(item) = line.strip_prefix("- ") {
            flush(roff, &mut paragraph);
            roff.control("IP", ["\\(bu", "2"]).text(inlines(item));
        } else if line.is_empty() {
            flush(roff, &mut paragraph);
        } else {
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph.push_str(line);
        }
    }
    flush(roff, &mut paragraph);
}

/// What is between backticks is bold, and a link is its words.
fn inlines(text: &str) -> Vec<Inline> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let words = link.split_once("](").and_then(|(words, after)| Some((words, after.split_once(')')?.1)));
        plain.push_str(before);
        match words {
            Some((words, after)) if !words.contains('[') => {
                plain.push_str(words);
                rest = after;
            }
            _ => {
                plain.push('[');
                rest = link;
            }
        }
    }
    plain.push_str(rest);
    let pieces = plain.split('`').enumerate();
    pieces.map(|(at, piece)| if at & 1 == 1 { bold(piece) } else { roman(piece) }).collect()
}
