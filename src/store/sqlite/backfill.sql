-- The keys with ids after ?1, up to ?2: sets the lineage, and turns metadata from an array of pairs
-- into an object.
with recursive
    chain (start, id, depth) as (
        select id, id, 0 from api_keys where id > ?1 and id <= ?2 and lineage is null
        union all
        select chain.start, keys.replaces, depth + 1
        from chain join api_keys as keys on keys.id = chain.id
        where keys.replaces is not null and depth < 1000
    )
update api_keys set
    lineage = (select chain.id from chain where chain.start = api_keys.id order by depth desc limit 1),
    metadata = case when json_type(metadata) = 'array'
        then (select json_group_object(pair.value ->> 0, pair.value ->> 1) from json_each(metadata) as pair)
        else metadata end
where id > ?1 and id <= ?2 and lineage is null;
