//! Hoist.
