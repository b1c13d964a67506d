//! `dedup check`: says whether every snapshot can be restored.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::complain;
use crate::{escape, human};
use dedup_engine::check::{self, CheckOptions, CheckReport, Finding, ReadData, Severity};
use serde_json::json;

/// Check that every snapshot can be restored
///
/// Without --read-data, the structure: everything that snapshots refer to is there and agrees. With it, stored
/// data are read, decrypted and compared with their names as well: all of them, or as many packs of a hundred
/// as are named, chosen by chance.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup check
  dedup check --read-data=5
  dedup check --read-data")]
pub struct CheckArgs {
    /// Read stored data: a share in percent, or ALL, which is also what no value means
    #[arg(long, value_name = "PERCENT|ALL", num_args = 0..=1, require_equals = true, default_missing_value = "all",
        value_parser = read_data)]
    read_data: Option<ReadData>,
    /// End with status 4 if there were notices
    #[arg(long)]
    strict: bool,
}

pub fn run(ctx: &Context, args: &CheckArgs) -> Result<Exit, Failure> {
    let repo = ctx.open_indexed()?;
    let now = ctx.now();
    let options = CheckOptions {
        data: args.read_data.unwrap_or(ReadData::Nothing),
        // Another sample every time: over many runs everything is read.
        seed: now.secs.unsigned_abs().rotate_left(32) ^ u64::from(now.nanos) ^ u64::from(std::process::id()),
        threads: ctx.threads(),
    };
    let report = {
        let _operation = ctx.operation();
        check::run(&repo, &options, ctx.events())?
    };
    ctx.progress.finish();
    let exit = exit(&report, args.strict);
    for finding in &report.findings {
        tell(ctx, finding);
    }
    let told = report.findings.len() as u64;
    if report.findings_total > told && !ctx.output.json {
        complain(&format!("… and {} more findings", human::count(report.findings_total - told)));
    }
    summary(ctx, &report, exit)?;
    Ok(exit)
}

fn tell(ctx: &Context, finding: &Finding) {
    if ctx.output.json {
        return ctx.output.event(&json!({
            "type": "finding",
            "severity": severity_word(finding.severity),
            "object": finding.object,
            "offset_bytes": finding.offset,
            "message": finding.message,
            "hits": finding.hits,
        }));
    }
    if finding.severity != Severity::Damage && ctx.output.quiet {
        return;
    }
    let at = finding.offset.map_or(String::new(), |offset| format!(" at byte {offset}"));
    let (object, message) = (escape::text(&finding.object), escape::text(&finding.message));
    complain(&format!("{}: {object}{at}: {message}", severity_word(finding.severity)));
    for hit in &finding.hits {
        complain(&format!("  hits {}", escape::text(hit)));
    }
}

fn exit(report: &CheckReport, strict: bool) -> Exit {
    if report.damage_total > 0 {
        Exit::Integrity
    } else if strict && report.findings_total > 0 {
        Exit::Notices
    } else {
        Exit::Complete
    }
}

fn summary(ctx: &Context, report: &CheckReport, exit: Exit) -> Result<(), Failure> {
    let elapsed = ctx.elapsed();
    if ctx.output.json {
        return Ok(ctx.output.object(&json!({
            "type": "summary",
            "snapshots": report.snapshots,
            "packs": report.packs,
            "packs_read": report.packs_read,
            "read_bytes": report.bytes_read,
            "maps_unopened": report.maps_unopened,
            "packs_unopened": report.packs_unopened,
            "findings": report.findings_total,
            "elapsed_seconds": elapsed.as_secs_f64(),
            "exit_code": exit.code(),
        }))?);
    }
    let output = ctx.output;
    output.summary_line(format!(
        "Checked: {}, {}",
        human::counted(report.snapshots, "snapshot", "snapshots"),
        human::counted(report.packs, "pack", "packs")
    ))?;
    output.summary_line(format!(
        "Read:    {} of {}, {}",
        human::count(report.packs_read),
        human::counted(report.packs, "pack", "packs"),
        human::bytes(report.bytes_read)
    ))?;
    output.summary_line(format!("Time:    {}", human::duration(elapsed)))?;
    match exit {
        Exit::Integrity => output.line("damage was found")?,
        _ if report.saw_all() => output.summary_line("no damage was found")?,
        _ => output.line("no damage was found in what this key opens; secrets were not looked at")?,
    }
    Ok(())
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Damage => "damage",
        Severity::Foreign => "foreign",
        Severity::Notice => "notice",
    }
}

/// Reads the share of the data: `all`, or a percentage from 1 to 100.
fn read_data(text: &str) -> Result<ReadData, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(ReadData::All);
    }
    match text.strip_suffix('%').unwrap_or(text).parse() {
        Ok(100) => Ok(ReadData::All),
        Ok(percent @ 1..100) => Ok(ReadData::Percent(percent)),
        _ => Err(format!("{text:?} is neither a percentage from 1 to 100 nor ALL")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentages() {
        assert_eq!(read_data("ALL"), Ok(ReadData::All));
        assert_eq!(read_data("100%"), Ok(ReadData::All));
        assert_eq!(read_data("5"), Ok(ReadData::Percent(5)));
        for text in ["", "0", "101", "5%%", "-1", "1.5", "some"] {
            assert!(read_data(text).is_err(), "{text}");
        }
    }

    #[test]
    fn damage_decides() {
        let report = |findings_total, damage_total| CheckReport {
            findings_total,
            damage_total,
            ..CheckReport::default()
        };
        assert_eq!(exit(&report(0, 0), true), Exit::Complete);
        assert_eq!(exit(&report(2, 0), false), Exit::Complete);
        assert_eq!(exit(&report(2, 0), true), Exit::Notices);
        assert_eq!(exit(&report(2, 1), true), Exit::Integrity);
    }
}
