-- The names of the roles: a list of texts. Null is none.
alter table api_keys add column roles jsonb;

-- The function of version 13, with the new column.
create or replace function api_key_events_note() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    columns  text[] := array['name', 'status', 'permissions', 'wildcards', 'metadata', 'not_before', 'expires_at',
                             'replaces', 'replaced_by', 'plan', 'limits', 'meter', 'allowed_addresses', 'roles'];
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
