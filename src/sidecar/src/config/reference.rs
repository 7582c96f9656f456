//! `docs/reference/sidecar-configuration.md`, its schema and its manual page, made from what the readers here ask for.

use std::{fs, path::Path};

use leasehold_config::{Sink, record::Record};
use leasehold_reference::{Reference, conform, in_step, manual, markdown, schema, words};

use super::*;

const MEMBER: &str = env!("CARGO_MANIFEST_DIR");

fn reference() -> Reference {
    let read = |text: &str, record: &Record| {
        let source = Source::new("/etc/leasehold/sidecar.toml", text);
        // Most probes are not complete: their faults are nobody's business here.
        drop(Config::parse_into(&source, Sink::recording(record)));
    };
    Reference::new(include_str!("reference.toml"), read).unwrap_or_else(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        panic!("src/config/reference.toml and the code do not agree:\n{}", faults.join("\n"))
    })
}

#[test]
fn the_reference_is_what_the_readers_ask_for() {
    let reference = reference();
    in_step(MEMBER, "docs/reference/sidecar-configuration.md", &markdown::page(&reference)).unwrap();
    in_step(MEMBER, "docs/reference/sidecar.schema.json", &schema::schema(&reference)).unwrap();
    let about = "the configuration of Leasehold's sidecar";
    let page = manual::configuration(
        &reference,
        "leasehold-sidecar.toml",
        about,
        "leasehold-sidecar(1), leasehold(1)",
    );
    in_step(MEMBER, "packaging/man/leasehold-sidecar.toml.5", &page).unwrap();
}

/// No reader has a key that none of the probes came past.
#[test]
fn every_key_in_the_sources_is_in_the_reference() {
    let reference = reference();
    let (names, choices) = (reference.names(), reference.choices());
    let known = |word: &str| names.contains(word) || choices.contains(word) || NO_KEYS.contains(&word);
    let mut unknown = Vec::new();
    for entry in fs::read_dir(Path::new(MEMBER).join("src/config")).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".rs") && name != "tests.rs" && name != "reference.rs" {
            let source = fs::read_to_string(&file).unwrap();
            unknown.extend(
                words::of(&source).filter(|word| !known(word)).map(|word| format!("{name}: `{word}`")),
            );
        }
    }
    assert_eq!(
        unknown,
        Vec::<String>::new(),
        "keys that no probe of reference.toml makes its reader ask for"
    );
}

/// Words in quotation marks that are no keys.
const NO_KEYS: [&str; 1] = ["info"];

/// Whoever reads the annotated file and the examples meets every key.
#[test]
fn every_key_is_shown_in_the_annotated_file_or_an_example() {
    let reference = reference();
    let config = Path::new(MEMBER).join("../../config");
    let mut shown = fs::read_to_string(config.join("sidecar.toml")).unwrap();
    shown.push_str(&fs::read_to_string(config.join("examples/sidecar-endpoint.toml")).unwrap());
    let is_shown = |name: &str| {
        [format!("{name} = "), format!("[{name}]"), format!(".{name}]")]
            .iter()
            .any(|form| shown.contains(form))
    };
    let hidden: Vec<_> = reference.names().into_iter().filter(|name| !is_shown(name)).collect();
    assert_eq!(hidden, Vec::<&str>::new(), "keys that config/sidecar.toml does not show");
}

#[test]
fn the_schema_takes_what_the_sidecar_takes_and_refuses_unknown_keys() {
    let schema = schema::schema(&reference());
    for file in ["sidecar.toml", "examples/sidecar-endpoint.toml"] {
        let text = fs::read_to_string(Path::new(MEMBER).join("../../config").join(file)).unwrap();
        assert_eq!(conform::violations(&schema, &text), Ok(Vec::new()), "{file}");
    }
    let bad = "[broker]\naddreses = 'b:1'\n[files]\ndir = '/d'\nexpired = 'stop'\n";
    let found = conform::violations(&schema, bad).unwrap().join("\n");
    for expected in ["`addreses` is not known", "`addresses` is missing", "\"stop\" is none of the choices"] {
        assert!(found.contains(expected), "{found}");
    }
}
