//! Values that stand in a Python file as they are: read, never run.
//!
//! What is known of the language are its tokens, and its literals: texts, numbers, lists, tuples, sets, maps, and names of
//! texts given before in the same file. Anything else (a call, a sum, an f-string) is *not known*, and said so with its
//! line. Nothing here calls itself, so a file nests as deep as it likes up to a bound.

mod scanner;

use scanner::{Scanner, Token};
use std::collections::BTreeMap;

/// Largest file.
pub const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting.
const MAX_DEPTH: usize = 32;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `None`
    None,
    /// `True`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
    /// A list, tuple or set.
    List(Vec<Literal>),
    /// A map with texts as keys.
    Map(Vec<(String, Literal)>),
}

/// A file, as tokens.
#[derive(Debug)]
pub struct Source {
    /// Each with its line, and whether it is the first of a line that is not indented.
    tokens: Vec<(Token, usize, bool)>,
}

/// A place after `=`.
#[derive(Clone, Copy, Debug)]
pub struct Place(usize);

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// It is too large, no text, or a text in it has no end.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_BYTES {
            return Err(format!("it has more than {MAX_BYTES} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let mut scanner = Scanner::new(text);
        let mut tokens = Vec::new();
        let mut begins_line = true;
        while let Some((token, line, indent)) = scanner.token()? {
            let is_end = token == Token::End;
            tokens.push((token, line, begins_line && indent == 0));
            begins_line = is_end;
        }
        Ok(Self { tokens })
    }

    /// Returns the places of values that are given to a name: `NAME = …` as a statement of the file itself.
    pub fn statements<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Place> {
        self.given(name).filter(|place| self.tokens[place.0 - 2].2)
    }

    /// Returns the places of values that are given to a name anywhere: in a class, or as an argument of a call.
    pub fn given<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Place> {
        self.tokens.windows(3).enumerate().filter_map(move |(at, window)| {
            let is_name = matches!(&window[0].0, Token::Name(found) if found == name);
            let is_given = window[1].0 == Token::Sign('=') && window[2].0 != Token::Sign('=');
            (is_name && is_given).then_some(Place(at + 2))
        })
    }

    /// Returns whether a function of this name is defined.
    pub fn defines(&self, name: &str) -> bool {
        self.tokens.windows(2).any(|pair| {
            pair[0].0 == Token::Name("def".into())
                && matches!(&pair[1].0, Token::Name(found) if found == name)
        })
    }

    /// Reads the value at a place.
    ///
    /// # Errors
    /// What is not known there, with its line.
    pub fn value(&self, place: Place) -> Result<Literal, String> {
        self.value_with(place, &BTreeMap::new())
    }

    /// Reads the value at a place; names stand for what the file gave them.
    ///
    /// # Errors
    /// What is not known there, with its line.
    pub fn value_here(&self, place: Place) -> Result<Literal, String> {
        let mut known = BTreeMap::new();
        for (at, window) in self.tokens.windows(2).enumerate().take(place.0) {
            if let (Token::Name(name), Token::Sign('=')) = (&window[0].0, &window[1].0)
                && window[0].2
                && at + 2 < place.0
            {
                match self.value_with(Place(at + 2), &known) {
                    // Only texts: lists of lists of lists by their names would be larger than any file.
                    Ok(value @ Literal::Text(_)) => drop(known.insert(name.clone(), value)),
                    Ok(_) | Err(_) => drop(known.remove(name)),
                }
            }
        }
        self.value_with(place, &known)
    }

    fn value_with(&self, place: Place, known: &BTreeMap<String, Literal>) -> Result<Literal, String> {
        let mut at = place.0;
        let mut open: Vec<Open> = Vec::new();
        loop {
            let (token, line, _) = self.tokens.get(at).ok_or("it ends within a value")?;
            let wrong = |what: &str| Err(format!("line {line}: {what}"));
            at += 1;
            let mut value = match token {
                Token::Text(text) => {
                    let mut whole = text.clone();
                    // Texts that stand beside each other are one.
                    while let Some((Token::Text(more), ..)) = self.tokens.get(at) {
                        whole.push_str(more);
                        at += 1;
                    }
                    Literal::Text(whole)
                }
                Token::Int(number) => Literal::Int(*number),
                Token::Name(name) => match name.as_str() {
                    "True" => Literal::Bool(true),
                    "False" => Literal::Bool(false),
                    "None" => Literal::None,
                    name => match known.get(name) {
                        Some(value) => value.clone(),
                        None => return wrong(&format!("{name} is not known without running the file")),
                    },
                },
                Token::Formatted => return wrong("a text that is put together when the file runs"),
                Token::Sign(sign @ ('[' | '(' | '{')) => {
                    if open.len() == MAX_DEPTH {
                        return wrong("values in too many others");
                    }
                    open.push(Open { sign: *sign, items: Vec::new(), pairs: Vec::new(), key: None });
                    continue;
                }
                Token::Sign(sign @ (']' | ')' | '}')) => match open.pop() {
                    Some(last) => last.close(*sign).ok_or(format!("line {line}: {sign:?} closes nothing"))?,
                    None => return wrong("a value is missing"),
                },
                Token::Sign(sign) => {
                    return wrong(&format!("{sign:?} is not known without running the file"));
                }
                Token::End => return wrong("a value is missing"),
            };
            // Hands the value to what it stands in, as far as something ends with it.
            loop {
                let next = self.tokens.get(at).map(|(token, ..)| token);
                let Some(last) = open.last_mut() else {
                    return match next {
                        None | Some(Token::End | Token::Sign(',' | ')')) => Ok(value),
                        Some(_) => wrong("something that is not known without running the file"),
                    };
                };
                match next {
                    Some(Token::Sign(':')) if last.sign == '{' && last.key.is_none() => {
                        let Literal::Text(key) = value else { return wrong("a key that is no text") };
                        last.key = Some(key);
                        at += 1;
                        break;
                    }
                    Some(Token::Sign(sign @ (',' | ']' | ')' | '}'))) => {
                        last.put(value);
                        at += 1;
                        if *sign == ',' {
                            // One behind the last value means nothing.
                            match self.tokens.get(at).map(|(token, ..)| token) {
                                Some(Token::Sign(closing @ (']' | ')' | '}'))) => {
                                    at += 1;
                                    let Some(last) = open.pop() else { return wrong("too many brackets") };
                                    value =
                                        last.close(*closing).ok_or(format!("line {line}: wrong bracket"))?;
                                    continue;
                                }
                                _ => break,
                            }
                        }
                        let Some(last) = open.pop() else { return wrong("too many brackets") };
                        value = last.close(*sign).ok_or(format!("line {line}: wrong bracket"))?;
                    }
                    None | Some(Token::End) => return wrong("the file ends within a value"),
                    Some(_) => return wrong("something that is not known without running the file"),
                }
            }
        }
    }
}

/// A bracket that is open.
struct Open {
    sign: char,
    items: Vec<Literal>,
    pairs: Vec<(String, Literal)>,
    key: Option<String>,
}

impl Open {
    fn put(&mut self, value: Literal) {
        match self.key.take() {
            Some(key) => {
                self.pairs.retain(|(known, _)| *known != key);
                self.pairs.push((key, value));
            }
            None => self.items.push(value),
        }
    }

    fn close(mut self, sign: char) -> Option<Literal> {
        let matches = matches!((self.sign, sign), ('[', ']') | ('(', ')') | ('{', '}'));
        let mixed = !self.items.is_empty() && !self.pairs.is_empty() || self.key.is_some();
        if !matches || mixed {
            return None;
        }
        Some(match self.sign {
            '{' if self.items.is_empty() => Literal::Map(self.pairs),
            // Parentheses around one value mean nothing, unless a comma follows; a list of one is as good for us.
            '(' if self.items.len() == 1 && matches!(self.items[0], Literal::Text(_)) => self.items.remove(0),
            _ => Literal::List(self.items),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(text: &str) -> Result<Literal, String> {
        let source = Source::read(text.as_bytes())?;
        let place = source.statements("backup").last().ok_or("none")?;
        source.value_here(place)
    }

    #[test]
    fn literals_are_read() {
        let text = r#"
"""A text in which
backup = 'stands too'
"""
from . import x
DIR = '/var/lib/' 'app'  # a comment
clients = [{'name': _('Web')}]
backup = {
    'data': {'directories': [DIR, r"/a\b",], 'files': ('/x', '/y')},
    "services": ['a', {'type': 'system', 'name': 'b'}],
    'n': 1_0, 'none': None, 'yes': True, 'empty': [], 'one': ('/z'),
}
"#;
        let t = |text: &str| Literal::Text(text.into());
        let Literal::Map(pairs) = backup(text).unwrap() else { panic!() };
        let data = Literal::Map(vec![
            ("directories".into(), Literal::List(vec![t("/var/lib/app"), t("/a\\b")])),
            ("files".into(), Literal::List(vec![t("/x"), t("/y")])),
        ]);
        assert_eq!(pairs[0], ("data".into(), data));
        assert_eq!(pairs[2], ("n".into(), Literal::Int(10)));
        assert_eq!(pairs[5], ("empty".into(), Literal::List(vec![])));
        assert_eq!(pairs[6], ("one".into(), t("/z")));
    }

    #[test]
    fn what_must_be_run_is_named_and_not_guessed() {
        for (text, told) in [
            ("backup = {'files': [str(path)]}\n", "line 1: str is not known"),
            ("backup = {\n 'files': [f'/{x}']}\n", "line 2: a text that is put together"),
            ("backup = {'a': 'b' + 'c'}\n", "line 1"),
            ("backup = {'a': 'b'\n", "ends within"),
            ("backup = {'a': ['b'}\n", "line 1"),
            ("backup = {**other}\n", "line 1"),
            ("backup = __import__('os').system('true')\n", "line 1: __import__"),
            ("backup = 'x\n", "a text has no end"),
        ] {
            let wrong = backup(text).unwrap_err();
            assert!(wrong.contains(told), "{text}: {wrong}");
        }
        let deep = format!("backup = {}1{}\n", "[".repeat(100_000), "]".repeat(100_000));
        assert!(backup(&deep).unwrap_err().contains("too many"));
    }

    #[test]
    fn what_is_given_within_classes_is_found() {
        let text = "class A:\n    app_id = 'app'\n    _version = 3\n    def x(self):\n        info = Info(app_id=self.app_id, depends=['b'], is_essential=True)\n\n    def backup_pre(self, packet):\n        pass\n";
        let source = Source::read(text.as_bytes()).unwrap();
        let first = |name: &str| source.given(name).find_map(|place| source.value(place).ok());
        assert_eq!(first("app_id"), Some(Literal::Text("app".into())));
        assert_eq!(first("_version"), Some(Literal::Int(3)));
        assert_eq!(first("depends"), Some(Literal::List(vec![Literal::Text("b".into())])));
        assert_eq!(first("is_essential"), Some(Literal::Bool(true)));
        assert!(source.defines("backup_pre") && !source.defines("restore_post"));
        assert_eq!(source.statements("app_id").count(), 0);
    }
}
