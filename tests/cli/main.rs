//! The command line, called as users call it: the binary, its streams, its exit code.

mod bad_input;
mod commands;
mod exchange;
mod groups;
mod inspecting;
mod read_only;
mod streams;
mod support;
mod terminal;
