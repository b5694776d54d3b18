//! M6, M8 to M11, M14: what the management API takes and answers.
