//! `[metrics]`: figures for Prometheus.

use std::net::SocketAddr;

use super::section::Section;

/// Whether figures are shown, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Where they can be read, on this machine only; nothing listens without it.
    pub address: Option<SocketAddr>,
}

pub(super) fn read(section: Section<'_>) -> Metrics {
    let found = section.take::<SocketAddr>("address");
    let (here, elsewhere) = match found {
        Some(found) if found.value.ip().is_loopback() => (Some(found.value), None),
        found => (None, found),
    };
    if let Some(found) = elsewhere {
        let message = format!(
            "`address` in [metrics] is {}, which other machines may reach, and figures are shown to whoever asks, without TLS",
            found.value
        );
        let help = format!(
            "write `127.0.0.1:{}`, and have this machine's Prometheus agent or TLS proxy carry them on",
            found.value.port()
        );
        section.fault(found.place, message, help);
    }
    section.finish();
    Metrics { address: here }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{faults_of, read_section};

    fn some(section: Section<'_>) -> Option<Metrics> {
        Some(read(section))
    }

    #[test]
    fn nothing_listens_unless_said_and_then_on_this_machine() {
        let address = |toml: &str| read_section(toml, some).unwrap().address.map(|found| found.to_string());
        assert_eq!(address(""), None);
        assert_eq!(address("address = '127.0.0.1:9464'").as_deref(), Some("127.0.0.1:9464"));
        assert_eq!(address("address = '[::1]:9464'").as_deref(), Some("[::1]:9464"));
    }

    #[test]
    fn an_address_that_others_may_reach_is_refused_with_the_way_out() {
        for elsewhere in ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464", "[::ffff:127.0.0.1]:9464"] {
            let faults = faults_of(&format!("address = '{elsewhere}'"), some);
            assert!(faults.contains(&format!("2:11: `address` in [metrics] is {elsewhere}")), "{faults}");
            assert!(faults.contains("without TLS") && faults.contains("write `127.0.0.1:9464`"), "{faults}");
        }
        assert!(faults_of("address = 'localhost:9464'", some).contains("is not an IP address with a port"));
        assert!(faults_of("adress = '127.0.0.1:9464'", some).contains("did you mean `address`?"));
    }
}
