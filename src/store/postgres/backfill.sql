-- The keys with ids after $1, up to $2: sets the lineage, and turns metadata from an array of pairs
-- into an object.
with recursive
    rows as (
        select id from api_keys where id > $1 and id <= $2 and lineage is null order by id for update
    ),
    chain (start, id, depth) as (
        select rows.id, rows.id, 0 from rows
        union all
        select chain.start, keys.replaces collate "C", chain.depth + 1
        from chain join api_keys as keys on keys.id = chain.id
        where keys.replaces is not null and chain.depth < 1000
    ),
    firsts as (select distinct on (start) start, id from chain order by start, depth desc)
update api_keys set
    lineage = firsts.id,
    metadata = case jsonb_typeof(metadata) when 'array' then (
            select coalesce(jsonb_object_agg(pair ->> 0, pair ->> 1), '{}') from jsonb_array_elements(metadata) as pair
        ) else metadata end
from firsts where api_keys.id = firsts.start
