-- The endpoints of webhooks, and the deliveries that are not finished.
create table api_key_webhooks (
    endpoint   text    not null primary key,
    -- The last event that is queued for this endpoint.
    position   integer not null,
    is_enabled integer not null default 1
) strict;

create table api_key_webhook_deliveries (
    endpoint  text    not null,
    event     integer not null references api_key_events (seq) on delete cascade,
    attempts  integer not null default 0,
    -- The time of the next attempt; null for a dead letter.
    next_at   integer,
    queued_at integer not null,
    primary key (endpoint, event)
) strict;

create index api_key_webhook_deliveries_due on api_key_webhook_deliveries (endpoint, next_at);
create index api_key_webhook_deliveries_of_event on api_key_webhook_deliveries (event);
