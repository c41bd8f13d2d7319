//! The flags of a schedule: their names, their values, and which of them need which.

use std::collections::BTreeSet;

use crate::api::{Flag, MigrationScheduleSpec};
use crate::engine::hint::did_you_mean;

use super::problems::Problems;
use super::sequence::closure;

impl Problems {
    pub(super) fn check_flags(&mut self, flags: &[Flag]) {
        self.unique("spec.flags", flags.iter().map(|f| f.name.as_str()));
        for (i, flag) in flags.iter().enumerate() {
            if flag.values.enabled == flag.values.disabled {
                let message = format!("enabled and disabled are both {}", flag.values.enabled);
                self.add(format!("spec.flags[{i}].values"), message, "they must differ");
            }
            let path = format!("spec.flags[{i}].requires");
            self.twice(&path, &flag.requires, "name each flag once");
            for (j, name) in flag.requires.iter().enumerate().filter(|(_, name)| place(flags, name).is_none()) {
                let hint = did_you_mean(name, flags.iter().map(|f| f.name.as_str()));
                let hint = hint.unwrap_or_else(|| {
                    "`requires` binds flags of one schedule; `after` can wait for a phase of another".to_owned()
                });
                self.add(format!("{path}[{j}]"), format!("this schedule has no flag {name}"), &hint);
            }
        }
        if let Err(circle) = needed(flags) {
            let name = |i: &usize| flags.get(*i).map_or("", |f| f.name.as_str());
            let told = circle.iter().map(name).collect::<Vec<_>>().join(" requires ");
            let path = circle.first().map(|i| format!("spec.flags[{i}].requires")).unwrap_or_default();
            let message = format!("flags require one another in a circle: {told}");
            self.add(
                path,
                message,
                "flags of one schedule go up and back together anyway; `requires` says in which order",
            );
        }
    }
}

/// The flags so that each comes after those that it needs; else in their order.
pub(super) fn in_order(spec: &MigrationScheduleSpec) -> Vec<&Flag> {
    let needed = needed(&spec.flags).unwrap_or_default();
    let mut all: Vec<(usize, &Flag)> = spec.flags.iter().enumerate().collect();
    // Whatever a flag needs needs less than the flag itself.
    all.sort_by_key(|(i, _)| needed.get(*i).map_or(0, BTreeSet::len));
    all.into_iter().map(|(_, flag)| flag).collect()
}

fn place(flags: &[Flag], name: &str) -> Option<usize> {
    flags.iter().position(|f| f.name == name)
}

/// All that each flag needs, directly or not; an error names a circle.
fn needed(flags: &[Flag]) -> Result<Vec<BTreeSet<usize>>, Vec<usize>> {
    let direct = flags.iter().map(|f| f.requires.iter().filter_map(|name| place(flags, name)).collect());
    closure(&direct.collect::<Vec<Vec<usize>>>(), &vec![None; flags.len()])
}
