//! The form of what is kept, before it is sealed.

use leasehold_core::{
    LeaseId, SecretBytes, SecretPath, SecretValue, Timestamp,
    secret::{FieldName, VersionId},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::age::Moment;
use crate::name::Name;

/// Everything that is kept.
#[derive(Debug)]
pub struct Contents {
    /// When it was written.
    pub written: Moment,
    /// The secrets.
    pub entries: Vec<Entry>,
}

/// One secret with its lease.
#[derive(Debug)]
pub struct Entry {
    /// Its name in the configuration.
    pub name: Name,
    /// The secret.
    pub path: SecretPath,
    /// The fields that were asked for; empty means all.
    pub fields: Vec<FieldName>,
    /// The lease.
    pub lease: LeaseId,
    /// The version.
    pub version: Option<VersionId>,
    /// When the lease ends unless it is renewed.
    pub expires_at: Timestamp,
    /// The value.
    pub value: SecretValue,
}

/// Which form it is.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    form: u32,
    written: Moment,
    secrets: Vec<StoredEntry>,
}

#[derive(Serialize, Deserialize)]
struct StoredEntry {
    name: String,
    path: SecretPath,
    #[serde(default)]
    fields: Vec<FieldName>,
    lease: LeaseId,
    #[serde(default)]
    version: Option<VersionId>,
    expires_at: Timestamp,
    /// The value's own durable form.
    value: String,
}

impl Drop for StoredEntry {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

/// The text of it, in clear: for sealing only.
pub fn encode(contents: &Contents) -> Option<SecretBytes> {
    let secrets = contents.entries.iter().map(|entry| {
        let value = entry.value.encode().ok()?.into_exposed();
        Some(StoredEntry {
            name: entry.name.to_string(),
            path: entry.path.clone(),
            fields: entry.fields.clone(),
            lease: entry.lease,
            version: entry.version.clone(),
            expires_at: entry.expires_at,
            value: String::from_utf8(value).ok()?,
        })
    });
    let stored =
        Stored { form: FORM, written: contents.written.clone(), secrets: secrets.collect::<Option<_>>()? };
    serde_json::to_vec(&stored).ok().map(SecretBytes::new)
}

/// What such a text says; `None` when it is none of this form.
pub fn decode(text: &SecretBytes) -> Option<Contents> {
    let stored: Stored = serde_json::from_slice(text.expose()).ok()?;
    let entries = stored.secrets.into_iter().map(|mut entry| {
        let value = SecretBytes::from(std::mem::take(&mut entry.value));
        Some(Entry {
            name: entry.name.parse().ok()?,
            path: entry.path.clone(),
            fields: std::mem::take(&mut entry.fields),
            lease: entry.lease,
            version: entry.version.take(),
            expires_at: entry.expires_at,
            value: SecretValue::decode(&value).ok()?,
        })
    });
    let entries = entries.collect::<Option<_>>()?;
    (stored.form == FORM).then_some(Contents { written: stored.written, entries })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn contents() -> Contents {
        let entry = Entry {
            name: "db".parse().unwrap(),
            path: "prod/db".parse().unwrap(),
            fields: vec!["value".parse().unwrap()],
            lease: LeaseId::from_bits([7; 16]),
            version: Some("v1".parse().unwrap()),
            expires_at: Timestamp::from_second(100).unwrap(),
            value: SecretValue::plain(vec![0, 255, b'"']),
        };
        let written =
            Moment { time: Timestamp::UNIX_EPOCH, boot: "b".to_owned(), up: Duration::from_secs(1) };
        Contents { written, entries: vec![entry] }
    }

    #[test]
    fn what_was_kept_comes_back() {
        let again = decode(&encode(&contents()).unwrap()).unwrap();
        assert_eq!(again.written, contents().written);
        let (one, two) = (&again.entries[0], &contents().entries[0]);
        assert_eq!((&one.name, &one.path, &one.fields), (&two.name, &two.path, &two.fields));
        assert_eq!((one.lease, &one.version, one.expires_at), (two.lease, &two.version, two.expires_at));
        let field = &one.value.fields[&FieldName::value()];
        assert_eq!(field.expose(), [0, 255, b'"']);
        assert!(!format!("{again:?}").contains("255"));
    }

    #[test]
    fn another_form_is_none() {
        let text = encode(&contents()).unwrap();
        let text = String::from_utf8(text.into_exposed()).unwrap();
        for (from, to) in
            [("\"form\":1", "\"form\":2"), ("prod/db", "prod"), ("\"db\"", "\"a/b\""), ("content_type", "x")]
        {
            assert!(text.contains(from));
            assert!(decode(&text.replace(from, to).into()).is_none(), "{from} as {to}");
        }
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(text: Vec<u8>) {
            let _ = decode(&text.into());
        }
    }
}
