-- Marks the keys with ids after $1, up to $2, that had expired before this migration, so that they
-- get no event.
update api_keys set expiry_recorded = expires_at
where id > $1 and id <= $2 and expires_at <= extract(epoch from now()) * 1000000
    and expiry_recorded is distinct from expires_at
