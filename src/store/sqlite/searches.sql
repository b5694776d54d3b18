-- Searches: by chain of replacements, and in the order of the expiry and of the name.
create index api_keys_by_lineage on api_keys (lineage, id);
create index api_keys_by_expiry on api_keys (organization, expires_at, id) where expires_at is not null;
create index api_keys_by_expiry_everywhere on api_keys (expires_at, id) where expires_at is not null;
create index api_keys_by_name on api_keys (organization, name, id) where name is not null;
create index api_keys_by_name_everywhere on api_keys (name, id) where name is not null;
