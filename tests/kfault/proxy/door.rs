//! One request to the API server: counted, disturbed where the plan says so, forwarded, recorded.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::call::Call;
use super::shared::Shared;
use super::trace::Record;
use super::{Actor, Answered, Gone, watch};
use crate::plan::{Class, Deed, Point, length};

/// After this the API server is slow to answer.
const LONG: Duration = Duration::from_secs(1);

/// After an answer was handed over, until it has surely left.
const LEFT: Duration = Duration::from_millis(5);

pub async fn api(shared: Arc<Shared>, actor: Actor, request: Request<Incoming>) -> Answered {
    let call = Call::read((actor, shared.life(actor)), request).await?;
    if shared.swallowed().await {
        shared.record(Record::of(&call, 0, &[]));
        return Err(Gone);
    }
    if call.verb == "watch" {
        return watch::open(shared, call).await;
    }
    let class = if call.writes() { Class::Write } else { Class::Read };
    let arrival = shared.arrive(class, &call.resource, call.telling(), &call.told());
    let answer = match arrival.deed {
        None => undisturbed(&shared, &call).await,
        Some(deed) => disturbed(&shared, &call, deed).await,
    };
    if arrival.remember {
        shared.past.remember(&shared.client, &shared.upstream).await;
    }
    answer
}

/// Lets a request through. That a write was sent stands in the trace also where no answer comes, or none for long.
async fn undisturbed(shared: &Shared, call: &Call) -> Answered {
    let mut answer = std::pin::pin!(through(shared, call));
    let sent = || shared.record(Record::of(call, 0, &[]));
    let soon = tokio::time::timeout(LONG, &mut answer).await;
    match soon {
        Ok(Err(gone)) if call.writes() => {
            sent();
            Err(gone)
        }
        Ok(answer) => answer,
        Err(_) => {
            if call.writes() {
                sent();
            }
            answer.await
        }
    }
}

/// Does to a request what the plan says.
async fn disturbed(shared: &Arc<Shared>, call: &Call, deed: Deed) -> Answered {
    let _kept = shared.keep();
    // That it was sent; what the API server says to it, where it is asked, comes in a record of its own.
    shared.record(Record::of(call, 0, &[]));
    match deed {
        Deed::Kill(Point::Before) => {
            shared.kill(call.actor);
            Err(Gone)
        }
        Deed::Kill(Point::Stored) => {
            let _ = through(shared, call).await;
            shared.kill(call.actor);
            Err(Gone)
        }
        Deed::Kill(Point::Answered) => {
            let answer = through(shared, call).await;
            let (shared, actor) = (Arc::clone(shared), call.actor);
            tokio::spawn(async move {
                tokio::time::sleep(LEFT).await;
                shared.kill(actor);
            });
            answer
        }
        Deed::Answer { status, applied, retry_after } => {
            if applied {
                let _ = through(shared, call).await;
            }
            Ok(refusal(status, retry_after))
        }
        Deed::Reset { applied } => {
            if applied {
                let _ = through(shared, call).await;
            }
            Err(Gone)
        }
        Deed::Stall(lasts) => {
            tokio::time::sleep(length(lasts)).await;
            through(shared, call).await
        }
        Deed::Slow(lasts) => slow(shared, call, length(lasts)).await,
        Deed::BlackHole(lasts) => {
            shared.dig(length(lasts));
            shared.swallowed().await;
            Err(Gone)
        }
        Deed::TimeTravel { lasts, restart, .. } => {
            let answer = through(shared, call).await;
            shared.past.begin();
            if restart {
                shared.kill(call.actor);
            }
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                tokio::time::sleep(length(lasts)).await;
                shared.past.end();
            });
            answer
        }
        Deed::Freeze { after } => {
            shared.freeze(call.actor, length(after)).await;
            let answer = through(shared, call).await;
            shared.thaw(call.actor);
            answer
        }
        deed if deed.takes_the_cluster() => shaken(shared, call, deed).await,
        // The rest is not done to requests.
        _ => through(shared, call).await,
    }
}

/// Lets a request through so much later, if whoever sent it still waits then.
async fn slow(shared: &Shared, call: &Call, lasts: Duration) -> Answered {
    tokio::select! {
        () = tokio::time::sleep(lasts) => through(shared, call).await,
        () = call.left.cancelled() => Err(Gone),
    }
}

/// What the whole cluster suffers, at a request.
async fn shaken(shared: &Shared, call: &Call, deed: Deed) -> Answered {
    match deed {
        Deed::Backup => {
            shared.suffered(shared.ask(deed)).await;
            through(shared, call).await
        }
        Deed::Restore => {
            let answer = through(shared, call).await;
            shared.ask(deed);
            answer
        }
        deed => {
            shared.ask(deed);
            through(shared, call).await
        }
    }
}

/// Lets a request through and gives its answer.
async fn through(shared: &Shared, call: &Call) -> Answered {
    if call.fills_a_cache() {
        shared.past.note(call);
        if let Some(page) = shared.past.page(call) {
            shared.record(Record { verb: "list of the past", ..Record::of(call, 200, &[]) });
            return Ok(answer(StatusCode::OK, page.content_type.as_deref(), page.body));
        }
    }
    let upstream = format!("{}{}", shared.upstream, call.url());
    let request = shared.client.request(call.method.clone(), upstream).headers(call.headers.clone());
    let found = request.body(call.body.clone()).send().await.map_err(|_| Gone)?;
    let status = found.status();
    let kind = found.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let body = found.bytes().await.map_err(|_| Gone)?;
    shared.record(Record::of(call, status.as_u16(), &body));
    Ok(answer(status, kind.as_deref(), body))
}

pub fn answer(status: StatusCode, content_type: Option<&str>, body: Bytes) -> Response<Body> {
    let builder = Response::builder().status(status);
    let builder = match content_type {
        Some(kind) => builder.header(header::CONTENT_TYPE, kind),
        None => builder,
    };
    builder.body(Body::from(body)).expect("a response")
}

/// An error as the API server words it.
pub fn refusal(status: u16, retry_after: Option<u32>) -> Response<Body> {
    let reason = match status {
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    };
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": status,
        "message": format!("refused by a fault plan: {reason}"),
    });
    let builder = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    let builder = match retry_after {
        Some(seconds) => builder.header(header::RETRY_AFTER, seconds),
        None => builder,
    };
    builder.body(Body::from(body.to_string())).expect("a response")
}
