// SPDX-License-Identifier: Apache-2.0
//! A value of a document, for serde: what a struct asks of it, and which value it was that did not fit.
//!
//! A struct asks for its fields by name and does not see the rest; so it is compiled for names alone, neither for lists
//! nor for keys it does not know.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, Expected, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::document::{Document, NodeId};

/// Why a value is not what was asked for. In a box: every reader on the way up hands it on.
#[derive(Debug)]
pub struct Unfit(Box<Misfit>);

/// What [`Unfit`] says.
#[derive(Debug)]
pub struct Misfit {
    /// Known by the time the error leaves the document.
    pub at: Option<NodeId>,
    pub message: String,
}

impl Error for Unfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(Box::new(Misfit { at: None, message: message.to_string() }))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match unexpected {
            Unexpected::Unit => Self::custom(format_args!("invalid type: null, expected {expected}")),
            _ => Self::custom(format_args!("invalid type: {unexpected}, expected {expected}")),
        }
    }
}

impl Unfit {
    /// Where, and why.
    pub fn into_inner(self) -> Misfit {
        *self.0
    }

    /// At this value, if it is nobody's yet.
    fn placed(mut self, at: NodeId) -> Self {
        self.0.at = self.0.at.or(Some(at));
        self
    }

    fn moved(mut self, at: NodeId) -> Self {
        self.0.at = Some(at);
        self
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Unfit {}

type Result<T> = std::result::Result<T, Unfit>;

/// A value of a document.
#[derive(Clone, Copy, Debug)]
pub struct Value<'d> {
    pub(super) document: &'d Document<'d>,
    pub(super) id: NodeId,
}

enum Integer {
    Positive(u64),
    Negative(i64),
}

impl<'d> Value<'d> {
    fn byte(self) -> u8 {
        self.document.byte(self.id)
    }

    fn integer(self) -> Option<Integer> {
        let raw = self.document.raw(self.id);
        let positive = raw.parse().ok().map(Integer::Positive);
        positive.or_else(|| raw.parse().ok().map(Integer::Negative))
    }

    fn other(self, id: NodeId) -> Self {
        Self { id, ..self }
    }

    /// An error that is nobody's yet is this value's.
    fn place<T>(self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| error.placed(self.id))
    }

    fn unfit<T>(self, expected: &dyn Expected) -> Result<T> {
        let string;
        let number;
        let unexpected = match (self.byte(), self.integer()) {
            (b'n', _) => Unexpected::Unit,
            (first @ (b't' | b'f'), _) => Unexpected::Bool(first == b't'),
            (b'[', _) => Unexpected::Seq,
            (b'{', _) => Unexpected::Map,
            (b'"', _) => {
                string = self.document.string(self.id);
                Unexpected::Str(&string)
            }
            (_, Some(Integer::Positive(value))) => Unexpected::Unsigned(value),
            (_, Some(Integer::Negative(value))) => Unexpected::Signed(value),
            (_, None) => {
                number = format!("number `{}`", self.document.raw(self.id));
                Unexpected::Other(&number)
            }
        };
        self.place(Err(Unfit::invalid_type(unexpected, expected)))
    }
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Unfit;

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte() {
            first @ (b't' | b'f') => self.place(visitor.visit_bool(first == b't')),
            _ => self.unfit(&visitor),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.integer() {
            Some(Integer::Positive(number)) => self.place(visitor.visit_u64(number)),
            Some(Integer::Negative(number)) => self.place(visitor.visit_i64(number)),
            None => self.unfit(&visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte() {
            b'"' => self.place(visitor.visit_str(&self.document.string(self.id))),
            _ => self.unfit(&visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte() {
            b'[' => self.place(visitor.visit_seq(Items::new(self))),
            _ => self.unfit(&visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte() {
            b'{' => self.place(visitor.visit_map(Items::new(self))),
            _ => self.unfit(&visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.byte() == b'n' { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.byte() {
            b'{' => self.place(visitor.visit_map(Fields { object: self, names: fields, value: None })),
            _ => self.unfit(&visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.place(visitor.visit_newtype_struct(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let only = || self.document.children(self.id).next().filter(|_| self.byte() == b'{');
        match (self.byte(), only()) {
            (b'"', _) => self.place(visitor.visit_enum(Variant { word: self, content: None })),
            (_, Some((_, Some(key), content))) => {
                let variant = Variant { word: self.other(key), content: Some(self.other(content)) };
                // A key cannot be cut out by itself.
                visitor.visit_enum(variant).map_err(|error| error.moved(self.id))
            }
            _ => self.unfit(&visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.document.raw(self.id).parse().ok().filter(|_| matches!(self.byte(), b'-' | b'0'..=b'9')) {
            Some(number) => self.place(visitor.visit_f64(number)),
            None => self.unfit(&visitor),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match (self.byte(), self.integer()) {
            (b'n', _) => self.place(visitor.visit_unit()),
            (b't' | b'f', _) => self.deserialize_bool(visitor),
            (b'"', _) => self.deserialize_str(visitor),
            (b'[', _) => self.deserialize_seq(visitor),
            (b'{', _) => self.deserialize_map(visitor),
            (_, Some(_)) => self.deserialize_i64(visitor),
            (_, None) => self.deserialize_f64(visitor),
        }
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    forward_to_deserialize_any! { i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct }
}

/// The items of a list or the entries of an object, past what was cut.
struct Items<'d> {
    parent: Value<'d>,
    next: NodeId,
}

impl<'d> Items<'d> {
    fn new(parent: Value<'d>) -> Self {
        Self { parent, next: parent.id + 1 }
    }

    /// The next value; its key is the node in front of it.
    fn next(&mut self, key: usize) -> Option<Value<'d>> {
        let document = self.parent.document;
        while self.next < document.after(self.parent.id) {
            let id = self.next + key;
            self.next = document.after(id);
            if !document.is_cut(id) {
                return Some(self.parent.other(id));
            }
        }
        None
    }
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Unfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.next(0).map(|item| item.place(seed.deserialize(item))).transpose()
    }
}

impl<'de> MapAccess<'de> for Items<'_> {
    type Error = Unfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let Some(value) = self.next(1) else { return Ok(None) };
        // `next_value_seed` finds the value again.
        self.next = value.id;
        read_key(value.other(value.id - 1), value, seed).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        let value = self.parent.other(self.next);
        self.next = value.document.after(value.id);
        value.place(seed.deserialize(value))
    }
}

/// Whose key does not fit, does not fit.
fn read_key<'de, K: DeserializeSeed<'de>>(key: Value<'_>, value: Value<'_>, seed: K) -> Result<K::Value> {
    seed.deserialize(key).map_err(|error| error.moved(value.id))
}

/// The entries of an object that a struct has fields for, the last of each name.
struct Fields<'d> {
    object: Value<'d>,
    /// Not looked for yet.
    names: &'static [&'static str],
    value: Option<Value<'d>>,
}

impl<'d> Fields<'d> {
    fn next(&mut self) -> Option<(Value<'d>, Value<'d>)> {
        let document = self.object.document;
        while let Some((name, rest)) = self.names.split_first() {
            self.names = rest;
            let named = document.children(self.object.id).filter_map(|(_, key, value)| Some((key?, value)));
            let found =
                named.filter(|(key, value)| !document.is_cut(*value) && document.is_string(*key, name));
            if let Some((key, value)) = found.last() {
                return Some((self.object.other(key), self.object.other(value)));
            }
        }
        None
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Unfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        let Some((key, value)) = self.next() else { return Ok(None) };
        self.value = Some(value);
        read_key(key, value, seed).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        let value = self.value.take().unwrap_or(self.object);
        value.place(seed.deserialize(value))
    }
}

/// `"Word"`, or `{"Word": content}`.
struct Variant<'d> {
    word: Value<'d>,
    content: Option<Value<'d>>,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Unfit;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        Ok((seed.deserialize(self.word)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Unfit;

    fn unit_variant(self) -> Result<()> {
        self.content.map_or(Ok(()), |content| content.unfit(&"no content"))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        match self.content {
            Some(content) => seed.deserialize(content),
            None => self.word.unfit(&"a variant with content"),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value> {
        self.content.unwrap_or(self.word).deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.content.unwrap_or(self.word).deserialize_struct("", fields, visitor)
    }
}
