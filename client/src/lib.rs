//! Typed client over the API table.
