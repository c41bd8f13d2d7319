//! The other side: questions to Prometheus.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use futures::StreamExt;
use hyper::body::Incoming;

use super::call::Call;
use super::shared::Shared;
use super::trace::Record;
use super::{Answered, Gone, door};
use crate::plan::{Class, Deed, length};

/// Series that are not there, as Prometheus says it.
const EMPTY: &str = r#"{"status":"success","data":{"resultType":"RESULT","result":[]}}"#;

pub async fn prometheus(shared: Arc<Shared>, request: Request<Incoming>) -> Answered {
    let call = Call::read((0, 0), request).await?;
    if shared.swallowed().await {
        return Err(Gone);
    }
    shared.record(Record {
        verb: "query",
        resource: "prometheus".to_owned(),
        at: Instant::now(),
        ..Record::of(&call, 0, &[])
    });
    let deed = shared.arrive(Class::Query, "prometheus", None, &call.path).deed;
    let ranged = call.path.ends_with("/query_range");
    match deed {
        Some(Deed::Answer { status, .. }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            Ok(door::answer(status, Some("text/plain"), Bytes::from_static(b"refused by a fault plan\n")))
        }
        Some(Deed::Reset { .. }) => Err(Gone),
        Some(Deed::Stall(lasts)) => {
            let _kept = shared.keep();
            tokio::time::sleep(length(lasts)).await;
            through(&shared, &call).await
        }
        Some(Deed::Empty) => {
            let text = EMPTY.replace("RESULT", if ranged { "matrix" } else { "vector" });
            Ok(door::answer(StatusCode::OK, Some("application/json"), Bytes::from(text)))
        }
        Some(Deed::Garbage) => {
            Ok(door::answer(StatusCode::OK, Some("application/json"), Bytes::from_static(b"{\"status\": oops")))
        }
        Some(Deed::Truncated) => truncated(&shared, &call).await,
        // The rest is not done to questions.
        _ => through(&shared, &call).await,
    }
}

async fn ask(shared: &Shared, call: &Call) -> Result<(StatusCode, Option<String>, Bytes), Gone> {
    let upstream = format!("{}{}", shared.prometheus, call.url());
    let request = shared.client.request(call.method.clone(), upstream).headers(call.headers.clone());
    let found = request.body(call.body.clone()).send().await.map_err(|_| Gone)?;
    let (status, kind) = (found.status(), found.headers().get(header::CONTENT_TYPE).cloned());
    let kind = kind.and_then(|v| v.to_str().ok().map(str::to_owned));
    Ok((status, kind, found.bytes().await.map_err(|_| Gone)?))
}

async fn through(shared: &Shared, call: &Call) -> Answered {
    let (status, kind, body) = ask(shared, call).await?;
    Ok(door::answer(status, kind.as_deref(), body))
}

/// Half of the answer, after which the connection breaks.
async fn truncated(shared: &Shared, call: &Call) -> Answered {
    let (status, kind, body) = ask(shared, call).await?;
    let half = body.slice(..body.len() / 2);
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let body = futures::stream::iter([Ok(half)]).chain(futures::stream::once(async { Err::<Bytes, _>(broken) }));
    let mut answer = door::answer(status, kind.as_deref(), Bytes::new());
    *answer.body_mut() = Body::from_stream(body);
    Ok(answer)
}
