//! HTTP API, authentication, reconcile loop.
