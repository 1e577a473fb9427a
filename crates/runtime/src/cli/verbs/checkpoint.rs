// SPDX-License-Identifier: Apache-2.0
//! `checkpoint` and `restore`: runc's verbs that are not there yet, and say so whatever is written behind them.

use super::{ANY, Verb};
use crate::cli::grammar::Order;
use crate::{Error, ErrorKind};

pub(super) const CHECKPOINT: Verb =
    Verb { name: "checkpoint", help: "not there yet", run: |_, _| Err(not_there("checkpoint")), ..NOT_THERE };

pub(super) const RESTORE: Verb =
    Verb { name: "restore", help: "not there yet", run: |_, _| Err(not_there("restore")), ..NOT_THERE };

/// Their flags are nobody's business yet.
const NOT_THERE: Verb = Verb { order: Order::UpTo(0), arguments: (0, ANY), ..Verb::OF_ONE_CONTAINER };

fn not_there(verb: &str) -> Error {
    let what = format!("{verb} is not there yet: this runtime does not work with criu(8)");
    Error::new(ErrorKind::Unsupported, what)
}
