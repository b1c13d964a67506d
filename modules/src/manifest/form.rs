//! What a value may be: how it is read, described and shown.

use super::near::nearest;
use super::reader::{At, Table, describe};
use super::shape::Shape;
use super::words::Words;
use std::marker::PhantomData;
use toml::de::DeValue;

/// Longest text that has no narrower limit, in bytes.
pub const MAX_TEXT: usize = 4096;
/// Most items of a list, or entries of a table of names.
pub const MAX_ITEMS: usize = 4096;
/// Most tables of an array of tables, such as `[[source]]`.
pub const MAX_TABLES: usize = 256;

/// A form of values.
pub trait Form {
    /// What is read.
    type Out;

    /// Describes what may stand there.
    fn shape(&self) -> Shape;

    /// Reads it, or tells what is wrong.
    fn read(&self, at: &At<'_, '_>) -> Option<Self::Out>;

    /// Returns a value as it would stand in the file, where that is short: defaults are shown so.
    fn show(&self, _value: &Self::Out) -> Option<serde_json::Value> {
        None
    }
}

/// `true` or `false`.
pub struct Flag;

impl Form for Flag {
    type Out = bool;

    fn shape(&self) -> Shape {
        Shape::Flag
    }

    fn read(&self, at: &At<'_, '_>) -> Option<bool> {
        at.value.as_bool().or_else(|| at.mismatch(&self.shape()))
    }

    fn show(&self, value: &bool) -> Option<serde_json::Value> {
        Some((*value).into())
    }
}

/// A whole number from one bound to the other, both included.
pub struct Count(pub i64, pub i64);

impl Form for Count {
    type Out = i64;

    fn shape(&self) -> Shape {
        Shape::Count(self.0, self.1)
    }

    fn read(&self, at: &At<'_, '_>) -> Option<i64> {
        let Some(number) = at.value.as_integer() else { return at.mismatch(&self.shape()) };
        let read = i64::from_str_radix(number.as_str(), number.radix()).ok();
        read.filter(|number| (self.0..=self.1).contains(number)).or_else(|| {
            at.wrong(format!("{} must be {}, not {number}", at.quoted(), self.shape().expected()), "")
        })
    }

    fn show(&self, value: &i64) -> Option<serde_json::Value> {
        Some((*value).into())
    }
}

/// Text of a form: what it is, a pattern that all right ones match, how it is read.
///
/// `read` says what is wrong in a clause that can stand alone.
pub struct Parsed<T> {
    /// What it is, with an article.
    pub what: &'static str,
    /// A pattern for editors (ECMA 262), no stricter than `read`; empty: any.
    pub pattern: &'static str,
    /// How it is read.
    pub read: fn(&str) -> Result<T, String>,
    /// How a default is shown; empty: not at all.
    pub show: fn(&T) -> String,
}

impl<T> Form for Parsed<T> {
    type Out = T;

    fn shape(&self) -> Shape {
        Shape::Text { what: self.what, pattern: self.pattern, max: MAX_TEXT }
    }

    fn read(&self, at: &At<'_, '_>) -> Option<T> {
        let text = plain_text(at, &self.shape())?;
        (self.read)(text)
            .map_or_else(|wrong| at.wrong(wrong, format!("{} must be {}", at.quoted(), self.what)), Some)
    }

    fn show(&self, value: &T) -> Option<serde_json::Value> {
        let shown = (self.show)(value);
        (!shown.is_empty()).then(|| shown.into())
    }
}

/// Returns a text within the limits that hold for every text.
pub fn plain_text<'v>(at: &'v At<'_, '_>, shape: &Shape) -> Option<&'v str> {
    let Some(text) = at.value.as_str() else { return at.mismatch(shape) };
    if text.len() > MAX_TEXT {
        return at.wrong(format!("{} is longer than {MAX_TEXT} bytes", at.quoted()), "");
    }
    if text.contains('\0') {
        return at.wrong(format!("{} holds a NUL", at.quoted()), "");
    }
    Some(text)
}

/// Any text; an empty one only where it says nothing (descriptions).
pub const TEXT: Parsed<String> =
    Parsed { what: "text", pattern: "", read: |text| Ok(text.to_owned()), show: Clone::clone };

/// Text that is not empty and stands on one line.
pub const NAME: Parsed<String> =
    Parsed { what: "a name", pattern: "^[^\\r\\n]+$", read: read_name, show: Clone::clone };

fn read_name(text: &str) -> Result<String, String> {
    let bad = text.trim().is_empty() || text.chars().any(char::is_control);
    if bad { Err("a name is not empty and has no control characters".into()) } else { Ok(text.to_owned()) }
}

/// One word of a closed set.
pub struct Word<T>(PhantomData<T>);

impl<T> Word<T> {
    /// The form of the words of `T`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Words> Form for Word<T> {
    type Out = T;

    fn shape(&self) -> Shape {
        Shape::Words(T::WORDS.iter().map(|(word, _)| *word).collect())
    }

    fn read(&self, at: &At<'_, '_>) -> Option<T> {
        let Some(text) = at.value.as_str() else { return at.mismatch(&self.shape()) };
        T::from_word(text).or_else(|| {
            let shown: String = text.chars().take(80).collect();
            let help = nearest(text, T::WORDS.iter().map(|(word, _)| *word));
            let message = format!("{} must be {}, not {shown:?}", at.quoted(), self.shape().expected());
            at.wrong(message, help.map(|near| format!("did you mean {near:?}?")).unwrap_or_default())
        })
    }

    fn show(&self, value: &T) -> Option<serde_json::Value> {
        Some(value.word().into())
    }
}

/// An array; `min` items at least.
pub struct List<F> {
    item: F,
    min: usize,
    max: usize,
}

/// Returns the form of an array of `item`.
pub const fn list<F>(item: F) -> List<F> {
    List { item, min: 0, max: MAX_ITEMS }
}

/// Returns the form of an array of `item` that is not empty: a program and its arguments, for one.
pub const fn some<F>(item: F) -> List<F> {
    List { item, min: 1, max: MAX_ITEMS }
}

/// Returns the form of an array of tables.
pub const fn tables<F>(item: F) -> List<F> {
    List { item, min: 0, max: MAX_TABLES }
}

/// A program and its arguments; no shell reads them.
pub const ARGV: List<Parsed<String>> = some(TEXT);

impl<F: Form> Form for List<F> {
    type Out = Vec<F::Out>;

    fn shape(&self) -> Shape {
        Shape::List { item: Box::new(self.item.shape()), min: self.min, max: self.max }
    }

    fn read(&self, at: &At<'_, '_>) -> Option<Self::Out> {
        let Some(array) = at.value.as_array() else { return at.mismatch(&self.shape()) };
        if array.len() > self.max {
            return at.wrong(format!("{} has more than {} items", at.quoted(), self.max), "");
        }
        if array.len() < self.min {
            return at.wrong(
                format!("{} must not be empty", at.quoted()),
                format!("it is {}", self.shape().expected()),
            );
        }
        // All of them are read, so that every problem is told.
        let items: Vec<_> =
            array.iter().enumerate().map(|(n, item)| self.item.read(&at.item(n, item))).collect();
        items.into_iter().collect()
    }

    fn show(&self, value: &Self::Out) -> Option<serde_json::Value> {
        let items: Option<Vec<_>> = value.iter().map(|item| self.item.show(item)).collect();
        items.map(Into::into)
    }
}

/// A table from names of the writer's choice to values, in the order of the names.
pub struct NamesTo<F>(pub F);

impl<F: Form> Form for NamesTo<F> {
    type Out = Vec<(String, F::Out)>;

    fn shape(&self) -> Shape {
        Shape::Map(Box::new(self.0.shape()))
    }

    fn read(&self, at: &At<'_, '_>) -> Option<Self::Out> {
        let Some(table) = at.value.as_table() else { return at.mismatch(&self.shape()) };
        if table.len() > MAX_ITEMS {
            return at.wrong(format!("{} has more than {MAX_ITEMS} entries", at.quoted()), "");
        }
        let read = |(name, value)| {
            let name: &toml::Spanned<toml::de::DeString<'_>> = name;
            let name = name.get_ref();
            let value = at.entry(name, value);
            if name.is_empty() || name.len() > MAX_TEXT || name.contains('\0') {
                return value.wrong("a name here is empty, too long or holds a NUL", "");
            }
            self.0.read(&value).map(|value| (name.to_string(), value))
        };
        let entries: Vec<_> = table.iter().map(read).collect();
        entries.into_iter().collect()
    }
}

/// A table that is read by a function.
pub struct Sub<T>(pub fn(&mut Table<'_, '_>) -> T);

impl<T> Form for Sub<T> {
    type Out = T;

    fn shape(&self) -> Shape {
        describe(self.0)
    }

    fn read(&self, at: &At<'_, '_>) -> Option<T> {
        let Some(mut table) = Table::open(at) else { return at.mismatch(&Shape::Free) };
        let read = (self.0)(&mut table);
        table.finish();
        Some(read)
    }
}

/// One of two forms, told apart by the type of the value; both become the same.
pub struct Either<A, B> {
    /// The first form.
    pub one: A,
    /// The second form.
    pub other: B,
    /// Whether a value is of the first.
    pub is_one: fn(&DeValue<'_>) -> bool,
}

impl<T, A: Form<Out = T>, B: Form<Out = T>> Form for Either<A, B> {
    type Out = T;

    fn shape(&self) -> Shape {
        Shape::Any(vec![self.one.shape(), self.other.shape()])
    }

    fn read(&self, at: &At<'_, '_>) -> Option<T> {
        if (self.is_one)(at.value) { self.one.read(at) } else { self.other.read(at) }
    }

    fn show(&self, value: &T) -> Option<serde_json::Value> {
        self.one.show(value).or_else(|| self.other.show(value))
    }
}

/// A form whose value is made into something else.
pub struct Mapped<F, S, T> {
    /// The form.
    pub form: F,
    /// What its value becomes.
    pub map: fn(S) -> T,
}

impl<F: Form<Out = S>, S, T> Form for Mapped<F, S, T> {
    type Out = T;

    fn shape(&self) -> Shape {
        self.form.shape()
    }

    fn read(&self, at: &At<'_, '_>) -> Option<T> {
        self.form.read(at).map(self.map)
    }
}
