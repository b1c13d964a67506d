//! What a restore of modules would do, shown before anybody is asked.

use crate::context::{Context, this_host};
use crate::failure::Failure;
use crate::select::Chosen;
use crate::{escape, human};
use dedup_engine::listing::StoredPath;
use dedup_modules::member::{Halt, Member};
use dedup_modules::restore::{RoomNeeded, Subject};
use dedup_modules::sources::{Keeps, SourceSpec};
use serde_json::json;

/// What would be restored.
pub struct Plan<'a> {
    /// What the snapshot has.
    pub subjects: &'a [Subject<'a>],
    /// The same modules as they are here.
    pub members: &'a [Member<'a>],
    /// The services that are stopped.
    pub halts: &'a [Halt],
    /// The room it needs.
    pub rooms: &'a [RoomNeeded],
    /// Whether what is replaced is kept meanwhile.
    pub safety: bool,
}

/// Shows it.
pub fn show(ctx: &Context, chosen: &Chosen, plan: &Plan<'_>) -> Result<(), Failure> {
    if ctx.output.json {
        return print_json(ctx, chosen, plan);
    }
    let output = ctx.output;
    let (id, time) = (chosen.id.short(), human::local_time(chosen.snapshot.time));
    let host = escape::text(&chosen.snapshot.host);
    output.line(format!("Plan:    snapshot {id} of {host}, {time}, on this machine ({})", this_host()))?;
    for (subject, member) in plan.subjects.iter().zip(plan.members) {
        print_module(ctx, plan, subject, member)?;
    }
    let stops: Vec<&str> = plan.halts.iter().rev().map(|halt| halt.spec.name()).collect();
    if !stops.is_empty() {
        output.line(format!("         stopped meanwhile, if they run: {}", stops.join(", ")))?;
    }
    output.line(match plan.safety {
        true => "         what differs is replaced, and put back if a module fails; nothing else is deleted",
        false => "         what differs is replaced for good (--no-safety); nothing else is deleted",
    })?;
    for room in plan.rooms {
        output.line(format!(
            "         room needed at {}: {} of {} free",
            escape::text(&room.place.display().to_string()),
            human::bytes(room.needed_bytes),
            human::bytes(room.free_bytes),
        ))?;
    }
    if chosen.snapshot.host != this_host() {
        output.warning(&format!("the snapshot is of another machine, {host}"));
    }
    Ok(())
}

fn print_module(
    ctx: &Context,
    plan: &Plan<'_>,
    subject: &Subject<'_>,
    member: &Member<'_>,
) -> Result<(), Failure> {
    let (output, account) = (ctx.output, subject.account);
    let here = if subject.installed {
        format!("here {}", member.manifest.module.version)
    } else {
        "not installed here: files only, nothing of it is run".into()
    };
    output.line(format!(
        "         {} version {} ({here}), {} in {}",
        escape::text(&account.module),
        escape::text(&account.version),
        human::bytes(account.totals.bytes),
        human::counted(account.totals.entries, "entry", "entries"),
    ))?;
    for source in &account.sources {
        output.line(format!("           {}", escape::name(source)))?;
    }
    for place in &subject.undeclared {
        let shown = escape::name(&place.to_slashes());
        output.line(format!("           /{shown} is not restored: the manifest here does not declare it"))?;
    }
    for (from, to) in &subject.moved {
        let shown = |path: &StoredPath| escape::name(&path.to_slashes());
        output.line(format!("           /{} goes to /{}", shown(from), shown(to)))?;
    }
    for dump in &account.dumps {
        let kept = match keeps(plan, member, &dump.name) {
            "dump" => "; what it has now is dumped first",
            "nothing" => "; what it has now is kept by nobody",
            _ => "",
        };
        output.line(format!("           source {} ({}){kept}", escape::text(&dump.name), dump.kind))?;
    }
    for (point, hook) in member.manifest.hooks.all().filter(|(point, _)| point.starts_with("restore")) {
        output.line(format!("           {point} runs {}", escape::text(&hook.run.join(" "))))?;
    }
    Ok(())
}

/// Returns what becomes of what a source has now: it is kept `beside`, as a `dump`, or `nothing` of it is. Nothing of a source
/// that the manifest here does not have: it is not loaded.
fn keeps(plan: &Plan<'_>, member: &Member<'_>, name: &str) -> &'static str {
    let source = member.manifest.sources.iter().find(|source| source.name == name);
    let spec = source.and_then(|source| SourceSpec::of(source, member.variables).ok());
    let safety = plan.safety && member.manifest.spaces.safety;
    match spec.map(|spec| spec.keeps()) {
        None => "untouched",
        Some(Keeps::Beside) => "beside",
        Some(Keeps::Dump) if safety => "dump",
        Some(Keeps::Dump | Keeps::Nothing) => "nothing",
    }
}

fn print_json(ctx: &Context, chosen: &Chosen, plan: &Plan<'_>) -> Result<(), Failure> {
    let module = |(subject, member): (&Subject<'_>, &Member<'_>)| {
        let dumps = &subject.account.dumps;
        json!({
            "module": subject.account.module,
            "installed": subject.installed,
            "version": subject.account.version,
            "version_here": member.manifest.module.version.to_string(),
            "source_bytes": subject.account.totals.bytes,
            "undeclared": subject
                .undeclared
                .iter()
                .map(|place| escape::name(&place.to_slashes()))
                .collect::<Vec<_>>(),
            "dumps": dumps.iter().map(|dump| &dump.name).collect::<Vec<_>>(),
            "kept": dumps.iter().map(|dump| keeps(plan, member, &dump.name)).collect::<Vec<_>>(),
        })
    };
    Ok(ctx.output.object(&json!({
        "type": "plan",
        "snapshot_id": chosen.id.to_hex(),
        "host": chosen.snapshot.host,
        "modules": plan.subjects.iter().zip(plan.members).map(module).collect::<Vec<_>>(),
        "stops": plan.halts.iter().rev().map(|halt| halt.spec.name()).collect::<Vec<_>>(),
        "safety": plan.safety,
        "rooms": plan.rooms.iter().map(|room| json!({
            "place": room.place.to_string_lossy(),
            "needed_bytes": room.needed_bytes,
            "free_bytes": room.free_bytes,
        })).collect::<Vec<_>>(),
    }))?)
}
