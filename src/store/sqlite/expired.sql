-- Marks the keys with ids after ?1, up to ?2, that had expired before this migration, so that they
-- get no event.
update api_keys set expiry_recorded = expires_at
where id > ?1 and id <= ?2 and expiry_recorded is not expires_at
    and expires_at <= cast((julianday('now') - 2440587.5) * 86400000.0 as integer) * 1000;
