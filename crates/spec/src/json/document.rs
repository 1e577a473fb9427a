// SPDX-License-Identifier: Apache-2.0
//! A text that is known to be JSON, and an index of its values.
//!
//! ```text
//!  text    { "a" : [ 1 , 2 ] , "b" : null }
//!  nodes   0 1     2 3   4     5     6             an object's keys are nodes too, in front of their values
//!  after   7 2     5 4   5     6     7             the next node that is not inside this one
//! ```

use std::borrow::Cow;

use super::syntax::{self, Syntax};
use super::value::Value;

/// A value by its place among the nodes.
pub type NodeId = usize;

/// Offsets and indices are of 32 bits: the index must stay small beside the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Offset of the first byte.
    pub(super) start: u32,
    /// Offset behind the last byte.
    pub(super) end: u32,
    /// The next node that is not inside this one.
    pub(super) after: u32,
    /// It is passed over by whoever reads.
    pub(super) cut: bool,
    /// A string that does not stand in the text as it is.
    pub(super) escaped: bool,
}

/// A well-formed document.
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t str,
    nodes: Vec<Node>,
}

impl<'t> Document<'t> {
    /// Reads the whole text.
    pub fn parse(text: &'t [u8]) -> Result<Self, Syntax> {
        let text = str::from_utf8(text)
            .map_err(|error| Syntax { offset: error.valid_up_to(), message: "invalid UTF-8" })?;
        Ok(Self { text, nodes: syntax::nodes(text.as_bytes())? })
    }

    /// The whole document.
    pub fn root(&self) -> Value<'_> {
        Value { document: self, id: 0 }
    }

    /// Where a value begins, in bytes.
    pub fn offset(&self, id: NodeId) -> usize {
        self.nodes[id].start as usize
    }

    /// From now on the value is as if it were not there. False for the whole document, which is always there.
    pub fn cut(&mut self, id: NodeId) -> bool {
        self.nodes[id].cut = id != 0;
        id != 0
    }

    /// The JSON pointer (RFC 6901) of a value.
    pub fn pointer(&self, id: NodeId) -> String {
        let (mut pointer, mut at) = (String::new(), 0);
        while at != id {
            let holds = |&(_, _, child): &(usize, Option<NodeId>, NodeId)| id < self.after(child);
            let Some((index, key, child)) = self.children(at).find(holds) else { break };
            push(&mut pointer, &key.map_or_else(|| index.to_string().into(), |key| self.string(key)));
            at = child;
        }
        pointer
    }

    /// The value that a pointer means for those who do not see what was cut, or the innermost one on the way to it; and
    /// the pointer of the same thing for those who do.
    pub fn find(&self, pointer: &str) -> (NodeId, String) {
        let (mut at, mut lost, mut original) = (0, false, String::new());
        for part in pointer.split('/').skip(1) {
            let wanted = part.replace("~1", "/").replace("~0", "~");
            match self.child(at, &wanted).filter(|_| !lost) {
                Some((index, child)) => {
                    let is_item = self.byte(at) == b'[';
                    push(&mut original, &if is_item { index.to_string() } else { wanted });
                    at = child;
                }
                None => {
                    lost = true;
                    push(&mut original, &wanted);
                }
            }
        }
        (at, original)
    }

    /// By key or index, past what was cut; with its index among all.
    fn child(&self, at: NodeId, wanted: &str) -> Option<(usize, NodeId)> {
        let whole = self.children(at).filter(|&(.., child)| !self.is_cut(child));
        let found = match self.byte(at) {
            b'[' => whole.enumerate().find(|(seen, _)| wanted.parse() == Ok(*seen)).map(|(_, child)| child),
            _ => whole.filter(|(_, key, _)| key.is_some_and(|key| self.is_string(key, wanted))).last(),
        };
        found.map(|(index, _, child)| (index, child))
    }

    /// Everything directly inside a list or an object: its index, its key, itself.
    pub(super) fn children(&self, at: NodeId) -> impl Iterator<Item = (usize, Option<NodeId>, NodeId)> + '_ {
        let is_object = self.byte(at) == b'{';
        let mut next = at + 1;
        let end = self.after(at);
        let children = std::iter::from_fn(move || {
            let key = (is_object && next < end).then_some(next);
            let child = next + usize::from(is_object);
            (next < end).then(|| {
                next = self.after(child);
                (key, child)
            })
        });
        children.enumerate().map(|(index, (key, child))| (index, key, child))
    }

    pub(super) fn is_cut(&self, id: NodeId) -> bool {
        self.nodes[id].cut
    }

    pub(super) fn after(&self, id: NodeId) -> NodeId {
        self.nodes[id].after as usize
    }

    /// The text of a value.
    pub(super) fn raw(&self, id: NodeId) -> &'t str {
        let Node { start, end, .. } = self.nodes[id];
        &self.text[start as usize..end as usize]
    }

    /// The first byte, which tells what it is.
    pub(super) fn byte(&self, id: NodeId) -> u8 {
        self.text.as_bytes()[self.nodes[id].start as usize]
    }

    /// The content of a string.
    pub(super) fn string(&self, id: NodeId) -> Cow<'t, str> {
        let inner = self.inner(id);
        if self.nodes[id].escaped { syntax::content(inner) } else { inner.into() }
    }

    /// What stands between a string's quotation marks.
    fn inner(&self, id: NodeId) -> &'t str {
        let Node { start, end, .. } = self.nodes[id];
        &self.text[start as usize + 1..end as usize - 1]
    }

    /// Whether a string has this content.
    pub(super) fn is_string(&self, id: NodeId, content: &str) -> bool {
        let Node { start, end, escaped, .. } = self.nodes[id];
        // Most keys that a field is compared with are of another length.
        match escaped {
            true => syntax::content(self.inner(id)) == content,
            false => (end - start) as usize == content.len() + 2 && self.inner(id) == content,
        }
    }
}

fn push(pointer: &mut String, name: &str) {
    pointer.push('/');
    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
}
