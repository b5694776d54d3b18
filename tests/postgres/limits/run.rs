//! The nodes of one run, their database, and what the run has shown.

use std::{
    env,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::Instant};
use tower_api_key::{limit::Limits, store::PostgresStore};

use super::{
    PAID_KEY,
    admissions::{Admissions, Bound, times},
    ledger::Sums,
    node::{THREADS, plans},
    outages,
    process::{Process, served, wait},
    top_up_amount,
};
use crate::{
    cluster::{connect, with_synchronous_standby},
    database::{Postgres, Server},
    relay::Relay,
    support::until,
};

/// What the nodes of a run have in common.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    pub(super) rate: u64,
    pub(super) burst: u64,
    /// In milliseconds.
    pub(super) lease: u64,
    /// `Outage::Share`, in place of `Outage::Closed`.
    pub(super) shares: bool,
    pub(super) load: &'static str,
    /// What is admitted in the week of the run; 0 for a run without a quota.
    pub(super) quota: u64,
}

/// The plan of most runs: a lease adds as much as the burst.
pub(super) const PLAN: Plan =
    Plan { nodes: 2, rate: 200, burst: 200, lease: 1000, shares: false, load: "full", quota: 0 };

pub(super) struct Run {
    trouble: &'static str,
    plan: Plan,
    begin: Instant,
    /// The day of the week on which the run begins: 1 is Monday. A week of the quota begins then.
    weekday: u64,
    pub(super) nodes: Vec<Node>,
    /// The folders of all nodes, also of those that were killed.
    folders: Vec<PathBuf>,
    /// Nodes that were killed, and so have not ended normally.
    killed: usize,
    /// Whether a node was stopped.
    is_stopped: bool,
    primary: Postgres,
    standby: Option<Postgres>,
    database: Arc<Mutex<PgPool>>,
    poll: JoinHandle<()>,
    polls: Arc<Mutex<usize>>,
    folder: TempDir,
}

pub(super) struct Node {
    pub(super) process: Process,
    pub(super) relay: Relay,
}

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

impl Run {
    pub(super) async fn start(trouble: &'static str, plan: Plan) -> Self {
        Self::over(trouble, plan, Server::start(&[]).postgres, None).await
    }

    /// Starts a run over a primary with a synchronous standby.
    pub(super) async fn with_standby(trouble: &'static str, plan: Plan) -> Self {
        let (primary, standby) = with_synchronous_standby().await;
        Self::over(trouble, plan, primary, Some(standby)).await
    }

    async fn over(trouble: &'static str, plan: Plan, primary: Postgres, standby: Option<Postgres>) -> Self {
        let number = env::var("NODES").ok().filter(|_| plan.nodes == PLAN.nodes);
        let plan = Plan { nodes: number.map_or(plan.nodes, |number| number.parse().unwrap()), ..plan };
        PostgresStore::open(primary.url()).await.unwrap();
        let database = Arc::new(Mutex::new(connect(&primary).await));
        let polls = Arc::new(Mutex::new(0));
        let poll = tokio::spawn(poll(Arc::clone(&database), Arc::clone(&polls)));
        let mut run = Self {
            trouble,
            plan,
            begin: Instant::now(),
            // 1970-01-01 was a Thursday.
            weekday: (SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400 + 3) % 7 + 1,
            nodes: Vec::new(),
            folders: Vec::new(),
            killed: 0,
            is_stopped: false,
            primary,
            standby,
            database,
            poll,
            polls,
            folder: tempfile::tempdir().unwrap(),
        };
        for _ in 0..plan.nodes {
            run.add_node().await;
        }
        run
    }

    /// Starts one more node.
    pub(super) async fn add_node(&mut self) {
        let relay = Relay::start(self.primary.port).await;
        let Plan { nodes, rate, burst, lease, shares, load, quota } = self.plan;
        let setup: Value = json!({
            "url": relay.url("postgres"), "nodes": nodes, "rate": rate, "burst": burst, "lease": lease,
            "shares": shares, "load": load, "paid": PAID_KEY, "number": self.folders.len(),
            "quota": quota, "weekday": self.weekday,
        });
        let folder = self.folder.path().join(self.folders.len().to_string());
        self.folders.push(folder.clone());
        let process = tokio::task::spawn_blocking(move || Process::start(&folder, setup)).await.unwrap();
        self.nodes.push(Node { process, relay });
    }

    /// Kills the last node.
    pub(super) fn kill_node(&mut self) {
        self.nodes.pop().unwrap().process.kill();
        self.killed += 1;
    }

    /// Stops or continues the last node.
    pub(super) fn stop_node(&mut self, signal: &str) {
        self.is_stopped = true;
        self.last().process.signal(signal);
    }

    pub(super) fn last(&self) -> &Node {
        self.nodes.last().unwrap()
    }

    pub(super) fn kill_server(&mut self) {
        self.primary.kill();
    }

    pub(super) fn resume_server(&mut self) {
        self.primary.resume();
    }

    /// Makes the standby the primary.
    pub(super) async fn fail_over(&mut self) {
        self.primary.kill();
        let standby = self.standby.take().expect("a standby");
        standby.promote();
        for node in &self.nodes {
            node.relay.switch(standby.port);
        }
        *self.database.lock().unwrap() = connect(&standby).await;
        self.primary = standby;
    }

    /// Ends the server processes of the last node's connections.
    pub(super) async fn terminate(&self) {
        let terminate = "select pg_terminate_backend(pid) from pg_stat_activity where client_port = any ($1)";
        let database = self.database.lock().unwrap().clone();
        sqlx::query(terminate).bind(self.last().relay.ports()).execute(&database).await.unwrap();
    }

    /// Waits until every node admits requests of both kinds again.
    pub(super) async fn resumes(&self) {
        for name in if self.plan.load == "full" { &["rate", "paid"][..] } else { &["rate"] } {
            let before: Vec<_> = self.nodes.iter().map(|node| node.process.served(name)).collect();
            let more = async || {
                let mut nodes = self.nodes.iter().zip(&before);
                nodes.all(|(node, before)| node.process.served(name) >= before + 10)
            };
            until(more).await;
        }
    }

    /// Ends the nodes, checks what they have admitted and what the ledger says, and prints a line
    /// of each limit.
    pub(super) async fn end(mut self) {
        if self.plan.quota > 0 {
            until(async || self.served("quota") >= self.plan.quota).await;
            // What a node gives back or asks for again is used in this time.
            wait(self.plan.lease * 3 / 2).await;
        }
        self.nodes.iter_mut().for_each(|node| node.process.ask_to_end());
        let ended = self.nodes.iter_mut().map(|node| tokio::task::block_in_place(|| node.process.ended()));
        let made = ended.max().unwrap();
        self.poll.abort();
        if let Err(error) = (&mut self.poll).await {
            assert!(error.is_cancelled(), "the sum was wrong: {error}");
        }
        self.check_rate().await;
        if self.plan.load == "full" {
            self.check_credits(made).await;
        }
        if self.plan.quota > 0 {
            self.check_quota().await;
        }
        if self.plan.shares {
            self.check_shares();
        }
    }

    async fn check_rate(&self) {
        let folders = || self.folders.iter().map(PathBuf::as_path);
        let admissions = Admissions::of(folders(), "rate");
        let (first, last) = (admissions.0[0], *admissions.0.last().unwrap());
        // Each node adds its share of the rate while the store fails for it.
        let failed = outages::sum(folders().flat_map(outages::of), last) / self.plan.nodes as u64;
        let increment = SECOND / self.plan.rate;
        // Requests may be between their charge and the handler.
        let stopped = if self.is_stopped { THREADS as u64 } else { 0 };
        let bound = Bound {
            burst: self.plan.burst + stopped,
            increment,
            extra: self.plan.lease * 1_000_000 + if self.plan.shares { failed } else { 0 },
        };
        let limits = Limits::leased(plans(self.plan.rate, self.plan.burst), self.store().await);
        let limits = limits.lease(Duration::from_millis(self.plan.lease)).build().unwrap();
        for window in [SECOND, MINUTE] {
            let says = limits.bound("rate", Duration::from_nanos(window)).unwrap();
            assert!(self.plan.shares || bound.of(window) == says + stopped, "the bound is not what the crate says");
        }
        let violations = admissions.violations(bound);
        println!(
            "limit {}: admitted {} of bound {} in any second, {} of bound {} in any minute, violations {violations}; {} nodes, lease {} ms, {} % of the bound in any time, load of {:.1} s{}{}, {:.1} s in all",
            self.trouble,
            admissions.most_in(SECOND),
            bound.of(SECOND),
            admissions.most_in(MINUTE),
            bound.of(MINUTE),
            self.plan.nodes,
            self.plan.lease,
            admissions.fullest(bound),
            (last - first) as f64 / 1e9,
            if self.plan.shares {
                format!(", {:.1} s of outage for each node", failed as f64 / 1e9)
            } else {
                String::new()
            },
            if stopped > 0 { format!(", {stopped} of the bound for a stopped node") } else { String::new() },
            self.begin.elapsed().as_secs_f64(),
        );
        assert_eq!(violations, 0, "more requests were admitted than the bound");
        assert!(admissions.most_in(SECOND) as u64 > self.plan.rate / 2, "a load that shows nothing");
    }

    async fn check_quota(&self) {
        let times = Admissions::of(self.folders.iter().map(PathBuf::as_path), "quota").0;
        let (quota, admitted, time) = (self.plan.quota, times.len() as u64, times[times.len() - 1] - times[0]);
        let counted = "select used from api_key_meters where kind = 1";
        let counted: i64 = sqlx::query_scalar(counted).fetch_one(&self.primary_pool().await).await.unwrap();
        println!(
            "quota {}: admitted {admitted} of {quota}, violations {}; in {:.1} s, counted {counted}",
            self.trouble,
            admitted.saturating_sub(quota),
            time as f64 / 1e9,
        );
        assert!(admitted <= quota, "more requests were admitted than the quota has");
        assert_eq!(u64::try_from(counted).unwrap(), admitted, "what is counted at the end, when nothing is leased");
    }

    /// Checks the long outages of each node: when what it has leased is over, it admits its share,
    /// and nothing else.
    fn check_shares(&self) {
        let Plan { nodes, rate, lease, .. } = self.plan;
        let (increment, lease) = (SECOND * nodes as u64 / rate, lease * 1_000_000);
        let (mut all, mut of) = (0, 0);
        for (number, folder) in self.folders.iter().enumerate() {
            let times = times(&folder.join("rate"));
            for (from, to) in
                outages::of(folder).into_iter().filter(|(from, to)| (from + 2 * lease..u64::MAX).contains(to))
            {
                let admitted = times.iter().filter(|time| (from + lease..to).contains(time)).count() as u64;
                let bound = (to - from) / increment;
                println!(
                    "share {}: node {number} admitted {admitted} of {bound} in {:.1} s of outage, violations {}",
                    self.trouble,
                    (to - from) as f64 / 1e9,
                    admitted.saturating_sub(bound),
                );
                assert!(admitted <= bound, "more requests were admitted than the share of a node");
                all += admitted;
                of += bound;
            }
        }
        assert!(all > of / 4, "a load that shows nothing: {all} of {of}");
    }

    async fn check_credits(&self, made: u64) {
        let served = self.served("paid");
        let sums = Sums::of(PAID_KEY, &self.primary_pool().await).await.unwrap().unwrap();
        let served = i64::try_from(served).unwrap();
        let polls = *self.polls.lock().unwrap();
        println!(
            "credits {}: topped up {}, balance {}, spent {}, lost {}, leased {}, served {served}, sum right at {polls} looks, overspent {}",
            self.trouble,
            sums.topped_up,
            sums.available,
            sums.spent,
            sums.lost,
            sums.leased,
            (served - (sums.topped_up - sums.available)).max(0),
        );
        assert!(sums.is_right(), "{sums:?}");
        let paid: u64 = (0..made).map(top_up_amount).sum();
        assert_eq!(sums.topped_up, i64::try_from(paid).unwrap(), "{made} top-ups, each made by every node");
        assert!(served <= sums.topped_up - sums.available, "more requests were served than credits were spent");
        if self.killed == 0 {
            let at_rest = (sums.leased, sums.lost, sums.spent);
            assert_eq!(at_rest, (0, 0, served), "open leases, lost credits, and what was spent");
        }
        assert!(polls > 10, "only {polls} looks");
    }

    /// Returns how many requests of this kind have reached the handlers of all nodes.
    fn served(&self, name: &str) -> u64 {
        self.folders.iter().map(|folder: &PathBuf| served(folder, name)).sum()
    }

    async fn store(&self) -> PostgresStore {
        PostgresStore::connect(self.primary.url()).await.unwrap()
    }

    async fn primary_pool(&self) -> PgPool {
        connect(&self.primary).await
    }
}

/// Looks at the ledger some times a second.
async fn poll(database: Arc<Mutex<PgPool>>, polls: Arc<Mutex<usize>>) {
    loop {
        let pool = database.lock().unwrap().clone();
        // The server may be down.
        if let Ok(Some(sums)) = Sums::of(PAID_KEY, &pool).await {
            assert!(sums.is_right(), "{sums:?}");
            *polls.lock().unwrap() += 1;
        }
        wait(50).await;
    }
}
