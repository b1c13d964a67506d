//! The tokens of MySQL's text: words, names, strings as MySQL reads them.

use super::super::error::ForeignError;
use std::io::{BufRead, BufReader, Read};

/// Longest value of a row.
const MAX_VALUE: usize = 64 << 20;
/// Longest name or word.
const MAX_WORD: usize = 1024;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A word or number as it stands there.
    Word(String),
    /// A name between backticks.
    Name(String),
    /// A string.
    Text(Vec<u8>),
    /// Bytes written by their digits.
    Bytes(Vec<u8>),
    /// Any other sign.
    Sign(u8),
    End,
}

pub(super) struct Reader<R> {
    input: BufReader<R>,
    pub(super) line: u64,
}

/// What ends a dump.
pub(super) enum Wrong {
    Here(String),
    Foreign(ForeignError),
}

impl From<ForeignError> for Wrong {
    fn from(error: ForeignError) -> Self {
        Self::Foreign(error)
    }
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Self {
        Self::Here(error.to_string())
    }
}

pub(super) fn here<T>(what: &str) -> Result<T, Wrong> {
    Err(Wrong::Here(what.to_owned()))
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(256 << 10, input), line: 1 }
    }

    fn peek(&mut self) -> Result<Option<u8>, Wrong> {
        Ok(self.input.fill_buf()?.first().copied())
    }

    fn next(&mut self) -> Result<Option<u8>, Wrong> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.input.consume(1);
            self.line += u64::from(byte == b'\n');
        }
        Ok(byte)
    }

    /// Returns whether what comes is this byte, which is passed over then.
    fn takes(&mut self, wanted: u8) -> Result<bool, Wrong> {
        let is_it = self.peek()? == Some(wanted);
        if is_it {
            self.next()?;
        }
        Ok(is_it)
    }

    fn rest_of_line(&mut self) -> Result<(), Wrong> {
        while !matches!(self.next()?, None | Some(b'\n')) {}
        Ok(())
    }

    /// Reads one token; blanks and comments are none. What stands in `/*! … */` is a comment too: settings of a session,
    /// which mean nothing here.
    pub(super) fn token(&mut self) -> Result<Token, Wrong> {
        loop {
            let Some(byte) = self.next()? else { return Ok(Token::End) };
            match byte {
                byte if byte.is_ascii_whitespace() => {}
                b'#' => self.rest_of_line()?,
                b'-' if self.peek()? == Some(b'-') => self.rest_of_line()?,
                b'/' if self.takes(b'*')? => {
                    let mut star = false;
                    loop {
                        match self.next()? {
                            Some(b'/') if star => break,
                            Some(byte) => star = byte == b'*',
                            None => return here("a comment has no end"),
                        }
                    }
                }
                b'`' => {
                    let name = self.quoted(b'`', MAX_WORD)?;
                    let name =
                        String::from_utf8(name).map_err(|_| Wrong::Here("a name is no text".into()))?;
                    return Ok(Token::Name(name));
                }
                b'\'' | b'"' => return Ok(Token::Text(self.quoted(byte, MAX_VALUE)?)),
                byte if byte.is_ascii_alphanumeric()
                    || matches!(byte, b'_' | b'-' | b'+' | b'.' | b'$' | b'@') =>
                {
                    let mut word = vec![byte];
                    while let Some(byte) = self.peek()? {
                        let joins = byte.is_ascii_alphanumeric()
                            || matches!(byte, b'_' | b'.' | b'$' | b'@')
                            // 1e-5
                            || matches!(byte, b'-' | b'+') && matches!(word.last(), Some(b'e' | b'E')) && word[0].is_ascii_digit();
                        if !joins {
                            break;
                        }
                        let most = if word.starts_with(b"0x") { 2 * MAX_VALUE + 2 } else { MAX_WORD };
                        if word.len() >= most {
                            return here("a word is too long");
                        }
                        word.push(byte);
                        self.next()?;
                    }
                    return self.word(word);
                }
                other => return Ok(Token::Sign(other)),
            }
        }
    }

    fn word(&mut self, word: Vec<u8>) -> Result<Token, Wrong> {
        let text = String::from_utf8(word).map_err(|_| Wrong::Here("a word is no text".into()))?;
        if let Some(digits) =
            text.strip_prefix("0x").filter(|digits| digits.len() % 2 == 0 && !digits.is_empty())
        {
            let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
            let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
            return bytes.map(Token::Bytes).ok_or_else(|| Wrong::Here("a hexadecimal number is none".into()));
        }
        // X'0a' and b'01': what stands between the quotes are digits.
        if matches!(text.as_str(), "x" | "X") && self.takes(b'\'')? {
            let digits = self.quoted(b'\'', 2 * MAX_VALUE)?;
            let digits = String::from_utf8_lossy(&digits).into_owned();
            let byte = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
            let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
            return bytes.map(Token::Bytes).ok_or_else(|| Wrong::Here("a hexadecimal number is none".into()));
        }
        if matches!(text.as_str(), "b" | "B") && self.takes(b'\'')? {
            let digits = self.quoted(b'\'', 64)?;
            let number =
                String::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(&digits, 2).ok());
            return number
                .map(|number| Token::Word(number.to_string()))
                .ok_or_else(|| Wrong::Here("a binary number is none".into()));
        }
        Ok(Token::Word(text))
    }

    /// Reads to the end of a quoted thing, and un-escapes it as MySQL does.
    fn quoted(&mut self, quote: u8, most: usize) -> Result<Vec<u8>, Wrong> {
        let mut out = Vec::new();
        loop {
            let Some(byte) = self.next()? else { return here("a string has no end") };
            let byte = match byte {
                b'\\' if quote != b'`' => match self.next()? {
                    None => return here("a string has no end"),
                    Some(b'0') => 0,
                    Some(b'b') => 8,
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(b'Z') => 26,
                    // These keep their backslash: they are for patterns.
                    Some(kept @ (b'%' | b'_')) => {
                        out.push(b'\\');
                        kept
                    }
                    Some(other) => other,
                },
                byte if byte == quote => match self.takes(quote)? {
                    true => quote,
                    false => return Ok(out),
                },
                byte => byte,
            };
            if out.len() >= most {
                return here("a value is too long");
            }
            out.push(byte);
        }
    }
}
