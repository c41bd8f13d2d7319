//! The nearest bound that would not have fired.

use super::known::Known;
use super::{Backtest, Past, Replayed};
use crate::analysis::backtest::Flip;
use crate::api::{Check, Decimal, Threshold, Time};

/// The orders of magnitude that are looked through.
const DECADES: i32 = 12;

impl Backtest {
    /// The smallest `max`, or the largest `min`, of two significant digits with which no flip would have led to a breach, as it
    /// is written in a check; nothing where none did, or one bound alone does not do.
    pub fn suggest(&self, past: &Past, check: &Check, flips: &[Flip]) -> Option<String> {
        let fired: Vec<Time> =
            flips.iter().filter(|f| matches!(f.replayed, Replayed::Breached { .. })).map(|f| f.at).collect();
        let threshold = check.threshold.as_ref().filter(|_| !fired.is_empty())?;
        let known = Known::new(self, check, past);
        let max = threshold.max.as_ref().map(|max| ("max", candidates(max.value(), true)));
        let min = threshold.min.as_ref().map(|min| ("min", candidates(min.value(), false)));
        [max, min].into_iter().flatten().find_map(|(name, candidates)| {
            let fits = |bound: &String| {
                let Some(check) = with_bound(check, name, bound) else { return false };
                fired.iter().all(|at| {
                    let flip = self.flip(&check, &known, *at, None);
                    !matches!(flip.replayed, Replayed::Breached { .. })
                })
            };
            // A wider bound never fires where a narrower one does not.
            let place = candidates.partition_point(|bound| !fits(bound));
            candidates.get(place).map(|bound| format!("{name}: \"{bound}\""))
        })
    }
}

fn with_bound(check: &Check, name: &str, bound: &str) -> Option<Check> {
    let bound = Decimal::parse(bound).ok()?;
    let threshold = check.threshold.clone()?;
    let threshold = match name {
        "max" => Threshold { max: Some(bound), ..threshold },
        _ => Threshold { min: Some(bound), ..threshold },
    };
    Some(Check { threshold: Some(threshold), ..check.clone() })
}

/// Numbers of two significant digits beyond a bound, the nearest first; none for a bound that is not above zero.
fn candidates(bound: f64, upward: bool) -> Vec<String> {
    if bound <= 0.0 {
        return Vec::new();
    }
    let magnitude = bound.log10().floor() as i32 - 1;
    let decades = if upward { magnitude..magnitude + DECADES } else { magnitude - DECADES..magnitude + 1 };
    let all = decades.flat_map(|decade| (10..100).map(move |digits| (digits, decade)));
    let beyond = all.map(|(digits, decade)| written(digits, decade)).filter(|text| {
        let value: f64 = text.parse().unwrap_or(bound);
        if upward { value > bound } else { value < bound }
    });
    let mut beyond: Vec<String> = beyond.collect();
    if !upward {
        beyond.reverse();
        beyond.push("0".to_owned());
    }
    beyond
}

/// `digits` times ten to the power of `decade`, without an exponent.
fn written(digits: i32, decade: i32) -> String {
    match usize::try_from(-decade) {
        Ok(decimals) if decimals > 0 => {
            let text = format!("{digits:0>width$}", width = decimals + 1);
            let (whole, part) = text.split_at(text.len() - decimals);
            format!("{whole}.{}", part.trim_end_matches('0')).trim_end_matches('.').to_owned()
        }
        _ => format!("{digits}{}", "0".repeat(usize::try_from(decade).unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_have_two_digits_and_lie_beyond() {
        let up = candidates(0.05, true);
        assert_eq!(up.get(..3).expect("three"), ["0.051", "0.052", "0.053"]);
        assert!(up.contains(&"0.1".to_owned()) && up.contains(&"120".to_owned()), "{up:?}");
        let down = candidates(150.0, false);
        assert_eq!(down.get(..3).expect("three"), ["140", "130", "120"]);
        assert_eq!(down.last().map(String::as_str), Some("0"));
        assert!(candidates(0.0, true).is_empty());
        let ordered: Vec<f64> = up.iter().map(|t| t.parse().expect("a number")).collect();
        assert!(ordered.is_sorted(), "{up:?}");
    }
}
