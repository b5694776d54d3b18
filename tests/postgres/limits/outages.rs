//! Notes when the store of meters fails for a node, as its log says.

use std::{fmt, fs, fs::File, io::Write, path::Path};

use tracing::{Event, Subscriber, field::Field};
use tracing_subscriber::{Layer, layer::Context};

use super::node::Clock;

pub(super) struct Outages {
    pub(super) clock: Clock,
    pub(super) file: File,
}

#[derive(Default)]
struct Message(String);

impl tracing::field::Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: Subscriber> Layer<S> for Outages {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message::default();
        event.record(&mut message);
        if message.0.starts_with("the store of meters ") {
            let line = format!("{} {}\n", self.clock.now(), message.0);
            (&self.file).write_all(line.as_bytes()).unwrap();
        }
    }
}

/// Returns the times of the outages of a node, in nanoseconds. The last one may be open.
pub(super) fn of(folder: &Path) -> Vec<(u64, u64)> {
    let (mut all, mut since) = (Vec::new(), None);
    for line in fs::read_to_string(folder.join("outages")).unwrap().lines() {
        let (time, message) = line.split_once(' ').unwrap();
        let time: u64 = time.parse().unwrap();
        if message.contains("fails") {
            since = Some(time);
        } else {
            all.push((since.take().unwrap(), time));
        }
    }
    all.extend(since.map(|since| (since, u64::MAX)));
    all
}

/// Returns for how long these outages last until `end`.
pub(super) fn sum(outages: impl IntoIterator<Item = (u64, u64)>, end: u64) -> u64 {
    outages.into_iter().map(|(from, to)| to.min(end).saturating_sub(from)).sum()
}
