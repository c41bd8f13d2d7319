//! Figures beside their targets, for people and for machines.

use serde_json::{Value, json};

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    pub scenario: &'static str,
    pub what: String,
    pub figure: f64,
    pub unit: &'static str,
    /// The figure must not be above this.
    pub at_most: Option<f64>,
}

impl Row {
    pub fn new(scenario: &'static str, what: impl Into<String>, figure: f64, unit: &'static str) -> Row {
        Row { scenario, what: what.into(), figure, unit, at_most: None }
    }

    pub fn at_most(self, bound: f64) -> Row {
        Row { at_most: Some(bound), ..self }
    }

    fn met(&self) -> Option<bool> {
        self.at_most.map(|bound| self.figure <= bound)
    }

    fn json(&self) -> Value {
        json!({
            "scenario": self.scenario, "what": self.what, "figure": self.figure, "unit": self.unit,
            "atMost": self.at_most, "met": self.met(),
        })
    }
}

/// Prints the figures: one table, or one JSON object.
pub fn print(rows: &[Row], as_json: bool) {
    if as_json {
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        println!("{}", json!({ "version": env!("CARGO_PKG_VERSION"), "build": build, "rows": rows }));
        return;
    }
    let width = rows.iter().map(|r| r.what.chars().count()).max().unwrap_or(0);
    println!("{:<8}  {:<width$}  {:>10}  {:>10}  {:<12}", "", "", "figure", "at most", "");
    for row in rows {
        let bound = row.at_most.map_or_else(String::new, written);
        let met = match row.met() {
            Some(true) => "  met",
            Some(false) => "  missed",
            None => "",
        };
        let (scenario, what) = (row.scenario, &row.what);
        println!("{scenario:<8}  {what:<width$}  {:>10}  {bound:>10}  {}{met}", written(row.figure), row.unit);
    }
}

/// A number as short as it is useful.
fn written(number: f64) -> String {
    match number {
        n if n.fract() == 0.0 => format!("{n:.0}"),
        n if n.abs() >= 100.0 => format!("{n:.0}"),
        n => format!("{n:.2}"),
    }
}

/// The value below which this part of the sorted figures lies.
pub fn quantile(sorted: &[f64], part: f64) -> f64 {
    sorted.get(((sorted.len().max(1) - 1) as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The figures in order.
pub fn sorted(mut figures: Vec<f64>) -> Vec<f64> {
    figures.sort_unstable_by(f64::total_cmp);
    figures
}
