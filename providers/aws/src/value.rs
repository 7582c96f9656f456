//! A secret's value as AWS holds it, one text or one run of bytes, and as the broker lends it, named fields.

use std::collections::BTreeMap;

use leasehold_core::{
    SecretBytes, SecretValue,
    provider::{ErrorClass, ProviderError},
    secret::FieldName,
};
use serde_json::value::RawValue;

use crate::reference::Format;

/// What AWS holds.
pub(crate) enum Body {
    /// `SecretString`.
    Text(SecretBytes),
    /// `SecretBinary`.
    Binary(SecretBytes),
}

/// The most that AWS takes, in bytes (`PutSecretValue`, quotas of Secrets Manager).
pub(crate) const MAX_BYTES: usize = 65_536;

const JSON: &str = "application/json";

/// The fields of what AWS holds.
pub(crate) fn decode(body: Body, format: Format) -> SecretValue {
    match body {
        Body::Binary(bytes) => SecretValue {
            fields: BTreeMap::from([(FieldName::value(), bytes)]),
            content_type: SecretValue::OCTETS.into(),
        },
        Body::Text(text) => match split(&text) {
            Split::NoObject => SecretValue::plain(text),
            Split::Fields(fields) if format == Format::Fields => {
                SecretValue { fields, content_type: SecretValue::TEXT.into() }
            }
            Split::Fields(_) | Split::Other => SecretValue {
                fields: BTreeMap::from([(FieldName::value(), text)]),
                content_type: JSON.into(),
            },
        },
    }
}

/// What AWS is to hold so that [`decode`] gives the same fields again. JSON is written as it is: its fields are its own.
///
/// # Errors
/// [`ErrorClass::Invalid`] when AWS cannot hold it.
pub(crate) fn encode(value: &SecretValue) -> Result<Body, ProviderError> {
    let invalid = |why: &str| Err(ProviderError::new(ErrorClass::Invalid, why));
    let only = match value.fields.get(&FieldName::value()) {
        Some(bytes) if value.fields.len() == 1 => Some(bytes),
        _ => None,
    };
    let body = match only {
        Some(bytes) if &*value.content_type == JSON => {
            if str::from_utf8(bytes.expose()).is_err() {
                return invalid("the value is said to be JSON but is not UTF-8");
            }
            Body::Text(bytes.clone())
        }
        Some(bytes)
            if str::from_utf8(bytes.expose()).is_err() || &*value.content_type == SecretValue::OCTETS =>
        {
            Body::Binary(bytes.clone())
        }
        Some(bytes) if !bytes.is_empty() && matches!(split(bytes), Split::NoObject) => {
            Body::Text(bytes.clone())
        }
        _ => Body::Text(object(value)?),
    };
    let (Body::Text(bytes) | Body::Binary(bytes)) = &body;
    match bytes.len() {
        0 => invalid("AWS holds no empty binary value"),
        1..=MAX_BYTES => Ok(body),
        _ => invalid("the value is larger than the 65536 bytes that AWS holds"),
    }
}

enum Split {
    /// Not a JSON object.
    NoObject,
    /// An object whose keys are all field names.
    Fields(BTreeMap<FieldName, SecretBytes>),
    /// An object that is empty, or has a key that is no field name.
    Other,
}

/// Takes a JSON object apart. A field that is no string is its JSON text, digit for digit.
fn split(text: &SecretBytes) -> Split {
    if text.expose().trim_ascii_start().first() != Some(&b'{') {
        return Split::NoObject;
    }
    let Ok(object) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(text.expose()) else {
        return Split::NoObject;
    };
    let fields: Option<BTreeMap<_, _>> = object
        .into_iter()
        .map(|(key, raw)| {
            let text = serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
            Some((key.parse().ok()?, SecretBytes::from(text)))
        })
        .collect();
    fields.filter(|fields| !fields.is_empty()).map_or(Split::Other, Split::Fields)
}

fn object(value: &SecretValue) -> Result<SecretBytes, ProviderError> {
    let mut fields = BTreeMap::new();
    for (name, bytes) in &value.fields {
        let Ok(text) = str::from_utf8(bytes.expose()) else {
            return Err(ProviderError::new(
                ErrorClass::Invalid,
                format!("the field `{name}` is not text: AWS holds binary only as the one field `value`"),
            ));
        };
        fields.insert(name.as_str(), text);
    }
    serde_json::to_vec(&fields)
        .map(SecretBytes::new)
        .map_err(|_| ProviderError::new(ErrorClass::Permanent, "the fields cannot be written as JSON"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(value: &SecretValue) -> Vec<(String, Vec<u8>)> {
        value.fields.iter().map(|(name, bytes)| (name.to_string(), bytes.expose().to_vec())).collect()
    }

    fn text(text: &str, format: Format) -> SecretValue {
        decode(Body::Text(text.to_owned().into()), format)
    }

    #[test]
    fn an_object_is_its_fields_to_the_digit() {
        let value = text(r#" {"user":"a\u00e9","port":5432.10,"tls":true,"hosts":["x"]}"#, Format::Fields);
        let expected = [("hosts", r#"["x"]"#), ("port", "5432.10"), ("tls", "true"), ("user", "a\u{e9}")];
        assert_eq!(shown(&value), expected.map(|(k, v)| (k.to_owned(), v.as_bytes().to_vec())));
    }

    #[test]
    fn what_has_no_fields_stays_whole() {
        for (whole, format, content_type) in [
            ("hunter2", Format::Fields, "text/plain"),
            ("{not json", Format::Fields, "text/plain"),
            (r#"["a"]"#, Format::Fields, "text/plain"),
            (r#"{"a b":"c"}"#, Format::Fields, "application/json"),
            ("{}", Format::Fields, "application/json"),
            (r#"{"a":"b"}"#, Format::Raw, "application/json"),
        ] {
            let value = text(whole, format);
            assert_eq!(shown(&value), [("value".to_owned(), whole.as_bytes().to_vec())], "{whole}");
            assert_eq!(&*value.content_type, content_type, "{whole}");
        }
    }

    #[test]
    fn what_aws_cannot_hold_is_refused() {
        let fields = |fields: &[(&str, &[u8])]| SecretValue {
            fields: fields.iter().map(|(k, v)| (k.parse().unwrap(), SecretBytes::new(v.to_vec()))).collect(),
            content_type: SecretValue::OCTETS.into(),
        };
        for bad in [
            fields(&[("a", b"x"), ("b", &[0xff])]),
            fields(&[("value", b"")]),
            fields(&[("value", &[0; MAX_BYTES + 1])]),
        ] {
            assert_eq!(encode(&bad).err().map(|error| error.class), Some(ErrorClass::Invalid), "{bad:?}");
        }
        assert!(encode(&fields(&[("value", &[0; MAX_BYTES])])).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            fields in prop::collection::btree_map("[a-z]{1,3}|value", "\\PC{0,12}|\\{\"a\":\"b\"\\}", 1..4),
        ) {
            let value = SecretValue {
                fields: fields.iter().map(|(k, v)| (k.parse().unwrap(), v.clone().into())).collect(),
                content_type: SecretValue::TEXT.into(),
            };
            let again = decode(encode(&value).unwrap(), Format::Fields);
            prop_assert_eq!(shown(&again), shown(&value));
            prop_assert_eq!(&*again.content_type, SecretValue::TEXT);
        }

        #[test]
        fn bytes_are_written_and_read_again(bytes in prop::collection::vec(any::<u8>(), 1..64)) {
            let value = SecretValue {
                fields: BTreeMap::from([(FieldName::value(), bytes.clone().into())]),
                content_type: SecretValue::OCTETS.into(),
            };
            let again = decode(encode(&value).unwrap(), Format::Fields);
            prop_assert_eq!(shown(&again), [("value".to_owned(), bytes)]);
        }
    }
}
