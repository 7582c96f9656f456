//! What prost does not do for a message that holds secrets.

use std::fmt;

use zeroize::Zeroize;

use crate::v1::SecretValue;

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fields, content_type } = self;
        let sizes = fields.iter().map(|(name, bytes)| (name, format!("[redacted; {} bytes]", bytes.len())));
        f.write_str("SecretValue ")?;
        f.debug_map().entries(sizes).entry(&"content_type", content_type).finish()
    }
}

impl Drop for SecretValue {
    fn drop(&mut self) {
        self.fields.values_mut().for_each(Zeroize::zeroize);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::v1::{IssueLeaseResponse, SecretValue, WriteSecretRequest};

    fn canary() -> Option<SecretValue> {
        let fields = BTreeMap::from([("value".to_owned(), b"canary-51c0".to_vec())]);
        Some(SecretValue { fields, content_type: "text/plain".to_owned() })
    }

    #[test]
    fn no_message_prints_a_value() {
        let issued = IssueLeaseResponse { lease: None, value: canary() };
        let written = WriteSecretRequest { value: canary(), ..WriteSecretRequest::default() };
        let bytes = format!("{:?}", b"canary-51c0");
        for shown in [format!("{issued:?}"), format!("{issued:#?}"), format!("{written:?}")] {
            assert!(!shown.contains("canary") && !shown.contains(&bytes), "{shown}");
            assert!(shown.contains("[redacted; 11 bytes]"), "{shown}");
        }
    }
}
