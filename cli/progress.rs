//! Events of the engine, drawn: a live block on a terminal, JSON lines, or nothing.
//!
//! The block has three lines (phase; figures; current path), is drawn at most ten times a second and is
//! gone at the end. JSON has at most two `progress` lines a second.

use crate::interrupt::Interrupt;
use crate::output::{Output, put_path};
use crate::{escape, human};
use dedup_engine::progress::{Event, Events, Phase};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const DRAWS_PER_SECOND: u8 = 10;
const BETWEEN_DRAWS: Duration = Duration::from_millis(100);
const BETWEEN_LINES: Duration = Duration::from_millis(500);

/// Draws the events of one command.
pub struct Progress {
    output: Output,
    interrupt: Interrupt,
    figures: Arc<Mutex<Figures>>,
    draws: bool,
    /// The live block, while there is one.
    bar: Mutex<Option<ProgressBar>>,
}

/// What is known of the phase that runs.
struct Figures {
    phase: Option<Phase>,
    begun: Instant,
    phase_begun: Instant,
    entries: u64,
    bytes: u64,
    expected: Option<(u64, u64, bool)>,
    problems: u64,
    path: Vec<u8>,
    shown: Option<Instant>,
}

impl Progress {
    /// Makes the progress of one command; nothing is drawn before its first phase begins.
    pub fn new(output: Output, interrupt: Interrupt, wanted: bool) -> Self {
        let now = Instant::now();
        let figures = Figures {
            phase: None,
            begun: now,
            phase_begun: now,
            entries: 0,
            bytes: 0,
            expected: None,
            problems: 0,
            path: Vec::new(),
            shown: None,
        };
        let figures = Arc::new(Mutex::new(figures));
        let draws = wanted && !output.json && !output.quiet && std::io::stderr().is_terminal();
        Self { output, interrupt, figures, draws, bar: Mutex::new(None) }
    }

    /// Removes the block, before results are printed or a person is asked; the next phase brings it back.
    pub fn finish(&self) {
        if let Some(bar) = lock(&self.bar).take() {
            bar.finish_and_clear();
        }
    }

    fn begin(&self) {
        if self.draws {
            lock(&self.bar).get_or_insert_with(|| block(&self.figures));
        }
    }

    /// Prints something to standard error without tearing the block.
    pub fn beside(&self, print: impl FnOnce()) {
        match &*lock(&self.bar) {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn json_progress(&self, figures: &mut Figures) {
        if !self.output.json || !self.output.stream || !figures.is_due(BETWEEN_LINES) {
            return;
        }
        let mut object = json!({
            "type": "progress",
            "phase": figures.phase.map_or("start", phase_word),
            "entries": figures.entries,
            "bytes": figures.bytes,
            "problems": figures.problems,
            "elapsed_seconds": figures.begun.elapsed().as_secs_f64(),
            "bytes_per_second": figures.rate(),
        });
        if let Some((entries, bytes, complete)) = figures.expected {
            object["total_entries"] = entries.into();
            object["total_bytes"] = bytes.into();
            object["totals_complete"] = complete.into();
        }
        if let Some(eta) = figures.eta() {
            object["remaining_seconds"] = eta.as_secs_f64().into();
        }
        if !figures.path.is_empty() {
            put_path(&mut object, "path", &figures.path);
        }
        self.output.event(&object);
    }
}

impl Events for Progress {
    fn event(&self, event: Event) {
        let mut aside = None;
        if matches!(event, Event::Phase(_)) {
            self.begin();
        }
        let mut figures = lock(&self.figures);
        match event {
            Event::Phase(phase) => figures.begin(phase),
            Event::Expect { entries, bytes, complete } => figures.expected = Some((entries, bytes, complete)),
            Event::Done { entries, bytes, path } => {
                figures.entries = figures.entries.saturating_add(entries);
                figures.bytes = figures.bytes.saturating_add(bytes);
                figures.path = path.unwrap_or_else(|| std::mem::take(&mut figures.path));
            }
            Event::Problem { path, message, notice } => {
                figures.problems = figures.problems.saturating_add(u64::from(!notice));
                aside = Some(Aside::Problem(problem(&path, &message, notice)));
            }
            Event::Notice(message) => aside = Some(Aside::Notice(message)),
            _ => {}
        }
        self.json_progress(&mut figures);
        // The bar draws from the same figures: they must be free again.
        drop(figures);
        match aside {
            Some(Aside::Problem(object)) if self.output.json && self.output.stream => {
                self.output.event(&object)
            }
            Some(Aside::Notice(message)) => self.beside(|| self.output.note(&message)),
            _ => {}
        }
    }

    fn cancelled(&self) -> bool {
        self.interrupt.asked()
    }
}

enum Aside {
    Problem(Value),
    Notice(String),
}

fn problem(path: &[u8], message: &str, notice: bool) -> Value {
    let mut object = json!({ "type": if notice { "notice" } else { "problem" }, "message": message });
    put_path(&mut object, "path", path);
    object
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Figures {
    fn begin(&mut self, phase: Phase) {
        self.phase = Some(phase);
        self.phase_begun = Instant::now();
        (self.entries, self.bytes, self.expected) = (0, 0, None);
        self.path.clear();
    }

    /// Returns whether it is time to show them again; once a period, but at once the first time.
    fn is_due(&mut self, period: Duration) -> bool {
        let now = Instant::now();
        let due = self.shown.is_none_or(|shown| now.duration_since(shown) >= period);
        if due {
            self.shown = Some(now);
        }
        due
    }

    fn rate(&self) -> u64 {
        human::per_second(self.bytes, self.phase_begun.elapsed()).unwrap_or(0)
    }

    /// Estimates what is left of the phase from its mean rate; only once the whole work is known.
    fn eta(&self) -> Option<Duration> {
        let (entries, bytes, complete) = self.expected?;
        let (done, all) = if bytes > 0 { (self.bytes, bytes) } else { (self.entries, entries) };
        if !complete || done == 0 || all < done {
            return None;
        }
        let left = self.phase_begun.elapsed().as_secs_f64() * (all - done) as f64 / done as f64;
        Duration::try_from_secs_f64(left).ok()
    }

    fn line(&self) -> String {
        let of = |all: Option<String>| all.map_or(String::new(), |all| format!(" of {all}"));
        let expected = self.expected.filter(|(_, _, complete)| *complete);
        let mut parts = vec![
            format!(
                "{}{} entries",
                human::count(self.entries),
                of(expected.map(|(entries, _, _)| human::count(entries)))
            ),
            format!("{}{}", human::bytes(self.bytes), of(expected.map(|(_, bytes, _)| human::bytes(bytes)))),
            human::rate(self.bytes, self.phase_begun.elapsed()),
        ];
        parts.extend(self.eta().map(|eta| format!("{} left", human::duration(eta))));
        if self.problems > 0 {
            parts.push(human::counted(self.problems, "problem", "problems"));
        }
        parts.join(", ")
    }
}

/// Makes the live block; its lines are made when it is drawn, not when events arrive.
fn block(figures: &Arc<Mutex<Figures>>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND));
    let show = |line: fn(&Figures) -> String| {
        let figures = Arc::clone(figures);
        move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A line that cannot be formatted is not drawn.
            let _ = out.write_str(&line(&lock(&figures)));
        }
    };
    let style = ProgressStyle::with_template("{spinner} {phase} {time}\n  {line}\n  {path}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(
        style
            .with_key("phase", show(|figures| figures.phase.map_or("starting", phase_title).to_owned()))
            .with_key("time", show(|figures| human::clock(figures.begun.elapsed())))
            .with_key("line", show(Figures::line))
            .with_key("path", show(|figures| shortened(&escape::name(&figures.path), 76))),
    );
    bar.enable_steady_tick(BETWEEN_DRAWS);
    bar
}

/// Shortens a path in its middle to `most` characters.
fn shortened(path: &str, most: usize) -> String {
    let length = path.chars().count();
    if length <= most {
        return path.to_owned();
    }
    let head = most / 3;
    let start: String = path.chars().take(head).collect();
    let end: String = path.chars().skip(length - (most - head - 1)).collect();
    format!("{start}…{end}")
}

/// Names a phase for people.
fn phase_title(phase: Phase) -> &'static str {
    match phase {
        Phase::Index => "Reading the index",
        Phase::Store => "Backing up",
        Phase::Commit => "Committing",
        Phase::Plan => "Planning",
        Phase::Restore => "Restoring",
        Phase::Finish => "Setting times and modes",
        Phase::Structure => "Checking structures",
        Phase::Data => "Checking data",
        Phase::Compare => "Comparing",
        _ => "Working",
    }
}

/// Names a phase for programs.
fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Index => "index",
        Phase::Store => "store",
        Phase::Commit => "commit",
        Phase::Plan => "plan",
        Phase::Restore => "restore",
        Phase::Finish => "finish",
        Phase::Structure => "structure",
        Phase::Data => "data",
        Phase::Compare => "compare",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let begun = Instant::now() - Duration::from_secs(10);
        Figures {
            phase: Some(Phase::Store),
            begun,
            phase_begun: begun,
            entries: 5,
            bytes: 1 << 20,
            expected: None,
            problems: 0,
            path: Vec::new(),
            shown: None,
        }
    }

    #[test]
    fn the_rest_is_estimated_only_once_the_whole_is_known() {
        let mut figures = figures();
        assert_eq!(figures.eta(), None);
        figures.expected = Some((50, 3 << 20, false));
        assert_eq!(figures.eta(), None);
        figures.expected = Some((50, 3 << 20, true));
        let eta = figures.eta().unwrap().as_secs_f64();
        assert!((19.9..22.0).contains(&eta), "{eta}");
        figures.expected = Some((50, 1 << 10, true));
        assert_eq!(figures.eta(), None, "more was done than expected");
    }

    #[test]
    fn the_line_tells_problems() {
        let mut figures = figures();
        assert!(figures.line().starts_with("5 entries, 1.00 MiB, "), "{}", figures.line());
        figures.problems = 2;
        figures.expected = Some((50, 2 << 20, true));
        assert!(figures.line().starts_with("5 of 50 entries, 1.00 MiB of 2.00 MiB, "), "{}", figures.line());
        assert!(figures.line().ends_with("2 problems"));
    }

    #[test]
    fn lines_are_not_due_too_often() {
        let mut figures = figures();
        assert!(figures.is_due(BETWEEN_LINES));
        assert!(!figures.is_due(BETWEEN_LINES));
        figures.shown = Some(Instant::now() - BETWEEN_LINES);
        assert!(figures.is_due(BETWEEN_LINES));
    }

    #[test]
    fn long_paths_lose_their_middle() {
        assert_eq!(shortened("short", 10), "short");
        let shown = shortened("äbcdefghijklmnop", 10);
        assert_eq!((shown.chars().count(), &shown[..]), (10, "äbc…klmnop"));
    }
}
