//! Names of objects: DNS labels of at most 40 characters, so that derived host names fit 63.

/// The pattern of every name, anchored.
pub const PATTERN: &str = "^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$";

/// Whether `s` is a name.
pub fn is_name(s: &str) -> bool {
    let b = s.as_bytes();
    !b.is_empty()
        && b.len() <= 40
        && b[0].is_ascii_lowercase()
        && b[b.len() - 1] != b'-'
        && b.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-')
}
