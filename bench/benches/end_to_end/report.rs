//! What all turns say together: goal 8, and a table.

use std::{array, fs};

use serde_json::{Value, json};

use crate::{Result, latency::Latencies, server::Turn, variants::Variant};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/end_to_end.json");
const PERCENTILES: [(&str, u64); 5] = [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999), ("max", 1000)];

/// The turns of each variant, in the order of [`Variant::ALL`]; those at one place are of one round.
#[derive(Default)]
pub struct Report([Vec<Turn>; Variant::ALL.len()]);

/// The median, and the quartiles around it.
struct Quartiles {
    q1: f64,
    value: f64,
    q3: f64,
}

struct Goal {
    name: &'static str,
    ratio: Quartiles,
    op: &'static str,
    target: f64,
}

impl Report {
    pub fn add(&mut self, variant: Variant, turn: Turn) {
        self.0[variant as usize].push(turn);
    }

    pub fn print(&self) {
        println!(
            "\n{:<18} {:>9} {:>8} {:>8}   latency in µs {}",
            "",
            "requests",
            "user",
            "system",
            PERCENTILES.map(|(name, _)| format!("{name:>7}")).concat()
        );
        println!("{:<18} {:>9} {:>8} {:>8}", "", "/s", "µs each", "µs each");
        for variant in Variant::ALL {
            let [rate, user, system] = self.medians(variant);
            let latencies = self.latencies(variant);
            let latencies = PERCENTILES.map(|(_, per_mille)| format!("{:>7}", latencies.at(per_mille))).concat();
            println!("{:<18} {rate:>9.0} {user:>8.3} {system:>8.3} {:>16}{latencies}", variant.name(), "");
        }
        println!();
        for variant in Variant::ALL.into_iter().filter(|&variant| variant != Variant::NoOp) {
            let (user, rate) = (self.against_no_op(variant, user), self.against_no_op(variant, rate));
            let all = self.against_no_op(variant, |turn| turn.user_us + turn.system_us);
            println!(
                "{:<18} user CPU {}  user and system CPU {}  requests per second {}   of a no-op layer",
                variant.name(),
                user.text(),
                all.text(),
                rate.text()
            );
        }
        println!();
        for goal in self.goals() {
            println!("{}", goal.line());
        }
    }

    /// For the chart.
    pub fn write(&self) -> Result<()> {
        let goals: Vec<Value> = self.goals().iter().map(Goal::json).collect();
        let variants: Vec<Value> = Variant::ALL.into_iter().map(|variant| self.json(variant)).collect();
        let all = json!({ "goals": goals, "variants": variants });
        Ok(fs::write(FILE, serde_json::to_string_pretty(&all)?)?)
    }

    fn goals(&self) -> [Goal; 2] {
        let ratio = |what| self.against_no_op(Variant::Ours, what);
        [
            Goal { name: "user CPU per request, against a no-op layer", ratio: ratio(user), op: "≤", target: 1.03 },
            Goal { name: "requests per second, against a no-op layer", ratio: ratio(rate), op: "≥", target: 0.97 },
        ]
    }

    fn against_no_op(&self, variant: Variant, what: fn(&Turn) -> f64) -> Quartiles {
        let pairs = self.0[variant as usize].iter().zip(&self.0[Variant::NoOp as usize]);
        Quartiles::of(pairs.map(|(turn, no_op)| what(turn) / what(no_op)))
    }

    fn medians(&self, variant: Variant) -> [f64; 3] {
        [rate, user, system].map(|what| Quartiles::of(self.0[variant as usize].iter().map(what)).value)
    }

    fn latencies(&self, variant: Variant) -> Latencies {
        let mut all = Latencies::default();
        for turn in &self.0[variant as usize] {
            all.merge(&turn.load.latencies);
        }
        all
    }

    fn json(&self, variant: Variant) -> Value {
        let [rate, user, system] = self.medians(variant);
        let latencies = self.latencies(variant);
        let latencies = PERCENTILES.map(|(name, per_mille)| (name.to_owned(), json!(latencies.at(per_mille))));
        json!({
            "name": variant.name(),
            "requests_per_second": rate,
            "user_us": user,
            "system_us": system,
            "user_ratio": self.against_no_op(variant, self::user).value,
            "rate_ratio": self.against_no_op(variant, self::rate).value,
            "latency_us": serde_json::Map::from_iter(latencies),
        })
    }
}

fn rate(turn: &Turn) -> f64 {
    turn.load.requests / turn.load.seconds
}

fn user(turn: &Turn) -> f64 {
    turn.user_us
}

fn system(turn: &Turn) -> f64 {
    turn.system_us
}

impl Quartiles {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let [q1, value, q3] = array::from_fn(|quarter| values[(quarter + 1) * (values.len() - 1) / 4]);
        Self { q1, value, q3 }
    }

    fn text(&self) -> String {
        format!("{:.3} [{:.3} .. {:.3}]", self.value, self.q1, self.q3)
    }
}

impl Goal {
    fn is_met(&self) -> bool {
        if self.op == "≤" { self.ratio.value <= self.target } else { self.ratio.value >= self.target }
    }

    fn line(&self) -> String {
        let Self { name, ratio: Quartiles { q1, value, q3 }, op, target } = self;
        let met = if self.is_met() { "ok" } else { "short" };
        format!("goal 8: {value:.3} (target {op} {target:.2}) [{q1:.3} .. {q3:.3}] {met:<5}  {name}")
    }

    fn json(&self) -> Value {
        let Self { name, ratio: Quartiles { q1, value, q3 }, op, target } = self;
        json!({
            "goal": 8, "name": name, "value": value, "q1": q1, "q3": q3, "op": op, "target": target,
            "ok": self.is_met(),
        })
    }
}
