//! How domain types are written down in the ledger and in records: JSON, with names and identifiers as text.
//!
//! Durable forms are JSON because they must outlive versions of this program: fields are added with defaults and
//! never change their meaning.

/// Implements `Serialize` through `as_str` and `Deserialize` through `FromStr`, so that a type is parsed and never just
/// filled in.
macro_rules! serde_as_text {
    ($($type:ty),+ $(,)?) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        crate::codec::parsed_from_text!($type);
    )+};
}
pub(crate) use serde_as_text;

/// Implements `Deserialize` through `FromStr`.
macro_rules! parsed_from_text {
    ($($type:ty),+ $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use parsed_from_text;
