//! Whole files, and what the elements' tests share.

use super::*;

/// Reads one section through `read`, from a file in `/etc/leasehold`, under the title `[section]`.
pub(super) fn read_section<T>(toml: &str, read: impl FnOnce(Section<'_>) -> Option<T>) -> Result<T, Faults> {
    let source = Source::new("/etc/leasehold/leasehold.toml", format!("[section]\n{toml}"));
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

#[cfg(feature = "local")]
const LEAST: &str = "
[listen]
certificate = 'tls/server.pem'
key = 'tls/server.key'
trust_bundle = 'tls/clients.pem'

[identity]
trust_domain = 'example.org'

[seal]
key_file = 'seal.key'

[ledger]
dir = '/var/lib/leasehold'

[[provider]]
name = 'main'
kind = 'local'

";

/// The least that a main file needs, and more.
#[cfg(feature = "local")]
pub(super) fn main_with(more: &str) -> Source {
    Source::new("/c/leasehold.toml", format!("{LEAST}{more}"))
}

#[cfg(feature = "local")]
#[test]
fn the_least_that_a_file_needs() {
    let config = Config::parse(&main_with(""), &[]).unwrap();
    assert_eq!(config.listen.key, Path::new("/c/tls/server.key"));
    assert_eq!(config.policy.dir, Path::new("/c/policies"));
    assert_eq!(config.providers.len(), 1);
}

#[test]
fn every_fault_is_told_at_once_in_order() {
    let text =
        "[listen]\naddress = 'nowhere'\nkye = 'k'\n\n[ledger]\nbackend = 'etcd'\n\n[logs]\nlevel = 1\n";
    let faults = Config::parse(&Source::new("l.toml", text), &[]).unwrap_err();
    let told: Vec<String> =
        faults.iter().map(|f| format!("{}:{} {}", f.place.line, f.place.column, f.message)).collect();
    assert_eq!(
        told,
        [
            "1:1 `certificate` is missing in [listen]",
            "1:1 `key` is missing in [listen]",
            "1:1 `trust_bundle` is missing in [listen]",
            "1:1 `trust_domain` is missing in [identity]",
            "1:1 `key_file` is missing in [seal]",
            "2:11 `address` in [listen] is not an IP address with a port, such as `0.0.0.0:8443` or `[::]:8443`: invalid socket address syntax",
            "3:1 unknown key `kye` in [listen]",
            "5:1 `dir` is missing in [ledger]",
            "6:11 `backend = \"etcd\"` is not in this build",
            "8:2 unknown key `logs` in the file",
        ]
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_place_and_nothing_is_made_up() {
    let faults = Config::parse(&Source::new("l.toml", "[listen]\nkey = \n[seal\n"), &[]).unwrap_err();
    let lines: Vec<usize> = faults.iter().map(|fault| fault.place.line).collect();
    assert_eq!(lines, [2, 3], "{faults}");
    assert!(faults.iter().all(|fault| fault.message.starts_with("is not TOML: ")), "{faults}");
}

#[test]
fn a_file_that_is_not_there_says_how_to_name_one() {
    let faults = Config::load(Path::new("/nowhere/leasehold.toml")).unwrap_err();
    assert!(faults.to_string().starts_with("/nowhere/leasehold.toml:1:1: cannot be read: "), "{faults}");
    assert!(faults.to_string().ends_with("--config PATH`"), "{faults}");
}

#[cfg(feature = "local")]
#[test]
fn files_of_the_folder_are_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("leasehold.toml", LEAST);
    write("secrets.d/b.toml", "[[secret]]\npath = 'prod/b'\nprovider = 'main'\nref = 'b'\n");
    write("secrets.d/a.toml", "[[secret]]\npath = 'prod/a'\nprovider = 'main'\nref = 'a'\n");
    write("secrets.d/notes.txt", "not for us");
    let config = Config::load(&folder.path().join("leasehold.toml")).unwrap();
    let paths: Vec<_> = config.catalog.secrets().map(|(path, _)| path.as_str().to_owned()).collect();
    assert_eq!(paths, ["prod/a", "prod/b"]);
    write("secrets.d/c.toml", "[[secret]]\npath = 'prod/b'\nprovider = 'main'\nref = 'b'\nx = 1\n");
    let faults = Config::load(&folder.path().join("leasehold.toml")).unwrap_err();
    assert_eq!(faults.count(), 2, "{faults}");
}

#[cfg(all(feature = "local", feature = "aws"))]
#[test]
fn the_annotated_file_is_the_defaults_in_words() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/leasehold.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let config = Config::parse(&Source::new(&file, &*text), &[]).unwrap();
    // Every key that is shown commented out is the default: with all of them in force the limits are the same.
    let uncommented: String =
        text.lines().map(|line| format!("{}\n", line.strip_prefix("#= ").unwrap_or(line))).collect();
    assert_ne!(uncommented, text);
    let spelled = Config::parse(&Source::new(&file, uncommented), &[]).unwrap();
    assert_eq!(config.limits, limits::Limits::default());
    assert_eq!(spelled.limits, config.limits);
    assert_eq!(spelled.clock, config.clock);
    assert_eq!(spelled.cache, config.cache);
    assert_eq!(spelled.rotation, rotation::Rotation::default());
    assert_eq!(spelled.rotation, config.rotation);
    assert_eq!(spelled.log, config.log);
    assert_eq!(spelled.runtime, config.runtime);
    assert_eq!(spelled.listen.addresses, config.listen.addresses);
    assert_eq!(spelled.listen.min_tls, config.listen.min_tls);
    assert_eq!(spelled.listen.require_crl, config.listen.require_crl);
    assert_eq!(spelled.listen.accept_stale_crl, config.listen.accept_stale_crl);
    assert_eq!(spelled.policy.dir, config.policy.dir);
    assert_eq!(spelled.ledger.segment_size, config.ledger.segment_size);
    assert_eq!(spelled.ledger.compress, config.ledger.compress);
}

#[cfg(all(
    feature = "local",
    feature = "aws",
    feature = "vault",
    feature = "gcp",
    feature = "azure",
    feature = "postgres"
))]
#[test]
fn every_example_is_good_and_together_they_show_each_strategy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/examples");
    let mut strategies = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        // Those of the sidecar are its own tests' business.
        let of_sidecar = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sidecar-"));
        if of_sidecar || file.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let config = Config::parse(&Source::new(&file, &*text), &[]);
        let config = config.unwrap_or_else(|faults| panic!("{}:\n{faults}", file.display()));
        let secrets = config.catalog.secrets().map(|(_, entry)| entry);
        let entries = secrets.chain(config.catalog.mounts().map(|(_, entry)| entry));
        strategies.extend(entries.filter_map(|entry| Some(entry.rotation.as_ref()?.strategy.name())));
    }
    let all = ["alternating", "command", "generate", "provider-native", "single"];
    assert_eq!(strategies.into_iter().collect::<Vec<_>>(), all);
}
