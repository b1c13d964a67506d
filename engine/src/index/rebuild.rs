//! Filling a new database from the repository while the old one stays in place until it is done.

use super::error::IndexError;
use super::options::Memory;
use super::store::{Access, Store};
use super::{Index, Origin, Role};

impl Index {
    /// Makes a new index, has `fill` apply every generation and segment to it, and switches it in.
    ///
    /// If `fill` fails or the process dies, the old database is still in place; open it again. A
    /// secondary starts its scratch database anew and no longer looks at the owner's.
    pub fn rebuild<E: From<IndexError>>(self, fill: impl FnOnce(&Self) -> Result<(), E>) -> Result<Self, E> {
        let Self { top, base, home, settings, .. } = self;
        drop((top, base));
        let (place, first) = home.make_fresh(&settings)?;
        let memory = Memory::new(settings.memory_bytes);
        let store = Store::open(&place, &settings, first, &memory, &Access::Owner)?;
        let origin = Origin::Replaced { why: "it was rebuilt".to_owned() };
        let fresh = Self::assemble(home, &settings, memory, store, None, origin.clone());
        fill(&fresh)?;
        if fresh.role() == Role::Secondary {
            return Ok(fresh);
        }
        fresh.top.flush()?;
        let Self { top, home, memory, .. } = fresh;
        drop(top);
        let store = Store::open(&home.switch()?, &settings, first, &memory, &Access::Owner)?;
        Ok(Self::assemble(home, &settings, memory, store, None, origin))
    }
}
