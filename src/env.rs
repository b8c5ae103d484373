//! The process environment, read once at the start; nothing below reads it again.
