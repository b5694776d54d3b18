//! Kills nodes that spend credits, at random moments: no credit is spent twice, and a kill loses at
//! most the node's lease, and one unit for each client, whose request was charged and not served.
//! `KILLS` says how often.

use std::{
    env,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::json;
use sqlx::PgConnection;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower_api_key::{
    KeyRecord,
    limit::{Limits, TopUpId},
};

use super::{
    ledger::{Sums, meter},
    node::{CLIENTS, plans},
    process::{Process, Random},
};
use crate::database::{Database, Server};

/// The number of kills of all victims.
const KILLS: u64 = 99;
/// As many nodes spend at the same time, each the credits of its own key.
const VICTIMS: u64 = 3;
/// A node lives for at most so many microseconds after its first request.
const LIFE: u64 = 30_000;
/// A lease is open for so long, in nanoseconds.
const DEADLINE: i64 = 30_000_000_000;

/// What the kills of one victim have shown.
#[derive(Clone, Copy, Debug, Default)]
struct Story {
    kills: u64,
    /// The kills that have lost something.
    losses: u64,
    topped_up: i64,
    available: i64,
    served: i64,
    lost: i64,
    /// The most that one kill has lost.
    most: i64,
    /// The largest loss in percent of the largest lease of the same life.
    percent: i64,
    largest_lease: i64,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgres"]
async fn a_killed_node_spends_no_credit_twice_and_loses_at_most_what_it_has_leased() {
    let begin = Instant::now();
    let kills = env::var("KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let server = Server::start(&[]);
    let database = Arc::new(server.database().await);
    database.store().await;
    let mut victims = JoinSet::new();
    for victim in 0..VICTIMS {
        victims.spawn(kill(Arc::clone(&database), victim, kills.div_ceil(VICTIMS)));
    }
    let stories = victims.join_all().await;
    let sum = |part: fn(&Story) -> i64| stories.iter().map(part).sum::<i64>();
    let max = |part: fn(&Story) -> i64| stories.iter().map(part).max().unwrap();
    println!(
        "credits killed: {} kills, {} with a loss: topped up {}, balance {}, served {}, lost {}, {} at most at once, {} % of a lease, largest lease {}, sum right after each, overspent 0; {:.1} s in all",
        stories.iter().map(|story| story.kills).sum::<u64>(),
        stories.iter().map(|story| story.losses).sum::<u64>(),
        sum(|story| story.topped_up),
        sum(|story| story.available),
        sum(|story| story.served),
        sum(|story| story.lost),
        max(|story| story.most),
        max(|story| story.percent),
        max(|story| story.largest_lease),
        begin.elapsed().as_secs_f64(),
    );
    for story in &stories {
        let most = i64::try_from(story.kills).unwrap() * story.largest_lease;
        assert!(story.lost <= most, "more than one lease for each kill: {story:?}");
    }
    assert!(sum(|story| story.served) > 0 && sum(|story| story.lost) > 0, "kills that show nothing");
}

async fn kill(database: Arc<Database>, victim: u64, kills: u64) -> Story {
    let folder = tempfile::tempdir().unwrap();
    let key = format!("victim-{victim}");
    let record = KeyRecord::new(&*key, [u8::try_from(victim).unwrap(); 32]).with_plan("credits");
    let limits = Limits::leased(plans(1, 1), database.store().await).build().unwrap();
    let setup = json!({
        "url": format!("{}?application_name={key}", database.url), "paid": key, "load": "spend",
        "nodes": VICTIMS, "rate": 1, "burst": 1, "lease": 1000, "shares": false,
        "quota": 0, "weekday": 1,
    });
    let mut session = database.session().await;
    let mut random = Random(0x5eed ^ victim << 32);
    let mut story = Story::default();
    for number in 0..kills {
        let (amount, id) = (if number == 0 { 20_000 } else { 1000 }, TopUpId::new(format!("{number}")).unwrap());
        let top_up = || limits.top_up(&record, "calls", amount, &id);
        let (one, other) = tokio::join!(top_up(), top_up());
        assert!(one.unwrap().is_new ^ other.unwrap().is_new, "a top-up counts once");

        let begin = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap();
        let (life, setup) = (folder.path().join(number.to_string()), setup.clone());
        let waits = random.below(4) > 0;
        let start = move || {
            let process = Process::start(&life, setup);
            if waits {
                process.wait_for("spends");
            }
            process
        };
        let mut process = tokio::task::spawn_blocking(start).await.unwrap();
        sleep(Duration::from_micros(random.below(LIFE))).await;
        process.kill();
        settled(&key, &mut session).await;

        let sums = Sums::of(&key, &mut session).await.unwrap().unwrap();
        assert!(sums.is_right(), "{sums:?}");
        let served = story.served + i64::try_from(process.served("paid")).unwrap();
        let lost = sums.topped_up - sums.available - served;
        let of_this = lost - story.lost;
        assert!(of_this >= 0, "{} credits were spent twice", -of_this);
        let lease = largest_lease(&key, begin, &mut session).await;
        assert!(
            of_this <= lease + i64::from(CLIENTS),
            "kill {number} of {key} has lost {of_this}, with leases of {lease} at most"
        );
        story = Story {
            kills: story.kills + 1,
            losses: story.losses + u64::from(of_this > 0),
            topped_up: sums.topped_up,
            available: sums.available,
            served,
            lost,
            most: story.most.max(of_this),
            percent: story.percent.max(of_this * 100 / lease.max(1)),
            largest_lease: story.largest_lease.max(lease),
        };
        std::fs::remove_dir_all(&process.folder).unwrap();
    }
    story
}

/// Waits until the server has finished what the killed node had sent.
async fn settled(key: &str, session: &mut PgConnection) {
    let left = "select count(*) from pg_stat_activity where application_name = $1";
    while sqlx::query_scalar::<_, i64>(left).bind(key).fetch_one(&mut *session).await.unwrap() > 0 {
        sleep(Duration::from_millis(2)).await;
    }
}

/// Returns the largest lease that was opened after this time.
async fn largest_lease(key: &str, begin: i64, session: &mut PgConnection) -> i64 {
    let largest = "select coalesce(max(granted), 0) from api_key_leases where meter = $1 and until >= $2";
    sqlx::query_scalar(largest).bind(meter(key)).bind(begin + DEADLINE).fetch_one(session).await.unwrap()
}
