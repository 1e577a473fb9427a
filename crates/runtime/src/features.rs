// SPDX-License-Identifier: Apache-2.0
//! The `features` verb: features.md and features-linux.md.

use conex_spec::runtime::Features;

/// What this runtime implements, whatever the host offers.
pub fn features() -> Features {
    Features::default()
}
