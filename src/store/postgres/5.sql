-- The requests with each key, by day and outcome. A day is the number of days since 1970-01-01, in
-- UTC.
--
-- The space that a page leaves free keeps updates of counts out of the indexes. There is no foreign
-- key: it would prevent a truncation of the keys, and each new day would check it.
create table api_key_usage (
    key_id     text    collate "C" not null,
    day        integer not null,
    accepted   bigint  not null,
    forbidden  bigint  not null,
    rejected   bigint  not null,
    limited    bigint  not null,
    primary key (key_id, day)
) with (fillfactor = 80);

-- Old days are removed in batches, which must not read the days that are kept.
create index api_key_usage_by_day on api_key_usage (day);

-- Roles that read keys before this migration may read usage, and those that change keys may write
-- it: a node that only counts uses has no right to insert a key.
do $$
declare
    allowed record;
begin
    for allowed in
        select case acl.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end as role,
            case acl.privilege_type when 'SELECT' then 'select' else 'select, insert, update, delete' end as rights
        from pg_class, aclexplode(pg_class.relacl) as acl
        where pg_class.oid = to_regclass('api_keys') and acl.grantee <> pg_class.relowner
            and acl.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    loop
        execute format('grant %s on api_key_usage to %s', allowed.rights, allowed.role);
    end loop;
end
$$;
