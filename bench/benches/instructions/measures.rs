//! What is held to the table: a call, what it is compared with, and how often it compresses.

use crate::{Result, counter::Counter};

pub struct Measure {
    pub name: &'static str,
    call: &'static str,
    beside: Option<&'static str>,
    compressions: u32,
}

pub const ALL: &[Measure] = &[
    Measure::new("hash", "hash", None, 1),
    Measure::new("verify", "authenticate", None, 1),
    Measure::new("verify, by X-API-Key", "authenticate by X-API-Key", None, 1),
    Measure::new("verify, a key of 71 bytes", "authenticate a long key", None, 2),
    Measure::new("layer", "layer", Some("bare"), 1),
    Measure::new("layer, extensions in use", "layer, extensions in use", Some("bare, extensions in use"), 1),
    Measure::new("limits, none of the key", "layer, limits for others", Some("layer"), 0),
    Measure::new("one rate", "layer, one rate", Some("layer"), 0),
    Measure::new("four limits", "layer, four limits", Some("layer"), 0),
    Measure::new("addresses, no list", "layer, a peer", Some("layer, a peer, no addresses"), 0),
    Measure::new("16 networks", "layer, 16 networks", Some("layer, a peer"), 0),
    Measure::new("rights, no owner", "layer, rights of others", Some("layer"), 0),
    Measure::new("cached rights", "layer, cached rights", Some("layer, an owner"), 0),
    Measure::new("a token in place of its key", "layer, a token", Some("layer"), 1),
    Measure::new("an observer", "layer, an observer", Some("layer"), 0),
    Measure::new("guard", "layer and guard", Some("layer"), 0),
    Measure::new("refuse: no key", "missing", Some("bare, without a key"), 0),
    Measure::new("refuse: another format", "foreign", Some("bare"), 0),
    Measure::new("refuse: unknown", "unknown", Some("bare"), 1),
    Measure::new("refuse: forbidden", "forbidden", Some("bare"), 1),
];

impl Measure {
    const fn new(name: &'static str, call: &'static str, beside: Option<&'static str>, compressions: u32) -> Self {
        Self { name, call, beside, compressions }
    }

    pub fn count(&self, counter: &mut Counter) -> Result<f64> {
        let beside = self.beside.map_or(Ok(0.0), |beside| counter.of(beside))?;
        let compressions = f64::from(self.compressions) * counter.of("compression")?;
        Ok(counter.of(self.call)? - beside - compressions)
    }
}
