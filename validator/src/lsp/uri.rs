//! `file:` addresses and paths.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use lsp_types::Uri;

/// The absolute path of a `file:` address of this machine; `None` for any other address.
pub fn path(uri: &Uri) -> Option<PathBuf> {
    let rest = uri.as_str().strip_prefix("file://")?;
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let text = String::from_utf8(decoded(rest.strip_prefix('/')?)).ok()?;
    Some(PathBuf::from(format!("/{text}")))
}

/// The address of an absolute path; `None` for one that is not absolute.
pub fn of(path: &Path) -> Option<Uri> {
    let text = path.to_str().filter(|_| path.is_absolute())?;
    let mut out = String::from("file://");
    for byte in text.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            byte if byte.is_ascii_alphanumeric() => out.push(byte as char),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    Uri::from_str(&out).ok()
}

fn decoded(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        match digits.filter(|_| *first == b'%').and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_an_address_and_comes_back() {
        for (text, want) in [("/a/b.tf", "file:///a/b.tf"), ("/a b/é[1].tf", "file:///a%20b/%C3%A9%5B1%5D.tf")] {
            let uri = of(Path::new(text)).unwrap();
            assert_eq!(uri.as_str(), want);
            assert_eq!(path(&uri).unwrap(), Path::new(text));
        }
        assert_eq!(path(&Uri::from_str("file://localhost/a%2fb").unwrap()).unwrap(), Path::new("/a/b"));
        for other in ["untitled:Untitled-1", "https://example.com/a.tf", "file://host/a.tf"] {
            assert_eq!(path(&Uri::from_str(other).unwrap()), None, "{other}");
        }
        assert_eq!(of(Path::new("a.tf")), None);
    }
}
