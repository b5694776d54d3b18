-- Times are microseconds since 1970. Keys are stored as digests only, never as plain text.
create table api_keys (
    id            text    not null primary key,
    digest        blob    not null unique check (length(digest) = 32),
    version       integer not null,
    status        text    not null check (status in ('active', 'disabled', 'revoked')),
    owner_type    text    check (owner_type in ('user', 'bot')),
    user          text    check ((user is not null) = (owner_type is 'user')),
    organization  text,
    environment   text,
    name          text,
    mask          text,
    permissions   text    not null,
    wildcards     integer not null,
    metadata      text    not null,
    created_at    integer,
    not_before    integer,
    expires_at    integer,
    replaces      text,
    replaced_by   text,
    last_used_at  integer,
    use_count     integer not null
) strict;

create index api_keys_by_owner on api_keys (organization, owner_type, user, id);
create index api_keys_that_count on api_keys (organization, owner_type, user)
    where status <> 'revoked' and replaced_by is null;
create index api_keys_by_organization on api_keys (organization, id);
