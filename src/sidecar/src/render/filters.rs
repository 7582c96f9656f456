//! The filters of templates beyond minijinja's own: values in the forms in which files want them.

use std::sync::Arc;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use minijinja::{Environment, Error, ErrorKind, Value, value::ValueKind};
use thiserror::Error;

use super::{dotenv, pem};

/// Why one of our filters refuses what it was given. Its text never has a value in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub(super) struct Refusal(&'static str);

impl Refusal {
    pub(super) const fn new(message: &'static str) -> Self {
        Self(message)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(ErrorKind::InvalidOperation, "refused").with_source(refusal)
    }
}

/// Gives an environment its filters.
pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("b64encode", |value: &Value| Ok::<_, Error>(BASE64.encode(bytes(value)?)));
    environment.add_filter("b64url", |value: &Value| Ok::<_, Error>(BASE64URL_NOPAD.encode(bytes(value)?)));
    environment.add_filter("b64decode", b64decode);
    environment.add_filter("hex", |value: &Value| Ok::<_, Error>(HEXLOWER.encode(bytes(value)?)));
    environment.add_filter("json", json);
    environment.add_filter("shell", shell);
    environment.add_filter("dotenv", |value: &Value| {
        let mut out = Vec::new();
        dotenv::quote(text(value)?, &mut out);
        String::from_utf8(out).map_err(|_| Error::from(Refusal("`dotenv` takes text")))
    });
    environment.add_filter("urlencode", |value: &Value| Ok::<_, Error>(percent(bytes(value)?)));
    environment.add_filter("pem", |value: &Value, label: &str| {
        let found = pem::blocks(text(value)?, label);
        if found.is_empty() {
            Err(Error::from(Refusal("there is no PEM block of that label")))
        } else {
            Ok(found)
        }
    });
}

/// A value that is one text or one run of bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> Value {
    match str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from_bytes(bytes.to_vec()),
    }
}

fn text(value: &Value) -> Result<&str, Error> {
    value.as_str().ok_or_else(|| Refusal("this filter takes text").into())
}

fn bytes(value: &Value) -> Result<&[u8], Error> {
    value.as_bytes().ok_or_else(|| Refusal("this filter takes a text or bytes").into())
}

fn b64decode(value: &Value) -> Result<Value, Error> {
    let spaceless: Vec<u8> = text(value)?.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let decoded = BASE64.decode(&spaceless).map_err(|_| Refusal("it is not Base64"))?;
    Ok(of_bytes(&decoded))
}

/// A text, a number, or a mapping or list of them, as JSON on one line; so also as YAML and as a TOML basic string.
fn json(value: &Value) -> Result<String, Error> {
    let mut out = Vec::new();
    write_json(value, &mut out, 0)?;
    String::from_utf8(out).map_err(|_| Refusal("it is not text").into())
}

fn write_json(value: &Value, out: &mut Vec<u8>, depth: u8) -> Result<(), Error> {
    if depth > 16 {
        return Err(Refusal("it is nested too deeply for `json`").into());
    }
    let deeper = depth.saturating_add(1);
    match value.kind() {
        ValueKind::None => out.extend_from_slice(b"null"),
        // Printed as Python does: `True`.
        ValueKind::Bool => out.extend_from_slice(if value.is_true() { b"true" } else { b"false" }),
        ValueKind::Number => out.extend_from_slice(value.to_string().as_bytes()),
        ValueKind::String => {
            serde_json::to_writer(out, text(value)?).map_err(|_| Refusal("it cannot be JSON"))?;
        }
        ValueKind::Bytes => return Err(Refusal("it is binary, and JSON is text: use `b64encode`").into()),
        ValueKind::Map => {
            out.push(b'{');
            for (key, index) in value.try_iter()?.zip(0_usize..) {
                if index > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, text(&key)?).map_err(|_| Refusal("it cannot be JSON"))?;
                out.push(b':');
                write_json(&value.get_item(&key)?, out, deeper)?;
            }
            out.push(b'}');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            out.push(b'[');
            for (item, index) in value.try_iter()?.zip(0_usize..) {
                if index > 0 {
                    out.push(b',');
                }
                write_json(&item, out, deeper)?;
            }
            out.push(b']');
        }
        _ => return Err(Refusal("it cannot be JSON").into()),
    }
    Ok(())
}

/// One word of a POSIX shell, always in quotes.
fn shell(value: &Value) -> Result<String, Error> {
    let text = text(value)?;
    if text.contains('\0') {
        return Err(Refusal("it has a NUL byte in it, which no shell can take").into());
    }
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// RFC 3986: everything but what is unreserved, so that it fits any part of a URL, such as a password before its `@`.
fn percent(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for b in bytes {
        if b.is_ascii_alphanumeric() || b"-._~".contains(b) {
            out.push(char::from(*b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// The refusal behind an error, if it is one of ours.
pub(super) fn refusal(error: &Error) -> Option<Refusal> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return Some(*refusal);
        }
        // An `Arc` of one, as minijinja may keep it.
        if let Some(refusal) = error.downcast_ref::<Arc<Refusal>>() {
            return Some(**refusal);
        }
        next = error.source();
    }
    None
}
