// SPDX-License-Identifier: Apache-2.0
//! How much of a long test is done: the little that every change goes through, or all of it (`CONEX_FULL=1`).

/// Whether all is to be done.
pub fn full() -> bool {
    std::env::var_os("CONEX_FULL").is_some()
}

/// How often something is tried.
pub fn rounds(few: usize, all: usize) -> usize {
    if full() { all } else { few }
}

/// All of them, or about `few`, spread evenly and always the same.
pub fn sample<T: Clone>(all: &[T], few: usize) -> Vec<T> {
    let step = if full() { 1 } else { all.len().div_ceil(few).max(1) };
    all.iter().skip(step / 2).step_by(step).cloned().collect()
}

/// A figure of a full run.
#[expect(clippy::print_stdout, reason = "it is for those who have asked for it")]
pub fn tell(figure: &str) {
    if full() {
        println!("{figure}");
    }
}
