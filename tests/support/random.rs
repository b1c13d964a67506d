//! Numbers that look random and are the same for the same seed (splitmix64, Steele et al., 2014).

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts the stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// Returns a number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    /// Returns text that compresses well.
    pub fn text(&mut self, len: usize) -> Vec<u8> {
        const WORDS: [&str; 6] = ["invoice ", "paid\n", "the ", "customer ", "4711 ", "tomorrow "];
        let mut text = Vec::with_capacity(len + 16);
        while text.len() < len {
            text.extend_from_slice(WORDS[self.below(6) as usize].as_bytes());
        }
        text.truncate(len);
        text
    }
}

/// Spreads numbers over `0..all`: a few that follow each other lie far apart, and `all` of them are all there are.
pub fn spread(number: u64, all: u64) -> u64 {
    let divisor = |a: u64, b: u64| {
        let (mut a, mut b) = (a, b);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    // Steps by the golden ratio leave the smallest gaps (Steinhaus' three distances).
    let first = (all as f64 * 0.618_034) as u64;
    let step = (first.max(1)..).find(|step| divisor(*step, all) == 1).unwrap_or(1);
    (u128::from(number) * u128::from(step) % u128::from(all)) as u64
}

#[test]
fn spread_numbers_are_all_there_are() {
    for all in [1, 2, 3, 10, 97, 1084] {
        let numbers: std::collections::BTreeSet<u64> = (5..5 + all).map(|n| spread(n, all)).collect();
        assert_eq!(numbers.len() as u64, all);
    }
    let mut few: Vec<u64> = (0..10).map(|n| spread(n, 1000)).collect();
    few.sort_unstable();
    assert!(few.windows(2).all(|two| two[1] - two[0] > 40), "{few:?}");
}
