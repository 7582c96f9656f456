//! A secret's value as a vault holds it, one text with a content type, and as the broker lends it, named fields.

use data_encoding::BASE64;
use leasehold_core::{
    SecretBytes, SecretValue,
    provider::{ErrorClass, ProviderError},
    secret::{
        FieldName,
        json::{self, Body, Format},
    },
};

/// What a vault holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The text.
    pub(crate) text: SecretBytes,
    /// What somebody said that it is.
    pub(crate) content_type: Option<String>,
}

/// The most that a vault takes: 25 KiB.
///
/// Source: <https://learn.microsoft.com/azure/key-vault/secrets/about-secrets>.
pub(crate) const MAX_BYTES: usize = 25_600;

/// The content type under which the broker keeps bytes that are no text.
const BASE64_OCTETS: &str = "application/octet-stream;base64";

/// The fields of what a vault holds.
pub(crate) fn decode(held: Held, format: Format) -> SecretValue {
    let Held { text, content_type } = held;
    if content_type.as_deref() == Some(BASE64_OCTETS)
        && let Ok(bytes) = BASE64.decode(text.expose())
    {
        return json::decode(Body::Binary(bytes.into()), format);
    }
    let length = text.len();
    let mut value = json::decode(Body::Text(text), format);
    // A text that was taken apart is not what its content type says any more.
    let whole = value.fields.get(&FieldName::value()).is_some_and(|only| only.len() == length);
    if let Some(content_type) =
        content_type.filter(|text| whole && value.fields.len() == 1 && is_media_type(text))
    {
        value.content_type = content_type.into();
    }
    value
}

/// What a vault is to hold so that [`decode`] gives the same fields again.
///
/// # Errors
/// [`ErrorClass::Invalid`] when it cannot hold it.
pub(crate) fn encode(value: &SecretValue) -> Result<Held, ProviderError> {
    let invalid = |why: String| ProviderError::new(ErrorClass::Invalid, why);
    let held = match json::encode(value).map_err(|why| invalid(why.to_string()))? {
        Body::Binary(bytes) if bytes.is_empty() => {
            return Err(invalid("a key vault holds no empty binary value".to_owned()));
        }
        Body::Binary(bytes) => {
            Held { text: BASE64.encode(bytes.expose()).into(), content_type: Some(BASE64_OCTETS.to_owned()) }
        }
        Body::Text(text) => {
            let only = value.fields.get(&FieldName::value()).filter(|_| value.fields.len() == 1);
            let as_it_is = only.is_some_and(|bytes| bytes.len() == text.len());
            let content_type = match &*value.content_type {
                json::MEDIA_TYPE => json::MEDIA_TYPE,
                _ if as_it_is => SecretValue::TEXT,
                _ => json::MEDIA_TYPE,
            };
            Held { text, content_type: Some(content_type.to_owned()) }
        }
    };
    if held.text.is_empty() {
        Err(invalid("a key vault holds no empty value".to_owned()))
    } else if held.text.len() > MAX_BYTES {
        Err(invalid(format!("the value is larger than the {MAX_BYTES} bytes that a key vault holds")))
    } else {
        Ok(held)
    }
}

/// `type/subtype` (RFC 6838, section 4.2), with parameters or without.
fn is_media_type(text: &str) -> bool {
    text.len() <= 127
        && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        && text.split_once('/').is_some_and(|(kind, rest)| {
            !rest.is_empty()
                && matches!(kind, "application" | "text" | "image" | "audio" | "font" | "message")
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn shown(value: &SecretValue) -> Vec<(String, Vec<u8>)> {
        value.fields.iter().map(|(name, bytes)| (name.to_string(), bytes.expose().to_vec())).collect()
    }

    fn value(bytes: &[u8], content_type: &str) -> SecretValue {
        SecretValue {
            fields: BTreeMap::from([(FieldName::value(), bytes.to_vec().into())]),
            content_type: content_type.into(),
        }
    }

    #[test]
    fn a_content_type_stays_with_a_text_that_stays_whole() {
        for (text, stored, content_type) in [
            ("hunter2", None, "text/plain"),
            ("hunter2", Some("database password"), "text/plain"),
            ("-----BEGIN", Some("application/x-pem-file"), "application/x-pem-file"),
            (r#"{"user":"a"}"#, Some("application/json"), "text/plain"),
            (r#"["a"]"#, Some("application/json"), "application/json"),
            ("not base64!", Some(BASE64_OCTETS), "application/octet-stream;base64"),
            ("AP8=", Some(BASE64_OCTETS), "application/octet-stream"),
        ] {
            let held = Held { text: text.to_owned().into(), content_type: stored.map(str::to_owned) };
            assert_eq!(&*decode(held, Format::Fields).content_type, content_type, "{text} {stored:?}");
        }
    }

    #[test]
    fn what_a_vault_cannot_hold_is_refused() {
        let largest_binary = MAX_BYTES / 4 * 3;
        for bad in [
            value(b"", SecretValue::OCTETS),
            value(b"", json::MEDIA_TYPE),
            value(&[b'x'; MAX_BYTES + 1], SecretValue::TEXT),
            value(&vec![0xff; largest_binary + 1], SecretValue::OCTETS),
            value(&[0xff], json::MEDIA_TYPE),
        ] {
            assert_eq!(encode(&bad).err().map(|error| error.class), Some(ErrorClass::Invalid), "{bad:?}");
        }
        assert!(encode(&value(&[b'x'; MAX_BYTES], SecretValue::TEXT)).is_ok());
        assert!(encode(&value(&vec![0xff; largest_binary], SecretValue::OCTETS)).is_ok());
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
            let again = decode(encode(&value(&bytes, SecretValue::OCTETS)).unwrap(), Format::Fields);
            prop_assert_eq!(shown(&again), [("value".to_owned(), bytes)]);
            prop_assert_eq!(&*again.content_type, SecretValue::OCTETS);
        }
    }
}
