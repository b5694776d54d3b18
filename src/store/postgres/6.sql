-- The idempotency keys, each with the key that its request has issued. Both digests are SHA-256:
-- that of the organization, the author and the text, and that of the request.
create table api_key_idempotency (
    id           bytea   primary key check (length(id) = 32),
    fingerprint  bytea   not null check (length(fingerprint) = 32),
    key_id       text    not null,
    expires_at   bigint  not null
);

create index api_key_idempotency_that_ends on api_key_idempotency (expires_at);

-- The roles that may add keys keep idempotency keys.
do $$
declare
    writer text;
begin
    for writer in
        select distinct quote_ident(pg_get_userbyid(acl.grantee)) from pg_catalog.pg_class, aclexplode(relacl) as acl
        where pg_class.oid = to_regclass('api_keys') and acl.privilege_type = 'INSERT'
            and acl.grantee not in (0, relowner)
    loop
        execute format('grant select, insert, update, delete on table api_key_idempotency to %s', writer);
    end loop;
end
$$;
