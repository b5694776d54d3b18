-- The author, the last change, the revocation and its reason; and the first id of the chain of
-- replacements.
alter table api_keys add column created_by text;
alter table api_keys add column updated_at integer;
alter table api_keys add column revoked_at integer;
alter table api_keys add column revoked_by text;
alter table api_keys add column reason text;
alter table api_keys add column lineage text;
-- The expiry that was announced, so that each expiry is announced once.
alter table api_keys add column expiry_notified integer;
-- The expiry that has an event.
alter table api_keys add column expiry_recorded integer;
