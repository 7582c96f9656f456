//! Changing the configuration file without touching what its user wrote around it.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use toml_edit::{DocumentMut, Item, Table, value};

use super::file::{Context, ContextName, File, Unusable, text_of};
use crate::exit::Failure;

/// Changes the file; the file is put in place whole, or not at all.
///
/// # Errors
/// When it cannot be trusted, understood or written, or would not be understood afterwards.
pub(crate) fn change(path: &Path, change: impl FnOnce(&mut DocumentMut)) -> Result<File, Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::failed(path.display(), why);
    let text = match text_of(path) {
        Ok(text) => text,
        Err(Unusable::Absent) => String::new(),
        Err(Unusable::Failed(failure)) => return Err(failure),
    };
    let mut document: DocumentMut = text.parse().map_err(|why: toml_edit::TomlError| failed(&why))?;
    change(&mut document);
    let text = document.to_string();
    let file = File::parse(&text, path)?;
    // Where a link leads, the file is; the link stays.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|why| failed(&why))?;
    let new = path.with_extension("toml.new");
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, &path))
        .and_then(|()| fs::File::open(folder)?.sync_all());
    written.map_err(|why| failed(&why))?;
    Ok(file)
}

/// Puts a context in, in the place of one of that name.
pub(crate) fn put(document: &mut DocumentMut, name: &ContextName, context: &Context) {
    let mut table = Table::new();
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let entries = [
        ("addr", context.addr.as_ref().map(ToString::to_string)),
        ("identity", path(&context.identity)),
        ("cert", path(&context.cert)),
        ("key", path(&context.key)),
        ("ca", path(&context.ca)),
        ("server_id", context.server_id.as_ref().map(ToString::to_string)),
        ("timeout", context.timeout.map(|timeout| format!("{}s", timeout.as_secs().max(1)))),
    ];
    for (key, text) in entries {
        if let Some(text) = text {
            table.insert(key, value(text));
        }
    }
    let contexts = document.entry("context").or_insert_with(|| {
        let mut contexts = Table::new();
        contexts.set_implicit(true);
        Item::Table(contexts)
    });
    if let Some(contexts) = contexts.as_table_like_mut() {
        contexts.insert(name.as_str(), Item::Table(table));
    }
}

/// Takes a context out; one that was current is so no longer.
pub(crate) fn remove(document: &mut DocumentMut, name: &ContextName) {
    if let Some(contexts) = document.get_mut("context").and_then(Item::as_table_like_mut) {
        contexts.remove(name.as_str());
    }
    if document.get("current").and_then(Item::as_str) == Some(name.as_str()) {
        document.remove("current");
    }
}

/// Makes a context the current one.
pub(crate) fn make_current(document: &mut DocumentMut, name: &ContextName) {
    document.insert("current", value(name.as_str()));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn what_its_user_wrote_around_it_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/leasehold/config.toml");
        let name: ContextName = "prod".parse().unwrap();
        let context = Context {
            addr: Some("broker:7443".parse().unwrap()),
            identity: Some("/run/tls".into()),
            ..Context::default()
        };
        let file = change(&path, |document| {
            put(document, &name, &context);
            make_current(document, &name);
        });
        assert_eq!(file.unwrap().context["prod"], context);
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("# mine\noutput = 'json' # for jq\n{text}")).unwrap();
        let file = change(&path, |document| remove(document, &name)).unwrap();
        assert!(file.context.is_empty() && file.current.is_none());
        let left = fs::read_to_string(&path).unwrap();
        assert!(left.starts_with("# mine\noutput = 'json' # for jq\n"), "{left}");
    }

    #[test]
    fn a_link_stays_a_link_and_a_broken_file_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let (real, link) = (home.path().join("real.toml"), home.path().join("config.toml"));
        fs::write(&real, "output = 'json'\n").unwrap();
        symlink(&real, &link).unwrap();
        let name: ContextName = "a".parse().unwrap();
        change(&link, |document| put(document, &name, &Context::default())).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&real).unwrap().contains("[context.a]"));
        fs::write(&real, "output = \n").unwrap();
        assert!(change(&link, |document| make_current(document, &name)).is_err());
        assert_eq!(fs::read_to_string(&real).unwrap(), "output = \n");
    }
}
