//! Data that a provider keeps beside a state; Terraform stores it and does not look at it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Keys that begin so belong to the framework.
const RESERVED: &str = "tf_plugin.";
const FORMAT: u32 = 1;

/// A keyed map of JSON values, kept under one envelope with a format number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Private(BTreeMap<String, Value>);

/// Why private data could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateError {
    /// The bytes are not what this framework writes.
    #[error("the private data of the resource cannot be read: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// A later version of the framework wrote it.
    #[error("the private data of the resource has format {0}, this provider knows up to {FORMAT}")]
    Format(u32),
    /// The value of a key has another form.
    #[error("the private value {key:?} has another form: {error}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with the value.
        #[source]
        error: serde_json::Error,
    },
    /// The key belongs to the framework.
    #[error("the private key {0:?} is reserved")]
    Reserved(String),
}

#[derive(Deserialize)]
struct Envelope {
    format: u32,
    #[serde(default)]
    values: BTreeMap<String, Value>,
}

#[derive(Serialize)]
struct EnvelopeRef<'a> {
    format: u32,
    values: &'a BTreeMap<String, Value>,
}

impl Private {
    /// No data.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is no data.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key, `None` when there is none.
    ///
    /// # Errors
    /// The value is there and has another form.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, PrivateError> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|error| PrivateError::Value { key: key.to_owned(), error })
    }

    /// Keeps a value under a key, in place of an earlier one.
    ///
    /// # Errors
    /// The key is reserved, or the value has no JSON form.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), PrivateError> {
        if key.starts_with(RESERVED) {
            return Err(PrivateError::Reserved(key.to_owned()));
        }
        let value = serde_json::to_value(value).map_err(|error| PrivateError::Value { key: key.to_owned(), error })?;
        self.0.insert(key.to_owned(), value);
        Ok(())
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Reads what [`Private::encode`] wrote; no bytes are no data.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, PrivateError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(PrivateError::Unreadable)?;
        if envelope.format > FORMAT {
            return Err(PrivateError::Format(envelope.format));
        }
        Ok(Self(envelope.values))
    }

    /// Keys are in order, so equal data gives equal bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        serde_json::to_vec(&EnvelopeRef { format: FORMAT, values: &self.0 }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_no_data_is_no_bytes() {
        let mut private = Private::new();
        assert!(private.encode().is_empty());
        private.set("operation", "op-1").unwrap();
        private.set("count", &3).unwrap();
        let again = Private::decode(&private.encode()).unwrap();
        assert_eq!(again, private);
        assert_eq!(again.get::<String>("operation").unwrap().as_deref(), Some("op-1"));
        assert_eq!(again.get::<u8>("absent").unwrap(), None);
        assert!(again.get::<u8>("operation").is_err());
    }

    #[test]
    fn foreign_later_and_reserved_data_are_refused() {
        assert!(matches!(Private::decode(b"not json"), Err(PrivateError::Unreadable(_))));
        assert!(matches!(Private::decode(br#"{"format":2}"#), Err(PrivateError::Format(2))));
        assert!(matches!(Private::new().set("tf_plugin.x", &1), Err(PrivateError::Reserved(_))));
    }
}
