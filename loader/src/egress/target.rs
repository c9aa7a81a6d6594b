//! Where a request goes: its URL, read once.

use http::Uri;
use http::uri::Scheme;

use super::sockets::normal;

/// A checked URL of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) encryption: Encryption,
    /// A name in lower case, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query, with the `/` at its start; no `.` and `..` among its parts.
    pub(crate) path: String,
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encryption {
    Plain,
    Tls,
}

impl Encryption {
    fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Plain => 80,
            Self::Tls => 443,
        }
    }
}

impl Target {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn of(uri: &Uri) -> Result<Self, String> {
        let encryption = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => Encryption::Plain,
            Some(scheme) if *scheme == Scheme::HTTPS => Encryption::Tls,
            Some(scheme) => return Err(format!("the scheme `{scheme}` is neither `http` nor `https`")),
            None => return Err("the URL has no scheme, expected `http://` or `https://`".to_owned()),
        };
        let authority = uri.authority().ok_or("the URL has no host")?;
        if authority.as_str().contains('@') {
            return Err("the URL has a user, which belongs in a header".to_owned());
        }
        let host = normal(authority.host()).map_err(|()| format!("`{}` is no host", authority.host()))?;
        // A port that is no number of 16 bits counts as none.
        let names_port = authority.as_str().len() > authority.host().len();
        let port = match (authority.port_u16(), names_port) {
            (Some(0), _) | (None, true) => {
                return Err("the URL has no port that can be reached".to_owned());
            }
            (Some(port), _) => port,
            (None, false) => encryption.port(),
        };
        let path = match uri.query() {
            Some(query) => format!("{}?{query}", without_dots(uri.path())),
            None => without_dots(uri.path()),
        };
        Ok(Self { encryption, host, port, path })
    }

    /// Reads the text of an absolute URL; what comes after `#` is left out.
    ///
    /// # Errors
    /// What is wrong with it.
    #[cfg(feature = "lua")]
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let url = url.split('#').next().unwrap_or(url);
        let uri: Uri = url.parse().map_err(|error| format!("the URL can't be read: {error}"))?;
        Self::of(&uri)
    }

    /// What `reference`, of a `location` header, means from here.
    ///
    /// # Errors
    /// Those of [`Target::parse`].
    #[cfg(feature = "lua")]
    pub(crate) fn join(&self, reference: &str) -> Result<Self, String> {
        let reference = reference.split('#').next().unwrap_or(reference);
        let origin = format!("{}://{}", self.encryption.scheme(), self.authority());
        let path = self.path.split('?').next().unwrap_or_default();
        let absolute = if reference.starts_with("//") {
            format!("{}:{reference}", self.encryption.scheme())
        } else if reference.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
            reference.to_owned()
        } else if reference.starts_with('/') {
            format!("{origin}{reference}")
        } else if reference.starts_with('?') {
            format!("{origin}{path}{reference}")
        } else if reference.is_empty() {
            format!("{origin}{}", self.path)
        } else {
            let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
            format!("{origin}{folder}{reference}")
        };
        Self::parse(&absolute)
    }

    /// Host and port as headers and URLs have them: the port only if it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.encryption.port() { host } else { format!("{host}:{}", self.port) }
    }

    /// The URL as policies see it.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}{}", self.encryption.scheme(), self.authority(), self.path)
    }

    /// Whether `other` is of the same server.
    #[cfg(feature = "lua")]
    pub(crate) fn same_server(&self, other: &Self) -> bool {
        (self.encryption, &self.host, self.port) == (other.encryption, &other.host, other.port)
    }
}

/// `path` without `.` and `..`, however they are written: a policy on `/public/*` is not for `/public/../x`.
fn without_dots(path: &str) -> String {
    let plain = |part: &str| part.to_ascii_lowercase().replace("%2e", ".");
    if !path.split('/').any(|part| matches!(plain(part).as_str(), "." | "..")) {
        return if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    }
    let mut parts: Vec<&str> = Vec::new();
    let given: Vec<&str> = path.split('/').skip(1).collect();
    for (at, part) in given.iter().enumerate() {
        let is_last = at + 1 == given.len();
        match plain(part).as_str() {
            "." if is_last => parts.push(""),
            "." => {}
            ".." => {
                parts.pop();
                if is_last {
                    parts.push("");
                }
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<String, String> {
        Target::parse(text).map(|target| target.url())
    }

    #[test]
    fn urls_have_one_spelling() {
        for (given, expected) in [
            ("http://Example.COM", "http://example.com/"),
            ("https://example.com:443/a?b=c#d", "https://example.com/a?b=c"),
            ("http://example.com.:8080/", "http://example.com:8080/"),
            ("http://[::1]:80/x", "http://[::1]/x"),
            ("http://[::ffff:10.0.0.1]/", "http://10.0.0.1/"),
            ("http://h/public/../admin", "http://h/admin"),
            ("http://h/a/%2E%2e/b/./c/..", "http://h/b/"),
            ("http://h/../..", "http://h/"),
            ("http://h?q", "http://h/?q"),
        ] {
            assert_eq!(url(given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn what_is_no_url() {
        for text in [
            "",
            "example.com",
            "/path",
            "ftp://h/",
            "http://",
            "http://user@h/",
            "http://a:b@h/",
            "http://h:0/",
            "http://h:/",
            "http://h:70000/",
            "http://h h/",
            "http://exämple/",
            "file:///etc/passwd",
            "http://h_$/",
        ] {
            assert!(url(text).is_err(), "{text}: {:?}", url(text));
        }
    }

    #[test]
    fn references_are_joined() {
        let base = Target::parse("https://h:8443/a/b?q=1").unwrap();
        for (reference, expected) in [
            ("c", "https://h:8443/a/c"),
            ("../c", "https://h:8443/c"),
            ("/c?x", "https://h:8443/c?x"),
            ("?x", "https://h:8443/a/b?x"),
            ("//other/c", "https://other/c"),
            ("http://other/c", "http://other/c"),
            ("#part", "https://h:8443/a/b?q=1"),
            ("c?to=http://x/", "https://h:8443/a/c?to=http://x/"),
        ] {
            assert_eq!(base.join(reference).unwrap().url(), expected, "{reference}");
        }
        assert!(base.join("file:///etc/passwd").is_err());
    }
}
