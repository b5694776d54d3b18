//! `rotate` and `regenerate`: replace a key.

use std::time::{Duration, SystemTime};

use clap::Args;
use tower_api_key::manage::Rotation;

use crate::{args::Global, exit::Failure, input, interrupt::Protection, output, session::Session, show, when};

/// A replacement with a grace period.
#[derive(Args, Debug)]
pub(crate) struct RotateArgs {
    /// The id of the key.
    id: String,
    /// How long both keys work, such as 7d.
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = when::duration)]
    grace: Duration,
    /// When the new key stops working. The default is the expiry of the old one.
    #[arg(long, value_name = "WHEN", value_parser = when::time)]
    expires: Option<SystemTime>,
}

/// A replacement at once.
#[derive(Args, Debug)]
pub(crate) struct RegenerateArgs {
    /// The id of the key.
    id: String,
}

pub(crate) async fn rotate(args: &RotateArgs, session: &Session, global: &Global) -> Result<(), Failure> {
    let record = session.key(&args.id).await?;
    let rotation = Rotation::grace_period(args.grace).at_version(record.version());
    let rotation = args.expires.iter().fold(rotation, |rotation, time| rotation.expires_at(*time));
    let _protection = Protection::new();
    let actor = session.operator.owner_of(&record);
    let issued = session.manager.rotate(&actor, args.id.as_str(), rotation).await?;
    output::issued(&issued, global.json)
}

pub(crate) async fn regenerate(args: &RegenerateArgs, session: &Session, global: &Global) -> Result<(), Failure> {
    let record = session.key(&args.id).await?;
    input::confirm(&format!("Replace {}? The old key stops working at once.", show::summary(&record)), global.yes)?;
    let _protection = Protection::new();
    let actor = session.operator.owner_of(&record);
    let issued = session.manager.regenerate(&actor, args.id.as_str()).await?;
    output::issued(&issued, global.json)
}
