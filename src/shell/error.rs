//! What can go wrong outside the heart, and what a retry may hope for.

use std::future::Future;
use std::time::Duration;

/// What a retry may hope for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may work the next time.
    Transient,
    /// What was written against has changed; read again.
    Conflict,
    /// What was sent is wrong; only a change by a person helps.
    Invalid,
}

/// A call to the API server that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server answered with an error, or not at all.
    #[error("{what}: {}", told(source))]
    Kubernetes {
        /// What was attempted.
        what: &'static str,
        /// What came of it.
        #[source]
        source: kube::Error,
    },
    /// No answer within the deadline; it may have been done all the same.
    #[error("{what}: no answer within {}s", deadline.as_secs())]
    Deadline {
        /// What was attempted.
        what: &'static str,
        /// How long was waited.
        deadline: Duration,
    },
    /// What came of a call that others waited for too.
    #[error(transparent)]
    Shared(std::sync::Arc<Error>),
    /// The pass panicked; the panic's own message is on standard error.
    #[error("a pass panicked, which is a bug of Hoist's: please report it")]
    Bug,
    /// What was decided against has changed meanwhile.
    #[error("{what}")]
    Stale {
        /// What was attempted.
        what: &'static str,
    },
}

impl Error {
    /// What a retry may hope for.
    pub fn class(&self) -> Class {
        match self {
            Self::Deadline { .. } => Class::Transient,
            Self::Stale { .. } => Class::Conflict,
            Self::Bug => Class::Invalid,
            Self::Shared(error) => error.class(),
            Self::Kubernetes { source, .. } => class_of(source),
        }
    }

    /// The HTTP status that the API server answered with.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Kubernetes { source, .. } => status_code(source),
            Self::Shared(error) => error.code(),
            Self::Deadline { .. } | Self::Stale { .. } | Self::Bug => None,
        }
    }
}

/// What a retry may hope for where the API server answered so.
pub fn class_of(error: &kube::Error) -> Class {
    match status_code(error) {
        Some(404 | 409 | 410) => Class::Conflict,
        Some(422) if names_another_object(error) => Class::Conflict,
        Some(400 | 403 | 413 | 422) => Class::Invalid,
        _ => Class::Transient,
    }
}

/// What the API server said, or what kept it from being asked, down to the first cause.
fn told(error: &kube::Error) -> String {
    let mut text = match error {
        kube::Error::Api(status) if !status.message.is_empty() => return status.message.clone(),
        kube::Error::Service(cause) => cause.to_string(),
        other => other.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn status_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether a write was refused because the object was made anew: its uid is not the one that was sent.
fn names_another_object(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let mut causes = status.details.iter().flat_map(|d| &d.causes);
    causes.any(|c| c.field == "metadata.uid")
}

/// How long an ordinary call may take.
pub const CALL: Duration = Duration::from_secs(5);

/// How long a call on the way down may take: it is sent again at once.
pub const RETREAT_CALL: Duration = Duration::from_secs(2);

/// Gives a call to the API server its deadline: kube waits for ever by itself.
pub async fn within<T>(
    what: &'static str,
    deadline: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Kubernetes { what, source }),
        Err(_) => Err(Error::Deadline { what, deadline }),
    }
}

/// Takes "not found" for an answer.
pub fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}
