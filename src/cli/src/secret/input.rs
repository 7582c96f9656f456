//! Secret values on their way in: from standard input or files, never from an argument, which every user of the
//! machine can see.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal, Read, Write},
    path::PathBuf,
    str::FromStr,
};

use leasehold_core::{SecretBytes, SecretValue, secret::FieldName};

use crate::exit::Failure;

/// A field and where its bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldSource {
    name: FieldName,
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Stdin,
    File(PathBuf),
    /// On the command line. It is not kept: the grammar's own messages would repeat it.
    Inline,
}

impl FieldSource {
    /// A secret that is one string, in a file.
    pub(super) fn value_in(file: PathBuf) -> Self {
        Self { name: FieldName::value(), source: Source::File(file) }
    }

    /// A secret that is one string, on standard input.
    pub(super) fn value_on_stdin() -> Self {
        Self { name: FieldName::value(), source: Source::Stdin }
    }
}

impl FromStr for FieldSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, source) = text.split_once('=').ok_or(FORM)?;
        let name = name.parse().map_err(|why| format!("{why}"))?;
        let source = match source.strip_prefix('@') {
            Some("") => return Err("the file's name is missing behind `@`".to_owned()),
            Some(file) => Source::File(file.into()),
            None if source == "-" => Source::Stdin,
            None => Source::Inline,
        };
        Ok(Self { name, source })
    }
}

const FORM: &str = "a field is `NAME=@FILE` or `NAME=-`";
const INLINE: &str = "a value is never given on the command line, where others can read it; change it, for it has been seen. \
                      Write it to a file and give `NAME=@FILE`, or pipe it in and give `NAME=-`";

/// Reads every field.
pub(super) fn read_value(
    sources: &[FieldSource],
    trim: bool,
    content_type: Option<String>,
) -> Result<SecretValue, Failure> {
    if sources.iter().filter(|field| field.source == Source::Stdin).count() > 1 {
        return Err(Failure::usage("standard input can be read once: give the other fields as files"));
    }
    let mut fields = BTreeMap::new();
    for FieldSource { name, source } in sources {
        let mut bytes = source.read()?;
        if bytes.last() == Some(&b'\n') {
            if trim {
                bytes.pop();
            } else {
                note(&format!("the field `{name}` ends with a newline, which is kept; --trim leaves it out"));
            }
        }
        if fields.insert(name.clone(), SecretBytes::new(bytes)).is_some() {
            return Err(Failure::usage(format!("the field `{name}` is given twice")));
        }
    }
    // A longer message is not even read by the broker, which could not say what is wrong with it.
    let (size, most) = (fields.values().map(SecretBytes::len).sum::<usize>(), SecretValue::LARGEST_WRITTEN);
    if size > most {
        return Err(Failure::usage(format!(
            "the value has {size} bytes, and a value may have {most} in all its fields"
        )));
    }
    let is_text = |bytes: &SecretBytes| std::str::from_utf8(bytes.expose()).is_ok();
    let guessed = if fields.values().all(is_text) { SecretValue::TEXT } else { SecretValue::OCTETS };
    Ok(SecretValue { content_type: content_type.unwrap_or_else(|| guessed.to_owned()).into(), fields })
}

impl Source {
    fn read(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Inline => Err(Failure::usage(INLINE)),
            Self::File(path) => fs::read(path).map_err(|why| Failure::failed(path.display(), why)),
            Self::Stdin => {
                let mut stdin = io::stdin().lock();
                if stdin.is_terminal() {
                    return Err(Failure::usage(
                        "a value typed here would be seen: pipe it in, or give --file or --field NAME=@FILE",
                    ));
                }
                let mut bytes = Vec::new();
                stdin.read_to_end(&mut bytes).map_err(|why| Failure::failed("standard input", why))?;
                Ok(bytes)
            }
        }
    }
}

/// Something to know that is no failure.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "leasehold: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            format!("{name}=@{}", path.display()).parse::<FieldSource>().unwrap()
        };
        let value = read_value(&[file("user", b"ann\n"), file("password", b"x\n\n")], true, None).unwrap();
        let exposed = |name: &str| value.fields[&name.parse::<FieldName>().unwrap()].expose();
        assert_eq!((exposed("user"), exposed("password")), (&b"ann"[..], &b"x\n"[..]));
        assert_eq!(&*value.content_type, "text/plain");
        let value = read_value(&[file("key", &[0xff, b'\n'])], false, None).unwrap();
        assert_eq!(
            value.fields.values().map(SecretBytes::len).sum::<usize>(),
            2,
            "nothing is taken away unasked"
        );
        assert_eq!(&*value.content_type, "application/octet-stream");
        let long = [file("a", b"1"), file("b", &vec![b'x'; SecretValue::LARGEST_WRITTEN])];
        let refused = read_value(&long, false, None).unwrap_err().message;
        assert_eq!(refused, "the value has 524289 bytes, and a value may have 524288 in all its fields");
        let twice = [file("a", b"1"), file("a", b"2")];
        assert!(read_value(&twice, false, None).unwrap_err().message.contains("given twice"));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_what_is_inline_is_refused() {
        let missing = read_value(&[FieldSource::value_in("/no/such/file".into())], false, None).unwrap_err();
        assert!(missing.message.starts_with("/no/such/file: "), "{}", missing.message);
        for bad in ["password", "password=@", "a/b=@x"] {
            assert!(bad.parse::<FieldSource>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_on_the_command_line_is_refused_and_not_repeated() {
        let field: FieldSource = "password=hunter2".parse().unwrap();
        assert!(!format!("{field:?}").contains("hunter2"));
        let refused = read_value(&[field], false, None).unwrap_err();
        assert_eq!(refused.exit, crate::exit::Exit::Usage);
        assert!(refused.message.contains("never given on the command line"), "{}", refused.message);
        assert!(!refused.message.contains("hunter2"), "{}", refused.message);
    }
}
