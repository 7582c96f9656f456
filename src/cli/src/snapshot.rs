//! What programs read, kept as plain files: `docs/reference/json` holds one example of every form of JSON, and the tests of
//! each form hold the code to it. `LEASEHOLD_BLESS=1` writes them anew.

use std::{env, fs, path::Path};

use clap::{CommandFactory, FromArgMatches, Parser};
use serde::Serialize;

use crate::{
    output::{Row, shown},
    settings::{Options, Settings, file::File},
};

/// Compares with the example of that name.
pub(crate) fn documented(name: &str, what: &impl Serialize) {
    let text = serde_json::to_string_pretty(what).unwrap() + "\n";
    in_step(&format!("docs/reference/json/{name}.json"), &text);
}

/// Compares a table in terminals of three widths, and in a file, with how it is kept beside the code, and what it
/// leaves out with what the page says.
pub(crate) fn fits<R: Row>(name: &str, come_one_by_one: bool, rows: &[&[&str]]) {
    let mut text = String::new();
    for room in [Some(80), Some(100), Some(140), None] {
        let shown = shown::<R>(come_one_by_one, rows, room);
        for line in shown.lines() {
            assert!(room.is_none_or(|room| line.chars().count() <= room), "{name} in {room:?}:\n{shown}");
        }
        let room = room.map_or_else(|| "a file".to_owned(), |room| room.to_string());
        text.push_str(&format!("# {room}\n{shown}"));
    }
    in_step(&format!("src/cli/src/output/tables/{name}.txt"), &text);
    let rank = match (R::FIRST_OUT.join(", "), R::LAST_OUT.join(", ")) {
        (first, last) if last.is_empty() => first,
        (first, last) if first.is_empty() => format!("then {last}"),
        (first, last) => format!("{first}; then {last}"),
    };
    let page = include_str!("../../../docs/cli.md");
    assert!(
        rank.is_empty() || page.contains(&format!("| {rank} |")),
        "docs/cli.md does not say what `{name}` leaves out: {rank}"
    );
}

/// Compares a file of the repository with what it has to be, or makes it so.
pub(crate) fn in_step(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if env::var_os("LEASEHOLD_BLESS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == text,
        "{path} is out of date: run the tests of leasehold-cli with LEASEHOLD_BLESS=1 once"
    );
}

/// The settings of a command line, with a file of two contexts.
pub(crate) fn settings(line: &str) -> Settings {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }
    const FILE: &str = "current = 'prod'\noutput = 'jsonl'\n\
        [context.prod]\naddr = 'prod:7443'\nidentity = '/prod'\ntimeout = '5s'\n\
        [context.stage]\naddr = 'stage:7443'\ncert = '/stage.crt'\nkey = '/stage.key'\n";
    let path = Path::new("/home/x/.config/leasehold/config.toml");
    let matches = Line::command().get_matches_from(["leasehold"].into_iter().chain(line.split_whitespace()));
    let options = Line::from_arg_matches(&matches).unwrap().options;
    Settings::of(&options, |_| false, Some(path.into()), File::parse(FILE, path).unwrap()).unwrap()
}
