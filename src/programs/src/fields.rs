//! How programs are given the fields of a secret.

use data_encoding::BASE64;
use leasehold_core::SecretValue;
use serde::{
    Serialize,
    ser::{SerializeMap, Serializer},
};
use zeroize::Zeroizing;

/// A value's fields as JSON: text as it is, other bytes as an object with their base64.
#[derive(Debug)]
pub struct Fields<'a>(pub &'a SecretValue);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Bytes<'b> {
            base64: &'b str,
        }
        let mut map = serializer.serialize_map(Some(self.0.fields.len()))?;
        for (name, bytes) in &self.0.fields {
            match std::str::from_utf8(bytes.expose()) {
                Ok(text) => map.serialize_entry(name.as_str(), text)?,
                Err(_) => {
                    let base64 = Zeroizing::new(BASE64.encode(bytes.expose()));
                    map.serialize_entry(name.as_str(), &Bytes { base64: &base64 })?;
                }
            }
        }
        map.end()
    }
}
