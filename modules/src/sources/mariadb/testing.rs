//! Any bytes as what a server says: a whole conversation, from the greeting or from the first answer on.

use super::client::{Client, ClientError, Patience, Sent};
use super::records::reading;
use crate::records::Value;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What a server says until somebody is let in, so that the rest is reached.
const LET_IN: &[u8] =
    b"\x53\0\0\0\x0a10.11.0-MariaDB\0\x01\0\0\0abcdefgh\0\xff\xf7\x2d\x02\0\xff\x81\x15\0\0\0\0\0\0\0\0\0\0\
    ijklmnopqrst\0mysql_native_password\0\x07\0\0\x02\0\0\0\x02\0\0\0";
/// More than the socket takes before anybody reads is not said.
const MOST: usize = 100 << 10;

/// Holds the client to what it promises: an error or what was sent, never more than came, and after an error that ends a
/// session nothing more. The first byte says what is asked, and from where the rest is the server's.
pub fn parse(bytes: &[u8]) {
    converse(bytes);
}

/// As [`parse`]; returns how many rows were taken, if the conversation came to its end.
pub fn converse(bytes: &[u8]) -> Option<usize> {
    let (first, said) = bytes.split_first()?;
    let (ours, mut theirs) = UnixStream::pair().ok()?;
    let said = said.get(..MOST).unwrap_or(said);
    for part in [if first & 1 == 0 { LET_IN } else { b"" }, said] {
        theirs.write_all(part).ok()?;
    }
    // What comes to an end is an end at once: nothing waits here.
    theirs.shutdown(Shutdown::Write).ok()?;
    let patience = Patience { idle_limit: Duration::from_secs(1), cancelled: &|| false };
    let mut client = Client::over(ours, "user", b"secret", patience).ok()?;
    let asked = match first >> 1 & 3 {
        0 => rows(&mut client, usize::from(first >> 3)),
        1 => client.ask("SELECT 1").map(|rows| {
            let came: usize = rows.iter().flatten().flatten().map(Vec::len).sum();
            assert!(came <= said.len(), "{came} bytes of {}", said.len());
            rows.len()
        }),
        _ => client.run("DO 1").map(|_| 0),
    };
    if asked.as_ref().is_err_and(|error| !matches!(error, ClientError::Said(_))) {
        assert!(client.run("DO 1").is_err(), "a broken session goes on");
    }
    asked.ok()
}

/// Asks for rows, and reads each value as a column of one of the types might be.
fn rows(client: &mut Client<'_>, of_type: usize) -> Result<usize, ClientError> {
    client.execute("SELECT a FROM t")?;
    let mut count = 0;
    while let Some(mut row) = client.row()? {
        for at in 0..2 {
            let sent = row.next()?;
            let read = reading(of_type + at, sent);
            assert!(sent != Sent::Null || read == Some(Value::Null));
        }
        row.finish()?;
        count += 1;
    }
    Ok(count)
}
