//! R1 to R8, R10, R11: what a caller sent in the wrong form or place, and is told about it.
