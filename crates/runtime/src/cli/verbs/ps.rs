// SPDX-License-Identifier: Apache-2.0
//! `ps`.

use super::{ANY, Verb};
use crate::cli::flags::{FORMAT, format};
use crate::cli::grammar::Order;
use crate::cli::print;
use crate::ps;

pub(super) const VERB: Verb = Verb {
    name: "ps",
    flags: &[FORMAT],
    order: Order::UpTo(1),
    arguments: (1, ANY),
    usage: "[flags] ID [PS OPTIONS]",
    help: "list a container's processes",
    run: |runtime, parsed| {
        print(&ps::ps(runtime, &parsed.positional[0], format(parsed)?, &parsed.positional[1..])?)?;
        Ok(0)
    },
    ..Verb::OF_ONE_CONTAINER
};
