//! What is asked and what is answered.

use serde_json::Value;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line and the headers, as they came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, without `content-length` and `connection`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The method, such as `GET`.
    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// The path and the query as they came, such as `/secrets/a%20b?api-version=7.6`.
    pub fn target(&self) -> &str {
        self.head.split_ascii_whitespace().nth(1).unwrap_or_default()
    }

    /// The path as it came, its escapes not undone: what a reference became on the wire.
    pub fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }

    /// The path's parts, each with its escapes undone.
    pub fn segments(&self) -> Vec<String> {
        self.path().trim_start_matches('/').split('/').map(unescape).collect()
    }

    /// A parameter of the query, with its escapes undone.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target().split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key) == name).then(|| unescape(&value.replace('+', " ")))
        })
    }

    /// The first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A parameter of a body that is a form, with its escapes undone.
    pub fn form(&self, name: &str) -> Option<String> {
        let body = String::from_utf8_lossy(&self.body);
        body.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key) == name).then(|| unescape(&value.replace('+', " ")))
        })
    }

    /// Whether the client says that it will ask no more here.
    pub(super) fn wants_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
            || self.head.lines().next().is_some_and(|line| line.ends_with("HTTP/1.0"))
    }
}

impl Answer {
    /// An answer with a body of this media type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    /// An answer of JSON.
    pub fn of(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// An answer of JSON, with the media type of AWS's protocol.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "application/x-amz-json-1.1", body)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn head(&self, last: bool) -> String {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        if last {
            head.push_str("connection: close\r\n");
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        // RFC 9110, section 8.6: not with 204.
        if self.status != 204 {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        head
    }

    pub(super) fn half(&self) -> &[u8] {
        self.body.get(..self.body.len().div_ceil(2)).unwrap_or_default()
    }
}

/// Undoes percent escapes (RFC 3986, section 2.1); what is no escape stays as it is.
fn unescape(text: &str) -> String {
    let mut rest = text.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_apart() {
        let request = Request {
            head: "PUT /v1/a%2Fb/c?x=1&name=a%20b+c&flag HTTP/1.1\r\nHost: h\r\nX-Vault-Token:  t \r\n"
                .into(),
            body: b"grant_type=client_credentials&scope=https%3A%2F%2Fx%2F.default&odd=%zz%4".to_vec(),
        };
        assert_eq!((request.method(), request.path()), ("PUT", "/v1/a%2Fb/c"));
        assert_eq!(request.segments(), ["v1", "a/b", "c"]);
        assert_eq!(request.query("name").as_deref(), Some("a b c"));
        assert_eq!(request.query("flag").as_deref(), Some(""));
        assert_eq!(request.query("none"), None);
        assert_eq!(request.header("x-vault-token"), Some("t"));
        assert_eq!(request.form("scope").as_deref(), Some("https://x/.default"));
        assert_eq!(request.form("odd").as_deref(), Some("%zz%4"));
        assert_eq!(request.json(), Value::Null);
    }
}
