// SPDX-License-Identifier: Apache-2.0
//! How much work a Containerfile may ask for before anything is built. A few lines can double a value a hundred times;
//! expansion pays for each byte, and a file that asks for too much is a mistake at the place where it ran out.

use std::cell::Cell;

/// What is left.
#[derive(Debug)]
pub struct Fuel(Cell<u64>);

impl Default for Fuel {
    /// Far more than any file that a person wrote, and well below a second.
    fn default() -> Self {
        Self(Cell::new(48 << 20))
    }
}

impl Fuel {
    /// Takes some; `None` when there is not enough.
    pub fn burn(&self, amount: usize) -> Option<()> {
        let amount = u64::try_from(amount).ok()?;
        self.0.set(self.0.get().checked_sub(amount)?);
        Some(())
    }
}
