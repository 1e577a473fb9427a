// SPDX-License-Identifier: Apache-2.0
//! Black-box tests: they drive the two programs through their command lines and nothing else.
//!
//! One file in `tests/tests/` per story. Names carry the tier: none (anywhere), `userns_`, `root_`, `vm_`.
#![forbid(unsafe_code)]
