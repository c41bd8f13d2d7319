//! Long pasts, asked for by people who wait for them: in pieces, few at once, and again where one fails.

use std::time::Duration;

use super::{Prometheus, QUERY, query_now, reading};
use crate::analysis::backtest::{RangeQuery, Sample};
use crate::api::{EnvironmentKey, PrometheusSource};
use crate::engine::Question;

/// How long one piece may take: a thousand points of a dear query take longer than one.
const PATIENCE: Duration = QUERY.saturating_mul(12);

/// How long is waited before a failed piece is asked for again.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

impl Prometheus {
    /// What was answered to a query at evenly spaced moments, one sample for each.
    ///
    /// # Errors
    /// A sentence, where it failed four times in a row.
    pub async fn past(
        &self,
        environment: &EnvironmentKey,
        source: &PrometheusSource,
        range: &RangeQuery,
    ) -> Result<Vec<Sample>, String> {
        let server = self.server(environment, source).await.map_err(|(_, why)| why)?;
        let question = Question {
            value: range.query.clone(),
            total: None,
            arms: false,
            window: None,
            from: range.start,
            count: range.count,
            step: range.step,
        };
        let mut pauses = PAUSES.into_iter();
        loop {
            match query_now(&server, &question, &range.query, PATIENCE).await {
                Ok(series) => return Ok(question.moments().map(|at| Sample::of(&reading(&series, at))).collect()),
                Err((_, why)) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(why),
                },
            }
        }
    }
}
