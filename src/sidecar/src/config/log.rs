//! `[log]`: what is logged and how it looks.

use leasehold_config::{
    Element, Section,
    element::{Wrong, text},
};
use tracing_subscriber::filter::Targets;

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level, or directives such as `info,leasehold_sidecar::publish=debug`.
    pub level: String,
    /// The form.
    pub format: Format,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Auto }
    }
}

pub(super) fn read(section: Section<'_>) -> Log {
    section.otherwise("level", &Log::default().level);
    let level = section.take::<String>("level").and_then(|found| match found.value.parse::<Targets>() {
        Ok(_) => Some(found.value),
        Err(error) => {
            let help = "use `error`, `warn`, `info`, `debug`, `trace`, or directives such as \
                        `info,leasehold_sidecar=debug`";
            section.fault(found.place, format!("`level` in [log]: {error}"), help);
            None
        }
    });
    let format = section.or("format", Format::default());
    section.finish();
    Log { level: level.unwrap_or_else(|| Log::default().level), format }
}

impl Element for Format {
    const SHAPE: &'static str = "`\"auto\"`, `\"text\"` or `\"json\"`";

    fn read(value: &toml::de::DeValue<'_>) -> Result<Self, Wrong> {
        match text::<Self>(value)? {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Wrong::shape::<Self>()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Json => "json".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    fn read(section: Section<'_>) -> Option<Log> {
        Some(super::read(section))
    }

    #[test]
    fn levels_and_forms() {
        assert_eq!(read_section("", read).unwrap(), Log::default());
        let log = read_section("level = 'info,leasehold_sidecar=debug'\nformat = 'json'", read).unwrap();
        assert_eq!((log.level.as_str(), log.format), ("info,leasehold_sidecar=debug", Format::Json));
        assert!(faults_of("level = 'leasehold_sidecar=loud'", read).contains("`level` in [log]"));
        assert!(faults_of("format = 'xml'", read).contains("must be `\"auto\"`, `\"text\"` or `\"json\"`"));
    }
}
