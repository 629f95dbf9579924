//! Zip archives without compression and without dates: the same files give the same bytes.

/// One file of an archive.
pub struct Entry<'a> {
    pub name: &'a str,
    /// Permissions, such as `0o755`.
    pub mode: u32,
    pub content: &'a [u8],
}

/// 1980-01-01, the first day there is.
const DATE: u16 = 1 << 5 | 1;
/// Made on Unix, so that permissions count; version 2.0.
const MADE_BY: u16 = 0x0314;
const NEEDS: u16 = 20;

/// The archive.
///
/// # Errors
/// What is too large for the format without its 64-bit extension: 4 GiB, 65,535 files.
pub fn archive(entries: &[Entry<'_>]) -> Result<Vec<u8>, String> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = short(out.len())?;
        let common = common(entry)?;
        out.extend(b"PK\x03\x04");
        out.extend(NEEDS.to_le_bytes());
        out.extend(&common);
        out.extend(entry.name.as_bytes());
        out.extend(entry.content);
        directory.extend(b"PK\x01\x02");
        directory.extend(MADE_BY.to_le_bytes());
        directory.extend(NEEDS.to_le_bytes());
        directory.extend(&common);
        // No comment, first disk, no text.
        directory.extend([0; 6]);
        directory.extend(((0o100_000 | entry.mode) << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(entry.name.as_bytes());
    }
    let (start, size) = (short(out.len())?, short(directory.len())?);
    let count = u16::try_from(entries.len()).map_err(|_| "too many files for a zip".to_owned())?;
    out.extend(directory);
    out.extend(b"PK\x05\x06");
    out.extend([0; 4]);
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    Ok(out)
}

/// What both headers of a file have in common.
fn common(entry: &Entry<'_>) -> Result<Vec<u8>, String> {
    let size = short(entry.content.len())?;
    let name = u16::try_from(entry.name.len()).map_err(|_| format!("{}: too long a name", entry.name))?;
    let mut out = Vec::with_capacity(24);
    // No flags, stored as it is, midnight.
    out.extend([0; 6]);
    out.extend(DATE.to_le_bytes());
    out.extend(crc32(entry.content).to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(name.to_le_bytes());
    // No extra field.
    out.extend([0; 2]);
    Ok(out)
}

fn short(n: usize) -> Result<u32, String> {
    u32::try_from(n).map_err(|_| format!("{n} bytes are too much for a zip"))
}

/// CRC-32 of IEEE 802.3, a byte at a time.
fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|n| {
        (0..8).fold(n as u32, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    !bytes.iter().fold(!0, |crc, byte| crc >> 8 ^ table[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end at once")]

    use super::*;

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn an_archive_has_its_files_twice_in_headers_and_once_in_bytes() {
        let entries =
            [Entry { name: "a", mode: 0o644, content: b"first" }, Entry { name: "b", mode: 0o755, content: b"second" }];
        let zip = archive(&entries).unwrap();
        assert_eq!(zip, archive(&entries).unwrap());
        let count = |what: &[u8]| zip.windows(what.len()).filter(|w| *w == what).count();
        assert_eq!((count(b"PK\x03\x04"), count(b"PK\x01\x02"), count(b"PK\x05\x06")), (2, 2, 1));
        assert_eq!((count(b"first"), count(b"second")), (1, 1));
        assert_eq!(zip.len(), 2 * (30 + 46 + 2) + 5 + 6 + 22);
    }
}
