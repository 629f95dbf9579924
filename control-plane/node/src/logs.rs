//! Reads log files as the container runtime writes them: `<time> <stdout|stderr> <F|P> <text>`, one per line.
//! `P` is a part of a long line, joined with what follows on the same stream.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use sampan_engine::runtime::LogLine;

#[derive(Default)]
struct Open {
    time: String,
    text: String,
}

/// Whole records of `bytes`, and how many bytes they and everything before them take.
///
/// A record that ends after another stream's record began is given back only with that one, so that reading on from
/// the returned length neither repeats nor loses anything. `force` gives up on that for a line that fills the buffer.
pub fn parse(bytes: &[u8], force: bool) -> (Vec<LogLine>, usize) {
    let mut lines = Vec::new();
    let mut open: [Option<Open>; 2] = [None, None];
    let (mut position, mut safe, mut safe_lines) = (0, 0, 0);
    while let Some(length) = bytes[position..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[position..position + length];
        position += length + 1;
        let text = String::from_utf8_lossy(line);
        let mut fields = text.splitn(4, ' ');
        if let (Some(time), Some(stream), Some(tag)) = (fields.next(), fields.next(), fields.next()) {
            let text = fields.next().unwrap_or_default();
            let stderr = stream == "stderr";
            if stderr || stream == "stdout" {
                let slot = &mut open[usize::from(stderr)];
                let record = slot.get_or_insert_with(|| Open { time: time.to_string(), text: String::new() });
                record.text.push_str(text);
                // Tags may be several, separated by colons; the first one says part or full.
                if tag.split(':').next() != Some("P") {
                    if let Some(record) = slot.take() {
                        lines.push(LogLine { time: record.time, stderr, text: record.text });
                    }
                }
            }
        }
        if open.iter().all(Option::is_none) {
            safe = position;
            safe_lines = lines.len();
        }
    }
    if force && safe == 0 && position > 0 {
        for (index, slot) in open.into_iter().enumerate() {
            if let Some(record) = slot {
                lines.push(LogLine { time: record.time, stderr: index == 1, text: record.text });
            }
        }
        return (lines, position);
    }
    lines.truncate(safe_lines);
    (lines, safe)
}

/// Reads at most `max_bytes` from `offset`. A missing file is an empty one.
pub fn read(path: &Path, offset: u64, max_bytes: usize) -> std::io::Result<(Vec<LogLine>, u64)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    // A file shorter than the offset was replaced: start over.
    let offset = if offset > file.metadata()?.len() { 0 } else { offset };
    // Always enough for one record of the longest kind.
    let limit = max_bytes.clamp(64 * 1024, 16 * 1024 * 1024);
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(limit as u64).read_to_end(&mut bytes)?;
    let full = bytes.len() == limit;
    let (lines, used) = parse(&bytes, full);
    Ok((lines, offset + used as u64))
}

/// The last `count` records within the last `max_bytes`, and the offset to read on from.
pub fn tail(path: &Path, count: usize, max_bytes: usize) -> std::io::Result<(Vec<LogLine>, u64)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    let limit = max_bytes.clamp(64 * 1024, 16 * 1024 * 1024) as u64;
    let mut start = size.saturating_sub(limit);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    if start > 0 {
        let cut = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        bytes.drain(..cut);
        start += cut as u64;
    }
    let (mut lines, used) = parse(&bytes, false);
    lines.drain(..lines.len().saturating_sub(count));
    Ok((lines, start + used as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "2026-01-01T00:00:00.000000001Z stdout F one\n\
                        2026-01-01T00:00:00.000000002Z stdout P tw\n\
                        2026-01-01T00:00:00.000000003Z stderr F err or\n\
                        2026-01-01T00:00:00.000000004Z stdout F o\n\
                        2026-01-01T00:00:00.000000005Z stdout F \n\
                        2026-01-01T00:00:00.000000006Z stdout F unfin";

    fn texts(lines: &[LogLine]) -> Vec<(&str, bool)> {
        lines.iter().map(|line| (line.text.as_str(), line.stderr)).collect()
    }

    #[test]
    fn parts_are_joined_per_stream() {
        let (lines, used) = parse(TEXT.as_bytes(), false);
        assert_eq!(texts(&lines), [("one", false), ("err or", true), ("two", false), ("", false)]);
        assert_eq!(lines[2].time, "2026-01-01T00:00:00.000000002Z");
        assert_eq!(&TEXT[used..][..20], "2026-01-01T00:00:00.");
    }

    #[test]
    fn reading_on_neither_repeats_nor_loses_at_any_cut() {
        let (whole, _) = parse(TEXT.as_bytes(), false);
        for cut in 0..TEXT.len() {
            let (mut first, used) = parse(&TEXT.as_bytes()[..cut], false);
            let (second, _) = parse(&TEXT.as_bytes()[used..], false);
            first.extend(second);
            assert_eq!(first, whole, "cut at {cut}");
        }
    }

    #[test]
    fn junk_never_panics() {
        for bytes in [&b"\n\n \n"[..], b"a b\n", b"\xff\xfe stdout F \xff\n", b"x stdout\n", b""] {
            let _ = parse(bytes, true);
        }
    }

    #[test]
    fn tail_takes_the_last_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("main-0.log");
        std::fs::write(&path, TEXT).unwrap();
        let (lines, next) = tail(&path, 2, 1 << 20).unwrap();
        assert_eq!(texts(&lines), [("two", false), ("", false)]);
        assert_eq!(read(&path, next, 1 << 20).unwrap(), (Vec::new(), next));
        assert_eq!(read(&folder.path().join("none"), 0, 10).unwrap(), (Vec::new(), 0));
    }
}
