// SPDX-License-Identifier: Apache-2.0
//! The order of nodes: each as soon as its inputs are there, several at a time. After a failure nothing new begins.

use std::sync::{Arc, mpsc};
use std::thread;

use super::{Stopped, Value};
use crate::graph::{Node, NodeId};

/// The inputs that are there.
pub(super) type Values = Vec<Option<Arc<Value>>>;

/// Does all nodes. The first failure counts.
pub(super) fn walk(
    nodes: &[Node],
    jobs: usize,
    work: impl Fn(NodeId, &Values) -> Result<Value, Stopped> + Sync,
) -> Result<Values, Stopped> {
    let mut values: Values = vec![None; nodes.len()];
    let mut begun = vec![false; nodes.len()];
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        let (mut running, mut failure) = (0, None);
        loop {
            let ready = |id: &NodeId| nodes[*id].step.inputs().iter().all(|input| values[*input].is_some());
            let next: Vec<NodeId> = match failure {
                Some(_) => Vec::new(),
                None => (0..nodes.len()).filter(|id| !begun[*id] && ready(id)).take(jobs - running).collect(),
            };
            for id in next {
                begun[id] = true;
                running += 1;
                let (send, inputs, work) = (send.clone(), values.clone(), &work);
                scope.spawn(move || {
                    // The receiver is there as long as somebody works.
                    let _always_received = send.send((id, work(id, &inputs)));
                });
            }
            if running == 0 {
                return failure.map_or(Ok(values), Err);
            }
            let (id, result) = receive.recv().expect("a sender is held here");
            running -= 1;
            match result {
                Ok(value) => values[id] = Some(Arc::new(value)),
                Err(stopped) => {
                    failure.get_or_insert(stopped);
                }
            }
        }
    })
}
