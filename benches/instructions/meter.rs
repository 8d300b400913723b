//! What is counted, and what is not: the two functions that callgrind is told to look out for.

use std::hint::black_box;

/// Callgrind counts while this function runs, and at no other time.
pub const COUNTED: &str = "only_this_is_counted";
/// Callgrind writes down what it has counted when this function is called, and begins anew.
pub const WRITTEN_DOWN: &str = "this_path_has_been_walked";

#[inline(never)]
fn only_this_is_counted(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

#[inline(never)]
fn this_path_has_been_walked(name: &str, items: usize) {
    println!("{items} {name}");
    black_box(());
}

/// Counts one path.
#[derive(Debug, Default)]
pub struct Meter {
    items: usize,
}

impl Meter {
    /// Does what is to be counted.
    pub fn count<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (mut work, mut result) = (Some(work), None);
        only_this_is_counted(&mut || result = work.take().map(|work| work()));
        black_box(result).expect("it is called once")
    }

    /// Says how many segments, or whatever the path is for, that was.
    pub fn items(&mut self, items: usize) {
        self.items += items;
    }

    /// The path has come to its end.
    pub fn finish(self, name: &str) {
        this_path_has_been_walked(name, self.items);
    }
}
