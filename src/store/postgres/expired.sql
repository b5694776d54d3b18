-- The keys with ids after $1, up to $2, that had expired before this migration: no event announces
-- them.
update api_keys set expiry_recorded = expires_at
where id > $1 and id <= $2 and expires_at <= extract(epoch from now()) * 1000000
    and expiry_recorded is distinct from expires_at
