//! Where the past comes from: a Prometheus, or a recording.

use futures::StreamExt;

use super::super::running;
use super::super::scene::{Progress, Stop};
use super::super::watched::Watched;
use super::{Args, usage};
use crate::analysis::backtest::{Backtest, Past};
use crate::api::{Duration, Moment, Time};
use crate::engine::calendar::{Dated, Zone};
use crate::shell::prometheus::Prometheus;
use crate::shell::recording::{Header, Recorder, Recording};

/// The most queries in flight: people work with the same server.
const IN_FLIGHT: usize = 2;

/// How far apart flips are where nothing is said.
const EVERY: Duration = Duration::seconds(6 * 3_600);

/// Why nothing is shown.
pub(super) enum Failure {
    /// The files, or the command line.
    Stop(Stop),
    /// The server.
    Unanswered(String),
}

/// What is replayed, and what is known of it.
pub(super) fn past(args: &Args, watched: &Watched) -> Result<(Backtest, Past), Failure> {
    let recorded = args.replay.as_deref().map(Recording::read).transpose().map_err(usage)?;
    let header = recorded.as_ref().map(Recording::header);
    let day = |at: Moment| Dated::start(at, watched.zone).at;
    let from = args.from.map(day).or(header.map(|h| h.from));
    let to = args.to.map(day).or(header.map(|h| h.to));
    let (Some(from), Some(to)) = (from, to) else { return Err(usage("--from and --to are needed".to_owned())) };
    let every = args.every.or(header.map(|h| h.every)).unwrap_or(EVERY);
    let flip = &watched.flip;
    let source = match &recorded {
        None => watched.source(args.prometheus.as_deref()).map_err(Failure::Stop)?,
        // It is not asked: only how often it scrapes counts.
        Some(_) => watched.source(Some("http://recorded")).map_err(Failure::Stop)?,
    };
    let backtest =
        Backtest::new(flip.checks.clone(), flip.alpha, source.clone(), watched.soaks.clone(), (from, to), every)
            .map_err(usage)?;
    let questions = backtest.questions();
    if let (Some(recording), Some(path)) = (recorded, &args.replay) {
        let name = path.display();
        let header = recording.header().clone();
        if (header.from, header.to, header.every) != (from, to, every) {
            let of = |from: Time, to: Time, every| format!("{} to {}, every {every}", minute(from), minute(to));
            let (kept, asked) = (of(header.from, header.to, header.every), of(from, to, every));
            return Err(usage(format!("{name} is of another span: {kept}, and asked for is {asked}")));
        }
        let (missing, pieces) = (recording.missing().len(), recording.pieces());
        let past = recording.past(&questions).map_err(|question| {
            if missing > 0 && header.questions.contains(question) {
                let there = pieces - missing;
                return usage(format!(
                    "{name} has {there} of {pieces} answers; the run with --record goes on where it was"
                ));
            }
            usage(format!("{name} is of other queries: nothing in it answers `{}`; record it anew", question.query))
        })?;
        return Ok((backtest, past));
    }
    let header = Header::new((from, to), every, questions.clone());
    let recorder = match &args.record {
        Some(path) => Recorder::to(path, &header).map_err(usage)?,
        None => Recorder::in_memory(header),
    };
    let recording = running(ask(recorder, watched, &source)).map_err(|why| {
        let hint = if args.record.is_some() { "; the same command goes on where it was" } else { "" };
        Failure::Unanswered(format!("{why}{hint}"))
    })?;
    let past =
        recording.past(&questions).map_err(|q| Failure::Unanswered(format!("`{}` was not answered", q.query)))?;
    Ok((backtest, past))
}

/// Asks for what is missing.
async fn ask(
    mut recorder: Recorder,
    watched: &Watched,
    source: &crate::api::PrometheusSource,
) -> Result<Recording, String> {
    let prometheus = Prometheus::without_cluster();
    let (missing, all) = (recorder.recording().missing(), recorder.recording().pieces());
    let mut done = all - missing.len();
    let mut progress = Progress::new();
    let asked = missing.into_iter().map(|(question, first, range)| {
        let prometheus = &prometheus;
        async move {
            let samples = prometheus.past(&watched.key, source, &range).await;
            (question, first, samples.map_err(|why| format!("{why}, asked for `{}`", range.query)))
        }
    });
    let asked: Vec<_> = asked.collect();
    let mut asked = futures::stream::iter(asked).buffered(IN_FLIGHT);
    while let Some((question, first, samples)) = asked.next().await {
        recorder.take(question, first, samples?)?;
        done += 1;
        progress.tell(|| format!("{}: {done} of {all} answers", watched.schedule));
    }
    recorder.close()
}

fn minute(at: Time) -> String {
    Zone::UTC.local(at).format("%Y-%m-%d %H:%M UTC").to_string()
}
