//! OCI image references by one grammar: `[host[:port]/]path[:tag][@sha256:…]`.

/// A parsed reference. `host` is empty for short names, which the server refuses: a registry is never guessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    pub host: String,
    pub path: String,
    pub tag: Option<String>,
    /// `sha256:` and 64 hex digits.
    pub digest: Option<String>,
}

impl ImageRef {
    /// `host/path`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }
    /// `host/path@digest`.
    pub fn with_digest(&self, digest: &str) -> String {
        format!("{}@{digest}", self.repository())
    }
}

/// Parses `s`.
///
/// # Errors
/// What is wrong, for people.
pub fn parse(s: &str) -> Result<ImageRef, String> {
    if s.len() > 512 {
        return Err("is longer than 512 characters".into());
    }
    let (rest, digest) = match s.split_once('@') {
        Some((rest, d)) => {
            let hex = d.strip_prefix("sha256:").ok_or("has a digest that does not start with sha256:")?;
            if hex.len() != 64 || !hex.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)) {
                return Err("has a digest that is not 64 lower-case hex digits".into());
            }
            (rest, Some(d.to_owned()))
        }
        None => (s, None),
    };
    let (host, rest) = match rest.split_once('/') {
        Some((h, r)) if h.contains(['.', ':']) || h == "localhost" => (h, r),
        _ => return Err("does not name a registry: write it as registry.example.com/team/app:1.0".into()),
    };
    let (name, port) = host.split_once(':').map_or((host, None), |(n, p)| (n, Some(p)));
    if name.is_empty()
        || name.split('.').any(|l| {
            l.is_empty()
                || l.starts_with('-')
                || l.ends_with('-')
                || !l.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        })
        || port.is_some_and(|p| p.parse::<u16>().is_err())
    {
        return Err(format!("has an invalid registry {host:?}"));
    }
    let (path, tag) = match rest.rsplit_once(':') {
        Some((p, t)) => (p, Some(t)),
        None => (rest, None),
    };
    let component = |c: &str| {
        !c.is_empty()
            && c.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
            && c.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && c.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric())
            && !c.contains("..")
    };
    if !path.split('/').all(component) {
        return Err(format!("has an invalid repository {path:?}"));
    }
    if let Some(t) = tag
        && (t.is_empty()
            || t.len() > 128
            || t.starts_with(['.', '-'])
            || !t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)))
    {
        return Err(format!("has an invalid tag {t:?}"));
    }
    if tag.is_none() && digest.is_none() {
        return Err("has neither tag nor digest: say which version, for example :1.0".into());
    }
    Ok(ImageRef { host: host.to_owned(), path: path.to_owned(), tag: tag.map(Into::into), digest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_parse_by_one_grammar() {
        let r = parse("127.0.0.1:5000/demo/hello:1").unwrap();
        assert_eq!((r.host.as_str(), r.path.as_str(), r.tag.as_deref()), ("127.0.0.1:5000", "demo/hello", Some("1")));
        let d = format!("r.example.com/a@sha256:{}", "0".repeat(64));
        assert!(parse(&d).unwrap().digest.is_some());
        for bad in [
            "",
            "hello:1",
            "r.example.com/../x:1",
            "r.example.com/a",
            "r.example.com/A:1",
            "r.example.com/a:",
            "registry@x/a:1",
            "/etc/passwd:1",
            "r.example.com/a@md5:00",
            "-x.com/a:1",
            "r.example.com/a\n:1",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(s in "\\PC{0,80}") { let _ = parse(&s); }
    }
}
