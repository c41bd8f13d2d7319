//! Two daemons, one of which acts: how soon the other does when the first is killed or ends, and whether anything is
//! raised twice.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use hoist::engine::StampKind;

use crate::daemon::Daemon;
use crate::estate::{Estate, Wanted, check, named};
use crate::proxy::Proxy;
use crate::report::{Row, quantile, sorted};
use crate::{Sizes, written_as};

/// How often a leader ends in good order.
const GRACEFUL: usize = 10;

/// Between the earliest and the latest moment at which a leader is killed, in milliseconds from a flip that is due.
const AROUND: std::ops::Range<i64> = -300..600;

/// When one is asked to end, in the same way: the flip is the other's first act.
const JUST_BEFORE: i64 = -60;

/// Two flips for each try: one that is due when the leader is killed, and one a second later, so that there is something
/// to do even where the first was over.
const FLIPS: [(&str, i64); 2] = [("try", 0), ("next", 1)];

/// A daemon with a proxy of its own, by which its writes are told from the other's.
struct Candidate {
    daemon: Daemon,
    proxy: Proxy,
}

impl Candidate {
    async fn start(home: &str) -> Candidate {
        let proxy = Proxy::start().await;
        let daemon = Daemon::start(home, &proxy, &[]);
        daemon.ready().await;
        Candidate { daemon, proxy }
    }
}

/// Kills leaders, and lets some end in good order.
pub async fn leader(sizes: &Sizes) -> Vec<Row> {
    let tries = sizes.tries;
    let estate = Estate::new(5).await;
    for (prefix, _) in FLIPS {
        estate.environments(prefix, 0..tries + GRACEFUL, 1).await;
    }
    let mut first = Candidate::start(&estate.home).await;
    first.daemon.leads().await;
    let mut second = Candidate::start(&estate.home).await;
    let (mut killed, mut ended, mut twice) = (Vec::new(), Vec::new(), 0);
    for number in 0..tries + GRACEFUL {
        let gracefully = number >= tries;
        let (took, raises) = one_try(&estate, number, first, &second, gracefully).await;
        if gracefully { &mut ended } else { &mut killed }.push(took.as_secs_f64());
        twice += usize::from(raises > 1);
        second.daemon.leads().await;
        first = second;
        second = Candidate::start(&estate.home).await;
        eprint!("\rtry {} of {}", number + 1, tries + GRACEFUL);
    }
    eprintln!();
    first.daemon.kill();
    second.daemon.kill();
    estate.clear().await;
    let (killed, ended) = (sorted(killed), sorted(ended));
    vec![
        Row::new("leader", format!("killed {tries} times: next act, median"), quantile(&killed, 0.5), "s"),
        Row::new("leader", format!("killed {tries} times: next act, longest"), quantile(&killed, 1.0), "s")
            .at_most(8.0),
        Row::new("leader", format!("ended {GRACEFUL} times: next act, longest"), quantile(&ended, 1.0), "s")
            .at_most(1.0),
        Row::new("leader", format!("{} tries: flags raised twice", tries + GRACEFUL), twice as f64, "").at_most(0.0),
    ]
}

/// Ends the leader around the moment at which a flip is due; gives how long it was until the other acted, and the most
/// raises of one flag that the API server took.
async fn one_try(
    estate: &Estate,
    number: usize,
    first: Candidate,
    second: &Candidate,
    gracefully: bool,
) -> (Duration, usize) {
    let start = Utc::now() + TimeDelta::milliseconds(2_999);
    let start = chrono::DateTime::from_timestamp(start.timestamp(), 0).expect("a time of these days");
    for (prefix, later) in FLIPS {
        let wanted = |n: usize| Wanted {
            name: named(prefix, n),
            environment: (prefix.to_owned(), n),
            flag: 0,
            start: Some(start + TimeDelta::seconds(later)),
            check: check("errors_now"),
            on_delete: "Keep",
        };
        estate.schedules(number..number + 1, wanted).await;
    }
    let spread = AROUND.start + (number as i64 * 97) % (AROUND.end - AROUND.start);
    let offset = if gracefully { JUST_BEFORE } else { spread };
    let wait = start + TimeDelta::milliseconds(offset) - Utc::now();
    tokio::time::sleep(wait.to_std().unwrap_or_default()).await;
    let Candidate { daemon, proxy } = first;
    let ended = Instant::now();
    let ending = if gracefully {
        daemon.ask_to_end();
        Some(daemon)
    } else {
        daemon.kill();
        None
    };
    let acted = act_after(&second.proxy, ended).await;
    let raised = |prefix: &str| raises(&proxy, &named(prefix, number)) + raises(&second.proxy, &named(prefix, number));
    while FLIPS.iter().any(|(prefix, _)| raised(prefix) == 0) {
        assert!(ended.elapsed() < Duration::from_secs(120), "a flip that was due is not raised");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // What is still on its way arrives.
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(ending);
    (acted - ended, FLIPS.iter().map(|(prefix, _)| raised(prefix)).max().unwrap_or(0))
}

fn raises(proxy: &Proxy, name: &str) -> usize {
    written_as(proxy, StampKind::Raised, name).len()
}

/// The first write but the lease's that the API server took after a moment.
async fn act_after(proxy: &Proxy, moment: Instant) -> Instant {
    loop {
        let acts = proxy.when(|w| w.at >= moment && !w.path.contains("/leases"));
        if let Some(first) = acts.first() {
            return *first;
        }
        assert!(moment.elapsed() < Duration::from_secs(60), "nobody acts");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
