//! The load without a kernel: its parts, its refusals, and whole loads against a stack of ours on a wire in memory.

mod options;
mod parts;
mod whole;
mod wire;
