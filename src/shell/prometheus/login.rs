//! Clients with their credentials, read from Secrets and kept for a short while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::Client as Kubernetes;
use kube::api::Api;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::{Failure, QUERY, failure};
use crate::api::{EnvironmentKey, PrometheusSource, SecretKey};
use crate::shell::clock;
use crate::shell::error::{CALL, within};

/// How long a login is used before its Secrets are read again, so that a rotated one works soon.
const KEEP: Duration = Duration::from_secs(30);

/// The most logins that are kept.
const MOST_KEPT: usize = 10_000;

/// The most clients that are kept: as many as there are CAs of Environments' own.
const MOST_CLIENTS: usize = 100;

/// A client and what it says with each request.
pub(super) struct Login {
    /// Shared with all that trust the same CA.
    pub client: reqwest::Client,
    /// Authorization and tenant.
    pub headers: HeaderMap,
    /// The address and everything above: what is equal may share answers.
    pub identity: Arc<[u8]>,
}

/// Logins by environment and source, and the clients that they share.
#[derive(Default)]
pub(super) struct Logins {
    kept: Mutex<Kept>,
    clients: Clients,
}

/// Logins by environment and source, with when they were made.
type Kept = BTreeMap<(EnvironmentKey, String), (Instant, Arc<Login>)>;

impl Logins {
    /// A login for a source, made anew where the last one is too old.
    pub async fn get(
        &self,
        kubernetes: Option<&Kubernetes>,
        environment: &EnvironmentKey,
        source: &PrometheusSource,
    ) -> Result<Arc<Login>, Failure> {
        let key = (environment.clone(), serde_json::to_string(source).unwrap_or_default());
        let now = clock::monotonic();
        let kept = self.lock().get(&key).filter(|(at, _)| now - *at < KEEP).map(|(_, login)| Arc::clone(login));
        if let Some(login) = kept {
            return Ok(login);
        }
        let login = Arc::new(login(kubernetes, &self.clients, &environment.namespace, source).await?);
        let mut logins = self.lock();
        if logins.len() >= MOST_KEPT {
            logins.retain(|_, (at, _)| now - *at < KEEP);
        }
        logins.insert(key, (now, Arc::clone(&login)));
        Ok(login)
    }

    /// Forgets those that are too old to be used.
    pub fn sweep(&self) {
        let now = clock::monotonic();
        self.lock().retain(|_, (at, _)| now - *at < KEEP);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clients by the CA that they trust, in PEM; none means those of the system. A client costs milliseconds to make and some
/// hundred kilobytes to keep, for the certificates that it trusts, and keeps its connections to itself.
#[derive(Default)]
struct Clients(Mutex<BTreeMap<Option<Vec<u8>>, reqwest::Client>>);

impl Clients {
    fn trusting(&self, ca: Option<(&SecretKey, Vec<u8>)>) -> Result<reqwest::Client, Failure> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pem = ca.as_ref().map(|(_, pem)| pem.clone());
        if let Some(client) = clients.get(&pem) {
            return Ok(client.clone());
        }
        // Follows no redirects: who is asked is for the Environment's owner to say.
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(QUERY)
            .pool_idle_timeout(Duration::from_secs(120));
        if let Some((secret, pem)) = ca {
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).ok().filter(|c| !c.is_empty());
            let certificates = certificates.ok_or_else(|| {
                failure(&format!("Secret {} key {} holds no certificate in PEM", secret.name, secret.key))
            })?;
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build().map_err(|_| failure("no client for Prometheus could be made"))?;
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(pem, client.clone());
        Ok(client)
    }
}

async fn login(
    kubernetes: Option<&Kubernetes>,
    clients: &Clients,
    namespace: &str,
    source: &PrometheusSource,
) -> Result<Login, Failure> {
    let mut headers = HeaderMap::new();
    if let Some(auth) = &source.auth {
        headers.insert(AUTHORIZATION, authorization(kubernetes, namespace, auth).await?);
    }
    if let Some(tenant) = &source.tenant {
        let name =
            HeaderName::try_from(tenant.header.as_str()).map_err(|_| failure("the tenant's header name is not one"))?;
        headers.insert(
            name,
            HeaderValue::try_from(tenant.value.as_str())
                .map_err(|_| failure("the tenant cannot be sent as a header"))?,
        );
    }
    let mut identity = source.address.clone().into_bytes();
    for (name, value) in &headers {
        identity.extend([b"\n", name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
    }
    let mut ca = None;
    if let Some(secret) = &source.ca {
        let pem = key(kubernetes, namespace, secret).await?;
        identity.push(b'\n');
        identity.extend(&pem);
        ca = Some((secret, pem));
    }
    Ok(Login { client: clients.trusting(ca)?, headers, identity: Arc::from(identity) })
}

async fn authorization(
    kubernetes: Option<&Kubernetes>,
    namespace: &str,
    auth: &crate::api::PrometheusAuth,
) -> Result<HeaderValue, Failure> {
    let text = match (&auth.bearer, &auth.basic) {
        (Some(bearer), _) => format!("Bearer {}", text(&key(kubernetes, namespace, bearer).await?)?),
        (None, Some(basic)) => {
            let named = |name: &str| SecretKey { name: basic.name.clone(), key: name.to_owned() };
            let user = text(&key(kubernetes, namespace, &named("username")).await?)?;
            let password = text(&key(kubernetes, namespace, &named("password")).await?)?;
            format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
        }
        (None, None) => return Err(failure("spec.prometheus.auth names neither bearer nor basic")),
    };
    let mut value =
        HeaderValue::try_from(text).map_err(|_| failure("the credential in the Secret cannot be sent as a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn key(kubernetes: Option<&Kubernetes>, namespace: &str, wanted: &SecretKey) -> Result<Vec<u8>, Failure> {
    let kubernetes = kubernetes.ok_or_else(|| {
        let secret = format!("Secret {namespace}/{} is needed to ask this Prometheus", wanted.name);
        failure(&format!("{secret}, and no cluster is spoken to that could be asked for it"))
    })?;
    let api: Api<Secret> = Api::namespaced(kubernetes.clone(), namespace);
    let secret = within("read a Secret", CALL, api.get(&wanted.name)).await;
    let secret = secret.map_err(|_| failure(&format!("Secret {namespace}/{} cannot be read", wanted.name)))?;
    let data = secret.data.and_then(|mut d| d.remove(&wanted.key));
    data.map(|d| d.0).ok_or_else(|| failure(&format!("Secret {namespace}/{} has no key {}", wanted.name, wanted.key)))
}

fn text(bytes: &[u8]) -> Result<String, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|_| failure("the credential in the Secret is not text"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// The API's own byte type writes itself in base64.
fn base64(bytes: &[u8]) -> String {
    let encoded = serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).unwrap_or_default();
    encoded.as_str().unwrap_or_default().to_owned()
}
