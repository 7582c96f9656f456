//! Where calls go: over TLS, or no further than this machine.

/// What matters of an endpoint's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Over TLS, or in clear on this machine.
    Private,
    /// In clear to another machine: tokens and secrets would travel so.
    Plaintext,
}

impl Endpoint {
    /// What `url` names; `None` when it is no HTTP URL, or holds a user, a query or a fragment.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let uri: http::Uri = url.parse().ok()?;
        let plain = match uri.scheme_str()? {
            "http" => true,
            "https" => false,
            _ => return None,
        };
        let bare = uri.query().is_none() && !url.contains('#') && !uri.authority()?.as_str().contains('@');
        let host = uri.host().filter(|host| bare && !host.is_empty())?;
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        let local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        Some(if plain && !local { Self::Plaintext } else { Self::Private })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine() {
        for url in ["https://secretmanager-x.p.googleapis.com", "http://localhost:1", "http://[::1]:2/"] {
            assert_eq!(Endpoint::of(url), Some(Endpoint::Private), "{url}");
        }
        for url in ["http://10.0.0.1", "http://localhost.example.com", "http://metadata.google.internal"] {
            assert_eq!(Endpoint::of(url), Some(Endpoint::Plaintext), "{url}");
        }
        for url in ["", "x", "ftp://x", "https://", "https://u:p@x", "https://x?y", "https://x/#y"] {
            assert_eq!(Endpoint::of(url), None, "{url}");
        }
    }
}
