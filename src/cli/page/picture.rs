//! The picture: a line of time for each environment.

use std::fmt::Write as _;

use chrono::{Datelike, TimeDelta, Weekday};

use super::{Kind, Plain, Section};
use crate::api::{Moment, Time};
use crate::engine::calendar::{Dated, Zone};

/// For which screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Names beside their lines.
    Wide,
    /// Names above their lines.
    Narrow,
}

/// Where things are, in the picture's own units.
struct Measures {
    width: f64,
    left: f64,
    row: f64,
    /// From the top of a row to its bar.
    bar: f64,
    thick: f64,
    font: u8,
    ticks: i64,
}

impl Shape {
    const fn measures(self) -> Measures {
        match self {
            Self::Wide => {
                Measures { width: 1_120.0, left: 190.0, row: 40.0, bar: 9.0, thick: 22.0, font: 14, ticks: 11 }
            }
            Self::Narrow => Measures { width: 360.0, left: 2.0, row: 50.0, bar: 22.0, thick: 20.0, font: 14, ticks: 4 },
        }
    }
}

const TOP: f64 = 30.0;

/// Steps between two ticks, in hours.
const STEPS: [i64; 12] = [1, 3, 6, 12, 24, 48, 96, 168, 336, 672, 1_344, 2_688];

struct Picture {
    m: Measures,
    from: Time,
    to: Time,
    zone: Zone,
}

pub(super) fn draw(html: &mut String, section: &Section, shape: Shape, id: &str) {
    let bars = || section.rows.iter().flat_map(|r| &r.bars).filter(|b| b.kind != Kind::Frozen);
    let (Some(first), Some(last)) = (bars().map(|b| b.from).min(), bars().map(|b| b.to).max()) else { return };
    let margin = TimeDelta::seconds(((last - first).num_seconds() / 40).max(900));
    let picture = Picture { m: shape.measures(), from: first - margin, to: last + margin, zone: section.zone };
    let height = TOP + picture.m.row * section.rows.len() as f64 + 6.0;
    let _ = writeln!(
        html,
        "<svg viewBox=\"0 0 {} {height}\" role=\"img\" aria-labelledby=\"{id}-title\" font-size=\"{}\">\n\
         <title id=\"{id}-title\">Timeline of {}; the table below says the same in words</title>",
        picture.m.width,
        picture.m.font,
        Plain(&section.title)
    );
    picture.ticks(html, height);
    for (index, row) in section.rows.iter().enumerate() {
        picture.row(html, row, TOP + picture.m.row * index as f64, shape);
    }
    html.push_str("</svg>\n");
}

impl Picture {
    /// Where a moment is, from left to right.
    fn x(&self, at: Time) -> f64 {
        let share = (at - self.from).num_seconds() as f64 / (self.to - self.from).num_seconds().max(1) as f64;
        self.m.left + share.clamp(0.0, 1.0) * (self.m.width - self.m.left - 2.0)
    }

    /// The beginning of a day that lies so many days after the one in which the picture begins.
    fn day(&self, days: i64) -> Option<Time> {
        let day = self.zone.local(self.from).date().checked_add_signed(TimeDelta::days(days))?;
        Some(Dated::start(Moment::Day(day), self.zone).at)
    }

    fn ticks(&self, html: &mut String, height: f64) {
        let hours = (self.to - self.from).num_hours();
        let step = STEPS.into_iter().find(|step| hours / step <= self.m.ticks).unwrap_or(2_688);
        for day in 0..=hours / 24 + 1 {
            let (Some(begins), Some(ends)) = (self.day(day), self.day(day + 1)) else { continue };
            let weekend = matches!(self.zone.local(begins).weekday(), Weekday::Sat | Weekday::Sun);
            if weekend && hours > 48 && hours < 24 * 120 && begins < self.to && ends > self.from {
                let (x, width) = (self.x(begins), self.x(ends) - self.x(begins));
                let _ = writeln!(
                    html,
                    "<rect class=\"band\" x=\"{x:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{:.1}\"/>",
                    height - TOP
                );
            }
        }
        let mut tick = 0;
        while let Some(at) = self.day(0).map(|day| self.tick(day, step, tick)).filter(|at| *at < self.to) {
            tick += 1;
            if at > self.from {
                self.write_tick(html, at, step, height);
            }
        }
    }

    /// A tick: on a full day as the zone's clocks have it, or so many hours after the beginning of the first.
    fn tick(&self, day: Time, step: i64, number: i64) -> Time {
        if step < 24 { day + TimeDelta::hours(step * number) } else { self.day(step / 24 * number).unwrap_or(self.to) }
    }

    fn write_tick(&self, html: &mut String, at: Time, step: i64, height: f64) {
        let x = self.x(at);
        let local = self.zone.local(at);
        let form = if step < 24 { "%a %H:%M" } else { "%-d %b" };
        let _ = writeln!(html, "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{height}\"/>");
        // What would stand beyond the edge is left out; its line is there.
        if x + 60.0 < self.m.width {
            let _ = writeln!(
                html,
                "<text class=\"dim\" x=\"{:.1}\" y=\"20\" font-size=\"{}\">{}</text>",
                x + 3.0,
                self.m.font - 1,
                local.format(form)
            );
        }
    }

    fn row(&self, html: &mut String, row: &super::Row, y: f64, shape: Shape) {
        let (label, phase) = (Plain(&row.label), Plain(&row.phase));
        let _ = match shape {
            Shape::Wide => writeln!(
                html,
                "<text x=\"0\" y=\"{:.1}\" font-weight=\"600\">{label}</text>\n\
                 <text class=\"dim\" x=\"0\" y=\"{:.1}\" font-size=\"12\">{phase}</text>",
                y + 17.0,
                y + 32.0
            ),
            Shape::Narrow => writeln!(
                html,
                "<text x=\"{}\" y=\"{:.1}\"><tspan font-weight=\"600\">{label}</tspan> <tspan class=\"dim\" font-size=\"12\">{phase}</tspan></text>",
                self.m.left,
                y + 16.0
            ),
        };
        for bar in &row.bars {
            if bar.to < self.from || bar.from > self.to {
                continue;
            }
            let (x, end) = (self.x(bar.from), self.x(bar.to));
            // A freeze lies behind its line, and is seen around it.
            let (top, thick, least) = match bar.kind {
                Kind::Frozen => (y, self.m.row, 0.0),
                _ => (y + self.m.bar, self.m.thick, 3.0),
            };
            let _ = writeln!(
                html,
                "<rect class=\"{}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{thick}\" rx=\"3\"><title>{}: {} to {}</title></rect>",
                bar.kind.class(),
                (end - x).max(least),
                bar.kind.words(),
                self.read(bar.from),
                self.read(bar.to)
            );
        }
        // Marks lie over everything: when the flag goes up, and when it went back.
        for (kind, before) in [(Kind::Soaks, Kind::Moves), (Kind::Back, Kind::Moves)] {
            for pair in row.bars.windows(2) {
                if let [a, b] = pair
                    && (a.kind, b.kind) == (before, kind)
                {
                    let _ = writeln!(
                        html,
                        "<circle class=\"mark {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"6\"/>",
                        if kind == Kind::Back { "back" } else { "moves" },
                        self.x(b.from),
                        y + self.m.bar + self.m.thick / 2.0
                    );
                }
            }
        }
    }

    fn read(&self, at: Time) -> String {
        self.zone.local(at).format("%a %Y-%m-%d %H:%M").to_string()
    }
}
