//! What all turns say together: goal 8, and a table.

use std::{array, fs, path::Path};

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
            let ([user, system], rate) = (self.user_and_system(variant), self.median_rate(variant));
            let latencies = self.latencies(variant);
            let latencies = PERCENTILES.map(|(_, per_mille)| format!("{:>7}", latencies.at(per_mille))).concat();
            println!("{:<18} {rate:>9.0} {user:>8.3} {system:>8.3} {:>16}{latencies}", variant.name(), "");
        }
        println!("\nagainst a no-op layer: CPU in all; CPU in user mode; requests per second");
        for variant in Variant::ALL.into_iter().filter(|&variant| variant != Variant::NoOp) {
            let ratios = [Self::cpu, Self::user, Self::rate].map(|ratio| ratio(self, variant).text()).join("   ");
            println!("{:<18} {ratios}", variant.name());
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
        let _ = Path::new(FILE).parent().map(fs::create_dir_all);
        Ok(fs::write(FILE, serde_json::to_string_pretty(&all)?)?)
    }

    fn goals(&self) -> [Goal; 2] {
        let [user, rate] = [Self::user, Self::rate].map(|ratio| ratio(self, Variant::Ours));
        [
            Goal { name: "user CPU per request, against a no-op layer", ratio: user, op: "≤", target: 1.15 },
            Goal { name: "requests per second, against a no-op layer", ratio: rate, op: "≥", target: 0.96 },
        ]
    }

    /// User CPU per request. The kernel only samples how much of a process's CPU is user CPU, a few hundred times a second, which is too coarse for
    /// one turn; the sum it knows to the nanosecond. Its own work is the same for both turns of a pair: so what one takes more than the other is
    /// counted as user CPU, and set beside the user CPU of the no-op over all its turns.
    fn user(&self, variant: Variant) -> Quartiles {
        let [no_op, _] = self.user_and_system(Variant::NoOp);
        self.against_no_op(variant, |turn, beside| (no_op + turn.cpu_us() - beside.cpu_us()) / no_op)
    }

    fn cpu(&self, variant: Variant) -> Quartiles {
        self.against_no_op(variant, |turn, beside| turn.cpu_us() / beside.cpu_us())
    }

    fn rate(&self, variant: Variant) -> Quartiles {
        self.against_no_op(variant, |turn, beside| turn.load.rate() / beside.load.rate())
    }

    fn against_no_op(&self, variant: Variant, ratio: impl Fn(&Turn, &Turn) -> f64) -> Quartiles {
        let pairs = self.0[variant as usize].iter().zip(&self.0[Variant::NoOp as usize]);
        Quartiles::of(pairs.map(|(turn, beside)| ratio(turn, beside)))
    }

    /// Microseconds per request, over all turns.
    fn user_and_system(&self, variant: Variant) -> [f64; 2] {
        let turns = &self.0[variant as usize];
        let requests: f64 = turns.iter().map(|turn| turn.load.requests).sum();
        [|turn: &Turn| turn.user_us, |turn: &Turn| turn.system_us]
            .map(|used| turns.iter().map(|turn| used(turn) * turn.load.requests).sum::<f64>() / requests)
    }

    fn median_rate(&self, variant: Variant) -> f64 {
        Quartiles::of(self.0[variant as usize].iter().map(|turn| turn.load.rate())).value
    }

    fn latencies(&self, variant: Variant) -> Latencies {
        let mut all = Latencies::default();
        for turn in &self.0[variant as usize] {
            all.merge(&turn.load.latencies);
        }
        all
    }

    fn json(&self, variant: Variant) -> Value {
        let [user, system] = self.user_and_system(variant);
        let latencies = self.latencies(variant);
        let latencies = PERCENTILES.map(|(name, per_mille)| (name.to_owned(), json!(latencies.at(per_mille))));
        json!({
            "name": variant.name(),
            "requests_per_second": self.median_rate(variant),
            "user_us": user,
            "system_us": system,
            "cpu_ratio": self.cpu(variant).value,
            "user_ratio": self.user(variant).value,
            "rate_ratio": self.rate(variant).value,
            "latency_us": serde_json::Map::from_iter(latencies),
        })
    }
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
            "goal": 8, "part": name, "value": value, "q1": q1, "q3": q3, "op": op, "target": target,
            "ok": self.is_met(),
        })
    }
}
