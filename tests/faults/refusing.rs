//! R12 to R19: challenges, formats, nesting, caches and gRPC.
