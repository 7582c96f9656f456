//! A value's durable form, for the one place outside its back end that keeps one for a while.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{FieldName, SecretBytes, SecretValue};

/// A stored value that cannot be read back. What was stored is not told: it is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the stored value cannot be read")]
pub struct Unreadable;

#[derive(Serialize, Deserialize)]
struct Stored {
    content_type: Box<str>,
    /// In base64.
    fields: BTreeMap<FieldName, String>,
}

impl SecretValue {
    /// Its durable form. It holds the value in clear: only for the ledger, which seals it.
    ///
    /// # Errors
    /// Never in practice; the encoder's type says that it could.
    pub fn encode(&self) -> Result<SecretBytes, Unreadable> {
        let text = |bytes: &SecretBytes| data_encoding::BASE64.encode(bytes.expose());
        let fields = self.fields.iter().map(|(name, bytes)| (name.clone(), text(bytes))).collect();
        let stored = Stored { content_type: self.content_type.clone(), fields };
        serde_json::to_vec(&stored).map(SecretBytes::new).map_err(|_| Unreadable)
    }

    /// A value from its durable form.
    ///
    /// # Errors
    /// When it is not one.
    pub fn decode(bytes: &SecretBytes) -> Result<Self, Unreadable> {
        let stored: Stored = serde_json::from_slice(bytes.expose()).map_err(|_| Unreadable)?;
        let fields = stored.fields.into_iter().map(|(name, text)| {
            let bytes = data_encoding::BASE64.decode(text.as_bytes()).map_err(|_| Unreadable)?;
            Ok((name, SecretBytes::new(bytes)))
        });
        Ok(Self { fields: fields.collect::<Result<_, _>>()?, content_type: stored.content_type })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_comes_back() {
        let field = |name: &str, bytes: &[u8]| (name.parse().unwrap(), SecretBytes::new(bytes.to_vec()));
        let fields = BTreeMap::from([field("user", b"lh-1"), field("key", &[0, 255, 10])]);
        let value = SecretValue { fields, content_type: SecretValue::TEXT.into() };
        let again = SecretValue::decode(&value.encode().unwrap()).unwrap();
        assert_eq!(again.content_type, value.content_type);
        let exposed = |value: &SecretValue| -> Vec<_> {
            value.fields.iter().map(|(name, bytes)| (name.clone(), bytes.expose().to_vec())).collect()
        };
        assert_eq!(exposed(&again), exposed(&value));
    }

    #[test]
    fn what_is_no_value_is_said_without_its_text() {
        let unreadable = SecretValue::decode(&SecretBytes::from("canary-7b1e".to_owned())).unwrap_err();
        assert!(!format!("{unreadable} {unreadable:?}").contains("canary"));
    }
}
