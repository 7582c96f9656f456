//! A secret's value as AWS holds it: one text or one run of bytes, of at most so many bytes.

use leasehold_core::{
    SecretValue,
    provider::{ErrorClass, ProviderError},
    secret::json,
};

pub(crate) use leasehold_core::secret::json::{Body, decode};

/// The most that AWS takes, in bytes (`PutSecretValue`, quotas of Secrets Manager).
pub(crate) const MAX_BYTES: usize = 65_536;

/// What AWS is to hold so that [`decode`] gives the same fields again.
///
/// # Errors
/// [`ErrorClass::Invalid`] when AWS cannot hold it.
pub(crate) fn encode(value: &SecretValue) -> Result<Body, ProviderError> {
    let invalid = |why: String| ProviderError::new(ErrorClass::Invalid, why);
    let body = json::encode(value).map_err(|why| invalid(why.to_string()))?;
    match body.bytes().len() {
        0 => Err(invalid("AWS holds no empty binary value".to_owned())),
        1..=MAX_BYTES => Ok(body),
        _ => Err(invalid(format!("the value is larger than the {MAX_BYTES} bytes that AWS holds"))),
    }
}

#[cfg(test)]
mod tests {
    use leasehold_core::SecretBytes;

    use super::*;

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
}
