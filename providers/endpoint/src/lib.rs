//! Where a back end is asked: what the URL of a server may be that an operator, a profile or a redirect names, and whether
//! what is sent there could be read on the way. One rule for every provider that is asked over HTTP at such a URL.

/// What matters of a server's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Plain HTTP.
    pub plain: bool,
    /// On this machine, by its name or address: names are not looked up.
    pub local: bool,
    /// Scheme, host in lower case and port, by which two URLs are the same server.
    pub origin: String,
    /// Whether a path follows the server.
    pub has_path: bool,
}

impl Endpoint {
    /// What `url` names; `None` when it is no HTTP URL, or has a user, a query or a fragment.
    pub fn of(url: &str) -> Option<Self> {
        let uri: http::Uri = url.parse().ok()?;
        let bare = uri.query().is_none() && !url.contains('#');
        Self::of_uri(&uri).filter(|_| bare)
    }

    /// The server in a URL, whatever follows it; `None` when it is no HTTP URL, or has a user.
    pub fn of_uri(uri: &http::Uri) -> Option<Self> {
        let (scheme, plain, port) = match uri.scheme_str()? {
            "http" => ("http", true, 80),
            "https" => ("https", false, 443),
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        if uri.authority()?.as_str().contains('@') {
            return None;
        }
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        let local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        let port = uri.port_u16().unwrap_or(port);
        let origin = format!("{scheme}://{}:{port}", host.to_ascii_lowercase());
        Some(Self { plain, local, origin, has_path: !matches!(uri.path(), "" | "/") })
    }

    /// Whether what is sent there leaves this machine in clear.
    pub const fn exposes(&self) -> bool {
        self.plain && !self.local
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_private_on_this_machine_alone() {
        for url in [
            "https://example.com",
            "https://10.0.0.1:8200/",
            "http://localhost:1",
            "http://127.8.9.1",
            "http://[::1]:2/",
        ] {
            assert!(!Endpoint::of(url).unwrap().exposes(), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "http://[::2]",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://metadata.google.internal",
        ] {
            assert!(Endpoint::of(url).unwrap().exposes(), "{url}");
        }
    }

    #[test]
    fn nothing_but_a_server_and_a_path_is_one() {
        for url in
            ["", "x", "example.com", "ftp://x", "https://", "https://u:p@x", "https://x?y", "https://x/#y"]
        {
            assert_eq!(Endpoint::of(url), None, "{url}");
        }
        let paths =
            ["https://x", "https://x/", "https://x/v1"].map(|url| Endpoint::of(url).unwrap().has_path);
        assert_eq!(paths, [false, false, true]);
    }

    #[test]
    fn one_server_has_one_origin() {
        let origin = |url: &str| Endpoint::of_uri(&url.parse().unwrap()).unwrap().origin;
        assert_eq!(origin("https://Vault.example.com/v1/x?y=z"), "https://vault.example.com:443");
        assert_eq!(origin("https://vault.example.com:443"), "https://vault.example.com:443");
        assert_ne!(origin("http://vault.example.com:443"), "https://vault.example.com:443");
    }
}
