//! What people wrote and what the readers asked for, put together; and everything in which the two do not agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use leasehold_config::record::{Key, Record, What};

use crate::outline::{Outline, Part, Probe};

/// A whole configuration file.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The page's heading.
    pub title: String,
    /// What is said before the first table.
    pub about: String,
    /// What is said after that on the page, and not in the manual.
    pub of_page: String,
    /// The tables.
    pub chapters: Vec<Chapter>,
    /// Tables that have the keys of another one, by their names.
    pub same: BTreeMap<String, String>,
}

/// One table, or what a table has under a condition.
#[derive(Clone, Debug)]
pub struct Chapter {
    /// The table, with dots; empty for the file itself.
    pub table: String,
    /// Whether there can be several of it.
    pub several: bool,
    /// Which of several forms of the table this is.
    pub with: Option<String>,
    /// What it is for.
    pub about: String,
    /// What is told here, in the order in which the reader asks.
    pub rows: Vec<Row>,
    /// Everything that this form of the table can have.
    pub all: Vec<Row>,
}

/// A key.
#[derive(Clone, Debug)]
pub struct Row {
    /// What its reader says of it.
    pub key: Key,
    /// What it means.
    pub meaning: String,
    /// Under which conditions it is taken; under all of them when empty.
    pub only: Vec<String>,
    /// Its defaults by the conditions under which they hold, when there are several.
    pub defaults: Vec<(String, String)>,
}

/// Something in which the text and the code do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(String);

impl Reference {
    /// Puts the outline, in TOML, and the code together: `read` reads a text as the program would, and records what is asked.
    ///
    /// # Errors
    /// Everything in which they do not agree.
    pub fn new(outline: &str, read: impl Fn(&str, &Record)) -> Result<Self, Vec<Fault>> {
        let outline: Outline = toml::from_str(outline).map_err(|error| vec![Fault(error.to_string())])?;
        let mut faults = Vec::new();
        let mut seen = BTreeMap::new();
        let mut chapters: Vec<Chapter> = Vec::new();
        for part in &outline.part {
            let probes = if part.probe.is_empty() { &outline.probe } else { &part.probe };
            let asked: Vec<_> = probes.iter().map(|probe| (probe, asked(probe, &read))).collect();
            for key in asked.iter().flat_map(|(_, keys)| keys) {
                seen.entry((key.table.clone(), key.name)).or_insert_with(|| key.clone());
            }
            let found = rows(part, &asked, &mut faults);
            chapters.push(chapter(part, found, &chapters, &mut faults));
        }
        let told: BTreeSet<_> = chapters
            .iter()
            .flat_map(|chapter| chapter.all.iter().map(|row| (chapter.table.clone(), row.key.name)))
            .collect();
        let same = |table: &str| outline.same.contains_key(table);
        for (table, name) in seen.keys().filter(|key| !told.contains(*key) && !same(&key.0)) {
            faults.push(Fault(format!("`{name}` of `{table}` is read, and no part tells of it")));
        }
        for chapter in &mut chapters {
            let (above, name) = chapter.table.rsplit_once('.').unwrap_or(("", &chapter.table));
            let key = seen.iter().find(|((table, key), _)| table == above && *key == name);
            chapter.several = key.is_some_and(|(_, key)| key.what == What::Tables);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let Outline { title, about, of_page, same, .. } = outline;
        Ok(Self { title, about, of_page, chapters, same })
    }

    /// The names of all keys.
    pub fn names(&self) -> BTreeSet<&str> {
        let rows = self.chapters.iter().flat_map(|chapter| &chapter.all);
        rows.map(|row| row.key.name).filter(|name| *name != "*").collect()
    }

    /// The texts that keys take, where those are only a few.
    pub fn choices(&self) -> BTreeSet<String> {
        let rows = self.chapters.iter().flat_map(|chapter| &chapter.all);
        rows.flat_map(|row| choices(&row.key)).collect()
    }
}

/// The texts that a key takes, when those are only a few.
pub(crate) fn choices(key: &Key) -> Vec<String> {
    let What::Value(_, shape) = key.what else { return Vec::new() };
    if key.one_of.is_empty() && shape.starts_with("`\"") {
        // "`\"a\"`, `\"b\"` or `\"c\"`": every second piece is between quotation marks.
        return shape.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    }
    key.one_of.clone()
}

impl Row {
    /// The defaults, each with the conditions under which it holds; none when one holds under all.
    pub(crate) fn defaults(&self) -> Vec<(&str, Vec<&str>)> {
        let mut grouped: Vec<(&str, Vec<&str>)> = Vec::new();
        for (with, default) in &self.defaults {
            match grouped.iter_mut().find(|(known, _)| known == default) {
                Some((_, conditions)) => conditions.push(with),
                None => grouped.push((default, vec![with])),
            }
        }
        grouped
    }
}

impl Chapter {
    /// The table as it is written: `[listen]`, `[[secret]]`.
    pub fn heading(&self) -> String {
        match (self.table.as_str(), self.several) {
            ("", _) => "At the top of the file".to_owned(),
            (table, true) => format!("[[{table}]]"),
            (table, false) => format!("[{table}]"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn asked(probe: &Probe, read: impl Fn(&str, &Record)) -> Vec<Key> {
    let record = Record::default();
    read(&probe.text, &record);
    record.keys()
}

/// The keys of a part's table in all of its probes, in the order in which they were asked for first.
fn rows(part: &Part, probes: &[(&Probe, Vec<Key>)], faults: &mut Vec<Fault>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (probe, keys) in probes {
        for key in keys.iter().filter(|key| key.table == part.table) {
            let with = probe.with.clone().unwrap_or_default();
            let default = key.default.clone().map(|default| (with.clone(), default));
            match rows.iter_mut().find(|row| row.key.name == key.name) {
                Some(row) => {
                    row.only.push(with);
                    row.defaults.extend(default);
                    row.key.required &= key.required;
                    if row.key.one_of.is_empty() {
                        row.key.one_of.clone_from(&key.one_of);
                    }
                }
                None => rows.push(Row {
                    key: key.clone(),
                    meaning: String::new(),
                    only: vec![with],
                    defaults: default.into_iter().collect(),
                }),
            }
        }
    }
    if part.has_forms {
        rows.retain(|row| row.only.len() == probes.len());
    }
    for row in &mut rows {
        if row.only.len() == probes.len() {
            row.only.clear();
        } else if row.only.iter().any(String::is_empty) {
            let message = "is not read in every probe of its part: say with what it is read";
            faults.push(Fault(format!("`{}` of `{}` {message}", row.key.name, part.table)));
        }
        let mut different: Vec<_> = row.defaults.iter().map(|(_, default)| default).collect();
        different.sort();
        different.dedup();
        if different.len() < 2 {
            row.defaults.clear();
        }
    }
    rows
}

fn chapter(part: &Part, found: Vec<Row>, before: &[Chapter], faults: &mut Vec<Fault>) -> Chapter {
    let base = before.iter().find(|chapter| match &part.like {
        Some(like) => *like == chapter.table,
        None => chapter.table == part.table,
    });
    let of_base = |name: &str| {
        base.and_then(|base| base.rows.iter().find(|row| row.key.name == name)).map(|row| &row.meaning)
    };
    let mut all = Vec::new();
    let mut told = Vec::new();
    let place = part.with.as_ref().map_or(part.table.clone(), |with| format!("{} with {with}", part.table));
    for mut row in found {
        let name = row.key.name;
        match (part.keys.get(name), of_base(name)) {
            (Some(own), _) => {
                row.meaning.clone_from(own);
                told.push(row.clone());
            }
            (None, Some(known)) => row.meaning.clone_from(known),
            (None, None) => {
                faults.push(Fault(format!("nothing says what `{name}` of `{place}` means")));
                continue;
            }
        }
        all.push(row);
    }
    for name in part.keys.keys().filter(|name| !told.iter().any(|row| row.key.name == **name)) {
        faults.push(Fault(format!("`{name}` of `{place}` is told of, and nothing reads it")));
    }
    if part.keys.is_empty() && all.is_empty() {
        faults.push(Fault(format!("`{place}` has no keys")));
    }
    Chapter {
        table: part.table.clone(),
        several: false,
        with: part.with.clone(),
        about: part.about.clone(),
        rows: told,
        all,
    }
}
