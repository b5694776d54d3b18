-- Every list, whatever its filter, uses one index and reads only the rows of its page: revoked keys
-- are separated from the others.
drop index api_keys_by_owner;
drop index api_keys_by_organization;
drop index api_keys_that_count;

create index api_keys_by_organization on api_keys (organization, (status = 'revoked'), id);
create index api_keys_by_environment on api_keys (organization, environment, (status = 'revoked'), id);
create index api_keys_by_owner on api_keys (organization, owner_type, user, (status = 'revoked'), id);
create index api_keys_by_owner_and_environment
    on api_keys (organization, owner_type, user, environment, (status = 'revoked'), id);

-- A key limit counts the keys that are not expired, and stops at the limit.
create index api_keys_that_count on api_keys (organization, owner_type, user, expires_at, id)
    where status <> 'revoked';
