//! Fixes: edits on ranges of bytes, applied to the bytes of a file. No tree is ever printed, so format and comments stay.
//!
//! A fix is only what keeps the meaning of the configuration. Nothing here writes a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::ast::Span;
use crate::finding::{Edit, Fix};
use crate::lint::Report;
use crate::module::SourceFile;
use crate::parse::parse;

/// Lines of context around a change in a diff.
const CONTEXT: usize = 3;
/// Fixes that are tried one by one, when all of a file together do not parse.
const MAX_TRIES: usize = 100;
/// Where Terraform keeps modules that it has fetched.
const INSTALLED: &str = ".terraform";

/// A file that fixes change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file, as it was named.
    pub name: String,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    /// Findings that go.
    pub fixes: usize,
    /// In order, none over another.
    edits: Vec<Edit>,
}

/// What the fixes of a report change in files below `paths`. Modules elsewhere, and installed ones, belong to others.
pub fn changes(report: &Report, paths: &[PathBuf]) -> Vec<Change> {
    let mut by_file: BTreeMap<u32, Vec<&Fix>> = BTreeMap::new();
    for fix in report.findings.iter().filter_map(|f| f.fix.as_ref()) {
        if let Some(edit) = fix.edits.first() {
            by_file.entry(edit.place.file).or_default().push(fix);
        }
    }
    let owned: Vec<PathBuf> = paths.iter().filter_map(|path| folder_of(path)).collect();
    let file = |index: u32| report.tree.files.get(index as usize).filter(|file| is_ours(file, &owned));
    by_file.into_iter().filter_map(|(index, fixes)| change(file(index)?, &fixes)).collect()
}

/// The edits of one fix, if what they make can be read. Nothing for installed modules, which belong to others.
pub fn alone(report: &Report, fix: &Fix) -> Option<Vec<Edit>> {
    let file = report.tree.files.get(fix.edits.first()?.place.file as usize)?;
    let is_installed = Path::new(&file.name).components().any(|part| part.as_os_str() == INSTALLED);
    change(file, &[fix]).filter(|_| !is_installed).map(|change| change.edits)
}

/// All fixes of a file together, or, if that would not parse, those that do alone.
fn change(file: &SourceFile, fixes: &[&Fix]) -> Option<Change> {
    let most = parse(&file.text).1.len();
    let parses = |edits: &[Edit]| parse(&apply(&file.text, edits)).1.len() <= most;
    let (mut edits, mut count) = joined(fixes);
    if !parses(&edits) {
        let alone: Vec<&Fix> = fixes.iter().take(MAX_TRIES).copied().filter(|fix| parses(&joined(&[fix]).0)).collect();
        (edits, count) = joined(&alone);
    }
    let after = apply(&file.text, &edits);
    let is_good = after != file.text && parses(&edits);
    is_good.then(|| Change { name: file.name.clone(), before: file.text.clone(), after, fixes: count, edits })
}

/// Edits in order, without the fixes that would change what another one has changed; how many fixes those are.
fn joined(fixes: &[&Fix]) -> (Vec<Edit>, usize) {
    let (mut all, mut count) = (BTreeMap::new(), 0);
    for fix in fixes {
        let clash = |edit: &Edit| {
            let span = edit.place.span;
            let before: Option<(&Span, &Edit)> = all.range(..=span).next_back();
            let after: Option<(&Span, &Edit)> = all.range(span..).next();
            before.into_iter().chain(after).any(|(other, _)| overlap(span, *other))
        };
        if !fix.edits.iter().any(clash) {
            all.extend(fix.edits.iter().map(|edit| (edit.place.span, edit.clone())));
            count += 1;
        }
    }
    (all.into_values().collect(), count)
}

fn overlap(a: Span, b: Span) -> bool {
    a.start < b.end && b.start < a.end || a == b
}

fn folder_of(path: &Path) -> Option<PathBuf> {
    let real = path.canonicalize().ok()?;
    if real.is_dir() { Some(real) } else { real.parent().map(Path::to_owned) }
}

fn is_ours(file: &SourceFile, owned: &[PathBuf]) -> bool {
    let Ok(real) = Path::new(&file.name).canonicalize() else { return false };
    let below = |folder: &PathBuf| {
        real.strip_prefix(folder).is_ok_and(|rest| rest.components().all(|part| part.as_os_str() != INSTALLED))
    };
    owned.iter().any(below)
}

fn apply(text: &[u8], edits: &[Edit]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    for edit in edits {
        out.extend_from_slice(Span::new(at, edit.place.span.start).of(text));
        out.extend_from_slice(edit.text.as_bytes());
        at = edit.place.span.end;
    }
    out.extend_from_slice(text.get(at as usize..).unwrap_or_default());
    out
}

/// Old lines, and what comes instead of them.
struct Region {
    first: usize,
    end: usize,
    new: Vec<u8>,
}

impl Change {
    /// A unified diff.
    pub fn diff(&self) -> String {
        let lines: Vec<&[u8]> = self.before.split_inclusive(|byte| *byte == b'\n').collect();
        let mut out = format!("--- {}\n+++ {}\n", self.name, self.name);
        let mut shift: isize = 0;
        for hunk in hunks(self.regions(&lines)) {
            let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
            let start = first.first.saturating_sub(CONTEXT);
            let end = (last.end + CONTEXT).min(lines.len());
            let (mut body, mut at, mut added) = (String::new(), start, 0);
            for region in &hunk {
                push_lines(' ', &lines[at..region.first], &mut body);
                push_lines('-', &lines[region.first..region.end], &mut body);
                let new: Vec<&[u8]> = region.new.split_inclusive(|byte| *byte == b'\n').collect();
                push_lines('+', &new, &mut body);
                added += new.len() as isize - (region.end - region.first) as isize;
                at = region.end;
            }
            push_lines(' ', &lines[at..end], &mut body);
            let old = end - start;
            let new = old.saturating_add_signed(added);
            let from = start.saturating_add_signed(shift);
            out.push_str(&format!("@@ -{} +{} @@\n{body}", range(start, old), range(from, new)));
            shift += added;
        }
        out
    }

    fn regions(&self, lines: &[&[u8]]) -> Vec<Region> {
        let mut starts = Vec::with_capacity(lines.len() + 1);
        let mut at = 0_u32;
        for line in lines {
            starts.push(at);
            at += line.len() as u32;
        }
        starts.push(at);
        let line_of = |byte: u32| starts.partition_point(|start| *start <= byte).saturating_sub(1);
        let mut regions: Vec<(usize, usize, Vec<Edit>)> = Vec::new();
        for edit in &self.edits {
            let span = edit.place.span;
            let first = line_of(span.start).min(lines.len().saturating_sub(1));
            // A line that is taken out as a whole does not touch the next one.
            let whole = starts.binary_search(&span.start).is_ok() && starts.binary_search(&span.end).is_ok();
            let end = if whole && edit.text.is_empty() { line_of(span.end) } else { line_of(span.end) + 1 };
            let end = end.clamp(first + 1, lines.len().max(first + 1));
            match regions.last_mut() {
                Some((_, last, edits)) if *last > first => {
                    *last = end.max(*last);
                    edits.push(edit.clone());
                }
                _ => regions.push((first, end, vec![edit.clone()])),
            }
        }
        let region = |(first, end, edits): (usize, usize, Vec<Edit>)| {
            let (from, to) = (starts[first], starts.get(end).copied().unwrap_or(at));
            let moved = |edit: Edit| {
                let span = Span::new(edit.place.span.start - from, edit.place.span.end - from);
                Edit { place: crate::finding::Place { span, ..edit.place }, ..edit }
            };
            let edits: Vec<Edit> = edits.into_iter().map(moved).collect();
            Region { first, end, new: apply(Span::new(from, to).of(&self.before), &edits) }
        };
        regions.into_iter().map(region).collect()
    }
}

/// Regions whose context would meet are one hunk.
fn hunks(regions: Vec<Region>) -> Vec<Vec<Region>> {
    let mut all: Vec<Vec<Region>> = Vec::new();
    for region in regions {
        match all.last_mut() {
            Some(hunk) if hunk.last().is_some_and(|last| region.first <= last.end + 2 * CONTEXT) => hunk.push(region),
            _ => all.push(vec![region]),
        }
    }
    all
}

/// `start,count` as diffs have it: lines from 1, and the line before where there is none.
fn range(start: usize, count: usize) -> String {
    let first = if count == 0 { start } else { start + 1 };
    if count == 1 { first.to_string() } else { format!("{first},{count}") }
}

fn push_lines(mark: char, lines: &[&[u8]], out: &mut String) {
    for line in lines {
        out.push(mark);
        let text = String::from_utf8_lossy(line);
        out.push_str(&text);
        if !text.ends_with('\n') {
            out.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Place;

    fn change(before: &str, edits: &[(&str, &str)]) -> Change {
        let edit = |(old, new): &(&str, &str)| {
            let start = before.find(old).unwrap() as u32;
            let span = Span::new(start, start + old.len() as u32);
            Edit { place: Place { file: 0, span }, text: (*new).to_owned() }
        };
        let edits: Vec<Edit> = edits.iter().map(edit).collect();
        let (before, name) = (before.as_bytes().to_vec(), "a.tf".to_owned());
        Change { after: apply(&before, &edits), name, before, fixes: edits.len(), edits }
    }

    #[test]
    fn a_diff_has_the_form_that_patch_reads() {
        let one = change("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl", &[("b", "B"), ("l", "L")]);
        assert_eq!(
            one.diff(),
            "--- a.tf\n+++ a.tf\n@@ -1,5 +1,5 @@\n a\n-b\n+B\n c\n d\n e\n@@ -9,4 +9,4 @@\n i\n j\n k\n-l\n\\ No newline at end of \
             file\n+L\n\\ No newline at end of file\n"
        );
        let gone = change("x\n# c\ny\n", &[("# c\n", "")]);
        assert_eq!(gone.diff(), "--- a.tf\n+++ a.tf\n@@ -1,3 +1,2 @@\n x\n-# c\n y\n");
        let all = change("# c\n", &[("# c\n", "")]);
        assert_eq!(all.diff(), "--- a.tf\n+++ a.tf\n@@ -1 +0,0 @@\n-# c\n");
        let two = change("\"1\" \"2\"\n", &[("\"1\"", "1"), ("\"2\"", "2")]);
        assert_eq!(two.diff(), "--- a.tf\n+++ a.tf\n@@ -1 +1 @@\n-\"1\" \"2\"\n+1 2\n");
    }
}
