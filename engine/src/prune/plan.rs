//! Which packs go and which are written anew: a pure function of what is used in each.

use crate::id::ObjectId;

/// A pack and what of it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackUse {
    /// Its name.
    pub id: ObjectId,
    /// Its length as stored, in bytes.
    pub stored_bytes: u64,
    /// Plain bytes of its chunks.
    pub plain_bytes: u64,
    /// Plain bytes of those that are needed and counted for this pack: of several copies one counts.
    pub live_bytes: u64,
    /// About how many of the stored bytes are needed: of each block in proportion, as some are compressed better than others.
    pub live_stored_bytes: u64,
    /// Whether a segment names it.
    pub is_named: bool,
    /// Whether it may be of a run that has not ended: it is left alone.
    pub is_spared: bool,
}

/// How much may stay though nobody needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unused {
    /// So many thousandths of what is needed.
    Thousandths(u32),
    /// So many bytes.
    Bytes(u64),
    /// Whatever it is: only packs of which nothing is needed go.
    Any,
}

/// What bounds the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How much may stay though nobody needs it.
    pub max_unused: Unused,
    /// Most bytes that are written anew; `None` is all that it takes.
    pub max_repack_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_unused: Unused::Thousandths(50), max_repack_bytes: None }
    }
}

/// What a prune is going to do, and its sizes: stored bytes everywhere, of partly needed packs in proportion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Places of packs of which nothing is needed.
    pub remove: Vec<usize>,
    /// Places of packs whose needed chunks are written anew, those with the least of them first.
    pub repack: Vec<usize>,
    /// All packs.
    pub packs: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// What of it is needed.
    pub live_bytes: u64,
    /// What goes with packs of which nothing is needed.
    pub remove_bytes: u64,
    /// What is written anew.
    pub repack_bytes: u64,
    /// What repacking frees.
    pub repack_frees_bytes: u64,
    /// What stays though nobody needs it.
    pub unused_bytes: u64,
    /// Packs that are left alone since they may be of a run that has not ended.
    pub spared: u64,
}

/// Decides what to do.
pub fn plan(packs: &[PackUse], limits: &Limits) -> Plan {
    let mut plan = Plan { packs: packs.len() as u64, ..Plan::default() };
    let mut partly = Vec::new();
    for (place, pack) in packs.iter().enumerate() {
        let live = pack.live_stored_bytes.min(pack.stored_bytes);
        plan.stored_bytes += pack.stored_bytes;
        plan.live_bytes += live;
        if pack.is_spared {
            plan.spared += 1;
        } else if pack.live_bytes == 0 {
            plan.remove.push(place);
            plan.remove_bytes += pack.stored_bytes;
        } else if pack.live_bytes < pack.plain_bytes {
            partly.push(place);
            plan.unused_bytes += pack.stored_bytes - live;
        }
    }
    let allowed = match limits.max_unused {
        Unused::Thousandths(share) => {
            u64::try_from(u128::from(plan.live_bytes) * u128::from(share) / 1000).unwrap_or(u64::MAX)
        }
        Unused::Bytes(bytes) => bytes,
        Unused::Any => u64::MAX,
    };
    // The most gain for the least writing first; the name decides between equals, so that the plan is one.
    let live = |place: usize| packs[place].live_stored_bytes.min(packs[place].stored_bytes);
    let share = |place: usize| (u128::from(live(place)) << 64) / u128::from(packs[place].stored_bytes.max(1));
    partly.sort_by_key(|place| (share(*place), packs[*place].id));
    for place in partly {
        let live = live(place);
        let written = plan.repack_bytes.saturating_add(live);
        if plan.unused_bytes <= allowed {
            break;
        }
        if limits.max_repack_bytes.is_some_and(|most| written > most) {
            continue;
        }
        let frees = packs[place].stored_bytes - live;
        plan.repack.push(place);
        plan.repack_bytes = written;
        plan.repack_frees_bytes += frees;
        plan.unused_bytes -= frees;
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack(n: u8, live: u64) -> PackUse {
        let id = ObjectId::from_bytes([n; 32]);
        PackUse {
            id,
            stored_bytes: 1000,
            plain_bytes: 2000,
            live_bytes: live,
            live_stored_bytes: live / 2,
            is_named: true,
            is_spared: false,
        }
    }

    #[test]
    fn the_emptiest_go_first_and_only_as_many_as_it_takes() {
        let packs = [pack(1, 2000), pack(2, 0), pack(3, 1800), pack(4, 200), pack(5, 1000)];
        let limits = |max_unused| Limits { max_unused, max_repack_bytes: None };
        let all = plan(&packs, &limits(Unused::Bytes(0)));
        assert_eq!((&all.remove[..], &all.repack[..], all.unused_bytes), (&[1][..], &[3, 4, 2][..], 0));
        assert_eq!((all.live_bytes, all.repack_bytes, all.repack_frees_bytes), (2500, 1500, 1500));
        let some = plan(&packs, &limits(Unused::Bytes(700)));
        assert_eq!((&some.repack[..], some.unused_bytes), (&[3][..], 600));
        assert_eq!(plan(&packs, &limits(Unused::Any)).repack, [0; 0]);
        let few = Limits { max_unused: Unused::Bytes(0), max_repack_bytes: Some(700) };
        assert_eq!(plan(&packs, &few).repack, [3, 4]);
        let mut spared = packs;
        spared.iter_mut().for_each(|pack| pack.is_spared = true);
        let none = plan(&spared, &limits(Unused::Bytes(0)));
        assert_eq!((none.remove.len(), none.repack.len(), none.spared), (0, 0, 5));
    }

    /// Half of the plain bytes of each is needed: where they compress well little is to be written, and much is freed.
    #[test]
    fn what_counts_is_what_is_stored() {
        let packs = [(1, 500), (2, 900), (3, 100)]
            .map(|(n, stored)| PackUse { live_stored_bytes: stored, ..pack(n, 1000) });
        let all = plan(&packs, &Limits { max_unused: Unused::Bytes(0), max_repack_bytes: None });
        assert_eq!((&all.repack[..], all.repack_bytes, all.repack_frees_bytes), (&[2, 0, 1][..], 1500, 1500));
        let some = plan(&packs, &Limits { max_unused: Unused::Bytes(600), max_repack_bytes: None });
        assert_eq!((&some.repack[..], some.unused_bytes), (&[2][..], 600));
    }

    proptest! {
        /// Whatever the packs: nothing needed goes, nothing is in both lists, and the sums are right.
        #[test]
        fn plans_keep_what_is_needed(
            made in proptest::collection::vec((0..5000u64, 0..5000u64, 0..6000u64, any::<bool>()), 0..30),
            share in 0..2000u32, most in proptest::option::of(0..9000u64),
        ) {
            let packs: Vec<PackUse> = made.iter().enumerate().map(|(n, (stored, plain, live, is_spared))| PackUse {
                id: ObjectId::from_bytes([n as u8; 32]),
                stored_bytes: *stored,
                plain_bytes: *plain,
                live_bytes: *live.min(plain),
                live_stored_bytes: stored * live.min(plain) / plain.max(&1),
                is_named: true,
                is_spared: *is_spared,
            }).collect();
            let limits = Limits { max_unused: Unused::Thousandths(share), max_repack_bytes: most };
            let plan = plan(&packs, &limits);
            prop_assert!(plan.remove.iter().all(|at| packs[*at].live_bytes == 0 && !packs[*at].is_spared));
            prop_assert!(plan.repack.iter().all(|at| packs[*at].live_bytes > 0 && !packs[*at].is_spared));
            let written: u64 = plan.repack.iter().map(|at| packs[*at].live_stored_bytes).sum();
            prop_assert_eq!(written, plan.repack_bytes);
            prop_assert!(most.is_none_or(|most| written <= most));
            if most.is_none() {
                prop_assert!(plan.unused_bytes <= plan.live_bytes * u64::from(share) / 1000);
            }
        }
    }
}
