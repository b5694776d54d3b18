-- One row for each change of a key, written in the transaction of the change.
create table api_key_events (
    seq          bigint generated always as identity primary key,
    -- The order for consumers. A reader sets it after the commit: transactions do not commit in the
    -- order of seq.
    position     bigint unique,
    id           text   not null default gen_random_uuid()::text unique,
    txid         xid8   not null default pg_current_xact_id(),
    at           bigint not null,
    kind         text   not null,
    key_id       text   collate "C" not null,
    version      bigint not null,
    organization text   collate "C",
    environment  text   collate "C",
    author       text   not null,
    reason       text,
    request_id   text,
    address      text,
    replacement  text,
    -- The changed columns only, never the digest.
    before       jsonb,
    after        jsonb
);

create sequence api_key_events_position;

create index api_key_events_unplaced on api_key_events (seq) where position is null;
create index api_key_events_of_key on api_key_events (key_id, seq);
create index api_key_events_of_organization on api_key_events (organization, seq);
create index api_key_events_by_time on api_key_events (at);

-- Writes the events of changes that another program makes. The library writes its own event before
-- it changes or deletes a row, so the newest event of the key is then of this transaction. After an
-- insert, the library replaces the event that this function wrote.
create function api_key_events_note() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    columns  text[] := array['name', 'status', 'permissions', 'wildcards', 'metadata', 'not_before', 'expires_at',
                             'replaces', 'replaced_by'];
    insertion text := 'insert into %I.api_key_events (at, kind, key_id, version, organization, environment, author,
                            replacement, before, after)
                       select $1, $2, $3, $4, $5, $6, ''system'', $7, $8, $9';
    now      bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
    old_row  jsonb;
    new_row  jsonb;
    kind     text;
    changed  text[];
    is_noted boolean;
begin
    if tg_op = 'TRUNCATE' then
        execute format('insert into %I.api_key_events (at, kind, key_id, version, organization, environment, author, before)
            select $1, ''removed'', id, version, organization, environment, ''system'',
                (select jsonb_object_agg(key, value) from jsonb_each(to_jsonb(keys))
                    where key = any($2) and value <> ''null'')
            from %I.api_keys as keys', tg_table_schema, tg_table_schema) using now, columns;
        return null;
    end if;
    old_row := case when tg_op <> 'INSERT' then to_jsonb(old) end;
    new_row := case when tg_op <> 'DELETE' then to_jsonb(new) end;
    if tg_op <> 'INSERT' then
        execute format('select txid = pg_current_xact_id() and version = $1 and (kind = ''removed'') = $2
            from %I.api_key_events where key_id = $3 order by seq desc limit 1', tg_table_schema)
            into is_noted
            using (coalesce(new_row, old_row) ->> 'version')::bigint, tg_op = 'DELETE', old_row ->> 'id';
        if is_noted then
            return null;
        end if;
    end if;
    kind := case
        when tg_op = 'INSERT' then 'issued'
        when tg_op = 'DELETE' then 'removed'
        when old_row -> 'replaced_by' = 'null' and new_row -> 'replaced_by' <> 'null'
            then case new_row ->> 'status' when 'revoked' then 'regenerated' else 'rotated' end
        when old_row -> 'status' <> new_row -> 'status'
            then case new_row ->> 'status' when 'active' then 'enabled' else new_row ->> 'status' end
        when old_row -> 'digest' <> new_row -> 'digest' then 'rehashed'
        else 'edited'
    end;
    -- A set of permissions is both of its columns.
    select array_agg(name) into changed from unnest(columns) as name
        where old_row -> name is distinct from new_row -> name
            or (name in ('permissions', 'wildcards')
                and (old_row -> 'permissions' is distinct from new_row -> 'permissions'
                    or old_row -> 'wildcards' is distinct from new_row -> 'wildcards'));
    execute format(insertion, tg_table_schema) using
        now, kind, coalesce(new_row, old_row) ->> 'id', (coalesce(new_row, old_row) ->> 'version')::bigint,
        coalesce(new_row, old_row) ->> 'organization', coalesce(new_row, old_row) ->> 'environment',
        case when kind in ('rotated', 'regenerated') then new_row ->> 'replaced_by' end,
        (select jsonb_object_agg(key, value) from jsonb_each(old_row) where key = any(changed) and value <> 'null'),
        (select jsonb_object_agg(key, value) from jsonb_each(new_row) where key = any(changed) and value <> 'null');
    return null;
end
$$;

-- Without this line, any role could attach the function to its own table and write events.
revoke execute on function api_key_events_note() from public;

create trigger api_key_events_row after insert or delete on api_keys for each row execute function api_key_events_note();

-- Uses, announced expiries and the batches of migrations do not change the version: see
-- api_keys_version.
create trigger api_key_events_change after update on api_keys for each row
    when (old.version <> new.version) execute function api_key_events_note();

create trigger api_key_events_all before truncate on api_keys for each statement execute function api_key_events_note();

alter table api_keys enable always trigger api_key_events_row;
alter table api_keys enable always trigger api_key_events_change;
alter table api_keys enable always trigger api_key_events_all;

-- The roles that may change keys write events.
do $$
declare
    writer text;
begin
    for writer in
        select distinct quote_ident(pg_get_userbyid(acl.grantee)) from pg_catalog.pg_class, aclexplode(relacl) as acl
        where pg_class.oid = to_regclass('api_keys') and acl.privilege_type in ('INSERT', 'UPDATE', 'DELETE')
            and acl.grantee not in (0, relowner)
    loop
        execute format('grant select, insert, update, delete on table api_key_events to %s', writer);
        execute format('grant usage on sequence api_key_events_position to %s', writer);
    end loop;
end
$$;
