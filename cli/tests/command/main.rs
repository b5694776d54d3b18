//! The command as a process, over both databases.

mod closed_output;
mod configuration;
mod databases;
mod escapes;
mod inputs;
mod interrupts;
mod lifecycle;
mod pages;
mod route_check;
mod serve;
mod support;
mod terminal;
mod transfer;
