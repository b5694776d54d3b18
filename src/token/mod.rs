//! Short-lived tokens.
