//! M2, M4, M7, M15: what an actor is confined to, and what is seen of its failures.
