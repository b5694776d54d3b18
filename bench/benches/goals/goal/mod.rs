//! The goals, each beside those that are measured with it.

pub mod allocations;
pub mod bounds;
pub mod cache;
pub mod changes;
pub mod guard;
pub mod layer;
pub mod leases;
pub mod limits;
pub mod refusals;
pub mod size;
pub mod stages;
pub mod threads;
pub mod verify;
