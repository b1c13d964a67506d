//! `dedup space run ID` without a command: a module does what it is for, by the operation `run` of its program.

use super::space::spaces;
use crate::context::Context;
use crate::declared::{self, ModuleDirs};
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::runs::ModuleRun;
use dedup_engine::error::Kind;
use dedup_modules::external::{
    Around, ExternalError, ImportData, Imported, Job, Nothing, Spec, close_spaces, import,
};
use dedup_modules::id::ModuleId;
use dedup_modules::machine::Machine;
use dedup_modules::manifest::programs::Severity;
use dedup_modules::protocol::{Offer, Op};
use dedup_modules::undo::Undo;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Runs a module; if it fails, or this process dies, what it put into its spaces is put back.
pub fn run(ctx: &Context, id: &str, dirs: &ModuleDirs) -> Result<Exit, Failure> {
    let id = ModuleId::parse(id).map_err(|error| Failure::of(Kind::Refused, &error))?;
    let catalog = declared::catalog(dirs)?;
    let entry = catalog.find(&id).ok_or_else(|| {
        Failure::new(Kind::Missing, format!("no module {id} is declared here"))
            .hint("name a command to run: `dedup space run ID -- COMMAND`")
    })?;
    let manifest = entry.what.as_ref().map_err(|wrong| Failure::refused(declared::reason(wrong)))?;
    let variables = ctx.config.paths.of(manifest);
    declared::assert_trusted(manifest, &variables).map_err(Failure::refused)?;
    let program = manifest.importer.as_ref().or(manifest.exporter.as_ref());
    let program = program.ok_or_else(|| {
        Failure::refused(format!("module {id} has no program of its own"))
            .hint("its manifest says [importer] command = […]; `dedup module new` writes one")
    })?;
    let spec = Spec::of(program, manifest, &variables).map_err(|error| Failure::of(error.kind(), &error))?;
    let module_run = ModuleRun::begin(ctx, "run", Duration::ZERO)?;
    let result = carry_out(ctx, &id, &spec, &module_run);
    module_run.finish(&result);
    result
}

fn carry_out(ctx: &Context, id: &ModuleId, spec: &Spec, module_run: &ModuleRun<'_>) -> Result<Exit, Failure> {
    let machine = module_run.machine();
    let before: Vec<String> = spaces()?.list()?.into_iter().map(|(id, _)| id).collect();
    let mut undoing = module_run.undoing(&machine)?;
    let act = Undo::Importer { module: id.clone(), spec: Box::new(spec.clone()), before: before.clone() };
    let ticket = undoing.note(act)?;
    let ended = {
        // An interruption goes to the module too; what it has changed is put back all the same.
        let _operation = ctx.operation();
        operate(spec, &machine)
    };
    let why = match &ended {
        Ok(Imported { skipped: true, .. }) => Some("it left itself out".to_owned()),
        Ok(imported) => {
            let failed = imported.grave.iter().find(|said| said.level <= Severity::Critical);
            failed.map(|said| said.text.clone())
        }
        Err(error) => Some(error.to_string()),
    };
    // What is not settled is undone, which `finish` tries again where it failed.
    let settled = if why.is_none() { undoing.settle(ticket) } else { Ok(()) };
    let mut is_left = false;
    for failed in undoing.finish()? {
        is_left = true;
        ctx.output.warning(&format!("{failed}; `dedup recover` tries it again"));
    }
    settled?;
    let Some(why) = why else {
        close_spaces(spec, &before, machine.state_dir).map_err(|why| Failure::new(Kind::Io, why))?;
        let grave = ended.is_ok_and(|imported| !imported.grave.is_empty());
        return Ok(if grave { Exit::Partial } else { Exit::Complete });
    };
    let kind = ended.as_ref().err().map_or(Kind::Refused, ExternalError::kind);
    let lacks = matches!(&ended, Err(ExternalError::Failed { failure, .. }) if failure.code == "unsupported");
    Err(match lacks {
        true => Failure::refused(format!("the program of module {id} has no operation run")),
        false => {
            let back = if is_left { "what it changed was not put back" } else { "its spaces were put back" };
            Failure::new(kind, format!("module {id} failed, and {back}: {}", escape::text(&why)))
        }
    })
}

fn operate(spec: &Spec, machine: &Machine<'_>) -> Result<Imported, ExternalError> {
    let around = machine.around_of_run();
    let log = |level: Severity, text: &str| machine.log.log(level, None, &format!("{}: {text}", spec.module));
    let (cancelled, elapsed) = (|| (machine.cancelled)(), || (machine.elapsed)());
    let job = Job {
        spec,
        run: machine.run,
        root: Path::new("/"),
        spaces_dir: &machine.state_dir.join("spaces"),
        log: &log,
        offer: Offer::default(),
        world: Around { around: &around, cancelled: &cancelled, elapsed: &elapsed },
    };
    let data = ImportData { begin: json!({ "space": spec.module }), ..ImportData::default() };
    import(&job, Op::Run, &data, &mut Nothing)
}
