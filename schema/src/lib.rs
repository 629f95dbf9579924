//! The nouns of Sampan, declared once. No IO, no async.
