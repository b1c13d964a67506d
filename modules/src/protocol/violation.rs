//! What the other side did that it must not do.

use std::fmt;

/// A violation of the protocol; it ends the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The code that the other side is told: `protocol`, `limit`, `version`.
    pub code: &'static str,
    /// What it did, for people; on one line, of bounded length.
    pub message: String,
}

impl Violation {
    /// Something that is not allowed.
    pub fn protocol(message: impl Into<String>) -> Self {
        Self { code: "protocol", message: message.into() }
    }

    /// Too much of something that is.
    pub fn limit(message: impl Into<String>) -> Self {
        Self { code: "limit", message: message.into() }
    }

    /// Tells in which message it was.
    pub(super) fn within(mut self, kind: &str) -> Self {
        self.message = format!("{kind}: {}", self.message);
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it does not keep to the protocol: {}", self.message)
    }
}

impl std::error::Error for Violation {}

/// Shows what came in a message: on one line, shortened, without anything that a terminal would obey.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let short: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() { format!("{short}…") } else { short }
}
