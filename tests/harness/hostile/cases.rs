//! What a hostile case is, and when it is passed.

use super::forged::{Entry, listing};
use super::hall::{Ground, Hall, Outcome, finish};
use dedup_engine::id::ObjectId;
use dedup_engine::map::Root;
use dedup_engine::testing::forge::Forge;
use std::any::Any;

type Build = Box<dyn Fn(&Forge<'_>) -> Root>;
type Plant = Box<dyn Fn(&Ground) -> Option<Box<dyn Any>>>;
type Look = Box<dyn Fn(&Ground, &Outcome)>;

/// One hostile archive, restored to one hostile target.
pub struct Case {
    pub name: String,
    /// What the archive says, as far as it can be restored.
    pub entries: Vec<Entry>,
    build: Option<Build>,
    plant: Option<Plant>,
    look: Option<Look>,
    pub user: bool,
    options: Vec<&'static str>,
    codes: Vec<i32>,
    says: Vec<&'static str>,
    is_linked: bool,
}

impl Case {
    /// An archive whose listing is well formed; every entry of it is to be restored, or told of.
    pub fn new(name: impl Into<String>, entries: Vec<Entry>) -> Self {
        Self {
            name: name.into(),
            entries,
            build: None,
            plant: None,
            look: None,
            user: false,
            options: Vec::new(),
            codes: vec![0, 3],
            says: Vec::new(),
            is_linked: false,
        }
    }

    /// An archive whose listing is damage: it is called that, by exit status 6.
    pub fn damage(name: impl Into<String>, build: impl Fn(&Forge<'_>) -> Root + 'static) -> Self {
        Self::new(name, Vec::new()).built(build).ends(6)
    }

    /// With a listing of its own making; [`Case::entries`] are what is looked for afterwards.
    pub fn built(self, build: impl Fn(&Forge<'_>) -> Root + 'static) -> Self {
        Self { build: Some(Box::new(build)), ..self }
    }

    /// With nothing to be looked for afterwards: the target cannot even be one.
    pub fn unjudged(self) -> Self {
        let entries = self.entries.clone();
        let case = self.built(move |forge| listing(forge, &entries));
        Self { entries: Vec::new(), ..case }
    }

    /// Exactly this exit status.
    pub fn ends(self, code: i32) -> Self {
        Self { codes: vec![code], ..self }
    }

    /// Words that must be among what is told.
    pub fn says(self, words: &[&'static str]) -> Self {
        Self { says: words.to_vec(), ..self }
    }

    /// Restored by an ordinary user.
    pub fn by_a_user(self) -> Self {
        let name = format!("{}, as a user", self.name);
        Self { user: true, name, ..self }
    }

    /// With options of the command line.
    pub fn with(self, options: &[&'static str]) -> Self {
        Self { options: options.to_vec(), ..self }
    }

    /// What somebody puts into the target before; the value lives until the restore has ended.
    pub fn planted<G: Any>(self, plant: impl Fn(&Ground) -> G + 'static) -> Self {
        let plant: Plant = Box::new(move |ground| Some(Box::new(plant(ground))));
        Self { plant: Some(plant), ..self }
    }

    /// A canary has a name in the target, so that removing that name shows in its number of names.
    pub fn linked(self) -> Self {
        Self { is_linked: true, ..self }
    }

    /// A closer look at the end.
    pub fn look(self, look: impl Fn(&Ground, &Outcome) + 'static) -> Self {
        Self { look: Some(Box::new(look)), ..self }
    }

    /// Stores the archive.
    pub fn forge(&self, hall: &Hall) -> ObjectId {
        let repo = hall.repository();
        let forge = Forge::begin(&repo).unwrap();
        let root = match &self.build {
            Some(build) => build(&forge),
            None => listing(&forge, &self.entries),
        };
        forge.commit(&[b"/"], root).unwrap()
    }

    /// Restores it and judges.
    pub fn run(&self, hall: &Hall, number: usize, id: ObjectId) {
        let name = format!("case {number}, {}", self.name);
        let ground = hall.ground(number, self.user);
        let guard = self.plant.as_ref().map(|plant| plant(&ground));
        let before = ground.outside();
        let outcome = finish(hall.start_restore(id, &ground, &self.options));
        let after = ground.outside();
        let lines = before.0.differences(&after.0);
        assert!(lines.is_empty(), "{name}: something outside was changed:\n{}", lines.join("\n"));
        assert!(self.is_linked || before.1 == after.1, "{name}: something outside was touched");
        self.judge(&name, &ground, &outcome);
        if let Some(look) = &self.look {
            look(&ground, &outcome);
        }
        drop(guard);
    }

    /// Whatever is not as the archive has it must have been told, and the exit status must say so.
    fn judge(&self, name: &str, ground: &Ground, outcome: &Outcome) {
        let Outcome { code, err, told, messages, .. } = outcome;
        assert!(self.codes.contains(code), "{name}: exit status {code}, told {told:?}:\n{err}");
        for word in &self.says {
            let all = format!("{err}\n{messages:?}");
            assert!(all.contains(word), "{name}: {word:?} is not told:\n{all}");
        }
        ground.assert_no_leftovers(name);
        let owners = !self.user && !self.options.contains(&"--no-owner");
        let entries: Vec<Entry> = self.entries.iter().map(|entry| self.as_chosen(entry)).collect();
        let differing = ground.differing(&entries, owners);
        match code {
            0 => assert!(differing.is_empty() && told.is_empty(), "{name}: silent: {differing:?} {told:?}"),
            3 => {
                let silent: Vec<_> = differing.iter().filter(|(path, _)| !told.contains(path)).collect();
                assert!(silent.is_empty(), "{name}: silent: {silent:?}, told {told:?}");
                assert!(!differing.is_empty(), "{name}: a false alarm: {told:?}");
            }
            _ => assert!(!err.is_empty() || !told.is_empty(), "{name}: no word"),
        }
    }

    /// Leaves out what the options say is not wanted.
    fn as_chosen(&self, entry: &Entry) -> Entry {
        let mut entry = entry.clone();
        match self.options.iter().position(|option| *option == "--xattrs") {
            Some(at) if self.options[at + 1] == "none" => entry.xattrs.clear(),
            Some(_) => entry.xattrs.retain(|(name, _)| name.starts_with(b"user.")),
            None => {}
        }
        entry
    }
}
