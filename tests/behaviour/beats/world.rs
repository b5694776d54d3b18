//! Servers, nodes and the time between them. A node is the library's own state; this file does what
//! `src/store/postgres/follow.rs` does around it.

mod node;

use std::collections::BTreeMap;

use super::{
    LEASE, MS,
    beat::{Beats, Read},
};

#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub seed: u64,
    pub nodes: usize,
    /// The longest usual delay of a message. One in twenty takes up to 20 times as long.
    pub delay: u64,
    /// Whether another server takes over, while connections to the old one go on.
    pub has_failover: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A beat with the number that was read counts as later.
    EqualNumber,
    /// A proof counts from when the read was answered.
    InstantOfTheAnswer,
    /// A number of one server proves something about another.
    AnyServer,
    /// A beat is heard before earlier changes.
    BeatOvertakes,
    /// After a gap, older entries are still trusted.
    ForgottenGap,
    /// No node beats in place of a holder that is silent.
    NobodyElseBeats,
    /// No node leaves a beat to another one.
    AllSend,
    /// A node asks although another one just has.
    DeafToAsks,
}

/// A node believed that it had heard every change from before `since`, but not this one.
#[derive(Debug)]
pub struct Wrong {
    _node: usize,
    _since: u64,
    _missed: u64,
}

#[derive(Debug, Default)]
pub struct Counts {
    pub looks: u64,
    pub unproven: u64,
    pub most_beats_in_a_second: usize,
    pub most_asks_in_a_second: usize,
}

pub struct World {
    run: Run,
    mistake: Option<Mistake>,
    random: u64,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    servers: Vec<Server>,
    nodes: Vec<Node>,
    beats: Vec<u64>,
    asks: Vec<u64>,
}

struct Server {
    number: i64,
    /// The commits, with their times.
    log: Vec<(u64, Entry)>,
    /// The node that holds the lock, by its session.
    holder: Option<(usize, u64)>,
    /// How many commits it has from the server before it.
    copied: usize,
}

#[derive(Clone, Copy)]
enum Entry {
    Change,
    Beat(i64),
    Ask,
}

#[allow(clippy::struct_excessive_bools, reason = "each is a state of its own")]
struct Node {
    beats: Beats,
    /// Which server its pool uses, and to which it connects.
    server: usize,
    session: Option<Session>,
    /// Grows with each connection. What was sent before is ignored.
    age: u64,
    is_reading: bool,
    is_beating: bool,
    is_stopped: bool,
    is_cut: bool,
    /// What waits for the node to continue, or for the network.
    held: Vec<Event>,
    proven: Option<u64>,
    /// Which server answered the read of each instant.
    answered: BTreeMap<u64, usize>,
    requested_at: u64,
    /// When its loop wakes up next. An earlier wake-up is one of the past.
    wakes_at: u64,
    /// How many commits it had heard when it lost its last session.
    heard_before: usize,
    was_faulty: bool,
}

#[derive(Clone, Copy)]
struct Session {
    server: usize,
    id: u64,
    /// The commits before this one were never sent to it.
    from: usize,
    sent: usize,
    heard: usize,
    last_arrival: u64,
}

#[derive(Clone, Copy)]
enum Event {
    Connect(usize),
    Wake(usize),
    Arrive { node: usize, session: u64, index: usize },
    Read { node: usize, age: u64, at: u64, server: usize, asks: bool },
    Answer { node: usize, age: u64, server: usize, read: Read },
    TakeNumber { node: usize, age: u64, server: usize, must_get: Option<i64> },
    Notify { node: usize, age: u64, server: usize, number: i64 },
    Sent { node: usize, age: u64, number: Option<i64> },
    EndSession { node: usize, session: u64 },
    Lost { node: usize, session: u64 },
    Commit,
    Fault,
    Continue(usize),
    FailOver,
    Move(usize),
    Look,
}

impl World {
    /// Runs with faults of any node.
    pub fn run(run: Run, mistake: Option<Mistake>) -> Result<Counts, Wrong> {
        let mut world = Self::new(run, mistake);
        for number in 1..12 {
            world.at(1000 * MS + number * 700 * MS, Event::Fault);
        }
        if run.has_failover {
            world.at(4000 * MS, Event::FailOver);
        }
        world.until(11_000 * MS, false)
    }

    /// Runs with faults of the holder only, and requests that need a proof.
    pub fn run_with_a_failing_holder(run: Run, mistake: Option<Mistake>) -> Result<Counts, Wrong> {
        let mut world = Self::new(run, mistake);
        for number in 1..4 {
            world.at(number * 5000 * MS, Event::Fault);
        }
        world.at(2000 * MS, Event::Look);
        world.until(20_000 * MS, true)
    }

    fn new(run: Run, mistake: Option<Mistake>) -> Self {
        let node = || Node {
            beats: Beats::new(LEASE, 0, 0),
            server: 0,
            session: None,
            age: 0,
            is_reading: false,
            is_beating: false,
            is_stopped: false,
            is_cut: false,
            held: Vec::new(),
            proven: None,
            answered: BTreeMap::new(),
            requested_at: 0,
            wakes_at: 0,
            heard_before: 0,
            was_faulty: false,
        };
        let server = Server { number: 1, log: Vec::new(), holder: None, copied: 0 };
        let nodes = (0..run.nodes).map(|_| node()).collect();
        let mut world = Self {
            run,
            mistake,
            random: run.seed ^ 0x9e37_79b9_7f4a_7c15,
            now: 0,
            events: BTreeMap::new(),
            sequence: 0,
            servers: vec![server],
            nodes,
            beats: Vec::new(),
            asks: Vec::new(),
        };
        for node in 0..run.nodes {
            let begin = world.below(300 * MS);
            world.at(begin, Event::Connect(node));
        }
        world.at(500 * MS, Event::Commit);
        world
    }

    fn until(mut self, end: u64, only_the_holder: bool) -> Result<Counts, Wrong> {
        let mut counts = Counts::default();
        while let Some(((time, _), event)) = self.events.pop_first()
            && time < end
        {
            self.now = time;
            match event {
                Event::Look => self.look(&mut counts),
                Event::Fault => self.fault(only_the_holder),
                event => self.handle(event)?,
            }
        }
        counts.most_beats_in_a_second = most_in_a_second(&self.beats);
        counts.most_asks_in_a_second = most_in_a_second(&self.asks);
        Ok(counts)
    }

    fn handle(&mut self, event: Event) -> Result<(), Wrong> {
        if let Some(node) = self.held_for(&event) {
            self.nodes[node].held.push(event);
            return Ok(());
        }
        match event {
            Event::Connect(node) => self.connect(node),
            Event::Wake(node) if self.now < self.nodes[node].wakes_at => {}
            Event::Wake(node) => self.step(node),
            Event::Arrive { node, session, index } => {
                if self.nodes[node].session.is_some_and(|open| open.id == session) {
                    self.hear(node, index)?;
                    self.step(node);
                }
            }
            Event::Read { node, age, at, server, asks } => {
                if asks {
                    self.asks.push(self.now);
                    self.commit(server, Entry::Ask);
                }
                let read = Read { at, number: self.servers[server].number, server: server as i64 };
                self.soon(Event::Answer { node, age, server, read });
            }
            Event::Answer { node, age, server, mut read } => {
                let now = self.now;
                let node_state = &mut self.nodes[node];
                if node_state.age == age {
                    match self.mistake {
                        Some(Mistake::InstantOfTheAnswer) => read.at = now,
                        Some(Mistake::AnyServer) => read.server = 0,
                        _ => {}
                    }
                    node_state.answered.insert(read.at, server);
                    node_state.is_reading = false;
                    node_state.beats.read(now, read);
                    self.step(node);
                }
            }
            Event::TakeNumber { node, age, server, must_get } => {
                self.servers[server].number += 1;
                let number = self.servers[server].number;
                if must_get.is_some_and(|expected| expected != number) {
                    self.soon(Event::Sent { node, age, number: None });
                    return Ok(());
                }
                self.soon(Event::Notify { node, age, server, number });
            }
            Event::Notify { node, age, server, number } => {
                self.beats.push(self.now);
                self.commit(server, Entry::Beat(number));
                self.soon(Event::Sent { node, age, number: Some(number) });
            }
            Event::Sent { node, age, number } => {
                if self.nodes[node].age == age {
                    self.nodes[node].is_beating = false;
                    self.nodes[node].beats.sent(number);
                    self.step(node);
                }
            }
            Event::EndSession { node, session } => {
                for server in &mut self.servers {
                    server.holder.take_if(|holder| *holder == (node, session));
                }
                self.soon(Event::Lost { node, session });
            }
            Event::Lost { node, session } => {
                if self.nodes[node].session.is_some_and(|open| open.id == session) {
                    self.lose(node);
                }
            }
            Event::Commit => {
                let newest = self.servers.len() - 1;
                self.commit(newest, Entry::Change);
                let pause = self.below(60 * MS);
                self.at(self.now + pause, Event::Commit);
            }
            Event::Continue(node) => {
                let state = &mut self.nodes[node];
                (state.is_stopped, state.is_cut) = (false, false);
                for event in std::mem::take(&mut state.held) {
                    self.at(self.now, event);
                }
                self.nodes[node].wakes_at = self.now;
                self.at(self.now, Event::Wake(node));
            }
            Event::FailOver => {
                let old = &self.servers[0];
                let new = Server { number: old.number, log: old.log.clone(), holder: None, copied: old.log.len() };
                self.servers.push(new);
                for node in 0..self.nodes.len() {
                    let moves = self.now + self.below(2000 * MS);
                    self.at(moves, Event::Move(node));
                }
            }
            Event::Move(node) => self.nodes[node].server = 1,
            Event::Look | Event::Fault => unreachable!(),
        }
        Ok(())
    }

    /// Returns the node that the event cannot reach, or that cannot send it.
    fn held_for(&self, event: &Event) -> Option<usize> {
        let (node, crosses_the_network) = match *event {
            Event::Wake(node) => (node, false),
            Event::Connect(node)
            | Event::Arrive { node, .. }
            | Event::Answer { node, .. }
            | Event::Sent { node, .. }
            | Event::Lost { node, .. } => (node, true),
            // It has left the node, and waits in the network.
            Event::Read { node, .. } | Event::TakeNumber { node, .. } => {
                return self.nodes[node].is_cut.then_some(node);
            }
            _ => return None,
        };
        let state = &self.nodes[node];
        (state.is_stopped || (crosses_the_network && state.is_cut)).then_some(node)
    }

    /// Looks at the proofs of all nodes that have had no fault. For a part of the time, requests
    /// need a proof on each node.
    fn look(&mut self, counts: &mut Counts) {
        let is_flood = self.now % (6000 * MS) < 2000 * MS;
        for node in 0..self.nodes.len() {
            let state = &mut self.nodes[node];
            if is_flood {
                state.requested_at = self.now;
                state.wakes_at = self.now;
                self.at(self.now, Event::Wake(node));
            }
            let state = &self.nodes[node];
            if !state.was_faulty {
                counts.looks += 1;
                counts.unproven += u64::from(state.proven.is_none_or(|since| since + LEASE <= self.now));
            }
        }
        self.at(self.now + 5 * MS, Event::Look);
    }

    // === time and chance ===

    fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((time, self.sequence), event);
    }

    fn soon(&mut self, event: Event) {
        let delay = self.delay();
        self.at(self.now + delay, event);
    }

    fn delay(&mut self) -> u64 {
        let is_late = self.run.delay > 20 * MS && self.below(20) == 0;
        self.below(self.run.delay) * if is_late { 20 } else { 1 }
    }

    /// Returns the random number of a wait.
    fn below(&mut self, most: u64) -> u64 {
        self.next_random() % most
    }

    /// `SplitMix64`.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn most_in_a_second(times: &[u64]) -> usize {
    let from = |start: &u64| times.iter().filter(|time| (*start..start + 1000 * MS).contains(*time)).count();
    times.iter().map(from).max().unwrap_or(0)
}
