//! The schedules for which those that are looked at wait: each is lived through, so that their dates count.

use std::collections::BTreeMap;

use super::scene::{Looked, Stop};
use super::validate::files::Planned;
use crate::api::Time;
use crate::sim::{Elsewhere, Story};

/// The schedules of the files that matter, and the lives of those for which others wait.
pub(super) struct Lives<'a> {
    looked: &'a Looked,
    /// Their places in the files; each after those for which it waits, as far as that can be.
    pub order: Vec<usize>,
    /// The life of each, with what it was told of others.
    known: BTreeMap<usize, (Elsewhere, Story)>,
}

impl<'a> Lives<'a> {
    /// Lives through whatever these wait for. Schedules may wait for each other's phases in turn: so each is lived through
    /// again until nothing new is said of any, which takes no more rounds than phases can wait for one another.
    pub(super) fn of(looked: &'a Looked, chosen: &[usize]) -> Result<Self, Stop> {
        let mut lives = Lives { looked, order: Vec::new(), known: BTreeMap::new() };
        let mut open = Vec::new();
        for index in chosen {
            lives.reach(*index, &mut open);
        }
        let waited_for = |index: &usize| {
            let all = lives.order.iter().filter_map(|i| looked.files.schedules.get(*i));
            all.flat_map(Planned::elsewhere).any(|(_, other)| looked.files.place_of(&other) == Some(*index))
        };
        let waited_for: Vec<usize> = lives.order.iter().copied().filter(waited_for).collect();
        let planned = waited_for.iter().filter_map(|index| looked.files.schedules.get(*index));
        let rounds = planned.map(|p| p.schedule.spec.phases.len()).sum::<usize>() + 1;
        for _ in 0..rounds {
            let mut news = false;
            for index in &waited_for {
                let Some(planned) = looked.files.schedules.get(*index) else { continue };
                let around = lives.around(planned);
                if lives.known.get(index).is_none_or(|(told, _)| *told != around) {
                    let story = looked.live(planned, around.clone(), &lives.order)?;
                    lives.known.insert(*index, (around, story));
                    news = true;
                }
            }
            if !news {
                break;
            }
        }
        Ok(lives)
    }

    /// Puts a schedule in the order, after those for which it waits.
    fn reach(&mut self, index: usize, open: &mut Vec<usize>) {
        if self.order.contains(&index) || open.contains(&index) {
            return;
        }
        open.push(index);
        let looked = self.looked;
        let others = looked.files.schedules.get(index).into_iter().flat_map(Planned::elsewhere);
        for found in others.filter_map(|(_, other)| looked.files.place_of(&other)) {
            self.reach(found, open);
        }
        self.order.push(index);
    }

    /// What becomes of the phases for which a schedule waits, as far as their schedules are among the files. Where one was
    /// not lived through yet, it never comes to its phase.
    pub(super) fn around(&self, planned: &Planned) -> Elsewhere {
        let mut elsewhere = Elsewhere::new();
        for (_, other) in planned.elsewhere() {
            let Some(index) = self.looked.files.place_of(&other) else { continue };
            let Some(theirs) = self.looked.files.schedules.get(index) else { continue };
            let (namespace, spec) = (planned.namespace(), &theirs.schedule.spec);
            let never = || vec![(Time::default(), other.complete_by(namespace, spec, |_| None))];
            let known = self.known.get(&index);
            let standings = known.map_or_else(never, |(_, story)| story.standings(&other, namespace, spec));
            elsewhere.insert(other, standings);
        }
        elsewhere
    }
}
