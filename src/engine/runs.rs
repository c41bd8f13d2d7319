//! Runs that were read, so that an object that did not change is not read anew in every pass.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::Run;

/// The runs of one schedule as they were read last, with the objects that they were read of.
#[derive(Clone, Debug)]
pub struct ReadRuns<T>(BTreeMap<String, (Arc<T>, Arc<Run>)>);

impl<T> Default for ReadRuns<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> ReadRuns<T> {
    /// Reads the objects: the runs by name, and of those that cannot be read why. The very same object, by its address,
    /// is not read twice; versions would not do, because a restored backup uses them again. What is not asked for is
    /// forgotten.
    pub fn read(
        &mut self,
        objects: impl Iterator<Item = (String, Arc<T>)>,
        read: impl Fn(&T) -> Result<Run, String>,
    ) -> (BTreeMap<String, Arc<Run>>, Vec<String>) {
        let mut before = std::mem::take(&mut self.0);
        let mut unreadable = Vec::new();
        for (name, object) in objects {
            let same = before.remove(&name).filter(|(known, _)| Arc::ptr_eq(known, &object));
            match same.map_or_else(|| read(&object).map(Arc::new), |(_, run)| Ok(run)) {
                Ok(run) => drop(self.0.insert(name, (object, run))),
                Err(why) => unreadable.push(why),
            }
        }
        let runs = self.0.values().map(|(_, run)| (run.name.clone(), run.clone())).collect();
        (runs, unreadable)
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
