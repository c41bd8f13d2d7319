//! What is known before a flip: the blocks that a judge learns from, gathered while gates are looked at.

use chrono::TimeDelta;

use super::Answers;
use super::block_fold::seen;
use super::block_judge::{Judge, Seen};
use super::captured::Captured;
use super::ledger::{CheckLedger, MOST_AT_ONCE, on_grid};
use super::statistics::Blocks;
use crate::api::{Check, Duration, PrometheusSource, Time};

/// The most stretches that are asked for in one pass: eight days of one minute.
const MOST_STRETCHES: usize = 12;

/// The blocks of one check before a flip, up to now.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryLedger {
    check: Check,
    prometheus: PrometheusSource,
    judge: Judge,
    blocks: Blocks<Seen>,
    /// Why the last question was not answered.
    failed: Option<String>,
    /// How many blocks are left out because the flag was up.
    raised: usize,
    /// How many moments are asked for at once.
    at_once: usize,
    max_age: Duration,
    /// After how long what can be told is said: the soak.
    after: Duration,
    /// What can be told, and whether it is less than is asked; or why nothing can.
    known: Result<(Option<String>, bool), String>,
}

impl HistoryLedger {
    /// An empty one, of a check whose judge wants some; nothing for the others.
    pub fn new(check: &Check, alpha: f64, prometheus: &PrometheusSource, after: Duration, now: Time) -> Option<Self> {
        let judge = Judge::of(check, alpha)?;
        let block = judge.block();
        let start = on_grid(check, block.delta(), now) - judge.history().delta();
        Some(Self {
            check: check.clone(),
            prometheus: prometheus.clone(),
            judge,
            blocks: Blocks { start, block, values: Vec::new() },
            failed: None,
            raised: 0,
            at_once: MOST_AT_ONCE,
            max_age: CheckLedger::max_age(prometheus.scrape_interval),
            after,
            known: Err("it is not asked yet".to_owned()),
        })
    }

    /// Whether it is about this check, asked there and judged so.
    pub fn is_about(&self, check: &Check, alpha: f64, prometheus: &PrometheusSource, after: Duration) -> bool {
        let same = self.check == *check && self.prometheus == *prometheus && self.after == after;
        same && Judge::of(check, alpha).as_ref() == Some(&self.judge)
    }

    /// The check.
    pub fn check(&self) -> &Check {
        &self.check
    }

    /// The moment at which the next block ends.
    pub fn next(&self) -> Time {
        self.blocks.next()
    }

    /// The stretches of moments that are due, oldest first: where each begins, and how many it has.
    pub fn due(&self, now: Time) -> Vec<(Time, usize)> {
        // Not before the block has ended, be it by less than a second.
        let behind = Some(now - self.next()).filter(|behind| *behind >= TimeDelta::zero());
        let all = behind.map_or(0, |behind| behind.num_seconds() / self.blocks.block.as_seconds().max(1) + 1);
        let all = usize::try_from(all).unwrap_or(0);
        let known = self.blocks.values.len();
        let stretch = |first: usize| (self.blocks.end_of(known + first), self.at_once.min(all - first));
        (0..all).step_by(self.at_once).take(MOST_STRETCHES).map(stretch).collect()
    }

    /// Takes in the answers for the next moment; others are left out.
    pub fn absorb(&mut self, answers: &Answers) {
        if answers.at != self.next() {
            return;
        }
        let block = seen(&self.check, answers, self.max_age);
        self.failed = block.as_ref().err().map(|judged| judged.sentence.clone());
        self.blocks.values.push(block.ok());
        self.at_once = (self.at_once * 2).min(MOST_AT_ONCE);
    }

    /// Notes that the question could not be put; the moments stay due, fewer at once.
    pub fn fail(&mut self, sentence: &str) {
        self.at_once = (self.at_once / 2).max(1);
        self.failed = Some(sentence.to_owned());
    }

    /// Learns from what came, and forgets what is older than its judge looks back, and what was seen while the flag was up.
    pub fn conclude(&mut self, up: &[(Time, Time)]) {
        let block = self.blocks.block.as_seconds().max(1);
        let wanted = usize::try_from(self.judge.history().as_seconds() / block).unwrap_or(0);
        let surplus = self.blocks.values.len().saturating_sub(wanted);
        self.blocks.values.drain(..surplus);
        self.blocks.start += TimeDelta::seconds(block.saturating_mul(i64::try_from(surplus).unwrap_or(0)));
        let (start, length) = (self.blocks.start, TimeDelta::seconds(block));
        self.raised = 0;
        let mut from = start;
        for value in &mut self.blocks.values {
            if up.iter().any(|(since, until)| from < *until && from + length > *since) {
                self.raised += 1;
                *value = None;
            }
            from += length;
        }
        self.known = self
            .judge
            .learn(&self.blocks.values, 1)
            .map(|learnt| (self.judge.resolves(&learnt, self.after), self.judge.is_blind(&learnt, self.after)));
    }

    /// What keeps a flip from being judged by this check, in a sentence; nothing where it can be.
    pub fn missing(&self, now: Time) -> Option<String> {
        let name = &self.check.name;
        if self.next() <= now {
            let why = self.failed.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            return Some(format!("check {name}: the time before the flip is being read{why}"));
        }
        let last = self.failed.as_ref().map(|why| format!("of the newest block, {why}"));
        match (&self.known, last) {
            (Err(why), last) => {
                let last = last.map(|last| format!("; {last}")).unwrap_or_default();
                let raised = if self.raised == 0 { "" } else { "; time in which the flag was up is left out" };
                Some(format!("check {name}: nothing to compare with: {why}{raised}{last}"))
            }
            (Ok(_), last) => Some(format!("check {name}: {}", last?)),
        }
    }

    /// What can be told after the soak, for people to read; and whether that is less than the check asks for.
    pub fn preview(&self) -> Option<(&str, bool)> {
        let (told, blind) = self.known.as_ref().ok()?;
        Some((told.as_deref()?, *blind))
    }

    /// What is kept at the flip.
    pub fn captured(&self) -> Captured {
        Captured::new(&self.check, self.blocks.clone())
    }
}
