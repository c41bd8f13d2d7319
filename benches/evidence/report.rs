//! Figures beside their gates, for people and for machines.

use serde_json::{Value, json};

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    gate: &'static str,
    what: String,
    figure: Option<f64>,
    unit: &'static str,
    bound: Option<Bound>,
    /// What the figure is made of.
    detail: String,
}

impl Row {
    pub fn new(gate: &'static str, what: impl Into<String>, figure: f64, unit: &'static str) -> Row {
        Row { gate, what: what.into(), figure: Some(figure), unit, bound: None, detail: String::new() }
    }

    /// Words instead of a figure.
    pub fn told(gate: &'static str, what: impl Into<String>) -> Row {
        Row { gate, what: what.into(), figure: None, unit: "", bound: None, detail: String::new() }
    }

    pub fn at_most(self, bound: f64) -> Row {
        Row { bound: Some(Bound::AtMost(bound)), ..self }
    }

    pub fn at_least(self, bound: f64) -> Row {
        Row { bound: Some(Bound::AtLeast(bound)), ..self }
    }

    pub fn detail(self, detail: impl Into<String>) -> Row {
        Row { detail: detail.into(), ..self }
    }

    /// Whether the figure is what it must be; a figure that is not a number never is.
    pub fn met(&self) -> Option<bool> {
        let figure = self.figure.unwrap_or(f64::NAN);
        self.bound.map(|bound| match bound {
            Bound::AtMost(most) => figure <= most,
            Bound::AtLeast(least) => figure >= least,
        })
    }

    fn gate_text(&self) -> String {
        match self.bound {
            None => String::new(),
            Some(Bound::AtMost(most)) => format!("<= {}", number(most)),
            Some(Bound::AtLeast(least)) => format!(">= {}", number(least)),
        }
    }

    fn json(&self) -> Value {
        json!({
            "gate": self.gate, "what": self.what, "figure": self.figure, "unit": self.unit, "must": self.gate_text(),
            "ok": self.met(), "detail": self.detail,
        })
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Prints the figures: one table, or one JSON object.
pub fn print(rows: &[Row], seed: u64, as_json: bool) {
    if as_json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        println!("{}", json!({ "version": env!("CARGO_PKG_VERSION"), "seed": seed, "rows": rows }));
        return;
    }
    println!("seed {seed}");
    let width = rows.iter().map(|r| r.what.chars().count()).max().unwrap_or(0);
    for row in rows {
        let figure = row.figure.map_or_else(String::new, |f| format!("{f:.2} {}", row.unit));
        let ok = match row.met() {
            Some(true) => "ok",
            Some(false) => "NOT",
            None => "",
        };
        println!("{:<4} {:<width$}  {figure:>14} {:>8} {ok:<4} {}", row.gate, row.what, row.gate_text(), row.detail);
    }
}
