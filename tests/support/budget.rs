//! How much a part of the harness does, from which seed, and what it says in the end.
//!
//! `make test` runs the usual, short budget of every part. The goals of the `Makefile` that are named for a part
//! run the full one: they set `DEDUP_TEST_BUDGET=full`. `DEDUP_TEST_CASES` and `DEDUP_TEST_SEED` win over both.

use super::random::Random;
use std::env;
use std::time::Instant;

/// The cases of one part of the harness.
pub struct Budget {
    figure: &'static str,
    seed: u64,
    cases: u64,
    start: Instant,
}

impl Budget {
    /// Returns the budget of a figure: so many cases in `make test`, so many in a full run.
    pub fn of(figure: &'static str, usual: u64, full: u64) -> Self {
        let number = |name: &str| {
            let text = env::var(name).ok().filter(|text| !text.is_empty())?;
            Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
        };
        let is_full = env::var("DEDUP_TEST_BUDGET").is_ok_and(|text| text == "full");
        Self {
            figure,
            seed: number("DEDUP_TEST_SEED").unwrap_or(1),
            cases: number("DEDUP_TEST_CASES").unwrap_or(if is_full { full } else { usual }),
            start: Instant::now(),
        }
    }

    /// Returns how many cases there are.
    pub fn cases(&self) -> u64 {
        self.cases
    }

    /// Returns the seed, for parts whose cases are not apart.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Runs the cases, each with numbers of its own: case `n` of seed `s` is case 0 of seed `s + n`, and a case
    /// that fails says that seed.
    pub fn each(&self, mut case: impl FnMut(u64, &mut Random)) {
        for number in 0..self.cases {
            let seed = self.seed.wrapping_add(number);
            let _told = Told { figure: self.figure, seed };
            case(number, &mut Random::new(seed));
        }
    }

    /// Prints the figure, in one line.
    pub fn tell(&self, result: &str) {
        let Self { figure, seed, .. } = self;
        println!("FIGURE {figure}: {result} (seed {seed}, {:.0} s)", self.start.elapsed().as_secs_f64());
    }
}

/// Says which seed fails, while its case unwinds.
struct Told {
    figure: &'static str,
    seed: u64,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: this case again: SEED={} CASES=1", self.figure, self.seed);
        }
    }
}
