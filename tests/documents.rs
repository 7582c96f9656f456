//! Documents stay true as far as a test can tell: their links lead somewhere, and the tests that they name are there.
#![expect(clippy::expect_used, reason = "a test that meets one of these has failed")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Where nothing of ours is.
const ELSEWHERE: &[&str] = &["target", ".git", "node_modules", ".venv"];

#[test]
fn every_link_leads_somewhere() {
    let root = root();
    let documents = files(&root, "md");
    assert!(documents.len() > 15, "these are not all documents: {documents:?}");
    let (mut followed, mut dead) = (0, vec![]);
    for document in &documents {
        let text = fs::read_to_string(document).expect("a document can be read");
        let folder = document.parent().expect("a document is in a folder");
        for link in links(&text) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { folder.join(path) };
            followed += 1;
            let found = target.exists() && (anchor.is_empty() || anchors(&target).contains(anchor));
            if !found {
                dead.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(followed > 100, "only {followed} links were found");
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let root = root();
    let model = fs::read_to_string(root.join("docs/threat-model.md")).expect("the threat model can be read");
    let (_, shown) = model.split_once("## What shows it").expect("it has a part that names tests");
    let tests: BTreeSet<String> = files(&root, "rs").iter().flat_map(|file| tests_in(file)).collect();
    let named: Vec<&str> = shown.lines().filter(|line| line.starts_with("| ")).flat_map(in_ticks).collect();
    assert!(named.len() > 40, "only {} tests are named", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert!(missing.is_empty(), "no test has these names: {missing:#?}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the workspace").to_owned()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("a folder can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() && !ELSEWHERE.contains(&name.as_str()) {
            found.extend(files(&path, extension));
        } else if path.is_file() && path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The targets of `[text](target)` that are in this repository, outside of code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    prose(text).flat_map(|line| line.split("](").skip(1)).filter_map(|rest| {
        let (target, _) = rest.split_once(')')?;
        (!target.contains("://") && !target.starts_with("mailto:")).then_some(target)
    })
}

/// The lines that are not within a fence.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// What the headings of a document are linked by.
fn anchors(document: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(document).unwrap_or_default();
    let headings =
        prose(&text).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |heading: &str| {
        let words = heading.to_lowercase().replace(' ', "-");
        words.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
    };
    headings.map(kept).collect()
}

fn in_ticks(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The functions of a file that are marked as tests.
fn tests_in(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a source can be read");
    let mut marked = false;
    let mut found = vec![];
    for line in text.lines().map(str::trim_start) {
        marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some((name, _)) = function.and_then(|rest| rest.split_once('('))
            && std::mem::take(&mut marked)
        {
            found.push(name.to_owned());
        }
    }
    found
}
