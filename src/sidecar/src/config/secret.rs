//! `[[secret]]`: what is leased, and what the rest of the file calls it.

use std::{collections::BTreeSet, time::Duration};

use leasehold_config::Section;
use leasehold_core::{SecretPath, secret::FieldName};

use crate::name::Name;

/// One secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// What the rest of the file calls it.
    pub name: Name,
    /// What the broker calls it.
    pub path: SecretPath,
    /// How long each lease is asked for; the secret's default when absent.
    pub ttl: Option<Duration>,
    /// The fields wanted; empty means all.
    pub fields: Vec<FieldName>,
}

/// No broker lends for less, and none for longer.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

pub(super) fn read_all(root: &Section<'_>) -> Option<Vec<Secret>> {
    let sections = root.sections("secret");
    if sections.is_empty() && !root.has("secret") {
        let help = "write `[[secret]]` with a `name` and a `path`";
        root.fault(root.place(), "there is no [[secret]]: nothing is to be leased", help);
    }
    let mut names = BTreeSet::new();
    let read: Vec<_> = sections.into_iter().map(|section| self::read(section, &mut names)).collect();
    read.into_iter().collect()
}

fn read(section: Section<'_>, names: &mut BTreeSet<Name>) -> Option<Secret> {
    let name = section.required_at::<Name>("name");
    if let Some(found) = &name
        && !names.insert(found.value.clone())
    {
        let message = format!("there is more than one [[secret]] of the name `{}`", found.value);
        section.fault(found.place.clone(), message, "give each its own");
    }
    let path = section.required("path");
    let ttl = section.bounded("ttl", SHORTEST..=LONGEST).map(|found| found.value);
    let fields = section.or("fields", Vec::new());
    section.finish();
    Some(Secret { name: name?.value, path: path?, ttl, fields })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    #[test]
    fn each_has_a_name_of_its_own() {
        let db = "[[secret]]\nname = 'db'\npath = 'prod/db'\nttl = '15m'\nfields = ['password']\n";
        let secret = config(db).unwrap().secrets.remove(0);
        assert_eq!((secret.ttl, secret.fields.len()), (Some(Duration::from_secs(900)), 1));
        let faults = config(&format!("{db}\n{db}")).unwrap_err().to_string();
        assert!(faults.contains("more than one [[secret]] of the name `db`"), "{faults}");
        assert!(config("").unwrap_err().to_string().contains("nothing is to be leased"));
    }
}
