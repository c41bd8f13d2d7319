//! What is wrong in checks by themselves.

use super::problems::Problems;
use crate::analysis::Judge;
use crate::api::{
    Baseline, BurnRate, Check, CheckKind, Comparison, Decimal, Direction, Duration, Limit, MigrationScheduleSpec,
    PhaseKind, Statistical, Values,
};

use super::problems::{Asked, check_query};
use super::steps;

/// The shortest and the longest block, of which an hour is made whole.
const BLOCKS: std::ops::RangeInclusive<i64> = 60..=3_600;

/// The seconds of an hour and of a day.
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// The most checks of an environment that judge by blocks: what is kept of them must fit into a ConfigMap.
const MOST_BY_BLOCKS: usize = 20;

/// The most blocks that are kept of an environment: some 10 bytes each, compressed, of the mebibyte that a ConfigMap holds.
const MOST_BLOCKS: i64 = 50_000;

/// The interval that a check has where nothing is said.
const USUAL: Duration = Duration::seconds(30);

impl Problems {
    pub(super) fn check_checks(&mut self, path: &str, checks: &[Check], spec: &MigrationScheduleSpec) {
        self.unique(path, checks.iter().map(|c| c.name.as_str()));
        for (i, check) in checks.iter().enumerate() {
            let path = format!("{path}[{i}]");
            if !(1..=60).contains(&check.interval.as_seconds()) {
                let message = format!("an interval of {} is not between 1s and 1m", check.interval);
                self.add(format!("{path}.interval"), message, "safety checks run at least once a minute");
            }
            let kind = check.queries().kind;
            let at = format!("{path}.{kind}");
            match check.kind() {
                None => {
                    let message = "exactly one of threshold, baseline, comparison, statistical and burnRate is needed";
                    self.add(path, message.to_owned(), "");
                    continue;
                }
                Some(CheckKind::Threshold(t)) => self.check_threshold(&at, t),
                Some(CheckKind::Baseline(b)) => self.check_baseline(&at, b),
                Some(CheckKind::Comparison(c)) => self.check_comparison(&at, c),
                Some(CheckKind::Statistical(s)) => self.check_statistical(&at, s),
                Some(CheckKind::BurnRate(b)) => self.check_burn_rate(&at, b),
            }
            self.check_blocks(&path, check);
            self.check_queries(&at, check, spec);
        }
    }

    fn check_queries(&mut self, at: &str, check: &Check, spec: &MigrationScheduleSpec) {
        let counts = match check.kind() {
            Some(CheckKind::Threshold(t)) => t.confidence.is_some().then_some("confidence weighs counts"),
            Some(CheckKind::Statistical(_)) => Some("this check counts events"),
            Some(CheckKind::BurnRate(_)) => Some("an error budget is made of counts"),
            Some(
                CheckKind::Baseline(Baseline { values: Values::Count, .. })
                | CheckKind::Comparison(Comparison { values: Values::Count, .. }),
            ) => Some("its values are counts"),
            _ => None,
        };
        let asked = Asked { window: check.window(), counts, block: check.block().is_some() };
        for (field, query) in check.queries().all() {
            if let Err((message, hint)) = check_query(query, asked, spec) {
                self.add(format!("{at}.{field}"), message, hint);
            }
        }
    }

    fn check_blocks(&mut self, path: &str, check: &Check) {
        let Some(block) = check.block() else { return };
        let kind = check.queries().kind;
        if !BLOCKS.contains(&block.as_seconds()) || HOUR % block.as_seconds() != 0 {
            let message = format!("an hour is not made of whole blocks of {block}, from 1m to 1h");
            self.add(format!("{path}.{kind}.block"), message, "such as 5m, or 15m for counts");
        }
        if check.interval != USUAL {
            let message = "this check is asked once for each block, so it has no interval of its own".to_owned();
            self.add(format!("{path}.interval"), message, "leave it out");
        }
    }

    fn check_baseline(&mut self, path: &str, b: &Baseline) {
        self.check_limit(path, &b.limit, b.direction, b.values);
        self.check_past(&format!("{path}.window"), b.window, b.block);
        let days = b.history.as_seconds();
        if days % DAY != 0 || days > 7 * DAY {
            let message = format!("{} is not a number of whole days, seven at most", b.history);
            self.add(format!("{path}.history"), message, "such as 7d");
        }
        let narrow = b.limit.relative.as_ref().is_none_or(|r| r.value() < 0.25);
        if days < 2 * DAY && b.drift.is_none() && narrow {
            let message = "with less than two earlier days nobody knows how the level drifts, and the limit is too narrow to go without";
            self.add(format!("{path}.drift"), message.to_owned(), "such as 3%, or give it a history of days");
        }
        if b.drift.is_some() && b.limit.relative.is_none() {
            let message = "is a part of the level, and values with an absolute limit alone are compared as they are";
            self.add(format!("{path}.drift"), message.to_owned(), "add limit.relative, or leave drift out");
        }
    }

    fn check_comparison(&mut self, path: &str, c: &Comparison) {
        self.check_limit(path, &c.limit, c.direction, c.values);
        self.check_past(&format!("{path}.window"), c.window, c.block);
        if c.query == c.reference.query {
            let message = "a series that is compared with itself shows nothing".to_owned();
            self.add(format!("{path}.reference.query"), message, "ask for those whom the flag does not reach");
        }
    }

    fn check_statistical(&mut self, path: &str, s: &Statistical) {
        self.check_limit(path, &s.limit, s.direction, Values::Level);
        self.check_past(&format!("{path}.window"), s.window, s.block);
    }

    fn check_burn_rate(&mut self, path: &str, b: &BurnRate) {
        let within = |d: &Decimal, least: f64| (least..1.0).contains(&d.value());
        if !within(&b.objective, 0.5) {
            let message = format!("an objective of {} is not at least 0.5 and less than 1", b.objective);
            self.add(format!("{path}.objective"), message, "\"0.999\" allows one error in a thousand");
        }
        if b.confidence.as_ref().is_some_and(|c| !within(c, 0.5)) {
            let message = "confidence must be at least 0.5 and less than 1".to_owned();
            self.add(format!("{path}.confidence"), message, "such as \"0.99\"");
        }
        if b.budget.as_ref().is_some_and(|budget| budget.period.as_seconds() < DAY) {
            let message = "the period of an error budget is a day or more".to_owned();
            self.add(format!("{path}.budget.period"), message, "such as 30d");
        }
        let block = b.block.as_seconds().max(1);
        for (i, window) in b.windows.iter().enumerate() {
            let path = format!("{path}.windows[{i}]");
            for (field, length) in [("long", window.long), ("short", window.short)] {
                if length.as_seconds() < block || length.as_seconds() % block != 0 {
                    let message = format!("{length} is not made of whole blocks of {}", b.block);
                    self.add(format!("{path}.{field}"), message, "shorten the block, or lengthen the window");
                }
            }
            if window.short >= window.long {
                let message = format!("{} is not shorter than {}", window.short, window.long);
                self.add(format!("{path}.short"), message, "such as 5m beside 1h");
            }
            if window.factor.value() <= 0.0 {
                let message = "a factor is above 0".to_owned();
                self.add(format!("{path}.factor"), message, "14.4 uses a month's budget up in two days");
            }
        }
    }

    fn check_limit(&mut self, path: &str, limit: &Limit, direction: Direction, values: Values) {
        let path = format!("{path}.limit");
        if limit.relative.is_none() && limit.absolute.is_none() {
            self.add(path.clone(), "at least one of relative and absolute is needed".to_owned(), "relative: 10%");
        }
        let falls = direction != Direction::Increase;
        if falls && limit.relative.as_ref().is_some_and(|r| r.value() >= 1.0) {
            let message = "nothing can fall by 100 % or more, so this would never be found".to_owned();
            self.add(format!("{path}.relative"), message, "such as 20%");
        }
        if limit.absolute.as_ref().is_some_and(|a| a.value() <= 0.0) {
            self.add(format!("{path}.absolute"), "is above 0".to_owned(), "in the unit of the values");
        }
        if values == Values::Count && limit.relative.is_none() {
            let message = "counts are compared by their logarithms, so they need a relative limit".to_owned();
            self.add(path, message, "relative: 20%");
        }
    }

    fn check_past(&mut self, path: &str, window: Duration, block: Duration) {
        let blocks = window.as_seconds() / block.as_seconds().max(1);
        if blocks < 6 || window.as_seconds() > 7 * DAY {
            let message = format!("{window} is not at least six blocks of {block}, and at most seven days");
            self.add(path.to_owned(), message, "such as 2h, or 24h for counts");
        }
    }

    /// What is wrong with the statistical checks of each phase together: how many there are, and whether they reach over its
    /// soaks.
    pub(super) fn check_evidence(&mut self, spec: &MigrationScheduleSpec) {
        if spec.false_rollback_budget.as_ref().is_some_and(|budget| budget.value() > 0.5) {
            let message = "more than half of the harmless flips would go back".to_owned();
            self.add("spec.falseRollbackBudget".to_owned(), message, "such as 5%");
        }
        for (i, phase) in spec.phases.iter().enumerate().filter(|(_, p)| p.kind == PhaseKind::Flip) {
            let replaced = |c: &&Check| !phase.checks.iter().any(|own| own.name == c.name);
            let checks: Vec<&Check> = spec.checks.iter().filter(replaced).chain(&phase.checks).collect();
            let by_blocks = checks.iter().filter(|c| c.block().is_some()).count();
            let path = format!("spec.phases[{i}]");
            if by_blocks > MOST_BY_BLOCKS {
                let message = format!("{by_blocks} of its checks judge by blocks, more than {MOST_BY_BLOCKS}");
                self.add(
                    path.clone(),
                    message,
                    "few good checks are better than many: each takes a part of the budget",
                );
            }
            let kept = |c: &&Check| {
                let history = Judge::of(c, 0.01)?.history();
                Some(history.as_seconds() / c.step().as_seconds())
            };
            let kept: i64 = checks.iter().filter_map(kept).sum();
            if kept > MOST_BLOCKS {
                let message = format!(
                    "its checks look back on {kept} blocks in all, more than {MOST_BLOCKS}, which is what can be kept"
                );
                self.add(path.clone(), message, "lengthen their blocks, or shorten their history");
            }
            // Each step is held against the time before the first, of which a baseline knows what comes within a day.
            let steps = steps::of(spec, phase);
            let before: i64 = steps.iter().rev().skip(1).map(|s| s.soak.duration.as_seconds()).sum();
            let late = checks.iter().find(|c| c.baseline.is_some()).filter(|_| before >= DAY);
            if let Some(check) = late {
                let message = format!(
                    "the last of its steps comes more than a day after the first, and check {} can judge no longer",
                    check.name
                );
                self.add(format!("{path}.steps"), message, "compare with the users whom the flag does not reach yet");
            }
        }
    }
}
