//! Figures and times as people read them.

use dedup_engine::listing::Time;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::Duration;

/// Shows a number of bytes in powers of 1024, with three digits at least: `999 B`, `1.00 KiB`, `12.3 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // The next unit begins where three digits would round up to 1024.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Shows a count with its digits in groups of three.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Shows a count with its noun: `1 file`, `2 files`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Shows how long something took: `0.42 s`, `12.3 s`, `4:05`, `2:00:09`.
pub fn duration(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0..10 => format!("{:.2} s", time.as_secs_f64()),
        10..60 => format!("{:.1} s", time.as_secs_f64()),
        _ => clock(time),
    }
}

/// Shows a time as a clock does, to the second: `0:07`, `4:05`, `2:00:09`.
pub fn clock(time: Duration) -> String {
    let secs = time.as_secs();
    if secs < 3600 {
        format!("{}:{:02}", secs / 60, secs % 60)
    } else {
        format!("{}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
    }
}

/// Shows bytes per second; nothing can be said of no time at all.
pub fn rate(count: u64, time: Duration) -> String {
    match per_second(count, time) {
        Some(rate) => format!("{}/s", bytes(rate)),
        None => "-".into(),
    }
}

/// Returns bytes per second, rounded down.
pub fn per_second(count: u64, time: Duration) -> Option<u64> {
    let nanos = time.as_nanos();
    let rate = (u128::from(count) * 1_000_000_000).checked_div(nanos)?;
    u64::try_from(rate).ok()
}

/// Shows a moment in local time, to the second.
pub fn local_time(time: Time) -> String {
    match timestamp(time) {
        Some(moment) => moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => format!("@{}", time.secs),
    }
}

/// Returns a moment in RFC 3339 and UTC; `None` if it lies beyond the years -9999 to 9999.
pub fn rfc3339(time: Time) -> Option<String> {
    timestamp(time).map(|moment| moment.to_string())
}

fn timestamp(time: Time) -> Option<Timestamp> {
    let nanos = i32::try_from(time.nanos).ok()?;
    // Checked apart from the sign: jiff wants both parts to have the same one.
    Timestamp::from_second(time.secs)
        .ok()?
        .checked_add(jiff::SignedDuration::from_nanos(i64::from(nanos)))
        .ok()
}

/// Returns the moment as listings keep it.
pub fn stored_time(moment: Timestamp) -> Time {
    let nanos = moment.as_nanosecond();
    let secs = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(0);
    let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0);
    Time { secs, nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_show_three_digits() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10 * 1024, "10.0 KiB"),
            (999 * 1024, "999 KiB"),
            ((1 << 20) - 1, "1.00 MiB"),
            (1536 << 20, "1.50 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (number, shown) in cases {
            assert_eq!(bytes(number), shown);
        }
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1, "file", "files"), "1 file");
        assert_eq!(counted(0, "file", "files"), "0 files");
    }

    #[test]
    fn durations_and_rates() {
        let shown = |secs: f64| duration(Duration::from_secs_f64(secs));
        assert_eq!([0.421, 12.34, 245.0, 7209.0].map(shown), ["0.42 s", "12.3 s", "4:05", "2:00:09"]);
        assert_eq!(clock(Duration::from_millis(7900)), "0:07");
        assert_eq!(rate(3 << 20, Duration::from_secs(2)), "1.50 MiB/s");
        assert_eq!(rate(5, Duration::ZERO), "-");
        assert_eq!(per_second(u64::MAX, Duration::from_nanos(1)), None);
    }

    #[test]
    fn moments_before_1970_keep_their_nanoseconds() {
        let time = Time { secs: -2, nanos: 500_000_000 };
        assert_eq!(rfc3339(time).as_deref(), Some("1969-12-31T23:59:58.5Z"));
        assert_eq!(stored_time(Timestamp::from_nanosecond(-1_500_000_000).unwrap()), time);
        assert_eq!(rfc3339(Time { secs: i64::MAX, nanos: 0 }), None);
        assert_eq!(local_time(Time { secs: i64::MAX, nanos: 0 }), format!("@{}", i64::MAX));
    }
}
