//! Secret values on their way out: on standard output only when asked for, and on a terminal only when insisted.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use leasehold_core::{SecretBytes, SecretValue, secret::FieldName};
use serde::Serialize;

use crate::{
    exit::{Exit, Failure},
    output,
};

/// A value as JSON shows it: text as it is, everything else in base64.
#[derive(Serialize)]
pub(crate) struct ValueView<'v> {
    content_type: &'v str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<&'v str, &'v str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields_base64: BTreeMap<&'v str, String>,
}

impl<'v> From<&'v SecretValue> for ValueView<'v> {
    fn from(value: &'v SecretValue) -> Self {
        let mut view = Self {
            content_type: &value.content_type,
            fields: BTreeMap::new(),
            fields_base64: BTreeMap::new(),
        };
        for (name, bytes) in &value.fields {
            match std::str::from_utf8(bytes.expose()) {
                Ok(text) => drop(view.fields.insert(name.as_str(), text)),
                Err(_) => drop(view.fields_base64.insert(name.as_str(), BASE64.encode(bytes.expose()))),
            }
        }
        view
    }
}

/// Refuses to show a value on a terminal unless it was insisted on. Asked before the lease is taken.
pub(crate) fn may_be_shown(reveal: bool) -> Result<(), Failure> {
    if reveal || !output::is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(
        "a value is not shown on a terminal: add --reveal, or send the output to a file or a program",
    ))
}

/// The one field that was asked for.
pub(crate) fn only<'v>(value: &'v SecretValue, name: &FieldName) -> Result<&'v SecretBytes, Failure> {
    value
        .fields
        .get(name)
        .ok_or_else(|| Failure::new(Exit::Failed, format!("the broker sent no field `{name}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_the_rest_is_base64() {
        let mut value = SecretValue::plain("hunter2".to_owned());
        value.fields.insert("der".parse().unwrap(), vec![0xff, 0x00].into());
        let json = serde_json::to_value(ValueView::from(&value)).unwrap();
        assert_eq!(json["fields"]["value"], "hunter2");
        assert_eq!(json["fields_base64"]["der"], "/wA=");
        assert_eq!(json["content_type"], "text/plain");
    }
}
