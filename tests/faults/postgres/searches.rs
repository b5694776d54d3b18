//! S2: what a search reads, with any statistics of the server.

use tower_api_key::{
    KeyRegistry,
    store::{KeyFilter, KeyOrder},
};

use super::fill;
use crate::postgres_server::Server;

/// Searches, and the index that each reads.
fn searches() -> Vec<(KeyFilter, &'static str)> {
    let big = || KeyFilter::organization("big").limit(20);
    let all = || KeyFilter::all_organizations().limit(20);
    let far = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 33);
    vec![
        (big().ordered(KeyOrder::Expiry), "api_keys_search_expiry"),
        (big().ordered(KeyOrder::Expiry).expires_before(far), "api_keys_search_expiry"),
        (all().ordered(KeyOrder::Expiry), "api_keys_search_expiry_everywhere"),
        (big().ordered(KeyOrder::Name).name_prefix("name 1"), "api_keys_search_name"),
        (big().ordered(KeyOrder::Name).name_contains("1").environment("live"), "api_keys_search_name"),
        (all().ordered(KeyOrder::Name).name_prefix("name 1"), "api_keys_search_name_everywhere"),
        (big().lineage("big-00000500"), "api_keys_search_lineage"),
        (all().lineage("big-00000500").with_revoked(), "api_keys_search_lineage"),
        (all(), "api_keys_pkey"),
        (all().ordered(KeyOrder::Oldest).with_revoked(), "api_keys_pkey"),
        (all().name_contains("nowhere").never_used(), "api_keys_pkey"),
        (big().name_prefix("nowhere").metadata("team", "links").mask("x"), "api_keys_list"),
        (big().created_by(tower_api_key::Author::System).with_revoked(), "api_keys_list"),
        (big().ordered(KeyOrder::Oldest).environment("live").never_used(), "api_keys_list_of_environment"),
    ]
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn s02_a_search_reads_a_bounded_part_of_one_index_and_sorts_nothing() {
    let server = Server::start(&[
        "session_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
        "auto_explain.log_analyze=on",
        "auto_explain.log_timing=off",
        "autovacuum=off",
        "log_line_prefix='<%a> '",
    ]);
    let database = server.database().await;
    let store = database.store().await;
    let kind = "'active' as status, 'bot' as owner_type, null::text as user_id, 'live' as environment";
    fill(&database, "small", 100, kind).await;
    database.sql("analyze api_keys").await;
    fill(&database, "big", 5000, kind).await;
    let columns = "set session_replication_role = replica; update api_keys set lineage = id, name = 'name ' || id,
        expires_at = ('x' || substr(md5(id), 1, 8))::bit(32)::bigint * 1000000";
    for prepare in [columns, "analyze api_keys"] {
        database.sql(prepare).await;
        for (filter, index) in searches() {
            let before = server.postgres.log().len();
            for _ in 0..8 {
                let page = store.search(&filter).await.unwrap();
                assert!(page.records.iter().all(|record| filter.matches(record)), "{filter:?}");
            }
            let log = server.postgres.log().split_off(before);
            let plans = log.split("\n<").filter(|line| line.starts_with("tower-api-key>") && line.contains(" plan:"));
            let plans: Vec<_> = plans.collect();
            assert!(plans.len() >= 7, "{filter:?}: {log}");
            for plan in plans {
                assert!(
                    !["Sort  (", "Seq Scan", "Bitmap"].iter().any(|node| plan.contains(node)),
                    "{filter:?}: {plan}"
                );
                let used = plan.split("using api_keys").skip(1).map(|rest| rest.split(' ').next().unwrap());
                assert!(
                    used.clone().count() > 0 && used.clone().all(|used| format!("api_keys{used}") == index),
                    "{filter:?}: {plan}"
                );
                let counts = ["(actual rows=", "Rows Removed by Filter: "].map(|what| plan.split(what).skip(1));
                let digits =
                    |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<u32>().unwrap();
                assert!(counts.into_iter().flatten().map(digits).max().unwrap() <= 100, "{filter:?}: {plan}");
            }
        }
    }
}
