//! What a node does: the steps of `src/store/postgres/follow.rs`, with the checks of the model.

use super::{
    super::{
        LEASE, MS,
        beat::{Beats, Heard},
    },
    Entry, Event, Mistake, Session, World, Wrong,
};

impl World {
    pub(super) fn connect(&mut self, node: usize) {
        let (now, random, server) = (self.now, self.next_random(), self.nodes[node].server);
        let from = self.servers[server].log.len();
        let id = self.next_random();
        let state = &mut self.nodes[node];
        state.session = Some(Session { server, id, from, sent: from, heard: from, last_arrival: now });
        state.age += 1;
        (state.is_reading, state.is_beating) = (false, false);
        state.beats = Beats::new(LEASE, now, random);
        self.try_hold(node);
        self.step(node);
    }

    pub(super) fn try_hold(&mut self, node: usize) {
        let Some(session) = self.nodes[node].session else { return };
        let holder = &mut self.servers[session.server].holder;
        if holder.is_none() {
            *holder = Some((node, session.id));
            self.nodes[node].beats.hold();
        }
    }

    pub(super) fn lose(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        if let Some(session) = state.session.take() {
            state.heard_before = session.heard;
            state.age += 1;
            self.soon(Event::EndSession { node, session: session.id });
        }
        let pause = 50 * MS + self.below(100 * MS);
        self.at(self.now + pause, Event::Connect(node));
    }

    /// One turn of the loop of a node.
    pub(super) fn step(&mut self, node: usize) {
        let (now, random) = (self.now, self.next_random());
        let state = &mut self.nodes[node];
        if state.session.is_none() {
            return;
        }
        if now >= state.beats.lost_at() {
            self.lose(node);
            return;
        }
        let (age, server) = (state.age, state.server);
        if !state.is_reading && now >= state.beats.read_due(state.requested_at) {
            let asks = state.beats.begin_read(now, state.requested_at, random);
            state.is_reading = true;
            self.soon(Event::Read { node, age, at: now, server, asks });
        }
        let state = &mut self.nodes[node];
        let may_beat = state.beats.is_holder() || self.mistake != Some(Mistake::NobodyElseBeats);
        if may_beat && !state.is_beating && now >= state.beats.beat_due() {
            if !state.beats.is_holder() {
                self.try_hold(node);
            }
            let state = &mut self.nodes[node];
            let must_get = state.beats.begin_beat(now, random);
            let must_get = must_get.filter(|_| self.mistake != Some(Mistake::AllSend));
            state.is_beating = true;
            self.soon(Event::TakeNumber { node, age, server, must_get });
        }
        let state = &mut self.nodes[node];
        let reads = if state.is_reading { u64::MAX } else { state.beats.read_due(state.requested_at) };
        let beats = if state.is_beating || !may_beat { u64::MAX } else { state.beats.beat_due() };
        state.wakes_at = reads.min(beats).min(state.beats.lost_at()).max(now + MS / 10);
        let wakes_at = state.wakes_at;
        self.at(wakes_at, Event::Wake(node));
    }

    pub(super) fn hear(&mut self, node: usize, index: usize) -> Result<(), Wrong> {
        let (now, random) = (self.now, self.next_random());
        let Some(mut session) = self.nodes[node].session else { return Ok(()) };
        let entry = self.servers[session.server].log[index].1;
        let overtakes = self.mistake == Some(Mistake::BeatOvertakes);
        if !overtakes || !matches!(entry, Entry::Beat(_)) {
            assert!(overtakes || index == session.heard, "in the order of commits");
            session.heard = index + 1;
        }
        let state = &mut self.nodes[node];
        state.session = Some(session);
        match entry {
            Entry::Change => {}
            Entry::Ask if self.mistake == Some(Mistake::DeafToAsks) => {}
            Entry::Ask => state.beats.asked(now, random),
            Entry::Beat(mut number) => {
                let mut server = session.server;
                match self.mistake {
                    Some(Mistake::EqualNumber) => number += 1,
                    Some(Mistake::AnyServer) => server = 0,
                    _ => {}
                }
                match state.beats.hear(now, number, server as i64, random) {
                    Heard::Proof(since) => {
                        state.proven = Some(since);
                        self.check(node, session, since)?;
                    }
                    Heard::Nothing => {}
                    Heard::OtherServer => self.lose(node),
                }
            }
        }
        Ok(())
    }

    /// Checks that the node has heard every change from before `since`, on the server that answered
    /// its read.
    pub(super) fn check(&self, node: usize, session: Session, since: u64) -> Result<(), Wrong> {
        let state = &self.nodes[node];
        let server = state.answered[&since];
        let log = &self.servers[server].log;
        let is_one_server = session.server == server;
        let heard = if is_one_server { session.heard } else { session.heard.min(self.servers[server].copied) };
        let missed = |entries: &[(u64, Entry)]| {
            entries.iter().find(|(at, entry)| *at < since && matches!(entry, Entry::Change)).map(|(at, _)| *at)
        };
        // The first proof after a gap invalidates all that was known before it.
        let in_gap = (self.mistake == Some(Mistake::ForgottenGap))
            .then(|| missed(log.get(state.heard_before..session.from).unwrap_or_default()))
            .flatten();
        match missed(&log[heard.min(log.len())..]).or(in_gap) {
            Some(missed) => Err(Wrong { _node: node, _since: since, _missed: missed }),
            None => Ok(()),
        }
    }

    /// Commits, and sends the notification to every session of the server.
    pub(super) fn commit(&mut self, server: usize, entry: Entry) {
        let now = self.now;
        self.servers[server].log.push((now, entry));
        let index = self.servers[server].log.len() - 1;
        for node in 0..self.nodes.len() {
            let delay = self.delay();
            let Some(session) = &mut self.nodes[node].session else { continue };
            if session.server != server || session.sent > index {
                continue;
            }
            session.sent = index + 1;
            let (id, mut arrives) = (session.id, now + delay);
            let overtakes = self.mistake == Some(Mistake::BeatOvertakes) && matches!(entry, Entry::Beat(_));
            if !overtakes {
                arrives = arrives.max(session.last_arrival);
                session.last_arrival = arrives;
            }
            self.at(arrives, Event::Arrive { node, session: id, index });
        }
    }

    pub(super) fn fault(&mut self, only_the_holder: bool) {
        let holder = self.servers.last().and_then(|server| server.holder).map(|(node, _)| node);
        let any = self.below(self.nodes.len() as u64) as usize;
        let node = if only_the_holder || self.below(2) == 0 { holder.unwrap_or(any) } else { any };
        let ends = self.now + 200 * MS + self.below(2500 * MS);
        let kind = self.below(4);
        let state = &mut self.nodes[node];
        state.was_faulty = true;
        match (kind, state.session) {
            (0, Some(session)) => self.soon(Event::EndSession { node, session: session.id }),
            // The lock passes to another node while this one is stopped: then two are holders.
            (1, Some(session)) => {
                state.is_stopped = true;
                self.soon(Event::EndSession { node, session: session.id });
                self.at(ends, Event::Continue(node));
            }
            (2, _) => {
                state.is_cut = true;
                self.at(ends, Event::Continue(node));
            }
            _ => {
                state.is_stopped = true;
                self.at(ends, Event::Continue(node));
            }
        }
    }
}
