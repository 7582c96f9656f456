//! A table of the configuration while it is read. Each key is asked for once; what nobody asked for is unknown.

use std::{
    cell::RefCell,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    element::Element,
    fault::{Place, Sink},
    record::{Key, Trail},
    source::Source,
};

/// Where files that a service manager handed over are (systemd.exec(5), `LoadCredential=`).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// What marks the name of such a file.
const CREDENTIAL: &str = "credential:";

/// One table, with the name under which people know it, such as `[listen]`.
pub struct Section<'t> {
    title: String,
    table: Option<&'t DeTable<'t>>,
    span: Range<usize>,
    source: &'t Source,
    sink: &'t Sink,
    asked: RefCell<Vec<&'static str>>,
    pub(crate) trail: Trail,
}

/// A value with where it stands.
pub struct Found<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<'t> Section<'t> {
    /// The whole file.
    pub fn root(table: &'t DeTable<'t>, source: &'t Source, sink: &'t Sink) -> Self {
        Self {
            title: "the file".into(),
            table: Some(table),
            span: 0..0,
            source,
            sink,
            asked: RefCell::default(),
            trail: Trail::default(),
        }
    }

    /// Where the table begins.
    pub fn place(&self) -> Place {
        self.source.place(&self.span)
    }

    /// Where a key's value stands; where the table begins when it is not there.
    pub fn place_of(&self, key: &'static str) -> Place {
        self.find(key).map_or_else(|| self.place(), |found| self.source.place(&found.span()))
    }

    /// Says what is wrong at a place.
    pub fn fault(&self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.sink.put(place, message, help);
    }

    /// A table in this one; an empty one when it is not there.
    pub fn section(&self, key: &'static str) -> Section<'t> {
        self.try_section(key).unwrap_or_else(|| self.child(key, format!("[{key}]"), None, self.span.clone()))
    }

    /// A table in this one, if it is there.
    pub fn try_section(&self, key: &'static str) -> Option<Section<'t>> {
        self.note_table(key, false);
        let found = self.find(key)?;
        match found.get_ref() {
            DeValue::Table(table) => Some(self.child(key, format!("[{key}]"), Some(table), found.span())),
            _ => {
                let place = self.source.place(&found.span());
                self.fault(
                    place,
                    format!("`{key}` is a table"),
                    format!("write `[{key}]` on a line of its own"),
                );
                None
            }
        }
    }

    /// The tables of a list: `[[key]]`.
    pub fn sections(&self, key: &'static str) -> Vec<Section<'t>> {
        self.note_table(key, true);
        let Some(found) = self.find(key) else { return Vec::new() };
        let tables = found.get_ref().as_array().map(|items| items.iter()).into_iter().flatten();
        let sections: Option<Vec<_>> = tables
            .map(|item| {
                let table = item.get_ref().as_table()?;
                Some(self.child(key, format!("[[{key}]]"), Some(table), item.span()))
            })
            .collect();
        match sections {
            Some(sections) if found.get_ref().is_array() => sections,
            _ => {
                let place = self.source.place(&found.span());
                self.fault(
                    place,
                    format!("`{key}` is a list of tables"),
                    format!("write `[[{key}]]` above each"),
                );
                Vec::new()
            }
        }
    }

    /// A key's value.
    pub fn take<T: Element>(&self, key: &'static str) -> Option<Found<T>> {
        self.note_value::<T>(key);
        let found = self.find(key)?;
        let place = self.source.place(&found.span());
        match T::read(found.get_ref()) {
            Ok(value) => Some(Found { value, place }),
            Err(wrong) => {
                self.fault(place, format!("`{key}` in {} {}", self.title, wrong.0), "");
                None
            }
        }
    }

    /// A key's value, if it is there.
    pub fn optional<T: Element>(&self, key: &'static str) -> Option<T> {
        self.take(key).map(|found| found.value)
    }

    /// A key's value, or what holds without it.
    pub fn or<T: Element>(&self, key: &'static str, default: T) -> T {
        self.note_default(key, &default);
        self.optional(key).unwrap_or(default)
    }

    /// A key's value within bounds, or what holds without it.
    pub fn within<T: Element + PartialOrd>(
        &self,
        key: &'static str,
        default: T,
        bounds: RangeInclusive<T>,
    ) -> T {
        self.note_default(key, &default);
        self.bounded(key, bounds).map_or(default, |found| found.value)
    }

    /// A key's value within bounds, if it is there.
    pub fn bounded<T: Element + PartialOrd>(
        &self,
        key: &'static str,
        bounds: RangeInclusive<T>,
    ) -> Option<Found<T>> {
        self.note_bounds(key, &bounds);
        let found = self.take::<T>(key)?;
        if bounds.contains(&found.value) {
            return Some(found);
        }
        let (low, high) = (bounds.start().show(), bounds.end().show());
        let message = format!("`{key}` in {} is {}", self.title, found.value.show());
        self.fault(found.place, message, format!("it must be between {low} and {high}"));
        None
    }

    /// A count of at least one and at most `most`, if it is there.
    pub fn count(&self, key: &'static str, most: u32) -> Option<u64> {
        let there = self.has(key);
        let found = self.bounded::<u32>(key, 1..=most);
        there.then(|| found.map_or(most, |found| found.value).into())
    }

    /// A key's value; that it is missing is a fault.
    pub fn required<T: Element>(&self, key: &'static str) -> Option<T> {
        self.required_at(key).map(|found| found.value)
    }

    /// A key's value with its place; that it is missing is a fault.
    pub fn required_at<T: Element>(&self, key: &'static str) -> Option<Found<T>> {
        self.note_required(key);
        if self.find(key).is_none() {
            let message = format!("`{key}` is missing in {}", self.title);
            self.fault(self.place(), message, format!("`{key}` must be {}", T::SHAPE));
        }
        self.take(key)
    }

    /// A required path, as [`Self::path`].
    pub fn required_path(&self, key: &'static str) -> Option<PathBuf> {
        self.required_at(key).and_then(|found| self.resolve(found))
    }

    /// A path: relative ones start from the file's folder, `credential:NAME` is what systemd handed over.
    pub fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.take(key).and_then(|found| self.resolve(found))
    }

    /// Several such paths.
    pub fn paths(&self, key: &'static str) -> Vec<PathBuf> {
        let Some(found) = self.take::<Vec<PathBuf>>(key) else { return Vec::new() };
        let each = |value| self.resolve(Found { value, place: found.place.clone() });
        found.value.into_iter().filter_map(each).collect()
    }

    /// Texts by names that the operator chooses, such as groups.
    pub fn named_texts(&self) -> Vec<(String, Found<Vec<String>>)> {
        self.note_names();
        let mut texts = Vec::new();
        for (name, value) in self.table.into_iter().flat_map(|table| table.iter()) {
            let place = self.source.place(&name.span());
            match Vec::<String>::read(value.get_ref()) {
                Ok(value) => texts.push((name.get_ref().to_string(), Found { value, place })),
                Err(wrong) => {
                    self.fault(place, format!("`{}` in {} {}", name.get_ref(), self.title, wrong.0), "")
                }
            }
        }
        texts
    }

    /// A path next to the file.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.source.folder().join(name)
    }

    /// Whether the key is there, whatever its value.
    pub fn has(&self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// Ends the reading: see [`Self::report_unknown`].
    pub fn finish(self) {
        self.report_unknown();
    }

    /// Every key that nobody asked for is a fault that proposes the nearest known one.
    pub fn report_unknown(&self) {
        for name in self.table.into_iter().flat_map(|table| table.keys()) {
            let key = name.get_ref().as_ref();
            let asked = self.asked.borrow();
            if !asked.contains(&key) {
                let place = self.source.place(&name.span());
                self.sink.put(place, format!("unknown key `{key}` in {}", self.title), proposal(key, &asked));
            }
        }
    }

    /// Writes something down about a key, where the sink keeps a record.
    pub(crate) fn note(&self, key: &'static str, tell: impl FnOnce(&mut Key)) {
        self.sink.note(&self.trail, key, tell);
    }

    fn child(
        &self,
        key: &'static str,
        title: String,
        table: Option<&'t DeTable<'t>>,
        span: Range<usize>,
    ) -> Section<'t> {
        let (source, sink) = (self.source, self.sink);
        let trail = self.trail.child(key);
        Section { title, table, span, source, sink, asked: RefCell::default(), trail }
    }

    fn find(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.table?.get(key)
    }

    fn resolve(&self, found: Found<PathBuf>) -> Option<PathBuf> {
        let Some(name) = found.value.to_str().and_then(|text| text.strip_prefix(CREDENTIAL)) else {
            return Some(self.source.folder().join(found.value));
        };
        if name.is_empty() || name.contains('/') || name == ".." {
            self.fault(found.place, format!("`{name}` is not a credential's name"), "it has no `/` in it");
            return None;
        }
        match std::env::var_os(CREDENTIALS) {
            Some(folder) => Some(Path::new(&folder).join(name)),
            None => {
                let help = format!(
                    "start it with systemd and `LoadCredential={name}:/path`, set {CREDENTIALS}, or write a path"
                );
                self.fault(
                    found.place,
                    format!("there is no credential `{name}`: {CREDENTIALS} is not set"),
                    help,
                );
                None
            }
        }
    }
}

/// The way out of an unknown key.
pub fn proposal(key: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (strsim::damerau_levenshtein(key, name), *name)).min();
    let close = key.chars().count().div_ceil(3);
    match nearest {
        Some((distance, name)) if distance <= close => format!("did you mean `{name}`?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_keys_are_proposed_and_far_ones_listed() {
        let known = ["address", "certificate", "key"];
        assert_eq!(proposal("adress", &known), "did you mean `address`?");
        assert_eq!(proposal("certifcate", &known), "did you mean `certificate`?");
        assert_eq!(proposal("kye", &known), "did you mean `key`?");
        assert_eq!(proposal("zzzzzz", &known), "known here: address, certificate, key");
    }
}
