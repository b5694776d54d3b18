//! What was found: one line for each goal, a table of all items, and a file for the chart.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::spread::Spread;

/// All that was found so far.
#[derive(Default, Serialize, Deserialize)]
pub struct Report {
    pub goals: Vec<Goal>,
    pub peers: Vec<Peer>,
    pub tables: Vec<Table>,
    /// Whether goals are printed as they come.
    #[serde(skip)]
    is_live: bool,
}

/// A goal, or a part of one.
#[derive(Serialize, Deserialize)]
pub struct Goal {
    #[serde(rename = "goal")]
    pub number: u8,
    /// Which part of it, where it has several.
    pub part: String,
    pub value: f64,
    pub q1: f64,
    pub q3: f64,
    /// `≤` or `≥`.
    pub op: String,
    pub target: f64,
    pub ok: bool,
}

/// Another way to do the job, or a part of it.
#[derive(Serialize, Deserialize)]
pub struct Peer {
    pub name: String,
    /// For a check, or above the same service without it.
    pub ns: f64,
    /// How many times what ours takes.
    pub ratio: f64,
    /// `check`, or `layer`: what of ours it is compared with.
    pub compared_with: String,
}

/// The items of a group.
#[derive(Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    pub rows: Vec<Row>,
}

/// What was measured of one item.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub nanos: Quartiles,
    pub instructions: Option<f64>,
    pub allocations: Option<f64>,
}

/// A [`Spread`], to be written down.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Quartiles {
    pub q1: f64,
    pub median: f64,
    pub q3: f64,
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/goals.json");

// === impl Report ===

impl Report {
    /// One that prints each goal when it is known.
    pub fn live() -> Self {
        Self { is_live: true, ..Self::default() }
    }

    pub fn at_most(&mut self, goal: u8, part: impl Into<String>, target: f64, value: Spread) {
        self.add(Goal::new(goal, part.into(), value, "≤", target, value.median <= target));
    }

    pub fn at_least(&mut self, goal: u8, part: impl Into<String>, target: f64, value: Spread) {
        self.add(Goal::new(goal, part.into(), value, "≥", target, value.median >= target));
    }

    pub fn peer(&mut self, name: &str, ns: f64, ratio: f64, compared_with: &str) {
        self.peers.push(Peer { name: name.to_owned(), ns, ratio, compared_with: compared_with.to_owned() });
    }

    pub fn table(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// Takes what a child has found.
    pub fn take(&mut self, found: Self) {
        for goal in found.goals {
            self.add(goal);
        }
        self.peers.extend(found.peers);
        self.tables.extend(found.tables);
    }

    fn add(&mut self, goal: Goal) {
        if self.is_live {
            println!("{}", goal.line());
        }
        self.goals.push(goal);
    }

    /// Prints the rest. The file is written if nothing was left out.
    pub fn finish(&self, is_whole: bool) {
        for Peer { name, ns, ratio, compared_with } in &self.peers {
            println!("peer {name}: {ns:.0} ns ({ratio:.1} times ours)  {compared_with}");
        }
        for table in &self.tables {
            table.print();
        }
        let short = self.goals.iter().filter(|goal| !goal.ok).count();
        println!("\n{} goals, {short} short", self.goals.len());
        if is_whole {
            let json = serde_json::to_string_pretty(self).expect("numbers and texts");
            let _ = Path::new(FILE).parent().map(fs::create_dir_all);
            fs::write(FILE, json).expect("the file for the chart");
        }
    }
}

// === impl Goal ===

impl Goal {
    fn new(number: u8, part: String, spread: Spread, op: &str, target: f64, ok: bool) -> Self {
        let Spread { q1, median: value, q3 } = spread;
        Self { number, part, value, q1, q3, op: op.to_owned(), target, ok }
    }

    fn line(&self) -> String {
        let Self { number, part, value, q1, q3, op, target, ok } = self;
        let verdict = if *ok { "ok" } else { "short" };
        let line =
            format!("goal {number}: {value:.2} (target {op} {target:.2}) [{q1:.2} .. {q3:.2}] {verdict}  {part}");
        line.trim_end().to_owned()
    }
}

// === impl Table ===

impl Table {
    fn print(&self) {
        println!("\n{:<48} {:>10} {:>21} {:>12} {:>11}", self.title, "ns", "quartiles", "instructions", "allocations");
        for Row { name, nanos: Quartiles { q1, median, q3 }, instructions, allocations } in &self.rows {
            let instructions = instructions.map_or("-".to_owned(), |count| format!("{count:.1}"));
            let allocations = allocations.map_or("-".to_owned(), |count| format!("{count:.2}"));
            let quartiles = format!("{q1:.1} .. {q3:.1}");
            println!("{name:<48} {median:>10.1} {quartiles:>21} {instructions:>12} {allocations:>11}");
        }
    }
}

impl Row {
    /// What was timed, and not counted.
    pub fn timed(name: &str, nanos: Spread) -> Self {
        Self { name: name.to_owned(), nanos: nanos.into(), instructions: None, allocations: None }
    }
}

impl From<Spread> for Quartiles {
    fn from(Spread { q1, median, q3 }: Spread) -> Self {
        Self { q1, median, q3 }
    }
}
