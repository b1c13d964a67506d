//! `dedup check`: says whether every snapshot can be restored.

use super::check_log;
use super::check_source::{self, Compared};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::complain;
use crate::{escape, human, memory};
use dedup_engine::check::{self, CheckOptions, CheckReport, Finding, ReadData, Severity};
use dedup_modules::units;
use serde_json::json;
use std::ffi::OsString;
use std::time::Duration;

const DAY_SECS: i64 = 86_400;

/// Check that every snapshot can be restored
///
/// Without --read-data, the structure: everything that snapshots refer to is there and agrees. With it, stored
/// data are read, decrypted and compared with their names as well: all of them, or as many packs of a hundred
/// as are named, beginning with those that this machine has not read for longest.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup check
  dedup check --read-data=5
  dedup check --read-data
  dedup check --unread-for 30d
  dedup check --source
  dedup check --source=1a2b3c4d:/home")]
pub struct CheckArgs {
    /// Read stored data: a share in percent, or ALL, which is also what no value means
    #[arg(long, value_name = "PERCENT|ALL", num_args = 0..=1, require_equals = true, default_missing_value = "all",
        value_parser = read_data)]
    read_data: Option<ReadData>,
    /// Read only what this machine has not read for so long (30d, 4w); with a share, no more than that
    #[arg(long, value_name = "TIME", value_parser = unread_for)]
    unread_for: Option<u32>,
    /// Compare a snapshot with the files on this machine as well [default: the last one]
    ///
    /// Files are read, and stored data are not: a file that has another content though its size and times are as they were
    /// stored is damaged, here or there. SNAPSHOT:PATH compares only what is below PATH.
    #[arg(long, value_name = "SNAPSHOT[:PATH]", num_args = 0..=1, require_equals = true, default_missing_value = "latest")]
    source: Option<OsString>,
    /// Tell of machines that have written nothing to the log for so long
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = units::duration)]
    silent_after: Duration,
    /// End with status 4 if there were notices
    #[arg(long)]
    strict: bool,
}

pub fn run(ctx: &Context, args: &CheckArgs) -> Result<Exit, Failure> {
    let repo = ctx.open_unread()?;
    if args.source.is_some() {
        // Before the work that would be in vain.
        repo.assert_reads()?;
    }
    // What is wrong with the log is among what is told.
    let log = memory::attach_leniently(ctx, &repo)?;
    let repo = ctx.indexed(repo)?;
    let now = ctx.now();
    let options = CheckOptions {
        data: args.read_data.unwrap_or(match args.unread_for {
            Some(_) => ReadData::All,
            None => ReadData::Nothing,
        }),
        unread_for_days: args.unread_for,
        today: u32::try_from(now.secs.div_euclid(DAY_SECS)).ok(),
        // Of packs that waited equally long, others every time.
        seed: now.secs.unsigned_abs().rotate_left(32) ^ u64::from(now.nanos) ^ u64::from(std::process::id()),
        threads: ctx.threads(),
    };
    let mut report = {
        let _operation = ctx.operation();
        check::run(&repo, &options, ctx.events())?
    };
    check_log::add(&repo, log, args.silent_after, now, &mut report)?;
    ctx.progress.finish();
    let exit = exit(&report, args.strict);
    for finding in &report.findings {
        tell(ctx, finding);
    }
    let told = report.findings.len() as u64;
    if report.findings_total > told && !ctx.output.json {
        complain(&format!("… and {} more findings", human::count(report.findings_total - told)));
    }
    let compared = match &args.source {
        Some(wanted) => Some(check_source::run(ctx, &repo, wanted)?),
        None => None,
    };
    let exit = compared.map_or(exit, |compared| exit_after(exit, compared, args.strict));
    summary(ctx, &report, compared, exit)?;
    Ok(exit)
}

/// Files that changed since are to be expected; those that nobody changed are not.
fn exit_after(exit: Exit, compared: Compared, strict: bool) -> Exit {
    match exit {
        Exit::Integrity => exit,
        _ if compared.unnoticed > 0 || compared.damaged > 0 => Exit::Integrity,
        _ if strict && compared.differ > 0 => Exit::Notices,
        _ => exit,
    }
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

fn summary(
    ctx: &Context,
    report: &CheckReport,
    compared: Option<Compared>,
    exit: Exit,
) -> Result<(), Failure> {
    let elapsed = ctx.elapsed();
    if ctx.output.json {
        let mut object = json!({
            "type": "summary",
            "snapshots": report.snapshots,
            "snapshots_unopened": report.snapshots_unopened,
            "packs": report.packs,
            "packs_read": report.packs_read,
            "packs_never_read": report.packs_never_read,
            "read_bytes": report.bytes_read,
            "maps_unopened": report.maps_unopened,
            "packs_unopened": report.packs_unopened,
            "log_entries": report.log_entries,
            "log_clients": report.log_clients,
            "parity_groups": report.parity_groups,
            "parity_objects": report.parity_objects,
            "parity_read_bytes": report.parity_bytes_read,
            "findings": report.findings_total,
            "repairs": repairs(&report.findings),
            "elapsed_seconds": elapsed.as_secs_f64(),
            "exit_code": exit.code(),
        });
        if let Some(compared) = compared {
            object["entries_compared"] = compared.entries.into();
            object["entries_differ"] = compared.differ.into();
            object["files_unnoticed"] = compared.unnoticed.into();
        }
        return Ok(ctx.output.object(&object)?);
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
    if report.packs_never_read > 0 {
        let never = human::counted(report.packs_never_read, "pack", "packs");
        output.summary_line(format!("Unread:  {never} never read whole by this machine"))?;
    }
    if report.parity_objects > 0 {
        let read = if report.parity_bytes_read > 0 { ", compared with their packs" } else { "" };
        output.summary_line(format!(
            "Parity:  {}, {}{read}",
            human::counted(report.parity_groups, "group", "groups"),
            human::counted(report.parity_objects, "object", "objects")
        ))?;
    }
    if let Some(compared) = compared {
        output.summary_line(format!(
            "Here:    {} compared, {} not as stored",
            human::counted(compared.entries, "entry", "entries"),
            human::count(compared.differ)
        ))?;
    }
    output.summary_line(format!("Time:    {}", human::duration(elapsed)))?;
    match exit {
        Exit::Integrity => {
            output.line("damage was found")?;
            for command in repairs(&report.findings) {
                output.line(format!("next: `dedup {command}` (--dry-run says what it would do)"))?;
            }
        }
        _ if report.saw_all() => output.summary_line("no damage was found")?,
        _ if report.snapshots_unopened > 0 => {
            output.line(
                "no damage was found in what a key that can only write may see; no snapshot was looked into",
            )?;
        }
        _ => output.line("no damage was found in what this key opens; secrets were not looked at")?,
    }
    Ok(())
}

/// Says which repairs help against what was found, in their order.
fn repairs(findings: &[Finding]) -> Vec<&'static str> {
    let damaged = |of: &str| {
        let damage = findings.iter().filter(|finding| finding.severity == Severity::Damage);
        damage.filter(|finding| finding.object.starts_with(of)).count() > 0
    };
    let known = [
        ("segments/", "repair index"),
        ("packs/", "repair packs --read-data"),
        ("snapshot", "repair snapshots"),
    ];
    known.into_iter().filter(|(of, _)| damaged(of)).map(|(_, command)| command).collect()
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Damage => "damage",
        Severity::Foreign => "foreign",
        Severity::Notice => "notice",
    }
}

/// Reads a span of time as whole days.
fn unread_for(text: &str) -> Result<u32, String> {
    let secs = units::duration(text)?.as_secs();
    match u32::try_from(secs / DAY_SECS.unsigned_abs()) {
        Ok(days @ 1..) if secs % DAY_SECS.unsigned_abs() == 0 => Ok(days),
        _ => Err(format!("{text:?} is no number of whole days; write 30d or 4w")),
    }
}

/// Reads the share of the data: `all`, or a percentage from 1 to 100.
pub fn read_data(text: &str) -> Result<ReadData, String> {
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
    fn ages_are_whole_days() {
        assert_eq!((unread_for("30d"), unread_for("4w"), unread_for("48h")), (Ok(30), Ok(28), Ok(2)));
        for text in ["", "0d", "5h", "25h", "1mo", "30"] {
            assert!(unread_for(text).is_err(), "{text}");
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
