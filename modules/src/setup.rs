//! Setup: whether a module can be used, and how it is made ready.

use crate::child::{Captured, Channel, ChildError, Program, output, run};
use crate::id::ModuleId;
use crate::machine::Machine;
use crate::manifest::lifecycle::{Setup, SetupState};
use crate::manifest::paths::{UnknownVariable, Variables};
use crate::manifest::programs::Severity;
use crate::selection::Ready;
use std::path::PathBuf;
use std::time::Duration;

/// How long the program that tells the state may take.
const ASK: Duration = Duration::from_secs(60);

/// Longest answer in bytes; the word is much shorter.
const MAX_ANSWER: usize = 4096;

/// How a module's state is known and changed, with everything resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupSpec {
    state: Known,
    install: Vec<String>,
    upgrade: Vec<String>,
    timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Always,
    By(Vec<String>),
    File(PathBuf),
}

/// Whether a module can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can.
    Ready,
    /// It was never set up.
    NeedsSetup,
    /// Its data are older than its program.
    NeedsUpdate,
}

impl State {
    /// Returns what it means for the choice of modules: there are data unless it was never set up.
    pub fn has_data(self) -> Ready {
        if self == Self::NeedsSetup { Ready::NeedsSetup } else { Ready::Ready }
    }
}

/// Why a module's state is not known, or not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A path has no meaning here.
    #[error("the setup: {0}")]
    Variable(#[from] UnknownVariable),
    /// A program failed.
    #[error(transparent)]
    Program(#[from] ChildError),
    /// A program said something else than one of the three words.
    #[error("{program} said {said:?}; it must print ready, needs-setup or needs-update")]
    Word {
        /// The program.
        program: String,
        /// What it said.
        said: String,
    },
    /// A file cannot be looked at.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing says how.
    #[error(
        "the module {needs}, and its manifest does not say how: give [setup] the program `{key}`, or do it by hand"
    )]
    NoWay {
        /// What it needs.
        needs: &'static str,
        /// The key of the manifest.
        key: &'static str,
    },
    /// It was done, by its own word, and the module is still not ready.
    #[error("{program} ended well, but the module still {needs}")]
    InVain {
        /// The program.
        program: String,
        /// What it still needs.
        needs: &'static str,
    },
}

impl SetupSpec {
    /// Resolves what a manifest says.
    pub fn of(setup: &Setup, variables: &Variables) -> Result<Self, SetupError> {
        let state = match &setup.state {
            SetupState::AlwaysReady => Known::Always,
            SetupState::Command(argv) => Known::By(argv.clone()),
            SetupState::File(path) => Known::File(path.resolve(variables)?),
        };
        let (install, upgrade) = (setup.install.clone(), setup.upgrade.clone());
        Ok(Self { state, install, upgrade, timeout: setup.timeout })
    }

    /// Finds out whether the module is ready.
    pub fn state(&self, machine: &Machine<'_>) -> Result<State, SetupError> {
        let argv = match &self.state {
            Known::Always => return Ok(State::Ready),
            Known::File(path) => {
                let there = path.try_exists();
                let there = there.map_err(|source| SetupError::File { path: path.clone(), source })?;
                return Ok(if there { State::Ready } else { State::NeedsSetup });
            }
            Known::By(argv) => argv,
        };
        let program = Program::new(argv);
        let Captured { finished, stdout, .. } =
            output(&program, machine.around, Some(ASK), machine.cancelled, MAX_ANSWER)?;
        let said = String::from_utf8_lossy(stdout.trim_ascii()).into_owned();
        finished.success(&program)?;
        match &said[..] {
            "ready" => Ok(State::Ready),
            "needs-setup" => Ok(State::NeedsSetup),
            "needs-update" => Ok(State::NeedsUpdate),
            _ => Err(SetupError::Word { program: program.name(), said: said.chars().take(80).collect() }),
        }
    }

    /// Makes the module ready: installs or upgrades it, as `from` asks for, and looks whether that was enough.
    pub fn make_ready(
        &self,
        module: &ModuleId,
        from: State,
        machine: &Machine<'_>,
    ) -> Result<(), SetupError> {
        let (needs, key, argv) = match from {
            State::Ready => return Ok(()),
            State::NeedsSetup => ("needs setup", "install", &self.install),
            State::NeedsUpdate => ("needs an update", "upgrade", &self.upgrade),
        };
        if argv.is_empty() {
            return Err(SetupError::NoWay { needs, key });
        }
        let program = Program::new(argv);
        let mut line = |_: Channel, text: &str| machine.log.log(Severity::Notice, Some(module), text);
        run(&program, machine.around, self.timeout, machine.cancelled, &mut line)?.success(&program)?;
        match self.state(machine)? {
            State::Ready => Ok(()),
            State::NeedsSetup => Err(SetupError::InVain { program: program.name(), needs: "needs setup" }),
            State::NeedsUpdate => {
                Err(SetupError::InVain { program: program.name(), needs: "needs an update" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;
    use crate::tests::TestMachine;
    use std::fs;

    fn spec(setup: &str) -> SetupSpec {
        let text = format!(
            "schema = 1\n[module]\nid = \"m\"\n[data]\ndirectories = [\"/srv/m\"]\n[setup]\n{setup}\n"
        );
        let manifest =
            Manifest::parse("test", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
        SetupSpec::of(&manifest.setup, &manifest.paths).unwrap()
    }

    #[test]
    fn states_are_known_and_changed() {
        let test = TestMachine::new();
        let id = ModuleId::parse("m").unwrap();
        let word = test.path("word").display().to_string();
        let state = test.script("state", &format!("cat {word}"));
        let ready = test.script("ready", &format!("echo working; echo ready > {word}"));
        let spec = |more: &str| spec(&format!("state = [\"{state}\"]\n{more}"));
        let whole = spec(&format!("install = [\"{ready}\"]\nupgrade = [\"{ready}\"]"));
        test.with(|machine| {
            for (said, state) in [
                ("ready", State::Ready),
                ("needs-setup", State::NeedsSetup),
                ("needs-update\n", State::NeedsUpdate),
            ] {
                fs::write(&word, said).unwrap();
                assert_eq!(whole.state(machine).unwrap(), state);
                whole.make_ready(&id, state, machine).unwrap();
                assert_eq!(whole.state(machine).unwrap(), State::Ready);
            }
            assert_eq!(test.told().iter().filter(|(_, text)| text == "m: working").count(), 2);
            fs::write(&word, "perhaps").unwrap();
            assert!(matches!(whole.state(machine), Err(SetupError::Word { .. })));
            fs::remove_file(&word).unwrap();
            assert!(matches!(whole.state(machine), Err(SetupError::Program(_))), "no answer is no state");
            fs::write(&word, "needs-setup").unwrap();
            let error = spec("").make_ready(&id, State::NeedsSetup, machine).unwrap_err();
            assert!(error.to_string().contains("`install`"), "{error}");
            let vain = spec("install = [\"true\"]").make_ready(&id, State::NeedsSetup, machine);
            assert!(matches!(vain, Err(SetupError::InVain { .. })));
            let slow = spec("install = [\"sleep\", \"60\"]\ntimeout = \"1s\"");
            let error = slow.make_ready(&id, State::NeedsSetup, machine).unwrap_err();
            assert!(error.to_string().contains("longer than 1s"), "{error}");
        });
    }

    #[test]
    fn a_file_or_nothing_can_stand_for_the_state() {
        let test = TestMachine::new();
        let file = spec(&format!("file = \"{}\"", test.path("db").display()));
        test.with(|machine| {
            assert_eq!(spec("").state(machine).unwrap(), State::Ready);
            assert_eq!(file.state(machine).unwrap(), State::NeedsSetup);
            assert_eq!(file.state(machine).unwrap().has_data(), Ready::NeedsSetup);
            fs::write(test.path("db"), "").unwrap();
            assert_eq!(file.state(machine).unwrap(), State::Ready);
        });
    }
}
