//! A secret's value as KV holds it, a JSON object, and as the broker lends it, named fields.
//!
//! JSON has no bytes. A field that is not text is held in base64 (RFC 4648, section 4) under its name and `:base64`,
//! which no field's name ends with.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use leasehold_core::{
    SecretBytes, SecretValue,
    provider::{ErrorClass, ProviderError},
    secret::{
        FieldName,
        json::{self, Body, Format},
    },
};
use serde_json::value::RawValue;

/// The most that is written, in bytes of JSON: what the smallest of Vault's usual storages holds in one entry.
pub(crate) const MAX_BYTES: usize = 512 * 1024;

const BYTES: &str = ":base64";

/// The fields of an object.
pub(crate) fn decode(object: &RawValue, format: Format) -> SecretValue {
    if format == Format::Fields
        && let Some(fields) = with_bytes(object)
    {
        return SecretValue { fields, content_type: SecretValue::OCTETS.into() };
    }
    json::decode(Body::Text(object.get().to_owned().into()), format)
}

/// The fields of an object of which some are bytes.
fn with_bytes(object: &RawValue) -> Option<BTreeMap<FieldName, SecretBytes>> {
    if !object.get().contains(BYTES) {
        return None;
    }
    let object: BTreeMap<String, &RawValue> = serde_json::from_str(object.get()).ok()?;
    let mut some = false;
    let fields: Option<BTreeMap<FieldName, SecretBytes>> = object
        .into_iter()
        .map(|(key, raw)| {
            let text = serde_json::from_str::<String>(raw.get());
            if let Some(name) = key.strip_suffix(BYTES) {
                some = true;
                return Some((name.parse().ok()?, BASE64.decode(text.ok()?.as_bytes()).ok()?.into()));
            }
            Some((key.parse().ok()?, text.unwrap_or_else(|_| raw.get().to_owned()).into()))
        })
        .collect();
    fields.filter(|_| some)
}

/// The object that KV is to hold so that [`decode`] gives the same fields again. JSON that is an object is written as it
/// is: its fields are its own.
///
/// # Errors
/// [`ErrorClass::Invalid`] when it is too large, or cannot be held.
pub(crate) fn encode(value: &SecretValue) -> Result<SecretBytes, ProviderError> {
    let invalid = |why: String| ProviderError::new(ErrorClass::Invalid, why);
    let only = value.fields.get(&FieldName::value()).filter(|_| value.fields.len() == 1);
    let object = match only {
        Some(text) if &*value.content_type == json::MEDIA_TYPE => {
            match serde_json::from_slice::<BTreeMap<String, &RawValue>>(text.expose()) {
                Ok(_) => text.clone(),
                Err(_) => json::object(value).map_err(|why| invalid(why.to_string()))?,
            }
        }
        _ => with_suffixes(value)
            .map_or_else(|| json::object(value).map_err(|why| invalid(why.to_string())), Ok)?,
    };
    if object.len() > MAX_BYTES {
        return Err(invalid(format!(
            "the value is larger than the {MAX_BYTES} bytes that the broker writes to KV"
        )));
    }
    Ok(object)
}

/// The object, when a field is not text or the value is said to be bytes.
fn with_suffixes(value: &SecretValue) -> Option<SecretBytes> {
    let all = &*value.content_type == SecretValue::OCTETS;
    if !all && value.fields.values().all(|bytes| str::from_utf8(bytes.expose()).is_ok()) {
        return None;
    }
    let object: BTreeMap<String, String> = value
        .fields
        .iter()
        .map(|(name, bytes)| match str::from_utf8(bytes.expose()) {
            Ok(text) if !all => (name.to_string(), text.to_owned()),
            _ => (format!("{name}{BYTES}"), BASE64.encode(bytes.expose())),
        })
        .collect();
    serde_json::to_vec(&object).ok().map(SecretBytes::new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(value: &SecretValue) -> Vec<(String, Vec<u8>)> {
        value.fields.iter().map(|(name, bytes)| (name.to_string(), bytes.expose().to_vec())).collect()
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn again(value: &SecretValue) -> SecretValue {
        let object = encode(value).unwrap();
        decode(&raw(str::from_utf8(object.expose()).unwrap()), Format::Fields)
    }

    #[test]
    fn an_object_is_its_fields_to_the_digit() {
        let value = decode(&raw(r#"{"port":5432.10,"user":"a"}"#), Format::Fields);
        assert_eq!(shown(&value), [("port".into(), b"5432.10".to_vec()), ("user".into(), b"a".to_vec())]);
        let whole = decode(&raw(r#"{"a b":"c"}"#), Format::Fields);
        assert_eq!(shown(&whole), [("value".into(), br#"{"a b":"c"}"#.to_vec())]);
        let asked = decode(&raw(r#"{"a":"b"}"#), Format::Raw);
        assert_eq!(shown(&asked), [("value".into(), br#"{"a":"b"}"#.to_vec())]);
        // Somebody else's key that only looks like ours.
        let odd = decode(&raw(r#"{"a:base64":"not base64!"}"#), Format::Fields);
        assert_eq!(shown(&odd), [("value".into(), br#"{"a:base64":"not base64!"}"#.to_vec())]);
    }

    #[test]
    fn json_is_written_as_it_is_and_what_is_too_large_is_not() {
        let json = |text: &str| SecretValue {
            content_type: json::MEDIA_TYPE.into(),
            ..SecretValue::plain(text.to_owned())
        };
        assert_eq!(encode(&json(r#"{"n":1.50}"#)).unwrap().expose(), br#"{"n":1.50}"#);
        assert_eq!(encode(&json("[1]")).unwrap().expose(), br#"{"value":"[1]"}"#);
        let huge = SecretValue::plain("x".repeat(MAX_BYTES));
        assert_eq!(encode(&huge).unwrap_err().class, ErrorClass::Invalid);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            fields in prop::collection::btree_map(
                "[a-z]{1,3}|value", prop::collection::vec(any::<u8>(), 0..12), 1..4),
            octets in any::<bool>(),
        ) {
            let fields: BTreeMap<FieldName, SecretBytes> =
                fields.into_iter().map(|(k, v)| (k.parse().unwrap(), v.into())).collect();
            let content_type = if octets { SecretValue::OCTETS } else { SecretValue::TEXT };
            let value = SecretValue { fields, content_type: content_type.into() };
            let again = again(&value);
            prop_assert_eq!(shown(&again), shown(&value));
            prop_assert!(!octets || &*again.content_type == SecretValue::OCTETS);
        }

        #[test]
        fn text_is_written_as_text(text in "\\PC{0,20}") {
            let value = SecretValue::plain(text.clone());
            let object = encode(&value).unwrap();
            let expected = serde_json::json!({ "value": text }).to_string();
            prop_assert_eq!(object.expose(), expected.as_bytes());
            prop_assert_eq!(shown(&again(&value)), shown(&value));
        }
    }
}
