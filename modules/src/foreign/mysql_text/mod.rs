//! Text that `mysqldump` and phpMyAdmin write: tables and rows out of it, statement by statement; nothing is run.
//!
//! Only `CREATE TABLE` and `INSERT` (or `REPLACE`) are looked into; every other statement is passed over. A string is
//! what MySQL reads in it, so a backslash that the data hold is one in the end. One row is in memory at a time.

mod tokens;

use super::database::Database;
use super::error::ForeignError;
use crate::records::Value;
use std::io::Read;
use tokens::{Reader, Token, Wrong, here};

/// Most values of a row.
const MAX_VALUES: usize = 4096;
/// How deep parentheses may stand in each other in a definition.
const MAX_NESTED: usize = 64;

/// Words that begin what is no column.
const NO_COLUMN: [&str; 9] =
    ["UNIQUE", "KEY", "INDEX", "CONSTRAINT", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK", "PERIOD"];

/// What came of a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rows.
    pub rows: u64,
    /// Statements that were passed over.
    pub passed_over: u64,
}

/// Reads a dump into a database. `what` is its name, for messages.
///
/// # Errors
/// Where a statement that is looked into makes no sense, with its line; where the text ends within a statement.
pub fn load(
    what: &str,
    input: impl Read,
    database: &mut Database,
    cancelled: &dyn Fn() -> bool,
) -> Result<Loaded, ForeignError> {
    let mut reader = Reader::new(input);
    let mut loaded = Loaded::default();
    loop {
        if cancelled() {
            return Err(ForeignError::Cancelled);
        }
        let done = reader.statement(database, &mut loaded, cancelled);
        match done {
            Ok(true) => {}
            Ok(false) => return Ok(loaded),
            Err(Wrong::Here(wrong)) => {
                return Err(ForeignError::malformed(what, format!("line {}: {wrong}", reader.line)));
            }
            Err(Wrong::Foreign(ForeignError::Malformed { what: table, wrong })) => {
                return Err(ForeignError::malformed(what, format!("line {}: {table}: {wrong}", reader.line)));
            }
            Err(Wrong::Foreign(error)) => return Err(error),
        }
    }
}

impl<R: Read> Reader<R> {
    /// Passes over the rest of a statement.
    fn pass_over(&mut self) -> Result<(), Wrong> {
        while !matches!(self.token()?, Token::Sign(b';') | Token::End) {}
        Ok(())
    }

    /// Reads one statement; false at the end.
    fn statement(
        &mut self,
        database: &mut Database,
        loaded: &mut Loaded,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<bool, Wrong> {
        let first = match self.token()? {
            Token::End => return Ok(false),
            Token::Sign(b';') => return Ok(true),
            Token::Word(word) => word.to_ascii_uppercase(),
            _ => String::new(),
        };
        match first.as_str() {
            "CREATE" => {
                if !self.is_word("TABLE")? {
                    self.pass_over()?;
                    loaded.passed_over += 1;
                    return Ok(true);
                }
                self.create(database)?;
            }
            "INSERT" | "REPLACE" => self.insert(database, loaded, cancelled)?,
            _ => {
                self.pass_over()?;
                loaded.passed_over += 1;
            }
        }
        Ok(true)
    }

    fn is_word(&mut self, wanted: &str) -> Result<bool, Wrong> {
        Ok(matches!(self.token()?, Token::Word(word) if word.eq_ignore_ascii_case(wanted)))
    }

    /// Reads the name of a table after words that may stand before it; of `a`.`b` the last part.
    fn table_name(&mut self, before: &[&str]) -> Result<(String, Token), Wrong> {
        let mut token = self.token()?;
        while matches!(&token, Token::Word(word) if before.iter().any(|known| word.eq_ignore_ascii_case(known)))
        {
            token = self.token()?;
        }
        loop {
            let name = match token {
                Token::Name(name) | Token::Word(name) => name,
                _ => return here("the name of a table is missing"),
            };
            match self.token()? {
                Token::Sign(b'.') => token = self.token()?,
                next => return Ok((name, next)),
            }
        }
    }

    fn create(&mut self, database: &mut Database) -> Result<(), Wrong> {
        let (name, next) = self.table_name(&["IF", "NOT", "EXISTS"])?;
        if next != Token::Sign(b'(') {
            return here("a table without columns");
        }
        let (mut columns, mut key, mut depth) = (Vec::new(), Vec::new(), 1usize);
        // What a definition begins with says what it is.
        let (mut begins, mut in_key) = (true, false);
        while depth > 0 {
            let token = self.token()?;
            match token {
                Token::End => return here("the text ends within a definition"),
                Token::Sign(b'(') if depth == MAX_NESTED => return here("parentheses in too many others"),
                Token::Sign(b'(') => depth += 1,
                Token::Sign(b')') => {
                    depth -= 1;
                    in_key &= depth > 1;
                }
                Token::Sign(b',') if depth == 1 => {
                    begins = true;
                    continue;
                }
                Token::Name(column) if begins => columns.push(column),
                Token::Word(word) if begins && word.eq_ignore_ascii_case("PRIMARY") => in_key = true,
                Token::Word(word)
                    if begins && !NO_COLUMN.iter().any(|known| word.eq_ignore_ascii_case(known)) =>
                {
                    columns.push(word);
                }
                Token::Name(column) if in_key && depth == 2 => key.push(column),
                _ => {}
            }
            begins = false;
            if columns.len() > MAX_VALUES {
                return here("too many columns");
            }
        }
        self.pass_over()?;
        Ok(database.create(&name, &columns, &key)?)
    }

    fn insert(
        &mut self,
        database: &mut Database,
        loaded: &mut Loaded,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), Wrong> {
        let (name, mut next) = self.table_name(&["INTO", "IGNORE", "DELAYED", "LOW_PRIORITY"])?;
        let Some(table) = database.table(&name) else { return here("rows of a table that was not made") };
        let width = table.columns.len();
        let mut places: Option<Vec<usize>> = None;
        if next == Token::Sign(b'(') {
            let mut list = Vec::new();
            loop {
                match self.token()? {
                    Token::Name(column) | Token::Word(column) => {
                        let place = table.columns.iter().position(|known| *known == column);
                        list.push(
                            place.ok_or_else(|| Wrong::Here(format!("there is no column {column:?}")))?,
                        );
                    }
                    Token::Sign(b',') => {}
                    Token::Sign(b')') => break,
                    _ => return here("a list of columns is damaged"),
                }
                if list.len() > width {
                    return here("more columns than there are");
                }
            }
            places = Some(list);
            next = self.token()?;
        }
        if !matches!(&next, Token::Word(word) if word.eq_ignore_ascii_case("VALUES") || word.eq_ignore_ascii_case("VALUE"))
        {
            return here("rows without VALUES");
        }
        loop {
            if self.token()? != Token::Sign(b'(') {
                return here("a row is missing");
            }
            let given = self.row()?;
            let row = match &places {
                None => given,
                Some(places) if places.len() == given.len() => {
                    let mut row = vec![Value::Null; width];
                    for (place, value) in places.iter().zip(given) {
                        row[*place] = value;
                    }
                    row
                }
                Some(_) => return here("a row has another number of values than columns are named"),
            };
            database.insert(&name, &row)?;
            loaded.rows += 1;
            if loaded.rows.is_multiple_of(1024) && cancelled() {
                return Err(ForeignError::Cancelled.into());
            }
            match self.token()? {
                Token::Sign(b',') => {}
                Token::Sign(b';') => return Ok(()),
                Token::End => return here("the text ends within a statement"),
                Token::Word(word) if word.eq_ignore_ascii_case("ON") => return self.pass_over(),
                _ => return here("something else than a row"),
            }
        }
    }

    /// Reads values up to the closing parenthesis.
    fn row(&mut self) -> Result<Vec<Value>, Wrong> {
        let mut row = Vec::new();
        loop {
            let mut token = self.token()?;
            let mut is_binary = false;
            // `_binary 'x'` and `_utf8mb4'x'` say of what character set a string is.
            while matches!(&token, Token::Word(word) if word.starts_with('_')) {
                is_binary |= token == Token::Word("_binary".into());
                token = self.token()?;
            }
            row.push(match token {
                Token::Text(bytes) if is_binary => Value::Bytes(bytes),
                Token::Text(bytes) => Value::text(bytes),
                Token::Bytes(bytes) => Value::Bytes(bytes),
                Token::Word(word) if word.eq_ignore_ascii_case("NULL") => Value::Null,
                Token::Word(word) => number(word)?,
                _ => return here("a value is missing"),
            });
            if row.len() > MAX_VALUES {
                return here("too many values");
            }
            match self.token()? {
                Token::Sign(b',') => {}
                Token::Sign(b')') => return Ok(row),
                _ => return here("a row has no end"),
            }
        }
    }
}

fn number(word: String) -> Result<Value, Wrong> {
    if let Ok(number) = word.parse::<i64>() {
        return Ok(Value::Int(number));
    }
    // As it stands there: nothing is rounded.
    let is_number = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    match word.to_ascii_uppercase().as_str() {
        "TRUE" => Ok(Value::Int(1)),
        "FALSE" => Ok(Value::Int(0)),
        _ if is_number => Ok(Value::Text(word)),
        _ => Err(Wrong::Here(format!("{word:?} is no value"))),
    }
}
