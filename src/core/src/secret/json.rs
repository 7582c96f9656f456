//! A secret's named fields in back ends that hold one text or one run of bytes: several fields are a JSON object there.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use thiserror::Error;

use super::{FieldName, SecretBytes, SecretValue};

/// What such a back end holds.
#[derive(Clone, Debug)]
pub enum Body {
    /// UTF-8.
    Text(SecretBytes),
    /// Anything.
    Binary(SecretBytes),
}

/// What a text is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A JSON object is its fields; anything else is the field `value`.
    #[default]
    Fields,
    /// Always the field `value`, as it is.
    Raw,
}

/// Why a value cannot be held so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unencodable {
    /// Said to be JSON, which is text.
    #[error("the value is said to be JSON but is not UTF-8")]
    JsonNotText,
    /// One of several fields, or one of another name than `value`.
    #[error("the field `{0}` is not text: binary can only be the one field `value`")]
    BinaryField(FieldName),
}

/// The media type of a text that is JSON as a whole.
pub const MEDIA_TYPE: &str = "application/json";

impl Body {
    /// The bytes, whichever they are.
    pub fn bytes(&self) -> &SecretBytes {
        let (Self::Text(bytes) | Self::Binary(bytes)) = self;
        bytes
    }

    /// The bytes as text where they are UTF-8: of a back end that does not say which.
    pub fn guess(bytes: SecretBytes) -> Self {
        if str::from_utf8(bytes.expose()).is_ok() { Self::Text(bytes) } else { Self::Binary(bytes) }
    }
}

/// The fields of what the back end holds.
pub fn decode(body: Body, format: Format) -> SecretValue {
    let whole = |bytes, content_type: &str| SecretValue {
        fields: BTreeMap::from([(FieldName::value(), bytes)]),
        content_type: content_type.into(),
    };
    match body {
        Body::Binary(bytes) => whole(bytes, SecretValue::OCTETS),
        Body::Text(text) => match split(&text) {
            Split::NoObject => SecretValue::plain(text),
            Split::Fields(fields) if format == Format::Fields => {
                SecretValue { fields, content_type: SecretValue::TEXT.into() }
            }
            Split::Fields(_) | Split::Other => whole(text, MEDIA_TYPE),
        },
    }
}

/// What the back end is to hold so that [`decode`] gives the same fields again. JSON is written as it is: its fields are
/// its own. A text that would be taken for an object, and an empty one, is written as an object with the field `value`.
///
/// # Errors
/// When it cannot be held so.
pub fn encode(value: &SecretValue) -> Result<Body, Unencodable> {
    let only = match value.fields.get(&FieldName::value()) {
        Some(bytes) if value.fields.len() == 1 => Some(bytes),
        _ => None,
    };
    match only {
        Some(bytes) if &*value.content_type == MEDIA_TYPE => match str::from_utf8(bytes.expose()) {
            Ok(_) => Ok(Body::Text(bytes.clone())),
            Err(_) => Err(Unencodable::JsonNotText),
        },
        Some(bytes)
            if str::from_utf8(bytes.expose()).is_err() || &*value.content_type == SecretValue::OCTETS =>
        {
            Ok(Body::Binary(bytes.clone()))
        }
        Some(bytes) if !bytes.is_empty() && matches!(split(bytes), Split::NoObject) => {
            Ok(Body::Text(bytes.clone()))
        }
        _ => object(value).map(Body::Text),
    }
}

/// The fields as a JSON object.
///
/// # Errors
/// When one of them is not text.
pub fn object(value: &SecretValue) -> Result<SecretBytes, Unencodable> {
    let mut fields = BTreeMap::new();
    for (name, bytes) in &value.fields {
        let text = str::from_utf8(bytes.expose()).map_err(|_| Unencodable::BinaryField(name.clone()))?;
        fields.insert(name.as_str(), text);
    }
    // Texts under texts can always be written.
    Ok(SecretBytes::new(serde_json::to_vec(&fields).unwrap_or_default()))
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
    fn what_cannot_be_held_is_named() {
        let value = |fields: &[(&str, &[u8])], content_type: &str| SecretValue {
            fields: fields.iter().map(|(k, v)| (k.parse().unwrap(), SecretBytes::new(v.to_vec()))).collect(),
            content_type: content_type.into(),
        };
        let binary = encode(&value(&[("a", b"x"), ("b", &[0xff])], SecretValue::OCTETS)).unwrap_err();
        assert_eq!(binary, Unencodable::BinaryField("b".parse().unwrap()));
        assert_eq!(encode(&value(&[("value", &[0xff])], MEDIA_TYPE)).unwrap_err(), Unencodable::JsonNotText);
    }

    #[test]
    fn bytes_that_nobody_described_are_text_where_they_can_be() {
        assert!(matches!(Body::guess(b"caf\xc3\xa9".to_vec().into()), Body::Text(_)));
        assert!(matches!(Body::guess(vec![0xff].into()), Body::Binary(_)));
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
