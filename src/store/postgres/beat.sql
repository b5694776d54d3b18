-- The number of the newest beat. All nodes prove with one beat that they have missed no change.
-- `cache 1`, so that no session holds numbers that are older than what it reads.
create sequence api_keys_beat cache 1;

-- Signs the beats. A role that knows the channel, but may not read this table, cannot forge one.
alter table api_keys_schema add column beat_key uuid;
update api_keys_schema set beat_key = gen_random_uuid()
    where version = (select min(version) from api_keys_schema where nonce is not null);

-- The roles that read the nonce, which are those of the nodes, read the sequence and take numbers.
do $$
declare
    reader text;
begin
    for reader in
        select distinct case acl.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end
        from pg_catalog.pg_class, aclexplode(relacl) as acl
        where pg_class.oid = to_regclass('api_keys_schema') and acl.privilege_type = 'SELECT'
            and acl.grantee <> relowner
    loop
        execute format('grant select, usage on sequence api_keys_beat to %s', reader);
    end loop;
end
$$;
