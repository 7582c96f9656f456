//! Where the broker listens, as people write it.

use std::{fmt, str::FromStr};

use rustls::pki_types::ServerName;
use thiserror::Error;

/// A broker's address: a host (a DNS name or an IP address) and a port.
///
/// Parsed from `host:port`, `[::1]:port` or `https://host:port`; the port may be left out and is then
/// [`Address::DEFAULT_PORT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: Box<str>,
    port: u16,
}

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidAddress {
    /// Plain text is not offered.
    #[error("the broker is reached by TLS only: write `host:port` or `https://host:port`")]
    Scheme,
    /// Neither a DNS name nor an IP address.
    #[error("`{0}` is not a host name or an IP address")]
    Host(Box<str>),
    /// Not a port.
    #[error("`{0}` is not a port: one is a number from 1 to 65535")]
    Port(Box<str>),
    /// Something after the port.
    #[error("an address is `host:port` with nothing behind it")]
    Path,
}

impl Address {
    /// The port of an address that names none, and of the shipped configuration.
    pub const DEFAULT_PORT: u16 = 8443;

    /// The host without a port, and without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let rest = match text.split_once("://") {
            Some(("https", rest)) => rest.strip_suffix('/').unwrap_or(rest),
            Some(_) => return Err(InvalidAddress::Scheme),
            None => text,
        };
        if rest.contains(['/', '?', '#', '@']) {
            return Err(InvalidAddress::Path);
        }
        let (host, port) = split_port(rest);
        let port = match port {
            None => Self::DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(number) if number != 0 => number,
                _ => return Err(InvalidAddress::Port(port.into())),
            },
        };
        match ServerName::try_from(host) {
            Ok(_) => Ok(Self { host: host.into(), port }),
            Err(_) => Err(InvalidAddress::Host(host.into())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The host and, behind the last colon that is not part of an IPv6 address, the port.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match text.split_once(':') {
        // Two colons without brackets: an IPv6 address by itself.
        Some((_, port)) if port.contains(':') => (text, None),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let cases = [
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("https://broker.example.org:9000", "broker.example.org:9000"),
            ("https://broker.example.org/", "broker.example.org:8443"),
            ("localhost", "localhost:8443"),
            ("[::1]:9000", "[::1]:9000"),
            ("::1", "[::1]:8443"),
        ];
        for (text, shown) in cases {
            assert_eq!(text.parse::<Address>().map(|a| a.to_string()).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        use InvalidAddress::*;
        let cases = [
            ("http://broker:9000", Scheme),
            ("broker:nine", Port("nine".into())),
            ("broker:0", Port("0".into())),
            ("broker:70000", Port("70000".into())),
            ("", Host("".into())),
            ("bro ker:1", Host("bro ker".into())),
            ("https://broker:9000/v1", Path),
            ("user@broker:9000", Path),
        ];
        for (text, why) in cases {
            assert_eq!(text.parse::<Address>(), Err(why), "{text}");
        }
    }
}
