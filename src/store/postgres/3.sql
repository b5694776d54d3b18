-- The author, the last change, the revocation and its reason; and the first id of the chain of
-- replacements.
alter table api_keys
    add column created_by      text,
    add column updated_at      bigint,
    add column revoked_at      bigint,
    add column revoked_by      text,
    add column reason          text,
    add column lineage         text collate "C",
    -- The expiry that was announced, so that each expiry is announced once.
    add column expiry_notified bigint,
    -- The expiry that has an event.
    add column expiry_recorded bigint;

-- The functions of versions 1 and 2, without the updates that caches ignore: usage, announcements,
-- and the new form of metadata, which migration 4 writes together with the lineage.
create or replace function api_keys_version() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if to_jsonb(old) - array['use_count', 'last_used_at', 'expiry_notified', 'expiry_recorded', 'lineage', 'metadata']
            is distinct from to_jsonb(new) - array['use_count', 'last_used_at', 'expiry_notified', 'expiry_recorded', 'lineage', 'metadata']
        or (old.metadata is distinct from new.metadata and not (old.lineage is null and new.lineage is not null)) then
        new.version := old.version + 1;
    end if;
    return new;
end
$$;

create or replace function api_keys_tell() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    nonce   text;
    channel text;
begin
    if tg_op = 'UPDATE' then
        if to_jsonb(old) - array['use_count', 'last_used_at', 'expiry_notified', 'expiry_recorded', 'lineage', 'metadata']
                is not distinct from to_jsonb(new) - array['use_count', 'last_used_at', 'expiry_notified', 'expiry_recorded', 'lineage', 'metadata']
            and (old.metadata is not distinct from new.metadata or (old.lineage is null and new.lineage is not null)) then
            return null;
        end if;
    end if;
    execute format('select nonce::text from %I.api_keys_schema where nonce is not null order by version limit 1', tg_table_schema)
        into nonce;
    foreach channel in array array['tower_api_key', 'tower_api_key_' || nonce] loop
        continue when channel is null;
        if tg_op = 'TRUNCATE' then
            perform pg_notify(channel, '*');
        end if;
        if tg_op in ('UPDATE', 'DELETE') then
            perform pg_notify(channel, encode(substr(old.digest, 1, 2), 'hex'));
        end if;
        if tg_op in ('INSERT', 'UPDATE') then
            perform pg_notify(channel, encode(substr(new.digest, 1, 2), 'hex'));
        end if;
    end loop;
    return null;
end
$$;
