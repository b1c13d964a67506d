//! The tokens of a Python file.

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    /// A text that would be put together when it is run.
    Formatted,
    Int(i64),
    Sign(char),
    /// The end of a statement.
    End,
}

pub(super) struct Scanner {
    chars: Vec<char>,
    at: usize,
    line: usize,
    /// Where that line begins.
    line_at: usize,
    /// Brackets that are open: lines do not end within.
    depth: usize,
}

impl Scanner {
    pub(super) fn new(text: &str) -> Self {
        Self { chars: text.chars().collect(), at: 0, line: 1, line_at: 0, depth: 0 }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        if c == '\n' {
            (self.line, self.line_at) = (self.line + 1, self.at);
        }
        Some(c)
    }

    /// Returns the next token, its line, and how far from the begin of that line it stands.
    pub(super) fn token(&mut self) -> Result<Option<(Token, usize, usize)>, String> {
        loop {
            let Some(c) = self.peek(0) else { return Ok(None) };
            let (line, begin) = (self.line, self.at);
            let indent = begin - self.line_at;
            let found = |token| Ok(Some((token, line, indent)));
            match c {
                '\n' => {
                    self.next();
                    if self.depth == 0 {
                        return found(Token::End);
                    }
                }
                '\\' if matches!(self.peek(1), Some('\n')) => {
                    self.next();
                    self.next();
                }
                '#' => {
                    while !matches!(self.peek(0), None | Some('\n')) {
                        self.next();
                    }
                }
                c if c.is_whitespace() => drop(self.next()),
                '\'' | '"' => {
                    let text = self.text(c, false)?;
                    return found(Token::Text(text));
                }
                c if c.is_alphabetic() || c == '_' => {
                    let mut name = String::new();
                    while let Some(c) = self.peek(0).filter(|c| c.is_alphanumeric() || *c == '_') {
                        name.push(c);
                        self.next();
                    }
                    let quote = self.peek(0).filter(|c| matches!(c, '\'' | '"'));
                    let prefix = name.to_ascii_lowercase();
                    return match quote {
                        Some(quote)
                            if matches!(
                                prefix.as_str(),
                                "r" | "u" | "b" | "f" | "br" | "rb" | "fr" | "rf"
                            ) =>
                        {
                            let text = self.text(quote, prefix.contains('r'))?;
                            found(if prefix.contains('f') { Token::Formatted } else { Token::Text(text) })
                        }
                        _ => found(Token::Name(name)),
                    };
                }
                c if c.is_ascii_digit() => {
                    let mut digits = String::new();
                    while let Some(c) =
                        self.peek(0).filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
                    {
                        digits.push(c);
                        self.next();
                    }
                    return found(match digits.replace('_', "").parse() {
                        Ok(number) => Token::Int(number),
                        Err(_) => Token::Name(digits),
                    });
                }
                c => {
                    self.next();
                    match c {
                        '(' | '[' | '{' => self.depth += 1,
                        ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
                        _ => {}
                    }
                    return found(Token::Sign(c));
                }
            }
        }
    }

    fn text(&mut self, quote: char, raw: bool) -> Result<String, String> {
        let line = self.line;
        let no_end = || format!("line {line}: a text has no end");
        self.next();
        let triple = self.peek(0) == Some(quote) && self.peek(1) == Some(quote);
        if triple {
            self.next();
            self.next();
        }
        let mut text = String::new();
        loop {
            let c = self.next().ok_or_else(no_end)?;
            match c {
                '\\' => {
                    let next = self.next().ok_or_else(no_end)?;
                    if raw {
                        text.push('\\');
                        text.push(next);
                        continue;
                    }
                    match next {
                        '\n' => {}
                        'n' => text.push('\n'),
                        't' => text.push('\t'),
                        'r' => text.push('\r'),
                        '\\' | '\'' | '"' => text.push(next),
                        // Numbers of characters stand in no path that was ever seen; what is not known is kept as it is.
                        other => {
                            text.push('\\');
                            text.push(other);
                        }
                    }
                }
                '\n' if !triple => return Err(no_end()),
                c if c == quote && !triple => return Ok(text),
                c if c == quote && self.peek(0) == Some(quote) && self.peek(1) == Some(quote) => {
                    self.next();
                    self.next();
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
    }
}
