//! Acceptance tests: the real terraform against a real sampan dev.
