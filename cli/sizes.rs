//! Sizes, spans of time, moments and shares as people type them.

use dedup_engine::compress::Level;
use dedup_modules::units::number_and_unit;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

pub use dedup_modules::units::size;

/// Reads a span of time: digits and one of `s m h d w mo y`; months and years are those of the calendar.
pub fn span(text: &str) -> Result<Span, String> {
    let (number, unit) = number_and_unit(text)?;
    let number = i64::try_from(number).map_err(|_| format!("{text:?} is too long"))?;
    let span = match unit {
        "" => return Err(format!("{text:?} has no unit; write {text}s, {text}h or {text}d")),
        "s" => Span::new().try_seconds(number),
        "m" => Span::new().try_minutes(number),
        "h" => Span::new().try_hours(number),
        "d" => Span::new().try_days(number),
        "w" => Span::new().try_weeks(number),
        "mo" => Span::new().try_months(number),
        "y" => Span::new().try_years(number),
        _ => return Err(format!("{unit:?} is no unit of time; there are s, m, h, d, w, mo and y")),
    };
    span.map_err(|_| format!("{text:?} is too long"))
}

/// Reads a moment: RFC 3339, or `YYYY-MM-DD HH:MM[:SS]` in local time.
pub fn moment(text: &str) -> Result<Zoned, String> {
    moment_in(text, TimeZone::system())
}

fn moment_in(text: &str, zone: TimeZone) -> Result<Zoned, String> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.to_zoned(zone));
    }
    let local = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|form| DateTime::strptime(form, text).ok())
        .ok_or_else(|| {
            format!(
                "{text:?} is no moment; write 2026-11-21 04:30 (local) or 2026-11-21T04:30:00Z (RFC 3339)"
            )
        })?;
    zone.to_ambiguous_zoned(local).compatible().map_err(|error| error.to_string())
}

/// Reads how hard to compress: `off`, `fast`, `default`, `better`, `best`, or a level of zstd.
pub fn level(text: &str) -> Result<Level, String> {
    let level = match text {
        "off" => return Ok(Level::Off),
        "default" => return Ok(Level::Auto),
        "fast" => 1,
        "better" => 9,
        "best" => 19,
        number => number
            .parse()
            .ok()
            .filter(|level| (1..=22).contains(level))
            .ok_or_else(|| format!("{text:?} is none of off, fast, default, better, best and 1 to 22"))?,
    };
    Ok(Level::Zstd(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_the_units_of_the_manual() {
        let cases = [
            ("30s", Span::new().seconds(30)),
            ("5m", Span::new().minutes(5)),
            ("2h", Span::new().hours(2)),
            ("7d", Span::new().days(7)),
            ("4w", Span::new().weeks(4)),
            ("6mo", Span::new().months(6)),
            ("1y", Span::new().years(1)),
        ];
        for (text, expected) in cases {
            assert_eq!(span(text).map(|span| span.fieldwise()), Ok(expected.fieldwise()), "{text}");
        }
        for text in ["", "7", "d", "7x", "7M", "-7d", "99999999y", "99999999999999999999s"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_local_unless_they_say_otherwise() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let secs = |text: &str| moment_in(text, berlin.clone()).map(|moment| moment.timestamp().as_second());
        assert_eq!(secs("2026-01-01T00:00:00Z"), Ok(1_767_225_600));
        assert_eq!(secs("2026-01-01T02:00:00+02:00"), Ok(1_767_225_600));
        assert_eq!(secs("2026-01-01 01:00"), Ok(1_767_225_600));
        assert_eq!(secs("2026-01-01 01:00:07"), Ok(1_767_225_607));
        assert_eq!(secs("2026-07-01 02:00"), Ok(1_782_864_000));
        for text in ["", "yesterday", "2026-13-01 00:00", "2026-01-01", "1767225600", "2026-01-01 25:00"] {
            assert!(secs(text).is_err(), "{text}");
        }
    }

    #[test]
    fn levels_have_names_and_numbers() {
        assert_eq!(["off", "default"].map(level), [Ok(Level::Off), Ok(Level::Auto)]);
        assert_eq!(
            ["fast", "3", "better", "best", "22"].map(level),
            [1, 3, 9, 19, 22].map(|level| Ok(Level::Zstd(level)))
        );
        for text in ["", "0", "23", "-5", "max", "3.5"] {
            assert!(level(text).is_err(), "{text}");
        }
    }
}
