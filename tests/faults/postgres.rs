//! S2, S5, S6: one tenant's lists, timing, and a channel that strangers know.
