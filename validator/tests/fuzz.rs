//! The linter under input that nobody meant: real configuration and plans with bytes and words changed, cut, repeated and
//! spliced. It neither panics nor takes longer than [`PATIENCE`].
//!
//! A short run is part of every test; `make fuzz` runs for `SAMPAN_FUZZ_SECONDS`. A finding names its seed, and
//! `SAMPAN_FUZZ_SEED` runs it again alone.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use sampan_validator::lint::{Settings, lint};
use sampan_validator::report::{Detail, Format, render};
use sampan_validator::{parse, plan};

/// Cases of the short run, without optimisation.
const SHORT: u64 = 500;
/// For one case; the budget of an evaluation is 10 s of a core.
const PATIENCE: Duration = Duration::from_mins(1);
const FORMATS: [Format; 8] = [
    Format::Human,
    Format::Compact,
    Format::Json,
    Format::Sarif,
    Format::Junit,
    Format::Github,
    Format::Gitlab,
    Format::Checkstyle,
];

/// Words that change what is around them.
const WORDS: [&str; 40] = [
    "${",
    "%{",
    "}",
    "{",
    "[",
    "]",
    "(",
    ")",
    "\"",
    "<<-X\n",
    "\nX\n",
    "=",
    "==",
    "=>",
    "...",
    "[*]",
    ".*",
    "?",
    ":",
    ",",
    "for x in ",
    "if ",
    "null",
    "\u{0}",
    "\u{feff}",
    "𝄞",
    "1e999",
    "-",
    "!",
    "range(1000000)",
    "each.value",
    "count.index",
    "var.image",
    "local.a",
    "module.a.b",
    "merge(",
    "templatestring(",
    "flatten([",
    "/*",
    "dynamic \"a\" {\n",
];

/// A generator of its own (splitmix64), so that a seed means the same on every machine and in every release.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A piece of a file, of up to so many bytes.
    fn piece(&mut self, of: &[Vec<u8>], most: usize) -> Vec<u8> {
        let file = self.one(of);
        let from = self.below(file.len());
        file[from..(from + self.below(most)).min(file.len())].to_vec()
    }

    /// A file with a few places changed; sometimes none.
    fn harmed(&mut self, of: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.one(of).clone();
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len() + 1);
            match self.below(7) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => drop(bytes.drain(at..(at + 1 + self.below(40)).min(bytes.len()))),
                3 => {
                    let piece = self.piece(of, 400);
                    bytes.splice(at..at, piece);
                }
                4 => {
                    // Deep, rather than wide.
                    let word = self.one(&WORDS).repeat(1 + self.below(300));
                    bytes.splice(at..at, word.into_bytes());
                }
                _ => {
                    let word = self.one(&WORDS);
                    bytes.splice(at..at, word.bytes());
                }
            }
        }
        bytes
    }
}

fn files(below: &Path, ext: &str) -> Vec<Vec<u8>> {
    let (mut found, mut folders) = (Vec::new(), vec![below.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == ext) {
                found.push((path.clone(), std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, bytes)| bytes).collect()
}

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

static CONFIGURATIONS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut all = files(&here().join("tests/bad"), "tf");
    all.extend(files(&here().join("../examples"), "tf"));
    all
});
static PLANS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| files(&here().join("tests"), "json"));

/// Runs cases until the time or their number is over; a finding names its seed.
fn fuzz(case: fn(&mut Dice)) {
    let var = |key: &str| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let run = |seed: u64| {
        let begun = Instant::now();
        let found = std::panic::catch_unwind(|| case(&mut Dice(seed)));
        let late = begun.elapsed() > PATIENCE;
        if found.is_err() || late {
            eprintln!("found with SAMPAN_FUZZ_SEED={seed}, after {:?}", begun.elapsed());
        }
        if let Err(found) = found {
            std::panic::resume_unwind(found);
        }
        assert!(!late, "a case takes too long");
    };
    if let Some(seed) = var("SAMPAN_FUZZ_SEED") {
        return run(seed);
    }
    let end = var("SAMPAN_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // The long run begins elsewhere each time; the short one is the same for everybody.
    let first = end.map_or(0, |_| u64::from(std::process::id()) << 32);
    let cases = if end.is_some() { u64::MAX - first } else { SHORT };
    let mut done = 0_u64;
    for seed in (0..cases).map(|n| first + n) {
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        run(seed);
        done += 1;
    }
    eprintln!("{done} cases");
}

fn settings(paths: Vec<PathBuf>) -> Settings {
    Settings::new(paths, "2027-01-15".into())
}

/// Says something in every form, and the same again for the same input.
fn told(settings: &Settings) {
    let (one, two) = (lint(settings), lint(settings));
    match (one, two) {
        (Ok(one), Ok(two)) => {
            for format in FORMATS {
                let text = render(&one, format, Detail::default());
                assert_eq!(text, render(&two, format, Detail::default()));
                if matches!(format, Format::Json | Format::Sarif | Format::Gitlab) {
                    serde_json::from_str::<serde_json::Value>(&text).unwrap();
                }
            }
        }
        (one, two) => assert_eq!(one.err(), two.err()),
    }
}

#[test]
fn any_bytes_are_parsed_or_refused() {
    fuzz(|dice| {
        let bytes = dice.harmed(&CONFIGURATIONS);
        let length = u32::try_from(bytes.len()).unwrap();
        for diagnostics in [parse::parse(&bytes).1, parse::parse_expression(&bytes).2, parse::parse_template(&bytes).2]
        {
            for diagnostic in diagnostics {
                let span = diagnostic.span;
                assert!(span.start <= span.end && span.start <= length, "{span:?} of {length} bytes");
            }
        }
    });
}

#[test]
fn any_configuration_is_judged_in_bounded_time() {
    fuzz(|dice| {
        let folder = tempfile::tempdir().unwrap();
        for name in ["main.tf", "other.tf", "terraform.tfvars"].iter().take(1 + dice.below(3)) {
            std::fs::write(folder.path().join(name), dice.harmed(&CONFIGURATIONS)).unwrap();
        }
        if dice.below(3) == 0 {
            std::fs::write(folder.path().join("more.tf.json"), dice.harmed(&PLANS)).unwrap();
        }
        told(&settings(vec![folder.path().to_path_buf()]));
    });
}

#[test]
fn any_plan_is_judged_or_refused() {
    assert!(!PLANS.is_empty());
    fuzz(|dice| {
        let bytes = dice.harmed(&PLANS);
        let _ = plan::read(&bytes, "plan.json");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plan.json");
        std::fs::write(&file, bytes).unwrap();
        let mut settings = settings(vec![folder.path().to_path_buf()]);
        settings.plan = Some(file);
        told(&settings);
    });
}
