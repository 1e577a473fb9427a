// SPDX-License-Identifier: Apache-2.0
//! `monitor`: for programs, so its words are read by itself.

use std::ffi::OsString;

use super::{ANY, Verb};
use crate::cli::grammar::Order;
use crate::monitor;

pub(super) const VERB: Verb = Verb {
    name: "monitor",
    order: Order::UpTo(0),
    arguments: (0, ANY),
    usage: "",
    run: |_, parsed| {
        let words = parsed.positional.iter().map(OsString::from).collect();
        monitor::run(&monitor::parse(words)?)?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
