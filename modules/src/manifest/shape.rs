//! What may stand in a file, as data: gathered by running the readers without a file (`reader.rs`), told to
//! people in messages, and written as a JSON schema for editors.

use serde_json::{Map, Value, json};

/// What may stand somewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Text of a form that has a name.
    Text {
        /// What it is, for messages: `a path`.
        what: &'static str,
        /// A pattern that every right one matches (ECMA 262); empty: any.
        pattern: &'static str,
        /// Longest text in bytes.
        max: usize,
    },
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds, both included.
    Count(i64, i64),
    /// One of some words.
    Words(Vec<&'static str>),
    /// An array.
    List {
        /// What its items are.
        item: Box<Shape>,
        /// Fewest items.
        min: usize,
        /// Most items.
        max: usize,
    },
    /// A table whose keys are names of somebody's choice.
    Map(Box<Shape>),
    /// A table with known keys.
    Table(Vec<Field>),
    /// One of several.
    Any(Vec<Shape>),
    /// A table that means nothing to us.
    Free,
}

/// One known key of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The key.
    pub key: &'static str,
    /// What it means, in a sentence or two.
    pub doc: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What holds if it is not there.
    pub default: Option<Value>,
    /// What may stand there.
    pub shape: Shape,
}

impl Shape {
    /// Says what is expected, for messages: `true or false`, `a path`, `an array of paths`.
    pub fn expected(&self) -> String {
        match self {
            Self::Text { what, .. } => (*what).to_owned(),
            Self::Flag => "true or false".into(),
            Self::Count(min, max) if min == max => format!("the number {min}"),
            Self::Count(min, max) => format!("a whole number from {min} to {max}"),
            Self::Words(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                if quoted.len() == 1 { quoted.concat() } else { format!("one of {}", quoted.join(", ")) }
            }
            Self::List { item, .. } => format!("an array, each item {}", item.expected()),
            Self::Map(item) => format!("a table, each value {}", item.expected()),
            Self::Table(_) | Self::Free => "a table".into(),
            Self::Any(shapes) => {
                let all: Vec<String> = shapes.iter().map(Self::expected).collect();
                all.join(", or ")
            }
        }
    }

    /// Returns the JSON schema (draft 7) of what may stand there.
    pub fn json(&self) -> Value {
        match self {
            Self::Text { what, pattern, max } => {
                let mut schema = json!({ "type": "string", "maxLength": max, "title": what });
                if !pattern.is_empty() {
                    schema["pattern"] = (*pattern).into();
                }
                schema
            }
            Self::Flag => json!({ "type": "boolean" }),
            Self::Count(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Self::Words(words) => json!({ "enum": words }),
            Self::List { item, min, max } => {
                json!({ "type": "array", "items": item.json(), "minItems": min, "maxItems": max })
            }
            Self::Map(item) => json!({ "type": "object", "additionalProperties": item.json() }),
            Self::Free => json!({ "type": "object" }),
            Self::Any(shapes) => json!({ "anyOf": shapes.iter().map(Self::json).collect::<Vec<_>>() }),
            Self::Table(fields) => {
                let mut properties = Map::new();
                for field in fields {
                    let mut schema = field.shape.json();
                    schema["description"] = field.doc.into();
                    if let Some(default) = &field.default {
                        schema["default"] = default.clone();
                    }
                    properties.insert(field.key.to_owned(), schema);
                }
                let required = fields.iter().filter(|field| field.required).map(|field| field.key);
                json!({
                    "type": "object",
                    "properties": properties,
                    "required": required.collect::<Vec<_>>(),
                    "additionalProperties": false,
                })
            }
        }
    }

    /// Calls `each` with every key there is, from the top (`source.select.tables`), and its field.
    pub fn each_key(&self, each: &mut dyn FnMut(&str, &Field)) {
        // By hand, since shapes nest.
        let mut waiting = vec![(String::new(), self)];
        while let Some((above, shape)) = waiting.pop() {
            match shape {
                Self::Table(fields) => {
                    for field in fields {
                        let key = if above.is_empty() {
                            field.key.into()
                        } else {
                            format!("{above}.{}", field.key)
                        };
                        each(&key, field);
                        waiting.push((key, &field.shape));
                    }
                }
                Self::List { item, .. } | Self::Map(item) => waiting.push((above, item)),
                Self::Any(shapes) => waiting.extend(shapes.iter().map(|shape| (above.clone(), shape))),
                _ => {}
            }
        }
    }
}
