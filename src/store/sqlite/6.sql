-- The idempotency keys, each with the key that its request has issued. Both digests are SHA-256:
-- that of the organization, the author and the text, and that of the request.
create table api_key_idempotency (
    id           blob    not null primary key check (length(id) = 32),
    fingerprint  blob    not null check (length(fingerprint) = 32),
    key_id       text    not null,
    expires_at   integer not null
) strict, without rowid;

create index api_key_idempotency_that_ends on api_key_idempotency (expires_at);
