//! Watches: forwarded line by line, so that single events can be dropped, repeated, delayed, swapped or cut.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode, header};
use futures::{Stream, StreamExt};
use serde_json::Value;
use tokio::sync::mpsc;

use super::call::Call;
use super::shared::Shared;
use super::trace::Record;
use super::{Answered, Gone, door};
use crate::plan::{Class, Deed, length};

/// The watch cannot go on: whoever follows it must list anew.
const GONE: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
);

/// What a connection says next: bytes, or that it breaks.
type Said = Result<Bytes, std::io::Error>;

/// The daemon's end of a watch. An error says that nobody listens any more.
type Line = mpsc::Sender<Said>;

/// Why a watch ends here.
struct Over;

pub async fn open(shared: Arc<Shared>, call: Call) -> Answered {
    if let Some(known) = shared.past.version(&call) {
        return Ok(told_of_the_past(&shared, &call, known));
    }
    let upstream = format!("{}{}", shared.upstream, call.url());
    let found = shared.client.get(upstream).headers(call.headers.clone()).send().await.map_err(|_| Gone)?;
    let status = found.status();
    shared.record(Record::of(&call, status.as_u16(), &[]));
    if status != StatusCode::OK {
        let body = found.bytes().await.map_err(|_| Gone)?;
        return Ok(door::answer(status, Some("application/json"), body));
    }
    let (line, answer) = stream();
    let pump = Pump { shared, call, line, unfinished: Vec::new(), swapped: None };
    tokio::spawn(pump.run(found.bytes_stream()));
    Ok(answer)
}

fn stream() -> (Line, Response<Body>) {
    let (line, mut said) = mpsc::channel::<Said>(64);
    let body = Body::from_stream(futures::stream::poll_fn(move |context| said.poll_recv(context)));
    let answer = Response::builder().header(header::CONTENT_TYPE, "application/json").body(body);
    (line, answer.expect("a response"))
}

/// A watch that is opened while the past is told: from the past on it is silent, from later on it must list anew.
fn told_of_the_past(shared: &Arc<Shared>, call: &Call, known: u64) -> Response<Body> {
    let (line, answer) = stream();
    let from: u64 = call.parameter("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
    let mut told = shared.past.changes();
    tokio::spawn(async move {
        if from > known {
            let _ = line.send(Ok(Bytes::from_static(GONE.as_bytes()))).await;
            return;
        }
        tokio::select! {
            () = turns(&mut told, false) => {}
            () = line.closed() => {}
        }
    });
    answer
}

/// Waits until the past is told, or is told no more.
async fn turns(past: &mut tokio::sync::watch::Receiver<bool>, wanted: bool) {
    // The sender lives as long as the proxy.
    drop(past.wait_for(|told| *told == wanted).await);
}

/// Carries one watch.
struct Pump {
    shared: Arc<Shared>,
    call: Call,
    line: Line,
    unfinished: Vec<u8>,
    /// An event that goes after the next.
    swapped: Option<Bytes>,
}

impl Pump {
    async fn run(mut self, upstream: impl Stream<Item = reqwest::Result<Bytes>> + Send) {
        let mut upstream = std::pin::pin!(upstream);
        let mut past = self.shared.past.changes();
        let closed = self.line.clone();
        loop {
            let chunk = tokio::select! {
                chunk = upstream.next() => chunk,
                () = turns(&mut past, true) => {
                    let _ = self.say(Bytes::from_static(GONE.as_bytes())).await;
                    return;
                }
                () = closed.closed() => return,
            };
            let carried = match chunk {
                Some(Ok(chunk)) => self.carry(&chunk).await,
                // Ends as it was ended.
                Some(Err(_)) => self.break_off().await,
                None => return,
            };
            if carried.is_err() {
                return;
            }
        }
    }

    async fn carry(&mut self, chunk: &[u8]) -> Result<(), Over> {
        self.unfinished.extend_from_slice(chunk);
        let mut whole: Vec<Bytes> = Vec::new();
        while let Some(end) = self.unfinished.iter().position(|byte| *byte == b'\n') {
            whole.push(self.unfinished.drain(..=end).collect());
        }
        for event in whole {
            self.event(event).await?;
        }
        Ok(())
    }

    /// One line of a watch, with its end.
    async fn event(&mut self, event: Bytes) -> Result<(), Over> {
        if self.call.namespace.is_empty() && !self.shared.counts(&self.call.resource) {
            // Other stages' affairs, for the most part.
            return self.say(event).await;
        }
        let object: Value = serde_json::from_slice(&event).unwrap_or_default();
        if !matches!(object["type"].as_str(), Some("ADDED" | "MODIFIED" | "DELETED")) {
            return self.say(event).await;
        }
        self.shared.record(Record::event(&self.call, &object));
        let told = format!("event {} {}", self.call.resource, object["object"]["metadata"]["name"]);
        let deed = self.shared.arrive(Class::Event, &self.call.resource, None, &told).deed;
        match deed {
            None => {
                self.say(event).await?;
                match self.swapped.take() {
                    Some(earlier) => self.say(earlier).await,
                    None => Ok(()),
                }
            }
            Some(Deed::Drop) => Ok(()),
            Some(Deed::Repeat) => {
                self.say(event.clone()).await?;
                self.say(event).await
            }
            Some(Deed::Delay(lasts)) => {
                let _kept = self.shared.keep();
                tokio::time::sleep(length(lasts)).await;
                self.say(event).await
            }
            Some(Deed::Reorder) => {
                self.swapped = Some(event);
                Ok(())
            }
            Some(Deed::CutMidLine) => {
                self.line.send(Ok(event.slice(..event.len() / 2))).await.map_err(|_| Over)?;
                self.break_off().await
            }
            Some(Deed::Gone) => {
                self.say(Bytes::from_static(GONE.as_bytes())).await?;
                Err(Over)
            }
            Some(Deed::HalfOpen) => {
                self.line.closed().await;
                Err(Over)
            }
            // Not done to events.
            Some(_) => self.say(event).await,
        }
    }

    async fn say(&self, bytes: Bytes) -> Result<(), Over> {
        // What is on its way when the hole opens comes late, as it does where packets are sent again.
        self.shared.swallowed().await;
        self.line.send(Ok(bytes)).await.map_err(|_| Over)
    }

    async fn break_off(&self) -> Result<(), Over> {
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let _ = self.line.send(Err(broken)).await;
        Err(Over)
    }
}
