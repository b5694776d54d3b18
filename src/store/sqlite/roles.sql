-- The names of the roles: a list of texts. Null is none.
alter table api_keys add column roles text;

-- The triggers of version 13, with the new column.
drop trigger api_key_events_insert;
drop trigger api_key_events_delete;
drop trigger api_key_events_change;

create trigger api_key_events_insert after insert on api_keys begin
    insert into api_key_events (at, kind, key_id, version, organization, environment, author, after)
    values (cast((julianday('now') - 2440587.5) * 86400000.0 as integer) * 1000, 'issued', new.id, new.version,
        new.organization, new.environment, 'system',
        json_patch('{}', json_object(
            'name', new.name,
            'status', new.status,
            'permissions', new.permissions,
            'wildcards', new.wildcards,
            'metadata', new.metadata,
            'not_before', new.not_before,
            'expires_at', new.expires_at,
            'replaces', new.replaces,
            'replaced_by', new.replaced_by,
            'plan', new.plan,
            'limits', new.limits,
            'meter', new.meter,
            'allowed_addresses', new.allowed_addresses,
            'roles', new.roles)));
end;

create trigger api_key_events_delete after delete on api_keys
when (select kind from api_key_events where key_id = old.id order by seq desc limit 1) is not 'removed' begin
    insert into api_key_events (at, kind, key_id, version, organization, environment, author, before)
    values (cast((julianday('now') - 2440587.5) * 86400000.0 as integer) * 1000, 'removed', old.id, old.version,
        old.organization, old.environment, 'system',
        json_patch('{}', json_object(
            'name', old.name,
            'status', old.status,
            'permissions', old.permissions,
            'wildcards', old.wildcards,
            'metadata', old.metadata,
            'not_before', old.not_before,
            'expires_at', old.expires_at,
            'replaces', old.replaces,
            'replaced_by', old.replaced_by,
            'plan', old.plan,
            'limits', old.limits,
            'meter', old.meter,
            'allowed_addresses', old.allowed_addresses,
            'roles', old.roles)));
end;

-- A change that does not increment the version gets the next one, so that an edit based on an
-- earlier read fails with a version conflict. Uses and announced expiries do not count as changes.
create trigger api_key_events_change after update of
    digest, status, owner_type, user, organization, environment, name, mask, permissions,
    wildcards, metadata, created_at, not_before, expires_at, replaces, replaced_by, created_by,
    updated_at, revoked_at, revoked_by, reason, plan, meter, limits, allowed_addresses, roles
on api_keys
when (old.version = new.version
        or (select version from api_key_events where key_id = new.id order by seq desc limit 1) is not new.version)
    and (
        old.digest is not new.digest or old.status is not new.status or
        old.owner_type is not new.owner_type or old.user is not new.user or
        old.organization is not new.organization or old.environment is not new.environment or
        old.name is not new.name or old.mask is not new.mask or
        old.permissions is not new.permissions or old.wildcards is not new.wildcards or
        old.metadata is not new.metadata or old.created_at is not new.created_at or
        old.not_before is not new.not_before or old.expires_at is not new.expires_at or
        old.replaces is not new.replaces or old.replaced_by is not new.replaced_by or
        old.created_by is not new.created_by or old.updated_at is not new.updated_at or
        old.revoked_at is not new.revoked_at or old.revoked_by is not new.revoked_by or
        old.reason is not new.reason or old.plan is not new.plan or
        old.meter is not new.meter or old.limits is not new.limits or
        old.allowed_addresses is not new.allowed_addresses or old.roles is not new.roles
    )
begin
    insert into api_key_events (at, kind, key_id, version, organization, environment, author, replacement,
        before, after)
    values (cast((julianday('now') - 2440587.5) * 86400000.0 as integer) * 1000,
        case
            when old.replaced_by is null and new.replaced_by is not null
                then case new.status when 'revoked' then 'regenerated' else 'rotated' end
            when old.status <> new.status then case new.status when 'active' then 'enabled' else new.status end
            when old.digest <> new.digest then 'rehashed'
            else 'edited'
        end,
        new.id, case when new.version = old.version then old.version + 1 else new.version end,
        new.organization, new.environment, 'system',
        case when old.replaced_by is null then new.replaced_by end,
        json_patch('{}', json_object(
            'name', case when old.name is not new.name then old.name end,
            'status', case when old.status is not new.status then old.status end,
            'permissions', case when old.permissions is not new.permissions or old.wildcards is not new.wildcards then old.permissions end,
            'wildcards', case when old.permissions is not new.permissions or old.wildcards is not new.wildcards then old.wildcards end,
            'metadata', case when old.metadata is not new.metadata then old.metadata end,
            'not_before', case when old.not_before is not new.not_before then old.not_before end,
            'expires_at', case when old.expires_at is not new.expires_at then old.expires_at end,
            'replaces', case when old.replaces is not new.replaces then old.replaces end,
            'replaced_by', case when old.replaced_by is not new.replaced_by then old.replaced_by end,
            'plan', case when old.plan is not new.plan then old.plan end,
            'limits', case when old.limits is not new.limits then old.limits end,
            'meter', case when old.meter is not new.meter then old.meter end,
            'allowed_addresses', case when old.allowed_addresses is not new.allowed_addresses then old.allowed_addresses end,
            'roles', case when old.roles is not new.roles then old.roles end)),
        json_patch('{}', json_object(
            'name', case when old.name is not new.name then new.name end,
            'status', case when old.status is not new.status then new.status end,
            'permissions', case when old.permissions is not new.permissions or old.wildcards is not new.wildcards then new.permissions end,
            'wildcards', case when old.permissions is not new.permissions or old.wildcards is not new.wildcards then new.wildcards end,
            'metadata', case when old.metadata is not new.metadata then new.metadata end,
            'not_before', case when old.not_before is not new.not_before then new.not_before end,
            'expires_at', case when old.expires_at is not new.expires_at then new.expires_at end,
            'replaces', case when old.replaces is not new.replaces then new.replaces end,
            'replaced_by', case when old.replaced_by is not new.replaced_by then new.replaced_by end,
            'plan', case when old.plan is not new.plan then new.plan end,
            'limits', case when old.limits is not new.limits then new.limits end,
            'meter', case when old.meter is not new.meter then new.meter end,
            'allowed_addresses', case when old.allowed_addresses is not new.allowed_addresses then new.allowed_addresses end,
            'roles', case when old.roles is not new.roles then new.roles end)));
    update api_keys set version = old.version + 1 where id = new.id and version = old.version;
end;
