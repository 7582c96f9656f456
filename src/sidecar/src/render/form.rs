//! A whole secret as it is, and as JSON.

use leasehold_core::{SecretBytes, SecretValue, secret::FieldName};

/// The only field as it is; `None` when there are several.
pub(super) fn raw(value: &SecretValue) -> Option<SecretBytes> {
    let mut fields = value.fields.values();
    let only = fields.next()?;
    fields.next().is_none().then(|| only.clone())
}

/// An object of the fields, in the order of their names, on one line.
///
/// # Errors
/// The field that is not text.
pub(crate) fn json(value: &SecretValue) -> Result<SecretBytes, FieldName> {
    let mut out = Vec::with_capacity(value.len().saturating_mul(2));
    for (name, bytes) in &value.fields {
        out.extend_from_slice(if out.is_empty() { b"{" } else { b"," });
        let text = str::from_utf8(bytes.expose()).map_err(|_| name.clone())?;
        // Writing a text to memory cannot fail.
        for part in [name.as_str(), text] {
            let _ = serde_json::to_writer(&mut out, part);
            out.push(b':');
        }
        out.pop();
    }
    out.extend_from_slice(b"}\n");
    Ok(out.into())
}
