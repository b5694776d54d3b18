//! M1, M3, M13: check and act in one transaction, on every store.
