-- Times are microseconds since 1970. Keys are stored as digests only, never as plain text.
create table api_keys (
    id            text    collate "C" primary key,
    digest        bytea   not null unique check (length(digest) = 32),
    version       bigint  not null,
    status        text    not null check (status in ('active', 'disabled', 'revoked')),
    owner_type    text    check (owner_type in ('user', 'bot')),
    user_id       text    collate "C" check ((user_id is not null) = (owner_type is not distinct from 'user')),
    organization  text    collate "C",
    environment   text    collate "C",
    name          text,
    mask          text,
    permissions   jsonb   not null,
    wildcards     boolean not null,
    metadata      jsonb   not null,
    created_at    bigint,
    not_before    bigint,
    expires_at    bigint,
    replaces      text,
    replaced_by   text,
    last_used_at  bigint,
    use_count     bigint  not null
);

create index api_keys_by_owner on api_keys (organization, owner_type, user_id, id);
create index api_keys_that_count on api_keys (organization, owner_type, user_id)
    where status <> 'revoked' and replaced_by is null;
create index api_keys_by_organization on api_keys (organization, id);

-- Every change of a key notifies in its own transaction: two bytes of the digest, or * for all
-- keys.
create function api_keys_tell() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'TRUNCATE' then
        perform pg_notify('tower_api_key', '*');
    end if;
    if tg_op in ('UPDATE', 'DELETE') then
        perform pg_notify('tower_api_key', encode(substr(old.digest, 1, 2), 'hex'));
    end if;
    if tg_op in ('INSERT', 'UPDATE') then
        perform pg_notify('tower_api_key', encode(substr(new.digest, 1, 2), 'hex'));
    end if;
    return null;
end
$$;

create trigger api_keys_tell after insert or delete on api_keys for each row execute function api_keys_tell();

-- Notifies of every update by any client, unless it changes only the two usage columns: caches
-- ignore them.
create trigger api_keys_tell_change after update on api_keys for each row
    when (to_jsonb(old) - 'use_count' - 'last_used_at' is distinct from to_jsonb(new) - 'use_count' - 'last_used_at')
    execute function api_keys_tell();

create trigger api_keys_tell_all after truncate on api_keys for each statement execute function api_keys_tell();

-- Increments the version for manual SQL changes, so that an edit based on an earlier read fails
-- with a version conflict.
create function api_keys_version() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    new.version := old.version + 1;
    return new;
end
$$;

create trigger api_keys_version before update on api_keys for each row
    when (old.version = new.version
        and to_jsonb(old) - 'use_count' - 'last_used_at' is distinct from to_jsonb(new) - 'use_count' - 'last_used_at')
    execute function api_keys_version();

-- These triggers also fire in a replication session, in which other triggers do not.
alter table api_keys enable always trigger api_keys_tell;
alter table api_keys enable always trigger api_keys_tell_change;
alter table api_keys enable always trigger api_keys_tell_all;
alter table api_keys enable always trigger api_keys_version;
