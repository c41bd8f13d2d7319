//! PromQL as Hoist needs to know it: templates, ranges and selectors.

use std::collections::BTreeMap;
use std::time::Duration as StdDuration;

use minijinja::{Environment, UndefinedBehavior, context};
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

use crate::api::{Duration, EnvironmentKey, LabelValue};

/// What a rendered template keeps in place of the window, which differs from measurement to measurement.
const WINDOW: &str = "{{ window }}";

/// Stands for the window while a query is parsed. Odd enough that nobody writes it as a fixed range.
const WINDOW_SENTINEL_SECONDS: u64 = 34_567_891;

/// A template may not run for ever; a query needs a few dozen instructions.
const TEMPLATE_FUEL: u64 = 10_000;

/// What a query template may speak of.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The environment.
    pub environment: &'a EnvironmentKey,
    /// Its labels.
    pub labels: &'a BTreeMap<String, LabelValue>,
    /// The flag, where the schedule carries exactly one.
    pub flag: Option<&'a str>,
}

/// Renders everything in a query template but the window.
///
/// Values are escaped for a PromQL string in double quotes.
///
/// # Errors
/// A sentence, where the template cannot be read or names something that is not there.
pub fn render(template: &str, scope: Scope<'_>) -> Result<String, String> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(TEMPLATE_FUEL));
    let labels: BTreeMap<&str, String> = scope.labels.iter().map(|(k, v)| (k.as_str(), quoted(&v.0))).collect();
    let known = context! {
        window => WINDOW,
        environment => context! {
            name => quoted(&scope.environment.name), namespace => quoted(&scope.environment.namespace), labels => labels
        },
        ..flag(scope.flag)
    };
    environment.render_str(template, known).map_err(|error| {
        let detail = error.detail().map(|d| format!(": {d}")).unwrap_or_default();
        format!("the template cannot be rendered ({}{detail}); it may use window, environment.name, environment.namespace, environment.labels.NAME and, with one flag, flag", error.kind())
    })
}

fn flag(flag: Option<&str>) -> minijinja::Value {
    flag.map_or_else(|| context! {}, |name| context! { flag => quoted(name) })
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Puts a window into a rendered query.
pub fn with_window(query: &str, window: Duration) -> String {
    query.replace(WINDOW, &format!("{}s", window.as_seconds()))
}

/// What a query looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryShape {
    /// Whether it uses `{{ window }}`.
    pub windowed: bool,
    /// The longest fixed range, where it has one.
    pub fixed: Option<Duration>,
    /// Whether it asks for events per second, where it could count them.
    pub per_second: bool,
    /// Every series selector, once, without range and offset.
    pub selectors: Vec<String>,
}

/// Parses a rendered query.
///
/// # Errors
/// A sentence, where it is not PromQL, or looks away from the time after the flip (`offset`, `@`).
pub fn inspect(query: &str) -> Result<QueryShape, String> {
    let parsed = parser::parse(&with_window(query, Duration::seconds(WINDOW_SENTINEL_SECONDS as i64)))
        .map_err(|error| format!("not PromQL: {}", error.trim()))?;
    let mut visitor = Visitor::default();
    walk_expr(&mut visitor, &parsed)?;
    if visitor.shape.selectors.is_empty() {
        return Err("selects no series, so it says nothing about the environment".to_owned());
    }
    Ok(visitor.shape)
}

#[derive(Default)]
struct Visitor {
    shape: QueryShape,
}

impl Visitor {
    fn range(&mut self, range: StdDuration) {
        if range.as_secs() == WINDOW_SENTINEL_SECONDS {
            self.shape.windowed = true;
        } else {
            let seconds = i64::try_from(range.as_secs()).unwrap_or(i64::MAX);
            self.shape.fixed = self.shape.fixed.max(Some(Duration::seconds(seconds)));
        }
    }

    fn selector(&mut self, selector: &VectorSelector) {
        let text = selector.to_string();
        if !self.shape.selectors.contains(&text) {
            self.shape.selectors.push(text);
        }
    }
}

impl ExprVisitor for Visitor {
    type Error = String;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
        let (offset, at) = match expr {
            Expr::VectorSelector(s) => (s.offset.is_some(), s.at.is_some()),
            Expr::MatrixSelector(m) => (m.vs.offset.is_some(), m.vs.at.is_some()),
            Expr::Subquery(s) => (s.offset.is_some(), s.at.is_some()),
            _ => (false, false),
        };
        if offset || at {
            return Err(
                "`offset` and `@` look away from the time after the flip; a threshold cannot use them".to_owned()
            );
        }
        match expr {
            Expr::VectorSelector(s) => self.selector(s),
            Expr::MatrixSelector(m) => {
                self.range(m.range);
                self.selector(&m.vs);
            }
            Expr::Subquery(s) => self.range(s.range),
            Expr::Call(call) => self.shape.per_second |= matches!(call.func.name, "rate" | "irate" | "deriv"),
            _ => {}
        }
        Ok(true)
    }
}

/// A query for the time of the newest sample behind these selectors, in seconds since 1970: that of the selector
/// which lags most, leaving out those that select nothing.
///
/// # Source
/// The answer to a query carries the time it was evaluated at, not the age of what it was computed from; only
/// `timestamp()` of the plain selector tells.
pub fn freshness_query(selectors: &[String]) -> String {
    match selectors {
        [] => "vector(0)".to_owned(),
        [one] => format!("max(timestamp({one}))"),
        many => {
            let parts: Vec<String> = many
                .iter()
                .enumerate()
                .map(|(i, s)| format!("label_replace(max(timestamp({s})), \"selector\", \"{i}\", \"\", \"\")"))
                .collect();
            format!("min({})", parts.join(" or "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str) -> Result<String, String> {
        let environment = EnvironmentKey { namespace: "conduit-eu".into(), name: "eu".into() };
        let labels = BTreeMap::from([("region".to_owned(), LabelValue("eu \"west\"".to_owned()))]);
        render(template, Scope { environment: &environment, labels: &labels, flag: Some("FLAG") })
    }

    #[test]
    fn templates_know_the_environment_the_flag_and_the_window() {
        let query = rendered(
            r#"rate(x{e="{{ environment.name }}",r="{{environment.labels.region}}",f="{{ flag }}"}[{{window}}])"#,
        );
        let query = query.expect("a good template");
        assert_eq!(query, r#"rate(x{e="eu",r="eu \"west\"",f="FLAG"}[{{ window }}])"#);
        assert!(with_window(&query, Duration::seconds(300)).ends_with("[300s])"));
        for bad in [
            "{{ enviroment.name }}",
            "{{ environment.labels.zone }}",
            "{{ window",
            "{% for i in range(9999999) %}{% endfor %}",
        ] {
            assert!(rendered(bad).is_err(), "{bad} was rendered");
        }
    }

    #[test]
    fn ranges_and_selectors_are_found() {
        let shape = inspect("sum(rate(a{b=\"c\"}[{{ window }}])) / sum(rate(d[5m])) + e").expect("PromQL");
        assert!(shape.windowed && shape.per_second);
        assert!(!inspect("sum(increase(a[5m]))").expect("PromQL").per_second);
        assert_eq!(shape.fixed, Some(Duration::seconds(300)));
        assert_eq!(shape.selectors.len(), 3);
        let nested = inspect("max_over_time(rate(a[1m])[{{ window }}:30s])").expect("a subquery");
        assert!(nested.windowed);
        assert_eq!(nested.fixed, Some(Duration::seconds(60)));
    }

    #[test]
    fn what_looks_elsewhere_or_is_not_promql_is_refused() {
        for bad in ["rate(x)", "x offset 1d", "rate(x[5m] @ 100)", "sum(", "1 + 1", "vector(1)"] {
            assert!(inspect(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn freshness_takes_the_selector_that_lags_most() {
        assert_eq!(freshness_query(&["a{b=\"c\"}".to_owned()]), "max(timestamp(a{b=\"c\"}))");
        let both = freshness_query(&["a".to_owned(), "b".to_owned()]);
        assert!(both.starts_with("min(") && inspect(&both).is_ok(), "{both}");
    }
}
