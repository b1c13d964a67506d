//! Sizes and spans of time as people write them, on the command line and in manifests.
//!
//! A number always has its unit: `64` could be bytes or megabytes, seconds or minutes. The exception is `0`, which
//! means "no limit" where a limit is asked for ([`limit`]).

use std::fmt;
use std::time::Duration;

/// Reads a size in bytes: digits and one of `B K M G T` (powers of 1024; `KiB` and so on are the same).
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => return Err(format!("{text:?} has no unit; write {text}B, {text}K, {text}M or {text}G")),
        "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        "kb" | "mb" | "gb" | "tb" => {
            return Err(format!("{unit:?} could be powers of 1000 or of 1024; write {}", &unit[..1]));
        }
        _ => return Err(format!("{unit:?} is no unit of size; there are B, K, M, G and T")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large"))
}

/// Reads a span of time of fixed length, such as a time limit: digits and one of `s m h d w`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let period = Period::parse(text)?;
    let secs = match period.unit {
        PeriodUnit::Second => 1,
        PeriodUnit::Minute => 60,
        PeriodUnit::Hour => 3600,
        PeriodUnit::Day => 86_400,
        PeriodUnit::Week => 7 * 86_400,
        PeriodUnit::Month | PeriodUnit::Year => {
            return Err(format!("{text:?}: months and years differ in length; write days or weeks"));
        }
    };
    Ok(Duration::from_secs(u64::from(period.count) * secs))
}

/// Reads a time limit: as [`duration`], or `0` for none.
pub fn limit(text: &str) -> Result<Option<Duration>, String> {
    if text.trim() == "0" { Ok(None) } else { duration(text).map(Some) }
}

/// A unit of time; months and years are those of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeriodUnit {
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
    /// `w`
    Week,
    /// `mo`
    Month,
    /// `y`
    Year,
}

impl PeriodUnit {
    /// Every unit with what stands for it.
    const ALL: [(&'static str, Self); 7] = [
        ("s", Self::Second),
        ("m", Self::Minute),
        ("h", Self::Hour),
        ("d", Self::Day),
        ("w", Self::Week),
        ("mo", Self::Month),
        ("y", Self::Year),
    ];
}

/// A span of calendar time, such as how long something is kept: `30s 5m 2h 7d 4w 6mo 1y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// How many units.
    pub count: u32,
    /// Of what length.
    pub unit: PeriodUnit,
}

impl Period {
    /// Reads digits and one of `s m h d w mo y`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = number_and_unit(text)?;
        let count = u32::try_from(number).map_err(|_| format!("{text:?} is too long"))?;
        if unit.is_empty() {
            return Err(format!("{text:?} has no unit; write {text}s, {text}h or {text}d"));
        }
        let found = PeriodUnit::ALL.into_iter().find(|(name, _)| *name == unit);
        let (_, unit) =
            found.ok_or_else(|| format!("{unit:?} is no unit of time; there are s, m, h, d, w, mo and y"))?;
        Ok(Self { count, unit })
    }

    /// Returns its length, a month of 31 days and a year of 366: for what is kept at least so long.
    pub fn at_most(self) -> Duration {
        let seconds = match self.unit {
            PeriodUnit::Second => 1,
            PeriodUnit::Minute => 60,
            PeriodUnit::Hour => 3600,
            PeriodUnit::Day => 86_400,
            PeriodUnit::Week => 7 * 86_400,
            PeriodUnit::Month => 31 * 86_400,
            PeriodUnit::Year => 366 * 86_400,
        };
        Duration::from_secs(u64::from(self.count).saturating_mul(seconds))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            PeriodUnit::ALL.into_iter().find(|(_, unit)| *unit == self.unit).map_or("", |(name, _)| name);
        write!(f, "{}{name}", self.count)
    }
}

/// Writes a size so that [`size`] reads it.
pub fn show_size(bytes: u64) -> String {
    let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    let whole = units.into_iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| format!("{bytes}B"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// Writes a span of time so that [`duration`] reads it; fractions of a second are left out.
pub fn show_duration(span: Duration) -> String {
    let secs = span.as_secs();
    let units = [("w", 7 * 86_400), ("d", 86_400), ("h", 3600), ("m", 60)];
    let whole = units.into_iter().find(|(_, length)| secs > 0 && secs.is_multiple_of(*length));
    whole.map_or_else(|| format!("{secs}s"), |(unit, length)| format!("{}{unit}", secs / length))
}

/// Splits digits from the unit after them.
pub fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    match digits.parse() {
        Ok(number) => Ok((number, unit.trim_start())),
        Err(_) if digits.is_empty() => Err(format!("{text:?} does not begin with a number")),
        Err(_) => Err(format!("{text:?} is too large")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        let cases = [
            ("0B", 0),
            ("7b", 7),
            ("1K", 1024),
            ("3k", 3072),
            ("256M", 256 << 20),
            ("2G", 2 << 30),
            ("1TiB", 1 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(size(&show_size(bytes)), Ok(bytes), "{text}");
        }
        assert_eq!(show_size(3072), "3K");
    }

    #[test]
    fn doubtful_sizes_are_refused() {
        for text in [
            "",
            "100",
            "M",
            "-1M",
            "1.5G",
            "1MB",
            "1X",
            "99999999999999999999B",
            "16777216T",
            "0x10B",
            "1 G G",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(size("100").unwrap_err().contains("100M"));
    }

    #[test]
    fn spans_of_time_have_units() {
        for (text, secs) in
            [("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604_800), ("4w", 2_419_200), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(secs)), "{text}");
            assert_eq!(duration(&show_duration(Duration::from_secs(secs))), duration(text), "{text}");
        }
        for text in ["", "7", "0", "d", "7x", "7M", "-7d", "6mo", "1y", "99999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(limit("0"), Ok(None));
        assert_eq!(limit("1m"), Ok(Some(Duration::from_secs(60))));
        assert!(limit("10").is_err());
        for text in ["30s", "6mo", "1y", "2w"] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
    }
}
