// SPDX-License-Identifier: Apache-2.0
//! What tests stand on: images made from a list of files, a hermetic place to run programs in, other users,
//! peers to compare with, a virtual machine, and the check that nothing is left behind.
//!
//! It shares no code with the crates under test: its tar writer, its digests and its leak check are its own.
//!
//! ```no_run
//! use conex_testkit::{Sandbox, Run, busybox, needs, require};
//!
//! # fn main() {
//! needs!(require::root());
//! let sandbox = Sandbox::new();
//! let image = needs!(busybox::image());
//! let layout = sandbox.layout("busybox");
//! layout.add("latest", &image);
//! sandbox.conex(["copy", "oci:busybox:latest", "store:busybox"]).run().success();
//! sandbox.finish();
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod binaries;
pub mod bundle;
pub mod busybox;
pub mod containerd;
pub mod debian;
pub mod dockerd;
pub mod effort;
pub mod fd;
pub mod hostile;
pub mod image;
pub mod inject;
pub mod leak;
pub mod liar;
pub mod place;
pub mod podman;
pub mod program;
pub mod require;
pub mod run;
pub mod sandbox;
pub mod seccomp;
pub mod server;
pub mod tar;
pub mod terminal;
pub mod tree;
pub mod user;
pub mod vm;

pub use image::{Compression, Image, Layer, Layout};
pub use place::Place;
pub use run::{Output, Run};
pub use sandbox::Sandbox;

/// Leaves the test with a printed, counted reason: `SKIP <test>: <reason>`.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::require::print_skip($crate::test_name!(), &format!($($reason)*));
        return;
    }};
}

/// The value of a requirement, or [`skip!`] with the reason why it is not met.
#[macro_export]
macro_rules! needs {
    ($requirement:expr) => {
        match $requirement {
            Ok(met) => met,
            Err(reason) => $crate::skip!("{reason}"),
        }
    };
}

/// The path of the function this stands in.
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        std::any::type_name_of_val(&here).trim_end_matches("::here")
    }};
}
