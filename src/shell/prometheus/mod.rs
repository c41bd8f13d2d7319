//! Asking Prometheus: every answer bounded in size and time, nothing believed that came with a warning.
//!
//! May not: judge. Answers are handed to `analysis` as they are, failures as data.

mod decode;
mod login;
mod past;
mod shared;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::Client as Kubernetes;
use reqwest::header::HeaderMap;
use tokio::sync::Semaphore;

use crate::analysis::{AnswerError, Answers, Reading, partial};
use crate::api::{EnvironmentKey, PrometheusSource, Time};
use crate::engine::{Measure, Measured, Question};

use decode::{Series, decode};
use shared::{Key, Shared};

/// How long one query may take, connecting included.
const QUERY: Duration = Duration::from_secs(5);

/// How long all questions of one check may take: what is missing then is asked again in the next pass, which also
/// looks at everything else.
const MEASURE: Duration = Duration::from_secs(10);

/// The largest answer that is read.
const LARGEST_ANSWER: usize = 4 << 20;

/// The most queries in flight to one server: Prometheus serves 20 at once, for everybody.
const IN_FLIGHT: usize = 4;

/// The most of these that one namespace's Environments use: one is left for everybody else.
const OWN_IN_FLIGHT: usize = 3;

/// The most moments of a question whose answer is shared; a range to catch up with is each schedule's own.
const MOST_SHARED: usize = 16;

/// A failure to get an answer, with a sentence that repeats nothing of what the server said in free text.
type Failure = (AnswerError, String);

/// The Prometheus servers of all environments.
pub struct Prometheus {
    kubernetes: Option<Kubernetes>,
    servers: Mutex<BTreeMap<String, Arc<Slots>>>,
    logins: login::Logins,
    shared: Arc<Shared>,
}

/// Who may ask a server at the moment.
struct Slots {
    all: Semaphore,
    own: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Slots {
    fn own(&self, namespace: &str) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|name, slots| name == namespace || Arc::strong_count(slots) > 1);
        Arc::clone(own.entry(namespace.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(OWN_IN_FLIGHT))))
    }
}

impl std::fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prometheus")
    }
}

/// A server that questions can be put to.
struct Server {
    client: prometheus_http_query::Client,
    headers: HeaderMap,
    slots: Arc<Slots>,
    own: Arc<Semaphore>,
    login: Arc<[u8]>,
    shared: Arc<Shared>,
}

impl Prometheus {
    /// Reads Secrets through this client.
    pub fn new(kubernetes: Kubernetes) -> Self {
        Self { kubernetes: Some(kubernetes), ..Self::without_cluster() }
    }

    /// Reads no Secrets: a source that needs some cannot be asked, and says so.
    pub fn without_cluster() -> Self {
        Self { kubernetes: None, servers: Mutex::default(), logins: login::Logins::default(), shared: Arc::default() }
    }

    /// Forgets what is too old to be used, of logins and answers.
    pub fn sweep(&self) {
        self.logins.sweep();
        self.shared.sweep();
    }

    /// Takes the measurements of one check, oldest first, up to the first question that fails.
    pub async fn measure(&self, measure: &Measure) -> Measured {
        let server = match self.server(&measure.environment, &measure.prometheus).await {
            Ok(server) => server,
            Err(failure) => return Measured { answers: Vec::new(), failed: Some(failure) },
        };
        let asked: Vec<_> = measure.questions.iter().map(|q| ask(&server, q)).collect();
        let mut asked = futures::stream::iter(asked).buffered(IN_FLIGHT);
        let mut measured = Measured::default();
        let mut rest = std::pin::pin!(tokio::time::sleep(MEASURE));
        loop {
            let answer = tokio::select! {
                answer = asked.next() => answer,
                () = &mut rest => Some(Err(failure("Prometheus is slow; the rest is asked again"))),
            };
            match answer {
                None => return measured,
                Some(Ok(answers)) => measured.answers.extend(answers),
                Some(Err(failure)) => {
                    measured.failed = Some(failure);
                    return measured;
                }
            }
        }
    }

    async fn server(&self, environment: &EnvironmentKey, source: &PrometheusSource) -> Result<Server, Failure> {
        let login = self.logins.get(self.kubernetes.as_ref(), environment, source).await?;
        let address = source.address.trim_end_matches('/');
        let client = prometheus_http_query::Client::from(login.client.clone(), address)
            .map_err(|_| (AnswerError::Query, format!("{address} is no address")))?;
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let free = || Arc::new(Slots { all: Semaphore::new(IN_FLIGHT), own: Mutex::default() });
        let slots = Arc::clone(servers.entry(address.to_owned()).or_insert_with(free));
        let own = slots.own(&environment.namespace);
        let (headers, shared) = (login.headers.clone(), Arc::clone(&self.shared));
        Ok(Server { client, headers, slots, own, login: Arc::clone(&login.identity), shared })
    }
}

/// Puts one question and lays its two or three answers side by side.
async fn ask(server: &Server, question: &Question) -> Result<Vec<Answers>, Failure> {
    let total = async {
        match &question.total {
            Some(query) => query_all(server, question, query).await.map(Some),
            None => Ok(None),
        }
    };
    let value = query_all(server, question, &question.value);
    let newest = question.newest();
    let newest = query_all(server, question, &newest);
    let (value, total, newest) = futures::try_join!(value, total, newest)?;
    let answers = question.moments().map(|at| Answers {
        at,
        window: question.window,
        value: reading(&value, at),
        total: total.as_deref().map(|t| reading(t, at)),
        newest: reading(&newest, at),
    });
    Ok(answers.collect())
}

fn reading(series: &Series, at: Time) -> Reading {
    if series.partial {
        return Err((AnswerError::Partial, partial()));
    }
    Ok(series.samples.get(&at.timestamp()).cloned().unwrap_or_default())
}

async fn query_all(server: &Server, question: &Question, query: &str) -> Result<Arc<Series>, Failure> {
    if question.count > MOST_SHARED {
        return query_now(server, question, query, QUERY).await.map(Arc::new);
    }
    let key = Key {
        login: Arc::clone(&server.login),
        query: query.to_owned(),
        moments: (question.from.timestamp(), question.count, question.step.as_seconds()),
    };
    server.shared.get(key, query_now(server, question, query, QUERY)).await
}

async fn query_now(server: &Server, question: &Question, query: &str, patience: Duration) -> Result<Series, Failure> {
    let (first, last) = (question.from.timestamp(), question.moments().last().unwrap_or(question.from).timestamp());
    let timeout = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
    let sent = async {
        if question.count == 1 {
            let mut builder = server.client.query(query).at(first).timeout(timeout);
            for (name, value) in &server.headers {
                builder = builder.header(name.clone(), value.clone());
            }
            builder.post_raw().await
        } else {
            let step = question.step.as_seconds() as f64;
            let mut builder = server.client.query_range(query, first, last, step).timeout(timeout);
            for (name, value) in &server.headers {
                builder = builder.header(name.clone(), value.clone());
            }
            builder.post_raw().await
        }
    };
    // Waiting for a slot counts, or the checks of many schedules would wait for a hanging server one after the other.
    let answer = async {
        let (Ok(_own), Ok(_slot)) = (server.own.acquire().await, server.slots.all.acquire().await) else {
            return Err(failure("Prometheus is not asked any more"));
        };
        let response = sent.await.map_err(|e| told(&e))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(failure("Prometheus redirects elsewhere; redirects are not followed, so give its own address"));
        }
        let body = body(response).await?;
        decode(&body, question.count == 1, first, status.as_u16()).map_err(|m| failure(&m))
    };
    match tokio::time::timeout(patience, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(failure(&format!("Prometheus gave no answer within {}s", patience.as_secs()))),
    }
}

async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|_| failure("Prometheus broke off in the middle of its answer"))?
    {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(failure("Prometheus answers with more than 4 MiB; the query selects too much"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failure(sentence: &str) -> Failure {
    (AnswerError::Query, sentence.to_owned())
}

/// What a client error means to people; never with the server's own words.
fn told(error: &prometheus_http_query::Error) -> Failure {
    let sentence = match error {
        prometheus_http_query::Error::Client(e) => {
            let source = e.inner().map(reqwest_cause).unwrap_or_default();
            format!("Prometheus cannot be reached{source}")
        }
        _ => "the query could not be sent to Prometheus".to_owned(),
    };
    failure(&sentence)
}

fn reqwest_cause(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!(": {cause}");
        source = cause.source();
    }
    text
}
