//! Logs in the form that Terraform reads: one JSON object per line on stderr.
//!
//! A record stays below the host's line buffer of 64 KiB, a time has exactly six decimals, and values that are
//! known to be secret are masked wherever they occur in the text.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber, span};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Longest record in bytes, newline included.
pub const RECORD_LIMIT: usize = 64 * 1024 - 1;
/// Longest text of one field before the record as a whole is looked at.
const TEXT_LIMIT: usize = 16 * 1024;
/// Shorter values are not masked: they would occur in half of all words.
const SECRET_MIN: usize = 4;
const MASK: &str = "(sensitive value)";

/// Values that must not appear in the log or in a diagnostic, counted, because two calls may hold the same one.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<Mutex<BTreeMap<SecretText, usize>>>);

/// Longest first, so that a secret that holds another one is masked as a whole.
#[derive(Clone, PartialEq, Eq)]
struct SecretText(String);

impl Ord for SecretText {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.0.len().cmp(&self.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for SecretText {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

/// Keeps its values secret while it lives.
#[derive(Debug)]
#[must_use = "the values are masked only while the guard lives"]
pub struct SecretsGuard {
    secrets: Secrets,
    held: Vec<SecretText>,
}

impl Secrets {
    /// Masks the values until the guard is dropped. Values shorter than four bytes are left out.
    pub fn hold(&self, values: impl IntoIterator<Item = String>) -> SecretsGuard {
        let mut held = Vec::new();
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for value in values {
            // A line of a text with several lines gives it away as well as the whole.
            let mut parts: Vec<&str> = value.lines().map(str::trim).collect();
            parts.push(&value);
            parts.sort_unstable();
            parts.dedup();
            for part in parts.into_iter().filter(|part| part.len() >= SECRET_MIN) {
                let text = SecretText(part.to_owned());
                *map.entry(text.clone()).or_insert(0) += 1;
                held.push(text);
            }
        }
        drop(map);
        SecretsGuard { secrets: self.clone(), held }
    }

    /// The text with every known secret replaced.
    pub fn mask(&self, text: &str) -> String {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = text.to_owned();
        for secret in map.keys() {
            if text.contains(&secret.0) {
                text = text.replace(&secret.0, MASK);
            }
        }
        text
    }
}

impl Drop for SecretsGuard {
    fn drop(&mut self) {
        let mut map = self.secrets.0.lock().unwrap_or_else(PoisonError::into_inner);
        for text in &self.held {
            if let Some(count) = map.get_mut(text) {
                *count -= 1;
                if *count == 0 {
                    map.remove(text);
                }
            }
        }
    }
}

/// The level that the environment asks of a provider with this local name (`acme` for `…/hashicorp/acme`).
///
/// `TF_LOG_PROVIDER_ACME` comes first, then `TF_LOG_PROVIDER`, then `TF_LOG`. `JSON` means everything, as in Terraform.
pub fn level_from(name: &str, var: impl Fn(&str) -> Option<String>) -> LevelFilter {
    let own = format!("TF_LOG_PROVIDER_{}", name.to_uppercase().replace('-', "_"));
    let text =
        [own.as_str(), "TF_LOG_PROVIDER", "TF_LOG"].into_iter().find_map(|key| var(key).filter(|v| !v.is_empty()));
    // Terraform discards the lines when nobody asked for them, so quiet is also fast.
    text.and_then(|text| level(&text)).unwrap_or(LevelFilter::WARN)
}

fn level(text: &str) -> Option<LevelFilter> {
    Some(match text.to_uppercase().as_str() {
        "TRACE" | "JSON" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "INFO" => LevelFilter::INFO,
        "WARN" => LevelFilter::WARN,
        "ERROR" => LevelFilter::ERROR,
        "OFF" => LevelFilter::OFF,
        _ => return None,
    })
}

/// The levels of subsystems: `TF_LOG_PROVIDER_ACME_HTTP=TRACE` is for events whose target begins with `http`.
pub fn subsystems_from(name: &str, vars: impl IntoIterator<Item = (String, String)>) -> Vec<(String, LevelFilter)> {
    let own = format!("TF_LOG_PROVIDER_{}_", name.to_uppercase().replace('-', "_"));
    let one = |(key, value): (String, String)| {
        let subsystem = key.strip_prefix(&own).filter(|rest| !rest.is_empty())?;
        Some((subsystem.to_lowercase(), level(&value)?))
    };
    vars.into_iter().filter_map(one).collect()
}

/// A `tracing` layer that writes to stderr.
pub fn layer(secrets: Secrets) -> HclogLayer<fn() -> std::io::Stderr> {
    HclogLayer::new(secrets, std::io::stderr)
}

/// Installs the layer for the whole process, unless a subscriber is there already.
pub fn init(name: &str, secrets: Secrets) {
    let level = level_from(name, |key| std::env::var(key).ok());
    // Below warnings the transport would write more than the provider itself.
    let quiet = level.min(LevelFilter::WARN);
    let targets = Targets::new().with_default(level).with_targets(
        ["h2", "hyper", "hyper_util", "tonic", "tower", "rustls", "tokio_util", "reqwest", "mio"].map(|t| (t, quiet)),
    );
    // Not `vars`, which panics on what is no Unicode.
    let vars =
        std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    let targets = targets.with_targets(subsystems_from(name, vars));
    // A subscriber that the program set by itself is its own choice.
    let _ = tracing_subscriber::registry().with(layer(secrets).with_filter(targets)).try_init();
}

/// Writes one hclog record per event; `W` makes the writer of a record.
#[derive(Debug)]
pub struct HclogLayer<W> {
    secrets: Secrets,
    writer: W,
}

impl<W, O> HclogLayer<W>
where
    W: Fn() -> O + 'static,
    O: Write,
{
    /// A layer with a writer of its own.
    pub fn new(secrets: Secrets, writer: W) -> Self {
        Self { secrets, writer }
    }
}

/// Fields of a span or event, in order.
#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        self.0.push((field.name().to_owned(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        if write!(text, "{value:?}").is_ok() {
            self.push(field, text.into());
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }
}

impl<S, W, O> Layer<S> for HclogLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn() -> O + 'static,
    O: Write,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, cx: Context<'_, S>) {
        if let Some(span) = cx.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, cx: Context<'_, S>) {
        if let Some(span) = cx.span(id) {
            if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
                values.record(fields);
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, cx: Context<'_, S>) {
        let mut fields = Fields::default();
        if let Some(scope) = cx.event_scope(event) {
            for span in scope.from_root() {
                if let Some(of_span) = span.extensions().get::<Fields>() {
                    fields.0.extend(of_span.0.iter().cloned());
                }
            }
        }
        event.record(&mut fields);
        let meta = event.metadata();
        let line = record(&self.secrets, *meta.level(), meta.target(), fields.0, SystemTime::now());
        // One write per record, so that lines of several threads do not mix. A host that is gone reads no log.
        let _ = (self.writer)().write_all(line.as_bytes());
    }
}

/// One line, newline included, never longer than [`RECORD_LIMIT`].
fn record(secrets: &Secrets, level: Level, target: &str, fields: Vec<(String, Value)>, now: SystemTime) -> String {
    let mut object = Map::new();
    let level = match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    object.insert("@level".to_owned(), level.into());
    object.insert("@message".to_owned(), "".into());
    object.insert("@timestamp".to_owned(), timestamp(now).into());
    object.insert("@module".to_owned(), format!("provider.{}", target.replace("::", ".")).into());
    for (key, value) in fields {
        let value = match value {
            Value::String(text) => Value::String(cut(&secrets.mask(&text), TEXT_LIMIT)),
            other => other,
        };
        // The host does not tolerate a message of another type.
        if key == "message" {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            object.insert("@message".to_owned(), text.into());
        } else if key.starts_with('@') {
            object.insert(key.trim_start_matches('@').to_owned(), value);
        } else {
            object.insert(key, value);
        }
    }
    let whole = render(&object);
    if whole.len() <= RECORD_LIMIT {
        return whole;
    }
    // Cutting the longest texts until it fits would be exact; a fixed short length for all is enough and ends.
    for limit in [2048, 256, 16] {
        for value in object.values_mut() {
            if let Value::String(text) = value {
                *text = cut(text, limit.max(32));
            }
        }
        let line = render(&object);
        if line.len() <= RECORD_LIMIT {
            return line;
        }
    }
    object.retain(|key, _| key.starts_with('@'));
    render(&object)
}

fn render(object: &Map<String, Value>) -> String {
    let mut line = serde_json::to_string(object).unwrap_or_default();
    line.push('\n');
    line
}

/// The text, or its beginning with a note, at most about `limit` bytes.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub(24);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… ({} bytes)", &text[..end], text.len())
}

/// `YYYY-MM-DDTHH:MM:SS.ffffffZ`: with other decimals the host takes the whole line as plain text.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", since.subsec_micros())
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, so that the leap day is the last of a year.
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(secrets: &Secrets, f: impl FnOnce()) -> Vec<Value> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::registry().with(HclogLayer::new(secrets.clone(), move || writer.clone()));
        tracing::subscriber::with_default(subscriber, f);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(|line| {
                assert!(line.len() < 64 * 1024, "a record of {} bytes", line.len());
                serde_json::from_str(line).unwrap()
            })
            .collect()
    }

    #[test]
    fn a_record_has_level_message_time_and_fields_of_its_spans() {
        let lines = logged(&Secrets::default(), || {
            let span = tracing::info_span!("call", tf_rpc = "ReadResource", tf_resource_type = tracing::field::Empty);
            span.record("tf_resource_type", "acme_thing");
            span.in_scope(|| tracing::warn!(count = 3, "slow {}", "answer"));
        });
        let line = &lines[0];
        assert_eq!(line["@level"], "warn");
        assert_eq!(line["@message"], "slow answer");
        assert_eq!(line["tf_rpc"], "ReadResource");
        assert_eq!(line["tf_resource_type"], "acme_thing");
        assert_eq!(line["count"], 3);
        let time = line["@timestamp"].as_str().unwrap();
        assert_eq!(time.len(), "2024-01-02T03:04:05.000006Z".len(), "{time}");
    }

    #[test]
    fn a_time_has_six_decimals_and_the_right_day() {
        let at = |seconds, micros| timestamp(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_400, 5), "2000-02-29T00:00:00.000005Z");
        assert_eq!(at(1_704_164_645, 120_000), "2024-01-02T03:04:05.120000Z");
        assert_eq!(at(4_107_542_399, 999_999), "2100-02-28T23:59:59.999999Z");
    }

    #[test]
    fn secrets_are_masked_in_messages_and_fields_until_the_guard_is_gone() {
        let secrets = Secrets::default();
        let guard = secrets.hold(["hunter22".to_owned(), "hunter22-and-more".to_owned(), "abc".to_owned()]);
        let lines = logged(&secrets, || {
            tracing::info!(token = "x-hunter22-and-more-y", other = ?Some("hunter22"), "abc with hunter22");
        });
        let text = lines[0].to_string();
        assert!(!text.contains("hunter22"), "{text}");
        assert_eq!(lines[0]["token"], "x-(sensitive value)-y");
        assert_eq!(lines[0]["@message"], "abc with (sensitive value)");
        drop(guard);
        assert_eq!(secrets.mask("hunter22"), "hunter22");
    }

    #[test]
    fn long_records_stay_below_the_line_buffer_of_the_host() {
        let long = "\u{1}ä".repeat(100_000);
        let lines = logged(&Secrets::default(), || {
            tracing::info!(a = long, b = long, c = long, d = long, e = long, "{long}");
        });
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_subsystem_has_a_level_of_its_own() {
        let vars = [
            ("TF_LOG_PROVIDER_MY_ACME_HTTP", "trace"),
            ("TF_LOG_PROVIDER_MY_ACME_DISK", "loud"),
            ("TF_LOG_PROVIDER_MY_ACME", "info"),
            ("TF_LOG_PROVIDER_OTHER_HTTP", "off"),
        ];
        let vars = vars.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(subsystems_from("my-acme", vars), [("http".to_owned(), LevelFilter::TRACE)]);
    }

    #[test]
    fn the_level_comes_from_the_most_special_variable() {
        let level = |vars: &[(&str, &str)]| {
            let vars: BTreeMap<String, String> = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            level_from("my-acme", |key| vars.get(key).cloned())
        };
        assert_eq!(level(&[]), LevelFilter::WARN);
        assert_eq!(level(&[("TF_LOG", "JSON")]), LevelFilter::TRACE);
        assert_eq!(level(&[("TF_LOG", "trace"), ("TF_LOG_PROVIDER", "info")]), LevelFilter::INFO);
        assert_eq!(level(&[("TF_LOG", "trace"), ("TF_LOG_PROVIDER_MY_ACME", "off")]), LevelFilter::OFF);
    }
}
