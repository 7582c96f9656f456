//! Whole files, and what the sections' tests share.

use super::*;

/// Reads one section through `read`, from a file in `/etc/leasehold`, under the title `[section]`.
pub(super) fn read_section<T>(toml: &str, read: impl FnOnce(Section<'_>) -> Option<T>) -> Result<T, Faults> {
    let source = Source::new("/etc/leasehold/sidecar.toml", format!("[section]\n{toml}"));
    let sink = Sink::default();
    let value = table(&source, &sink).and_then(|table| {
        let root = Section::root(table.get_ref(), &source, &sink);
        read(root.section("section"))
    });
    sink.finish(value, source.place(&(0..0)))
}

/// The faults of such a section, as they are printed.
pub(super) fn faults_of<T>(toml: &str, read: impl FnOnce(Section<'_>) -> Option<T>) -> String {
    match read_section(toml, read) {
        Ok(_) => String::new(),
        Err(faults) => faults.to_string(),
    }
}

/// A whole file: the least that is needed, and more.
pub(super) fn config(more: &str) -> Result<Config, Faults> {
    let least = "[broker]\naddresses = 'broker:8443'\nidentity = '/run/identity'\n\n";
    Config::parse(&Source::new("/etc/leasehold/sidecar.toml", format!("{least}{more}")))
}

#[test]
fn the_least_that_a_file_needs() {
    let config = config("[[secret]]\nname = 'db'\npath = 'prod/payments/db'\n").unwrap();
    assert_eq!(config.secrets.len(), 1);
    assert!(config.files.is_none() && config.endpoint.is_none() && config.cache.is_none());
}

#[test]
fn every_fault_is_told_at_once_in_order() {
    let text =
        "[broker]\nadresses = 'x'\n\n[[secret]]\nname = 'a/b'\n\n[[file]]\nname = 'f'\nsecret = 'nobody'\n";
    let faults = Config::parse(&Source::new("s.toml", text)).unwrap_err().to_string();
    for expected in [
        "1:1: `addresses` is missing in [broker]",
        "2:1: unknown key `adresses` in [broker]",
        "5:8: `name` in [[secret]] is not a name such as `db` or `db.env`",
        "`path` is missing in [[secret]]",
    ] {
        assert!(faults.contains(expected), "{expected}\n{faults}");
    }
}

#[test]
fn the_annotated_file_is_the_defaults_in_words() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/sidecar.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let config = Config::parse(&Source::new(&file, &*text)).unwrap();
    // Every key that is shown commented out is the default.
    let uncommented: String =
        text.lines().map(|line| format!("{}\n", line.strip_prefix("#= ").unwrap_or(line))).collect();
    assert_ne!(uncommented, text);
    let spelled = Config::parse(&Source::new(&file, uncommented)).unwrap();
    assert_eq!(spelled.files, config.files);
    assert_eq!(spelled.broker.timeout, config.broker.timeout);
    assert_eq!((spelled.log, config.log), (Log::default(), Log::default()));
    // What is only hinted at is good, too.
    let hinted: String = text
        .lines()
        .filter(|line| line.starts_with("# [") || line.split_once(" = ").is_some_and(|(key, _)| is_key(key)))
        .map(|line| format!("{}\n", line.trim_start_matches("# ")))
        .collect();
    let hints = hinted.split_once("[[on_change]]").map(|(_, rest)| format!("[[on_change]]{rest}")).unwrap();
    let whole = format!("{text}\n{}", hints.split("[log]").next().unwrap_or_default());
    let config = Config::parse(&Source::new(&file, whole)).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.on_change.len(), 3);
    let variables: Vec<_> = config.exec.environment.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(variables, ["DB_PASSWORD"]);
    assert!(config.endpoint.is_some() && config.health.is_some() && config.cache.is_some());
    assert!(crate::render::Renderer::new(&config.file_list).is_ok());
}

/// A key that is commented out.
fn is_key(text: &str) -> bool {
    text.strip_prefix("# ")
        .is_some_and(|key| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}
