//! A whole secret as lines `NAME=value`, as a POSIX shell, systemd's `EnvironmentFile=` and the dotenv libraries read them.
//!
//! They agree on plain words, on single quotes around anything without a quote and a backslash, and nearly on double
//! quotes; a value is written in the first of these ways that can hold it, and escaped as POSIX has it (Shell Command
//! Language, 2.2.3).

use std::collections::BTreeMap;

use leasehold_core::{SecretBytes, SecretValue, secret::FieldName};
use thiserror::Error;

/// Why a secret cannot be written so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DotenvError {
    /// A variable is text.
    #[error("the field `{0}` is not text: write it to a file of its own, or use a template with `b64encode`")]
    NotText(FieldName),
    /// No variable can have it.
    #[error("the field `{0}` has a NUL byte in it, which no variable can have")]
    Nul(FieldName),
    /// Two fields make the same variable.
    #[error("the fields `{0}` and `{1}` would both be `{2}`: use a template")]
    Twice(FieldName, FieldName, String),
}

/// A line a field, in the order of their names, each name with `prefix` before it.
///
/// # Errors
/// When it cannot be written so.
pub(super) fn write(value: &SecretValue, prefix: &str) -> Result<SecretBytes, DotenvError> {
    let mut names: BTreeMap<String, &FieldName> = BTreeMap::new();
    let mut out = Vec::with_capacity(value.len().saturating_mul(2));
    for (field, bytes) in &value.fields {
        let name = variable(prefix, field);
        if let Some(other) = names.get(&name) {
            return Err(DotenvError::Twice((*other).clone(), field.clone(), name));
        }
        let text = str::from_utf8(bytes.expose()).map_err(|_| DotenvError::NotText(field.clone()))?;
        if text.contains('\0') {
            return Err(DotenvError::Nul(field.clone()));
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        quote(text, &mut out);
        out.push(b'\n');
        names.insert(name, field);
    }
    Ok(out.into())
}

/// The variable of a field: capital letters, digits and `_`, and no digit first.
pub(crate) fn variable(prefix: &str, field: &FieldName) -> String {
    let each = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = prefix.chars().chain(field.as_str().chars().map(each)).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// A value as it stands behind the `=`.
pub(super) fn quote(text: &str, out: &mut Vec<u8>) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:@%+,=".contains(&b);
    if text.bytes().all(plain) {
        out.extend_from_slice(text.as_bytes());
    } else if !text.contains(['\'', '\\']) {
        out.push(b'\'');
        out.extend_from_slice(text.as_bytes());
        out.push(b'\'');
    } else {
        out.push(b'"');
        for b in text.bytes() {
            if b"\"\\$`".contains(&b) {
                out.push(b'\\');
            }
            out.push(b);
        }
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn value(fields: &[(&str, &[u8])]) -> SecretValue {
        let fields = fields.iter().map(|(name, bytes)| (name.parse().unwrap(), bytes.to_vec().into()));
        SecretValue { fields: fields.collect(), content_type: SecretValue::TEXT.into() }
    }

    fn written(fields: &[(&str, &[u8])]) -> Result<String, DotenvError> {
        write(&value(fields), "DB_").map(|bytes| String::from_utf8(bytes.expose().to_vec()).unwrap())
    }

    #[test]
    fn the_simplest_quotes_that_can_hold_a_value() {
        let cases: [(&[u8], &str); 6] = [
            (b"plain-1.2:/@", "DB_X=plain-1.2:/@\n"),
            (b"", "DB_X=\n"),
            (b"two words", "DB_X='two words'\n"),
            (b"$HOME #x", "DB_X='$HOME #x'\n"),
            (b"it's $5", "DB_X=\"it's \\$5\"\n"),
            (b"a\nb", "DB_X='a\nb'\n"),
        ];
        for (bytes, line) in cases {
            assert_eq!(written(&[("x", bytes)]).as_deref(), Ok(line));
        }
    }

    #[test]
    fn what_no_variable_can_hold_is_refused_by_name() {
        let field = |name: &str| name.parse::<FieldName>().unwrap();
        assert_eq!(written(&[("x", &[0xff])]), Err(DotenvError::NotText(field("x"))));
        assert_eq!(written(&[("x", b"a\0b")]), Err(DotenvError::Nul(field("x"))));
        let twice = DotenvError::Twice(field("a-b"), field("a.b"), "DB_A_B".into());
        assert_eq!(written(&[("a-b", b"1"), ("a.b", b"2")]), Err(twice));
        assert_eq!(variable("", &field("9.tls-key")), "_9_TLS_KEY");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_shell_reads_what_was_written(text in "[ -~\\n\\\\'\"$`é]{0,40}") {
            let mut line = b"X=".to_vec();
            quote(&text, &mut line);
            line.extend_from_slice(b"\nprintf %s. \"$X\"");
            let script = String::from_utf8(line).unwrap();
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{text}."));
        }
    }
}
