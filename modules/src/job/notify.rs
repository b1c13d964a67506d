//! Who is told of a run: by mail, which a program such as `sendmail` delivers, or by a program of their own.
//!
//! A mail is text in the form of RFC 5322 and RFC 2045: quoted-printable, so that no line is too long and no relay changes
//! it. Who is told, and whether that works, never changes the result of the run.

use crate::child::{Program, Surroundings, feed};
use crate::manifest::job::{Notify, NotifyLog, NotifyOn};
use crate::runlog::{Line, store};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// How long a delivery may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Most bytes of a log that are sent: the last ones.
const MAX_LOG_BYTES: usize = 256 << 10;
/// Longest line of quoted-printable text (RFC 2045, 6.7).
const MAX_LINE: usize = 76;
/// Where mail is handed over if `PATH` has no `sendmail`: ordinary users often lack these directories.
const USUAL_PLACES: [&str; 2] = ["/usr/sbin/sendmail", "/usr/lib/sendmail"];

/// What there is to tell.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// On one line.
    pub subject: String,
    /// What happened, line by line.
    pub text: String,
    /// The log of the run.
    pub log: Vec<String>,
    /// Variables that a program is given.
    pub env: Vec<(String, String)>,
}

/// Returns whether somebody is told after such an end.
pub fn is_due(notify: &Notify, complete: bool) -> bool {
    match notify.on {
        NotifyOn::Both => true,
        NotifyOn::Success => complete,
        NotifyOn::Failure => !complete,
    }
}

/// Returns the last lines of a run's log, for people; none if it cannot be read.
pub fn log_lines(path: &Path) -> Vec<String> {
    let (mut lines, mut bytes) = (VecDeque::new(), 0);
    let Ok(reader) = store::open(path) else { return Vec::new() };
    for line in reader.map_while(Result::ok) {
        let Line::Event(event) = line else { continue };
        let module = event.module.map(|id| format!("{id}: ")).unwrap_or_default();
        let text = printable(&format!("{} {} {module}{}", event.time, event.level, event.message));
        bytes += text.len();
        lines.push_back(text);
        while bytes > MAX_LOG_BYTES && lines.len() > 1 {
            bytes -= lines.pop_front().map_or(0, |first: String| first.len());
        }
    }
    lines.into()
}

/// Tells all who are to be told; returns what failed, for people.
pub fn deliver(notify: &Notify, news: &News, around: &Surroundings) -> Vec<String> {
    let mut failed = Vec::new();
    if !notify.to.is_empty() {
        let mail = mail(notify, news);
        let sendmail = sendmail(around);
        let argv = [sendmail.clone(), "-i".into()].into_iter().chain(notify.to.iter().map(OsString::from));
        failed.extend(hand_over(&Program::new(argv), mail.as_bytes(), around).err());
    }
    if !notify.command.is_empty() {
        let env = news.env.iter().cloned().chain([("DEDUP_SUBJECT".to_owned(), printable(&news.subject))]);
        let program = Program {
            env: env.map(|(name, value)| (name.into(), value.into())).collect(),
            ..Program::new(notify.command.iter())
        };
        failed.extend(hand_over(&program, whole_text(news).as_bytes(), around).err());
    }
    failed
}

/// Returns the program that takes mail.
pub fn sendmail(around: &Surroundings) -> OsString {
    let usual = USUAL_PLACES.iter().find(|path| !around.has("sendmail") && Path::new(path).exists());
    usual.map_or_else(|| "sendmail".into(), OsString::from)
}

fn hand_over(program: &Program, mut text: &[u8], around: &Surroundings) -> Result<(), String> {
    // Its own words are in the error if it fails.
    let ended = feed(program, around, Some(LIMIT), &|| false, &mut text, &mut |_, _| {});
    let (finished, _) = ended.map_err(|error| error.to_string())?;
    finished.success(program).map_err(|error| error.to_string())
}

fn whole_text(news: &News) -> String {
    if news.log.is_empty() {
        return news.text.clone();
    }
    format!("{}\nLog:\n{}\n", news.text, news.log.join("\n"))
}

/// Makes a mail.
fn mail(notify: &Notify, news: &News) -> String {
    // Only what may stand in a head as it is: everything else becomes a question mark.
    let ascii = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let subject: String = news.subject.chars().map(ascii).take(200).collect();
    let head = format!(
        "To: {}\nSubject: {subject}\nMIME-Version: 1.0\nAuto-Submitted: auto-generated\n",
        notify.to.join(",\n ")
    );
    let part = |more: &str, text: &str| {
        format!(
            "Content-Type: text/plain; charset=utf-8\n{more}Content-Transfer-Encoding: quoted-printable\n\n{}",
            quoted_printable(text)
        )
    };
    if notify.log == NotifyLog::Inline || news.log.is_empty() {
        return head + &part("", &whole_text(news));
    }
    // Quoted-printable text never holds `=_`.
    let boundary = "=_dedup_log";
    let log =
        part("Content-Disposition: attachment; filename=\"dedup.log\"\n", &(news.log.join("\n") + "\n"));
    format!(
        "{head}Content-Type: multipart/mixed; boundary=\"{boundary}\"\n\n--{boundary}\n{}\n--{boundary}\n{log}\n--{boundary}--\n",
        part("", &news.text)
    )
}

/// Writes a text as RFC 2045, 6.7, has it, with line ends as programs of this system take them.
fn quoted_printable(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut width = 0;
        let bytes = line.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let blank_at_end = matches!(byte, b' ' | b'\t') && at + 1 == bytes.len();
            let plain = matches!(byte, b' '..=b'~' if *byte != b'=') && !blank_at_end;
            // "From " and "." at the beginning of a line mean something to some relays.
            let special = width == 0 && matches!(byte, b'F' | b'.');
            let coded =
                if plain && !special { char::from(*byte).to_string() } else { format!("={byte:02X}") };
            if width + coded.len() >= MAX_LINE {
                out.push_str("=\n");
                width = 0;
            }
            width += coded.len();
            out.push_str(&coded);
        }
        out.push('\n');
    }
    out
}

/// Takes out what could do something to a terminal or begin another line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::test_job;
    use super::*;

    fn notify(more: &str) -> Notify {
        test_job(&format!("[notify]\n{more}")).notify.unwrap()
    }

    fn news() -> News {
        News {
            subject: "dedup: night on höst\nBcc: all@example.org".into(),
            text: "It is = partial\n".into(),
            log: vec![format!("a line with ä and {}", "x".repeat(5000)), "From here. ".into(), ".".into()],
            env: vec![("DEDUP_JOB".into(), "night".into())],
        }
    }

    #[test]
    fn the_end_decides_who_is_told() {
        for (on, expected) in [("success", [true, false]), ("failure", [false, true]), ("both", [true, true])]
        {
            let notify = notify(&format!("on = {on:?}\nto = [\"root\"]\n"));
            assert_eq!([true, false].map(|complete| is_due(&notify, complete)), expected, "{on}");
        }
    }

    /// Reads quoted-printable text back.
    fn plain(text: &str) -> String {
        let joined = text.replace("=\n", "");
        let mut bytes = Vec::new();
        let mut rest = joined.as_bytes();
        while let [first, more @ ..] = rest {
            let coded = (*first == b'=')
                .then(|| u8::from_str_radix(str::from_utf8(&more[..2]).unwrap(), 16).unwrap());
            bytes.push(coded.unwrap_or(*first));
            rest = if coded.is_some() { &more[2..] } else { more };
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_mail_says_everything_and_nothing_of_it_is_a_command() {
        for log in ["inline", "attach"] {
            let text =
                mail(&notify(&format!("to = [\"root\", \"a@example.org\"]\nlog = {log:?}\n")), &news());
            let (head, body) = text.split_once("\n\n").unwrap();
            assert!(
                head.starts_with(
                    "To: root,\n a@example.org\nSubject: dedup: night on h?st?Bcc: all@example.org\nMIME"
                ),
                "{head}"
            );
            assert!(!head.contains("\nBcc"), "{head}");
            let long = text.lines().find(|line| line.len() > MAX_LINE.max("To: ".len() + 200));
            assert_eq!(long, None);
            assert!(text.is_ascii() && !body.lines().any(|line| line.starts_with("From ") || line == "."));
            let parts: Vec<&str> = body.split("--=_dedup_log").collect();
            assert_eq!(parts.len(), if log == "attach" { 4 } else { 1 });
            // Parts of several have heads of their own.
            let text_of = |part: &str| match part.split_once("\n\n") {
                Some((_, text)) if parts.len() > 1 => plain(text),
                _ => plain(part),
            };
            let (told, kept) = (text_of(parts[parts.len() / 3]), text_of(parts[parts.len() / 2]));
            assert!(told.contains("It is = partial\n"), "{told}");
            assert!(
                kept.contains(&format!("a line with ä and {}\nFrom here. \n.\n", "x".repeat(5000))),
                "{kept}"
            );
        }
    }

    #[test]
    fn a_program_gets_the_text_and_its_failure_is_told() {
        let test = crate::tests::TestMachine::new();
        let told = test.path("told");
        let one = notify(&format!("command = [{:?}, \"word\"]\n", told.to_str().unwrap()));
        let around = test.with(|machine| machine.around.clone());
        // Programs begin in `/`; the script says where it writes.
        test.script(
            "told",
            &format!(
                "cd {}; cat > text; echo \"$DEDUP_JOB $DEDUP_SUBJECT $1\" > env",
                test.path("").display()
            ),
        );
        assert_eq!(deliver(&one, &news(), &around), Vec::<String>::new());
        let text = std::fs::read_to_string(test.path("text")).unwrap();
        assert!(text.starts_with("It is = partial\n\nLog:\na line with ä"), "{text}");
        let env = std::fs::read_to_string(test.path("env")).unwrap();
        assert_eq!(env, "night dedup: night on höst?Bcc: all@example.org word\n");
        test.script("told", "echo no >&2; exit 3");
        let failed = deliver(&one, &news(), &around);
        assert!(
            failed.len() == 1 && failed[0].contains("status 3") && failed[0].contains("no"),
            "{failed:?}"
        );
    }
}
