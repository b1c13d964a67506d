//! Reads tables key by key, and learns by that which keys there are.
//!
//! Every structure has one function that asks a [`Table`] for its keys: name, form, default, what it means. Run over a
//! file, it yields the structure and tells every problem with its place; the keys that were never asked for are
//! unknown. Run over nothing ([`describe`]), it yields the [`Shape`] that messages and the JSON schema are made of. So
//! what is accepted, suggested and documented cannot differ.
//!
//! A reader never stops at a problem: in place of what is wrong it goes on with a default, and a file with any problem
//! is refused as a whole, so that the default is never used.

use super::form::Form;
use super::near::nearest;
use super::problem::{Place, Problem};
use super::shape::{Field, Shape};
use super::text::Text;
use crate::planted::{Bug, planted};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is shared while one file is read.
pub struct Reader<'a> {
    text: Option<&'a Text<'a>>,
    problems: RefCell<Vec<Problem>>,
    /// Byte offset of every value that was read, by its key, for checks that concern several of them.
    offsets: RefCell<BTreeMap<String, usize>>,
    /// Names of path variables, once `[paths]` is read.
    variables: RefCell<BTreeSet<String>>,
    /// Whether the TOML itself is broken: then what is missing may only not have been understood.
    broken: Cell<bool>,
}

impl<'a> Reader<'a> {
    /// Reads a text.
    pub fn new(text: &'a Text<'a>, broken: bool) -> Self {
        Self { text: Some(text), broken: Cell::new(broken), ..Self::of_nothing() }
    }

    fn of_nothing() -> Self {
        Self {
            text: None,
            problems: RefCell::default(),
            offsets: RefCell::default(),
            variables: RefCell::default(),
            broken: Cell::new(false),
        }
    }

    /// Returns the problems found.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// Returns whether anything was wrong so far.
    pub fn has_problems(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// Makes the names of path variables known.
    pub fn set_variables<'n>(&self, names: impl Iterator<Item = &'n str>) {
        *self.variables.borrow_mut() = names.map(ToOwned::to_owned).collect();
    }

    /// Calls `look` with the names of path variables.
    pub fn variables<T>(&self, look: impl FnOnce(&BTreeSet<String>) -> T) -> T {
        look(&self.variables.borrow())
    }

    /// Returns a table of the file as plain values; empty if the TOML is broken.
    pub fn free(&self, key: &str) -> Option<toml::Table> {
        if self.broken.get() {
            return Some(toml::Table::new());
        }
        let whole: toml::Table = toml::from_str(self.text?.as_str()).ok()?;
        whole.get(key).and_then(toml::Value::as_table).cloned()
    }

    /// Tells a problem at a byte of the text.
    fn tell(&self, offset: usize, key: &str, message: String, help: Option<String>) {
        if let Some(text) = self.text {
            let problem = Problem { place: text.place(offset), key: key.to_owned(), message, help };
            self.problems.borrow_mut().push(problem);
        }
    }

    /// Tells a problem at a value that was read, found by its key, or at the nearest table around it.
    pub fn wrong_at(&self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        let offsets = self.offsets.borrow();
        let mut around = key;
        let offset = loop {
            match (offsets.get(around), around.rfind(['.', '['])) {
                (Some(offset), _) => break *offset,
                (None, Some(end)) => around = &around[..end],
                (None, None) => break 0,
            }
        };
        drop(offsets);
        let help = Some(help.into()).filter(|help| !help.is_empty());
        self.tell(offset, key, message.into(), help);
    }
}

/// A value where it stands.
pub struct At<'r, 'a> {
    /// What is shared.
    pub reader: &'r Reader<'a>,
    /// The value.
    pub value: &'r DeValue<'a>,
    /// Its key from the top.
    pub key: String,
    offset: usize,
}

impl<'r, 'a> At<'r, 'a> {
    fn new(reader: &'r Reader<'a>, value: &'r Spanned<DeValue<'a>>, key: String) -> Self {
        let offset = value.span().start;
        reader.offsets.borrow_mut().insert(key.clone(), offset);
        Self { reader, value: value.get_ref(), key, offset }
    }

    /// Returns an item of this array.
    pub fn item(&self, index: usize, value: &'r Spanned<DeValue<'a>>) -> Self {
        Self::new(self.reader, value, format!("{}[{index}]", self.key))
    }

    /// Returns a value of this table.
    pub fn entry(&self, name: &str, value: &'r Spanned<DeValue<'a>>) -> Self {
        Self::new(self.reader, value, format!("{}.{name}", self.key))
    }

    /// Tells what is wrong with the value, and what would be right.
    pub fn wrong<T>(&self, message: impl Into<String>, help: impl Into<String>) -> Option<T> {
        let help = Some(help.into()).filter(|help| !help.is_empty());
        self.reader.tell(self.offset, &self.key, message.into(), help);
        None
    }

    /// Tells that the value is of the wrong type.
    pub fn mismatch<T>(&self, shape: &Shape) -> Option<T> {
        let article = if matches!(self.value.type_str(), "integer" | "array") { "an" } else { "a" };
        let message = format!(
            "{} must be {}, not {article} {}",
            self.quoted(),
            shape.expected(),
            self.value.type_str()
        );
        self.wrong(message, "")
    }

    /// Returns the last part of the key in backticks, for messages.
    pub fn quoted(&self) -> String {
        format!("`{}`", self.key.rsplit('.').next().unwrap_or(&self.key))
    }
}

/// A table that is asked for its keys; or, without data, that only remembers what it is asked.
pub struct Table<'r, 'a> {
    /// What is shared.
    pub reader: &'r Reader<'a>,
    data: Option<&'r DeTable<'a>>,
    key: String,
    offset: usize,
    fields: Vec<Field>,
}

impl<'r, 'a> Table<'r, 'a> {
    /// Opens the table at the top of a file.
    pub fn top(reader: &'r Reader<'a>, data: &'r DeTable<'a>) -> Self {
        Self { reader, data: Some(data), key: String::new(), offset: 0, fields: Vec::new() }
    }

    /// Opens the table that stands here; `None` if it is something else.
    pub fn open(at: &At<'r, 'a>) -> Option<Self> {
        let data = at.value.as_table()?;
        Some(Self {
            reader: at.reader,
            data: Some(data),
            key: at.key.clone(),
            offset: at.offset,
            fields: Vec::new(),
        })
    }

    /// Returns the key from the top of a key of this table.
    pub fn key_of(&self, key: &str) -> String {
        match (self.key.as_str(), key) {
            ("", key) => key.to_owned(),
            (table, "") => table.to_owned(),
            (table, key) => format!("{table}.{key}"),
        }
    }

    /// Returns the digits and the place of a key that is a whole number, without reading it.
    pub fn integer(&self, key: &str) -> Option<(String, Place)> {
        let value = self.data?.get(key)?;
        let number = value.get_ref().as_integer()?;
        Some((number.to_string(), self.reader.text?.place(value.span().start)))
    }

    /// Tells a problem if another key stands before this one.
    pub fn must_be_first(&self, key: &str) {
        let Some(data) = self.data else { return };
        let starts = data
            .iter()
            .map(|(name, value)| if name.span().is_empty() { value.span() } else { name.span() }.start);
        let own = data.get_key_value(key).map(|(name, _)| name.span().start);
        if own > starts.min() {
            self.wrong(
                key,
                format!("`{key}` must stand before everything else"),
                "a later version may read the rest otherwise",
            );
        }
    }

    /// Returns whether a key stands in the file.
    pub fn has(&self, key: &str) -> bool {
        self.data.is_some_and(|data| data.contains_key(key))
    }

    /// Reads a key that may be absent.
    pub fn optional<F: Form>(&mut self, key: &'static str, form: F, doc: &'static str) -> Option<F::Out> {
        self.learn(key, &form, doc, false, None);
        self.read(key, &form)
    }

    /// Reads a key that must be there.
    pub fn required<F: Form>(&mut self, key: &'static str, form: F, doc: &'static str) -> Option<F::Out> {
        self.learn(key, &form, doc, true, None);
        if self.data.is_some_and(|data| !data.contains_key(key)) && !self.reader.broken.get() {
            let whole = self.key_of(key);
            let expected = form.shape().expected();
            let place = if self.key.is_empty() { "the file".to_owned() } else { format!("`{}`", self.key) };
            let help = Some(format!("it is {expected}: {doc}"));
            self.reader.tell(self.offset, &whole, format!("{place} lacks `{key}`"), help);
        }
        self.read(key, &form)
    }

    /// Reads a key that has a default.
    pub fn or<F: Form>(&mut self, key: &'static str, form: F, default: F::Out, doc: &'static str) -> F::Out {
        self.learn(key, &form, doc, false, form.show(&default));
        self.read(key, &form).unwrap_or(default)
    }

    /// Tells a problem at a key of this table, or at the table if it is not there.
    pub fn wrong(&self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        let Some(data) = self.data else { return };
        let whole = self.key_of(key);
        // It may not have been read yet.
        if let Some(value) = data.get(key) {
            self.reader.offsets.borrow_mut().insert(whole.clone(), value.span().start);
        }
        self.reader.wrong_at(&whole, message, help);
    }

    /// Tells that two keys that exclude one another are both there.
    pub fn not_both(&self, one: &str, other: &str) {
        if self.has(one) && self.has(other) {
            self.wrong(other, format!("`{one}` and `{other}` exclude one another"), "keep one of them");
        }
    }

    /// Tells every key that nobody asked for, and returns those there are.
    pub fn finish(self) -> Vec<Field> {
        for (name, value) in self.data.into_iter().flatten() {
            if self.fields.iter().any(|field| field.key == name.get_ref()) {
                continue;
            }
            if planted(Bug::IgnoreUnknownKey) {
                continue;
            }
            let known = || self.fields.iter().map(|field| field.key);
            let help = match nearest(name.get_ref(), known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
            };
            let place = if self.key.is_empty() { String::new() } else { format!(" in `{}`", self.key) };
            let shown: String = name.get_ref().chars().take(80).collect();
            // An empty span: a table that is implied by a header below it.
            let Range { start, .. } = if name.span().is_empty() { value.span() } else { name.span() };
            self.reader.tell(
                start,
                &self.key_of(&shown),
                format!("unknown key `{shown}`{place}"),
                Some(help),
            );
        }
        self.fields
    }

    fn learn<F: Form>(
        &mut self,
        key: &'static str,
        form: &F,
        doc: &'static str,
        required: bool,
        default: Option<serde_json::Value>,
    ) {
        // The shape is only wanted when there is no file.
        let shape = if self.data.is_none() { form.shape() } else { Shape::Free };
        self.fields.push(Field { key, doc, required, default, shape });
    }

    fn read<F: Form>(&self, key: &'static str, form: &F) -> Option<F::Out> {
        let value = self.data?.get(key)?;
        form.read(&At::new(self.reader, value, self.key_of(key)))
    }
}

/// Returns the shape of what `read` reads, by running it over nothing.
pub fn describe<T>(read: impl FnOnce(&mut Table<'_, '_>) -> T) -> Shape {
    let reader = Reader::of_nothing();
    let mut table = Table { reader: &reader, data: None, key: String::new(), offset: 0, fields: Vec::new() };
    read(&mut table);
    Shape::Table(table.finish())
}
