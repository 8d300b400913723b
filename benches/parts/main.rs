//! What the parts of the stack cost by themselves, and whether that depends on how much is in them.
//!
//! `cargo bench --bench parts` measures all of them, `cargo bench --bench parts -- flow_table` some.

mod flow_table;
mod timer_wheel;
mod wire;

fn main() {
    divan::main();
}
