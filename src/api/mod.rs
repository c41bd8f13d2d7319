//! The resources as they travel: what people write, and what Hoist writes for them.
//!
//! Field documentation here is the user manual: it becomes the CRDs, `kubectl explain` and the reference pages.
//! Nothing in this module decides anything. A field exists only together with the code that honours it.

mod armed;
mod calendar;
mod check;
mod condition;
mod crds;
mod environment;
mod freeze;
mod intervention;
mod percent;
mod phase;
mod place;
mod run;
mod schedule;
mod statistics;
mod value;

pub use armed::*;
pub use calendar::*;
pub use check::*;
pub use condition::*;
pub use crds::crds;
pub use environment::*;
pub use freeze::*;
pub use intervention::*;
pub use percent::*;
pub use phase::*;
pub use place::*;
pub use run::*;
pub use schedule::*;
pub use statistics::*;
pub use value::*;

/// The API group of every kind. The only place that names it for code; the derive attributes must repeat it.
pub const GROUP: &str = "hoist.dev";

/// The API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// The finalizer that keeps a deleted schedule until `onDelete` is done.
pub const FINALIZER: &str = "hoist.dev/on-delete";

/// The label by which a workload opts in to having its environment variables written: `hoist.dev/flags: allowed`.
pub const OPT_IN_LABEL: &str = "hoist.dev/flags";

/// The value that [`OPT_IN_LABEL`] must have.
pub const OPT_IN_VALUE: &str = "allowed";

/// The version of what Hoist stores in runs and stamps. A reader that meets a later one holds instead of guessing.
pub const FORMAT_VERSION: i32 = 1;
