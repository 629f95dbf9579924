//! SQLite store: objects, change log, operations, intents. Decides nothing.
