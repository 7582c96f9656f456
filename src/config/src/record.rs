//! What readers ask of a configuration, written down while they read: of that the references are made, so that they cannot
//! say anything else than the code. Only with the feature `record`, which no program has: without it nothing of this is
//! left.

#[cfg(feature = "record")]
use std::{cell::RefCell, rc::Rc};
use std::{fmt, ops::RangeInclusive};

use crate::{
    element::{Element, Form},
    section::Section,
};

/// A key that was asked for, with everything that its readers said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// The table that it is in, with dots, such as `ledger.archive`; empty for the file itself.
    pub table: String,
    /// Its name; `*` for names that the operator chooses.
    pub name: &'static str,
    /// What is there.
    pub what: What,
    /// Whether it must be there.
    pub required: bool,
    /// What holds without it, as people write it.
    pub default: Option<String>,
    /// The least and the most, as people write them.
    pub bounds: Option<[String; 2]>,
    /// The texts that are taken, when those are only a few.
    pub one_of: Vec<String>,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A value: what it is in TOML, and what a good one looks like.
    Value(Form, &'static str),
    /// A table.
    Table,
    /// A list of tables.
    Tables,
}

/// Where a section is in its file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail(#[cfg(feature = "record")] String);

/// Everything that was asked for, in that order. A clone is the same record.
#[cfg(feature = "record")]
#[derive(Clone, Debug, Default)]
pub struct Record(Rc<RefCell<Vec<Key>>>);

impl Default for What {
    fn default() -> Self {
        Self::Value(Form::Text, String::SHAPE)
    }
}

impl Trail {
    #[cfg(feature = "record")]
    pub(crate) fn child(&self, key: &str) -> Self {
        Self(if self.0.is_empty() { key.to_owned() } else { format!("{}.{key}", self.0) })
    }

    #[cfg(not(feature = "record"))]
    pub(crate) const fn child(&self, _: &str) -> Self {
        Self()
    }
}

#[cfg(feature = "record")]
impl Record {
    /// The keys.
    pub fn keys(&self) -> Vec<Key> {
        self.0.borrow().clone()
    }

    pub(crate) fn note(&self, trail: &Trail, name: &'static str, tell: impl FnOnce(&mut Key)) {
        let mut keys = self.0.borrow_mut();
        let known = keys.iter_mut().find(|key| key.table == trail.0 && key.name == name);
        if let Some(key) = known {
            return tell(key);
        }
        let mut key = Key { table: trail.0.clone(), name, ..Key::default() };
        tell(&mut key);
        keys.push(key);
    }
}

impl Section<'_> {
    /// Says what holds when a key is not there, for a reader that sees to it by itself.
    pub fn otherwise(&self, key: &'static str, default: &impl Element) {
        self.note(key, |key| key.default = Some(default.show()));
    }

    /// Says which texts a key takes, for a reader that looks at them by itself.
    pub fn one_of<T: fmt::Display>(&self, key: &'static str, names: impl IntoIterator<Item = T>) {
        self.note(key, |key| key.one_of = names.into_iter().map(|name| name.to_string()).collect());
    }

    pub(crate) fn note_value<T: Element>(&self, key: &'static str) {
        self.note(key, |key| key.what = What::Value(T::FORM, T::SHAPE));
    }

    pub(crate) fn note_table(&self, key: &'static str, several: bool) {
        self.note(key, |key| key.what = if several { What::Tables } else { What::Table });
    }

    pub(crate) fn note_names(&self) {
        self.note("*", |key| key.what = What::Value(Form::Texts, String::SHAPE));
    }

    pub(crate) fn note_required(&self, key: &'static str) {
        self.note(key, |key| key.required = true);
    }

    pub(crate) fn note_default(&self, key: &'static str, default: &impl Element) {
        self.note(key, |key| key.default = Some(default.show()));
    }

    pub(crate) fn note_bounds<T: Element>(&self, key: &'static str, bounds: &RangeInclusive<T>) {
        self.note(key, |key| key.bounds = Some([bounds.start().show(), bounds.end().show()]));
    }
}

#[cfg(all(test, feature = "record"))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Sink, Source, table};

    #[test]
    fn what_is_asked_for_is_written_down_whether_it_is_there_or_not() {
        let record = Record::default();
        let sink = Sink::recording(&record);
        let source = Source::new("a.toml", "[[b]]\n[b.c]\nx = 'y'\n");
        let toml = table(&source, &sink).unwrap();
        let root = Section::root(toml.get_ref(), &source, &sink);
        let second = Duration::from_secs(1);
        for section in root.sections("b") {
            assert_eq!(section.within("time", second * 5, second..=second * 60), second * 5);
            assert!(section.required::<u32>("number").is_none());
            assert_eq!(section.section("c").named_texts().len(), 1);
        }
        let keys = record.keys();
        let names: Vec<_> = keys.iter().map(|key| format!("{}/{}", key.table, key.name)).collect();
        assert_eq!(names, ["/b", "b/time", "b/number", "b/c", "b.c/*"]);
        assert_eq!(keys[0].what, What::Tables);
        assert_eq!(keys[1].what, What::Value(Form::Text, Duration::SHAPE));
        assert_eq!(keys[1].default.as_deref(), Some("5s"));
        assert_eq!(keys[1].bounds, Some(["1s".to_owned(), "1m".to_owned()]));
        assert!(keys[2].required && !keys[1].required);
        assert_eq!(keys[3].what, What::Table);
    }
}
