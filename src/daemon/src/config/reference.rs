//! `docs/reference/configuration.md`, its schema and `leasehold.toml(5)`, made from what the readers here ask for.
#![cfg(all(
    feature = "local",
    feature = "aws",
    feature = "vault",
    feature = "gcp",
    feature = "azure",
    feature = "postgres"
))]

use std::{fs, path::Path};

use leasehold_config::{Sink, record::Record};
use leasehold_reference::{Reference, conform, in_step, manual, markdown, schema, words};

use super::*;

const MEMBER: &str = env!("CARGO_MANIFEST_DIR");

fn reference() -> Reference {
    let read = |text: &str, record: &Record| {
        let source = Source::new("/etc/leasehold/leasehold.toml", text);
        // Most probes are not complete: their faults are nobody's business here.
        drop(Config::parse_into(&source, &[], Sink::recording(record)));
    };
    Reference::new(include_str!("reference.toml"), read).unwrap_or_else(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        panic!("src/config/reference.toml and the code do not agree:\n{}", faults.join("\n"))
    })
}

#[test]
fn the_reference_is_what_the_readers_ask_for() {
    let reference = reference();
    in_step(MEMBER, "docs/reference/configuration.md", &markdown::page(&reference)).unwrap();
    in_step(MEMBER, "docs/reference/leasehold.schema.json", &schema::schema(&reference)).unwrap();
    let about = "the configuration of Leasehold's broker";
    let page = manual::configuration(&reference, "leasehold.toml", about, "leaseholdd(8), leasehold(1)");
    in_step(MEMBER, "packaging/man/leasehold.toml.5", &page).unwrap();
}

/// No reader has a key that none of the probes came past.
#[test]
fn every_key_in_the_sources_is_in_the_reference() {
    let reference = reference();
    let (names, choices) = (reference.names(), reference.choices());
    let known = |word: &str| names.contains(word) || choices.contains(word) || NO_KEYS.contains(&word);
    let mut unknown = Vec::new();
    for file in sources(&Path::new(MEMBER).join("src/config")) {
        let source = fs::read_to_string(&file).unwrap();
        let found = words::of(&source).filter(|word| !known(word));
        unknown.extend(found.map(|word| format!("{}: `{word}`", file.display())));
    }
    assert_eq!(
        unknown,
        Vec::<String>::new(),
        "keys that no probe of reference.toml makes its reader ask for"
    );
}

/// Words in quotation marks that are no keys.
const NO_KEYS: [&str; 7] = ["toml", "etcd", "missing", "providers", "policies", "info", "x"];

fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("tests.rs" | "reference.rs") => {}
            _ if path.is_dir() => found.extend(sources(&path)),
            Some(name) if name.ends_with(".rs") => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}

/// The annotated file, with what it shows commented out, and the examples.
fn files() -> Vec<(PathBuf, String)> {
    let config = Path::new(MEMBER).join("../../config");
    let examples = fs::read_dir(config.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let of_broker = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".toml") && !name.starts_with("sidecar-")
    };
    let all = examples.filter(of_broker).chain([config.join("leasehold.toml")]);
    all.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// Whoever reads the annotated file and the examples meets every key.
#[test]
fn every_key_is_shown_in_the_annotated_file_or_an_example() {
    let reference = reference();
    let shown: String = files().into_iter().map(|(_, text)| text).collect();
    let is_shown = |name: &str| {
        [format!("{name} = "), format!("[{name}]"), format!(".{name}]")]
            .iter()
            .any(|form| shown.contains(form))
    };
    let hidden: Vec<_> = reference.names().into_iter().filter(|name| !is_shown(name)).collect();
    assert_eq!(hidden, Vec::<&str>::new(), "keys that config/leasehold.toml does not show");
}

#[test]
fn the_schema_takes_what_the_broker_takes_and_refuses_unknown_keys() {
    let schema = schema::schema(&reference());
    for (path, text) in files() {
        assert_eq!(conform::violations(&schema, &text), Ok(Vec::new()), "{}", path.display());
    }
    let bad = "[listen]\nadress = '127.0.0.1:1'\n[[provider]]\nname = 'a'\nkind = 'aws'\nvault = 'x'\n[limits]\nwatches = 0\n";
    let found = conform::violations(&schema, bad).unwrap().join("\n");
    for expected in ["`adress` is not known", "`vault` is not known", ".limits.watches: 0 is out of bounds"] {
        assert!(found.contains(expected), "{found}");
    }
}
