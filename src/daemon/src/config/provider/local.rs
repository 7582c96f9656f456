//! `kind = "local"`.

use std::{path::Path, time::Duration};

use leasehold_core::provider::ProviderName;
use leasehold_provider_local::LocalConfig;

use crate::config::{Size, section::Section};

/// The folder of the state directory under which local providers keep their files.
const FOLDER: &str = "providers";

const HOUR: Duration = Duration::from_secs(3_600);
const YEARS: Duration = Duration::from_secs(3_650 * 86_400);

pub(super) fn read(
    section: Section<'_>,
    name: Option<&ProviderName>,
    state: Option<&Path>,
) -> Option<LocalConfig> {
    let default = || Some(state?.join(FOLDER).join(name?.as_str()));
    let directory = section.path("dir").or_else(default);
    let history = section.within("history", default_history(), 1..=1_000);
    let most = Size(u64::try_from(LocalConfig::DEFAULT_MAX_VALUE_BYTES).unwrap_or(u64::MAX));
    let value_size = section.within("value_size", most, Size(1 << 10)..=Size(1 << 20));
    let deleted_retention =
        section.within("deleted_retention", LocalConfig::DEFAULT_DELETED_RETENTION, HOUR..=YEARS);
    section.finish();
    Some(LocalConfig {
        history: usize::try_from(history).unwrap_or(usize::MAX),
        max_value_bytes: value_size.bytes(),
        deleted_retention,
        ..LocalConfig::new(directory?)
    })
}

fn default_history() -> u32 {
    u32::try_from(LocalConfig::DEFAULT_HISTORY).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    fn with_name(section: Section<'_>) -> Option<LocalConfig> {
        read(section, "main".parse().ok().as_ref(), Some(Path::new("/state")))
    }

    #[test]
    fn the_defaults_are_the_providers_own() {
        let config = read_section("", with_name).unwrap();
        assert_eq!(config, LocalConfig::new("/state/providers/main"));
        let config = read_section("dir = 'x'\nhistory = 3\nvalue_size = '64KiB'", with_name).unwrap();
        assert_eq!((config.history, config.max_value_bytes), (3, 65_536));
        assert_eq!(config.directory, Path::new("/etc/leasehold/x"));
        let config = read_section("deleted_retention = '7d'", with_name).unwrap();
        assert_eq!(config.deleted_retention, Duration::from_secs(7 * 86_400));
        assert!(faults_of("deleted_retention = '1m'", with_name).contains("between 1h and 3650d"));
        assert!(faults_of("history = 0", with_name).contains("between 1 and 1000"));
        assert!(faults_of("directory = 'x'", with_name).contains("unknown key `directory`"));
    }
}
