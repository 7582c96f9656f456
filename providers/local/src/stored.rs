//! What is inside a version's file, once opened: JSON, so that a later form can be told from this one.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use leasehold_core::{SecretBytes, SecretValue, Timestamp, ports::ValueMac, secret::FieldName};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::reference::{Reference, Version};

/// One version.
pub(crate) struct Stored {
    /// When it was written.
    pub(crate) created_at: Timestamp,
    /// The token of the write that made it.
    pub(crate) token: Box<str>,
    /// Its value.
    pub(crate) value: SecretValue,
    /// Whether it was written to wait until it is promoted.
    pub(crate) pending: bool,
}

/// The form in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    created_at: Timestamp,
    token: Box<str>,
    content_type: Box<str>,
    fields: BTreeMap<FieldName, Encoded>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pending: bool,
}

/// A field in base64 (RFC 4648), wiped like the field itself.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
struct Encoded(String);

impl Stored {
    /// The bytes to seal; `None` when they cannot be written.
    pub(crate) fn encode(&self) -> Option<SecretBytes> {
        let fields = self.value.fields.iter();
        let form = Form {
            created_at: self.created_at,
            token: self.token.clone(),
            content_type: self.value.content_type.clone(),
            fields: fields
                .map(|(name, bytes)| (name.clone(), Encoded(BASE64.encode(bytes.expose()))))
                .collect(),
            pending: self.pending,
        };
        serde_json::to_vec(&form).ok().map(SecretBytes::new)
    }

    /// Reads what was sealed; `None` when it is not what this version of the broker writes.
    pub(crate) fn decode(plain: &SecretBytes) -> Option<Self> {
        let form: Form = serde_json::from_slice(plain.expose()).ok()?;
        let fields: Option<_> = form
            .fields
            .into_iter()
            .map(|(name, text)| Some((name, SecretBytes::new(BASE64.decode(text.0.as_bytes()).ok()?))))
            .collect();
        let value = SecretValue { fields: fields?, content_type: form.content_type };
        Some(Self { created_at: form.created_at, token: form.token, value, pending: form.pending })
    }

    /// Whether this is what `value` would be: compared by keyed tags, so that timing tells nothing.
    pub(crate) fn holds(&self, value: &SecretValue, mac: &dyn ValueMac) -> bool {
        self.value.content_type == value.content_type
            && self.value.fields.len() == value.fields.len()
            && self.value.fields.iter().zip(&value.fields).all(|((my_name, mine), (name, bytes))| {
                my_name == name && mac.tag(mine.expose()) == mac.tag(bytes.expose())
            })
    }
}

/// What a version is sealed for: put in another secret's or version's place it does not open.
pub(crate) fn context(reference: &Reference, version: &Version) -> Vec<u8> {
    format!("leasehold-local/1\0{}\0{version}", reference.as_str()).into_bytes()
}
