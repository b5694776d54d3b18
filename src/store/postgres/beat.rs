//! What one node knows of the beat that all nodes share, and when it must act. There is no I/O
//! here, no clock and no random number: `tests/behaviour/beats.rs` runs many nodes of this file
//! under virtual time.
//!
//! A beat is a notification with a number that is taken from a sequence. A node reads the newest
//! number at an instant of its own clock. When it hears a beat with a larger number, it has missed
//! nothing that was committed before that instant:
//!
//! - The sequence gave the larger number to a call that came after the read, and the beat was sent
//!   after that call. So the beat was committed after the read.
//! - Notifications arrive in the order of commits. So the changes from before the read have arrived
//!   before the beat.
//!
//! This holds for the beats of any node. One node, the holder of a lock, does. If it is silent,
//! each other node waits for a random time, and then takes a number, unless it hears a beat first.
//! The node that gets the next number sends a beat. It leads: it sends the next beats, too, until
//! it hears one of another node. A node that gets a later number knows that a beat is on its way.

use std::collections::VecDeque;

/// The state of a node. All instants and durations are in nanoseconds of its monotonic clock.
pub(super) struct Beats {
    lease: u64,
    /// The reads that no beat has confirmed, oldest first.
    reads: VecDeque<Read>,
    /// When the last read began.
    read_at: Option<u64>,
    /// How long the last read took.
    read_took: u64,
    /// Since when reads have failed.
    failing_since: Option<u64>,
    /// The newest proof.
    proven: u64,
    /// When the last beat was heard, or the channel was opened.
    heard_at: u64,
    /// The time between the last two beats.
    gap: u64,
    /// How long before the next beat a read begins, so that the proof is young when it arrives.
    ahead: u64,
    /// The largest number of a beat that was heard.
    heard: i64,
    /// The largest number that was heard or read.
    newest: i64,
    /// The number of the last beat of this node.
    own: Option<i64>,
    /// When the last wait for a beat began, or the last beat of this node, which leads.
    beat_at: u64,
    /// Whether this node has left a beat to another node, since it heard the last one.
    has_skipped: bool,
    /// Whether the last beat of this node, which leads, has not come back.
    is_out: bool,
    /// How long the last beat that came back took.
    beat_took: u64,
    /// The random part of the wait for a beat.
    wait: u64,
    is_holder: bool,
    /// Until then, the holder sends more beats, since a node has asked for them.
    asked_until: u64,
    /// When this node may ask again, if no other node does.
    ask_due: u64,
}

/// The newest number of a server's sequence, at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) at: u64,
    pub(super) number: i64,
    pub(super) server: i64,
}

/// What a beat means for the node that hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Everything that was committed before this instant has been heard.
    Proof(u64),
    Nothing,
    /// The beat comes from another server than the reads. So the changes may, too.
    OtherServer,
}

/// The shortest time between two beats of the holder, and between two reads of a node.
pub(super) const SHORTEST: u64 = 25_000_000;
/// How long the holder sends beats at that rate after a node has asked for one.
const ASKED_FOR: u64 = 1_000_000_000;
/// The shortest time without a beat after which a node connects again. This is safe: without a
/// proof, every key is looked up. Earlier, all nodes would connect again to a server that is late
/// because it is busy.
pub(super) const SILENCE_TIMEOUT: u64 = 3_000_000_000;
/// The most reads that wait for a beat.
const MAX_READS: usize = 16;

impl Beats {
    pub(super) fn new(lease: u64, now: u64, random: u64) -> Self {
        let mut beats = Self {
            lease,
            reads: VecDeque::new(),
            read_at: None,
            read_took: 0,
            failing_since: None,
            proven: 0,
            heard_at: now,
            gap: 0,
            ahead: 0,
            heard: 0,
            newest: 0,
            own: None,
            beat_at: now,
            has_skipped: false,
            is_out: false,
            beat_took: 0,
            wait: 0,
            is_holder: false,
            asked_until: 0,
            ask_due: 0,
        };
        beats.begin_wait(now, random);
        beats
    }

    /// Makes this node the holder. Its first beat is due at once.
    pub(super) fn hold(&mut self) {
        self.is_holder = true;
        self.beat_at = 0;
    }

    pub(super) fn is_holder(&self) -> bool {
        self.is_holder
    }

    /// Returns whether this node sends the beats: it is the holder, or has sent the newest one.
    fn leads(&self) -> bool {
        self.is_holder || self.own.is_some_and(|own| own >= self.heard)
    }

    // === reads ===

    /// Returns when the next read must begin, if requests wait for a proof of `requested_at` or
    /// later.
    ///
    /// Usually it begins just before every second beat, so that a proof is renewed when it is half
    /// a lease old. If a beat is late, it begins at once, so that the next beat is a proof.
    pub(super) fn read_due(&self, requested_at: u64) -> u64 {
        let Some(at) = self.read_at else { return 0 };
        if self.failing_since.is_some() {
            return at + self.quarter();
        }
        let due = if !self.reads.is_empty() {
            at + self.quarter() + self.quarter() / 2
        } else if self.heard_at + 2 * self.quarter() <= self.proven + self.lease / 8 * 5 {
            self.late_at()
        } else {
            // While beats are asked for, they come more often than reads.
            (self.heard_at + self.quarter() - self.ahead).min(self.proven + self.lease / 2)
        };
        // A slow server gets fewer reads. So does one whose beats are rare though they were asked
        // for: one beat confirms many reads.
        let waits_for_asked_beat = !self.reads.is_empty() && at < self.asked_until;
        let pause = if waits_for_asked_beat { SHORTEST.max(self.gap / 2) } else { SHORTEST };
        if requested_at > at { due.min(at + pause.max(8 * self.read_took)) } else { due }
    }

    /// Notes that a read begins. Returns whether it should also ask the holder for beats: if a
    /// request waits, and no node has asked lately. All nodes hear who asks.
    pub(super) fn begin_read(&mut self, now: u64, requested_at: u64, random: u64) -> bool {
        let is_requested = self.read_at.is_none_or(|at| requested_at > at);
        self.read_at = Some(now);
        let asks = is_requested && now >= self.ask_due;
        if asks {
            self.asked(now, random);
        }
        asks && !self.leads()
    }

    /// Notes the result of a read that began at `read.at`.
    pub(super) fn read(&mut self, now: u64, read: Read) {
        self.failing_since = None;
        self.read_took = now - read.at;
        if self.reads.len() == MAX_READS {
            self.reads.pop_back();
        }
        self.reads.push_back(read);
        self.newest = self.newest.max(read.number);
    }

    /// Notes that a read has failed. The next one begins after a pause.
    pub(super) fn read_failed(&mut self, now: u64) {
        self.failing_since.get_or_insert(now);
    }

    // === beats ===

    /// Notes that a node has asked for beats.
    pub(super) fn asked(&mut self, now: u64, random: u64) {
        self.asked_until = now + ASKED_FOR;
        self.ask_due = now + ASKED_FOR / 2 + skewed_wait(random, ASKED_FOR / 4);
    }

    /// Returns when this node must send a beat, if it hears none until then.
    pub(super) fn beat_due(&self) -> u64 {
        if self.has_skipped {
            return self.beat_at + self.lease / 16 + self.wait;
        }
        if !self.leads() {
            return self.late_at() + self.wait;
        }
        // The more nodes hear a beat, the longer it takes, and the rarer the beats become.
        let soon = self.beat_at + SHORTEST.max(16 * self.beat_took).min(self.quarter());
        if !self.is_out && soon <= self.asked_until { soon } else { self.beat_at + self.quarter() }
    }

    /// Notes that this node begins to send a beat. May return the number that it must get: if it
    /// gets a larger one, another node is sending already.
    pub(super) fn begin_beat(&mut self, now: u64, random: u64) -> Option<i64> {
        if self.leads() {
            (self.is_out, self.beat_at) = (true, now);
            return None;
        }
        self.begin_wait(now, random);
        (!self.has_skipped).then_some(self.newest.saturating_add(1))
    }

    /// Notes that this node has sent the beat with this number; `None` if it has left the beat to
    /// another node, or has failed to send it.
    pub(super) fn sent(&mut self, number: Option<i64>) {
        match number {
            Some(_) => (self.own, self.has_skipped) = (number, false),
            // Unless that beat has been heard meanwhile.
            None => self.has_skipped = self.heard_at < self.beat_at,
        }
    }

    /// Returns whether a beat is repeated, or was overtaken by a later one. It proves nothing more,
    /// and a stranger may have sent it again.
    pub(super) fn is_old(&self, number: i64) -> bool {
        number <= self.heard
    }

    /// Notes a beat of any node.
    pub(super) fn hear(&mut self, now: u64, number: i64, server: i64, random: u64) -> Heard {
        if self.is_old(number) {
            return Heard::Nothing;
        }
        if self.reads.iter().any(|read| read.server != server) {
            return Heard::OtherServer;
        }
        if self.is_out {
            (self.is_out, self.beat_took) = (false, now - self.beat_at);
        }
        self.gap = now - self.heard_at;
        (self.heard_at, self.has_skipped) = (now, false);
        self.heard = number;
        self.newest = self.newest.max(number);
        self.ahead = self.lease / 40 + (random & 0xffff) * (self.lease / 10 / 0x10000);
        if !self.leads() {
            self.begin_wait(now, random);
        }
        let Some(confirmed) = self.reads.iter().rposition(|read| number > read.number) else { return Heard::Nothing };
        self.proven = self.reads[confirmed].at;
        self.reads.drain(..=confirmed);
        Heard::Proof(self.proven)
    }

    /// Returns when the channel counts as lost, if no beat is heard or no read succeeds until then.
    /// Nodes that have heard the same beat give up at different times.
    pub(super) fn lost_at(&self) -> u64 {
        let since = self.failing_since.map_or(self.heard_at, |failing| failing.min(self.heard_at));
        since + self.lease.max(SILENCE_TIMEOUT) + 10 * self.ahead
    }

    /// Returns when the next beat is late: the holder sends one in a quarter of the lease.
    fn late_at(&self) -> u64 {
        self.heard_at + self.quarter() / 4 * 5
    }

    fn quarter(&self) -> u64 {
        self.lease / 4
    }

    /// Begins to wait for a beat of another node.
    fn begin_wait(&mut self, now: u64, random: u64) {
        self.beat_at = now;
        self.wait = skewed_wait(random, self.lease / 8);
    }
}

/// Returns a part of `most`. The later it is, the more of the random numbers give it, by a factor
/// of about 1,000 from the first to the last. So whether 3 nodes wait or 1,000, only a few of them
/// stop waiting before they hear from the first one (compare Nonnenmacher and Biersack, "Scalable
/// feedback for large groups", 1999).
pub(super) fn skewed_wait(random: u64, most: u64) -> u64 {
    // With u between 0 and 1: log2(1 + 1,023 u) / 10. The logarithm of an integer is exact to 1.
    let grown = (1 << 32) + (random >> 32) * 1023;
    let whole = grown.ilog2();
    // Between two powers of two, a straight line is near enough.
    let rest = (grown - (1 << whole)) >> (whole - 16);
    (most / 10 * u64::from(whole - 32)) + ((most / 10 * rest) >> 16)
}
