//! A module of dedup: what it gives when it is backed up, and what it does with it when it is restored.

mod dedup_module;

use dedup_module::{Answer, Export, Import, Module, Value};

struct Example;

impl Module for Example {
    const NAME: &'static str = "example";
    const VERSION: &'static str = "1";
    const OPS: &'static [&'static str] = &["export", "check", "import"];

    fn export(&mut self, out: &mut Export<'_>) -> Answer {
        out.config("greeting", &Value::from("hello"))?;
        let mut state = out.blob("state")?;
        state.write(b"whatever belongs to it\n")?;
        state.finish()?;
        let mut queues = out.records("queues", &["id", "name"])?;
        for (id, name) in [(601, "Sales"), (602, "Help")] {
            queues.row(&[Value::Int(id), Value::from(name)])?;
        }
        queues.finish()
    }

    /// Says no, by `Err(Fail::new(…))`, before anything is touched; changes nothing.
    fn check(&mut self, source: &mut Import<'_>) -> Answer {
        ["config", "blob", "records"].iter().try_for_each(|what| source.take(what))
    }

    fn import(&mut self, source: &mut Import<'_>) -> Answer {
        source.take("config")?;
        let greeting = source.configs.get("greeting").and_then(Value::as_text).unwrap_or_default().to_owned();
        let (mut bytes, mut queues) = (0, 0);
        source.blob("state", &mut |part| {
            bytes += part.len();
            Ok(())
        })?;
        source.records("queues", &mut |_row| {
            queues += 1;
            Ok(())
        })?;
        source.log("notice", &format!("{greeting}: {bytes} bytes, {queues} queues"))
    }
}

fn main() {
    std::process::exit(dedup_module::serve(&mut Example));
}
