//! macro.
