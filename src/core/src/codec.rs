//! How domain types are written down in the ledger and in records: JSON, with names and identifiers as text.
//!
//! Durable forms are JSON because they must outlive versions of this program: fields are added with defaults and
//! never change their meaning.

/// Implements `Serialize` and `Deserialize` through `Display` and `FromStr`, so that a type is parsed and never just filled in.
macro_rules! serde_as_text {
    ($($type:ty),+ $(,)?) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use serde_as_text;
