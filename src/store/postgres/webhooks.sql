-- The endpoints of webhooks, and the deliveries that are not finished.
create table api_key_webhooks (
    endpoint   text    not null primary key,
    -- The last event that is queued for this endpoint.
    position   bigint  not null,
    is_enabled boolean not null default true
);

create table api_key_webhook_deliveries (
    endpoint  text    not null,
    event     bigint  not null references api_key_events (seq) on delete cascade,
    attempts  bigint  not null default 0,
    -- The time of the next attempt; null for a dead letter.
    next_at   bigint,
    queued_at bigint  not null,
    primary key (endpoint, event)
);

create index api_key_webhook_deliveries_due on api_key_webhook_deliveries (endpoint, next_at);
create index api_key_webhook_deliveries_of_event on api_key_webhook_deliveries (event);

-- The roles that may change keys, and so write events, send them.
do $$
declare
    writer text;
begin
    for writer in
        select distinct quote_ident(pg_get_userbyid(acl.grantee)) from pg_catalog.pg_class, aclexplode(relacl) as acl
        where pg_class.oid = to_regclass('api_keys') and acl.privilege_type in ('INSERT', 'UPDATE', 'DELETE')
            and acl.grantee not in (0, relowner)
    loop
        execute format('grant select, insert, update, delete on table api_key_webhooks to %s', writer);
        execute format('grant select, insert, update, delete on table api_key_webhook_deliveries to %s', writer);
    end loop;
end
$$;
