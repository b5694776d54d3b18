-- A secret part of the channel name. Only roles that may read this table know it, so no other role
-- can listen on the channel or notify.
alter table api_keys_schema add column nonce uuid;
update api_keys_schema set nonce = gen_random_uuid() where version = (select min(version) from api_keys_schema);

-- Replaces the function of version 1. It notifies two channels: nodes of version 1 still listen on
-- the public one. The function runs with the rights of its owner, because a role that may change
-- keys need not be allowed to read the nonce.
create or replace function api_keys_tell() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    nonce   text;
    channel text;
begin
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

-- Without this line, any role could attach the function to its own table and send forged
-- notifications.
revoke execute on function api_keys_tell() from public;
