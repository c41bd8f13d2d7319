//! The picture of a check: its series, its bounds, and a mark where a flip would have led to a breach.

use std::fmt::Write as _;

use super::super::page::Plain;
use super::report::Report;
use super::table::minute;
use crate::analysis::backtest::{Line, Lines};
use crate::analysis::number;
use crate::api::Time;

/// For which screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Wide ones.
    Wide,
    /// A phone's.
    Narrow,
}

/// A flip, the moment of its breach, and what would have been told.
pub(super) type Mark<'a> = (Time, Time, &'a str);

/// Above and below the series.
const TOP: f64 = 16.0;
const BOTTOM: f64 = 24.0;

/// The most steps between two ticks of time, in hours.
const STEPS: [i64; 9] = [1, 3, 6, 12, 24, 48, 168, 336, 672];

struct Picture<'a> {
    report: &'a Report,
    width: f64,
    height: f64,
    ticks: i64,
    from: Time,
    to: Time,
    low: f64,
    high: f64,
}

/// How a series is coloured.
pub(super) const fn class(index: usize) -> &'static str {
    if index == 0 { "series" } else { "second" }
}

pub(super) fn draw(
    html: &mut String,
    report: &Report,
    name: &str,
    lines: &Lines,
    marks: &[Mark<'_>],
    shape: Shape,
    id: &str,
) {
    let (width, height, ticks) = match shape {
        Shape::Wide => (1_120.0, 260.0, 11),
        Shape::Narrow => (360.0, 220.0, 4),
    };
    let (from, to) = report.backtest.span();
    let (low, high) = range(lines);
    let picture = Picture { report, width, height, ticks, from, to, low, high };
    // Writing into a String does not fail.
    let _ = writeln!(
        html,
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-title\" font-size=\"13\">\n\
         <title id=\"{id}-title\">{} from {} to {}, with its bounds and {} breaches</title>",
        Plain(name),
        minute(report, from),
        minute(report, to),
        marks.len()
    );
    picture.time(html);
    for (index, line) in lines.measured.iter().enumerate() {
        picture.series(html, line, class(index));
    }
    for line in &lines.bounds {
        picture.bound(html, line);
    }
    let _ = writeln!(html, "<text class=\"dim\" x=\"2\" y=\"12\">{}</text>", number(high));
    let _ = writeln!(html, "<text class=\"dim\" x=\"2\" y=\"{:.1}\">{}</text>", height - BOTTOM - 3.0, number(low));
    for mark in marks {
        picture.mark(html, mark, lines.measured.first());
    }
    html.push_str("</svg>\n");
}

/// The lowest and the highest value that is shown: zero and a little more than everything, or than the bounds where a few
/// measurements tower above all.
fn range(lines: &Lines) -> (f64, f64) {
    let of =
        |lines: &[Line]| -> Vec<f64> { lines.iter().flat_map(|l| l.points.iter().filter_map(|(_, v)| *v)).collect() };
    let mut values = of(&lines.measured);
    values.extend(of(&lines.bounds));
    values.retain(|v| v.is_finite());
    let high = values.iter().copied().fold(f64::MIN, f64::max);
    let low = values.iter().copied().fold(f64::MAX, f64::min);
    if values.is_empty() {
        return (0.0, 1.0);
    }
    // A level far above zero is shown around itself, everything else from zero on.
    let low = if low > 0.0 && low < high / 2.0 { 0.0 } else { low };
    let margin = ((high - low) * 0.05).max(high.abs() * 0.01).max(f64::MIN_POSITIVE);
    (if low == 0.0 { 0.0 } else { low - margin }, high + margin)
}

impl Picture<'_> {
    fn x(&self, at: Time) -> f64 {
        let share = (at - self.from).num_seconds() as f64 / (self.to - self.from).num_seconds().max(1) as f64;
        share.clamp(0.0, 1.0) * self.width
    }

    fn y(&self, value: f64) -> f64 {
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        let inner = self.height - TOP - BOTTOM;
        TOP + (1.0 - share) * inner
    }

    fn time(&self, html: &mut String) {
        let hours = (self.to - self.from).num_hours();
        let step = STEPS.into_iter().find(|step| hours / step <= self.ticks).unwrap_or(1_344);
        for tick in 1..=hours / step {
            let at = self.from + chrono::TimeDelta::hours(step * tick);
            let x = self.x(at);
            let local = self.report.watched.zone.local(at);
            let bottom = self.height - BOTTOM;
            let _ = writeln!(html, "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>");
            if x + 56.0 < self.width {
                let form = if step < 24 { "%a %H:%M" } else { "%-d %b" };
                let y = self.height - 7.0;
                let _ = writeln!(html, "<text class=\"dim\" x=\"{x:.1}\" y=\"{y}\">{}</text>", local.format(form));
            }
        }
    }

    /// The lowest and the highest value in each column of the picture, as an area; apart where nothing is known between.
    fn series(&self, html: &mut String, line: &Line, class: &str) {
        let columns = self.width as usize;
        let mut seen: Vec<Option<(f64, f64)>> = vec![None; columns + 1];
        for (at, value) in &line.points {
            let (Some(value), Some(slot)) = (value, seen.get_mut(self.x(*at) as usize)) else { continue };
            *slot = Some(slot.map_or((*value, *value), |(low, high)| (low.min(*value), high.max(*value))));
        }
        // Sparse series have empty columns between their points; a hole is wider.
        let hole = columns / line.points.len().max(1) * 2 + 2;
        let mut stretch: Vec<(usize, f64, f64)> = Vec::new();
        for (x, slot) in seen.iter().enumerate() {
            let Some((low, high)) = slot else { continue };
            if stretch.last().is_some_and(|(last, ..)| x - last > hole) {
                self.area(html, &std::mem::take(&mut stretch), class);
            }
            stretch.push((x, *low, *high));
        }
        self.area(html, &stretch, class);
    }

    fn area(&self, html: &mut String, stretch: &[(usize, f64, f64)], class: &str) {
        if stretch.is_empty() {
            return;
        }
        let upper = stretch.iter().map(|(x, _, high)| format!("{x},{:.1}", self.y(*high)));
        let lower = stretch.iter().rev().map(|(x, low, _)| format!("{x},{:.1}", self.y(*low)));
        let points: Vec<String> = upper.chain(lower).collect();
        let _ = writeln!(html, "<polygon class=\"{class}\" points=\"{}\"/>", points.join(" "));
    }

    /// A bound, of which one value for each column is enough.
    fn bound(&self, html: &mut String, line: &Line) {
        let mut points: Vec<String> = Vec::new();
        let mut last = None;
        for (at, value) in &line.points {
            let x = self.x(*at);
            match value {
                Some(_) if last == Some(x as i64) => {}
                Some(value) => {
                    last = Some(x as i64);
                    points.push(format!("{x:.1},{:.1}", self.y(*value)));
                }
                None => Self::polyline(html, &std::mem::take(&mut points)),
            }
        }
        Self::polyline(html, &points);
    }

    fn polyline(html: &mut String, points: &[String]) {
        if points.len() > 1 {
            let _ = writeln!(html, "<polyline class=\"bound\" points=\"{}\"/>", points.join(" "));
        }
    }

    fn mark(&self, html: &mut String, (flip, breached, sentence): &Mark<'_>, line: Option<&Line>) {
        let nearest = line.and_then(|line| {
            let place = line.points.partition_point(|(at, _)| at < breached);
            line.points.get(place).and_then(|(_, value)| *value)
        });
        let _ = writeln!(
            html,
            "<circle class=\"mark back\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"6\"><title>raised {}, breached {}: {}</title></circle>",
            self.x(*breached),
            nearest.map_or(TOP, |value| self.y(value)),
            minute(self.report, *flip),
            minute(self.report, *breached),
            Plain(sentence)
        );
    }
}
