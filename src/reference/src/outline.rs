//! What people write of a reference: which tables there are in which order, what each key means, and texts to be read so
//! that every key of them is asked for. Everything else of a key comes from its reader.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The file that is written by people.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outline {
    /// The page's heading.
    pub(crate) title: String,
    /// What is said before the first table.
    pub(crate) about: String,
    /// What is said after that on the page, and not in the manual.
    pub(crate) of_page: String,
    /// What is read for tables that name nothing of their own.
    #[serde(default)]
    pub(crate) probe: Vec<Probe>,
    /// Tables that have the keys of another one, by their names.
    #[serde(default)]
    pub(crate) same: BTreeMap<String, String>,
    /// The tables.
    pub(crate) part: Vec<Part>,
}

/// One table, or what a table has under a condition.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// The table, with dots; empty for the file itself.
    pub(crate) table: String,
    /// Which of several forms of the table this is, such as `kind = "aws"`. What they have in common is in the part without.
    pub(crate) with: Option<String>,
    /// Whether the table has several forms, which have parts of their own: this one is what all of them have.
    #[serde(default)]
    pub(crate) has_forms: bool,
    /// A table that is told before, whose keys this one has as well: only what differs is told.
    pub(crate) like: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub(crate) about: String,
    /// What is read to learn its keys.
    #[serde(default)]
    pub(crate) probe: Vec<Probe>,
    /// What each key means.
    #[serde(default)]
    pub(crate) keys: BTreeMap<String, String>,
}

/// A text that is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    /// What makes it special, such as `auth = "token"`, when not every probe of the part asks for the same.
    pub(crate) with: Option<String>,
    /// The text.
    pub(crate) text: String,
}
