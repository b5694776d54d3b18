-- The meters of limits that all nodes share, the leases that nodes have taken of them, and top-ups.
-- Kinds: 0 is a rate, 1 a quota, 2 credits, and 3 credits whose refill replaces the balance. Times
-- are in nanoseconds and periods in days since 1970.
create table api_key_meters (
    meter     text     collate "C" not null primary key,
    kind      smallint not null,
    -- A rate: when its burst is full again.
    full_at   bigint   not null default 0,
    -- A quota and refilled credits: the day that ends the present period.
    period    bigint   not null default 0,
    used      bigint   not null default 0 check (used >= 0),
    available bigint   not null default 0 check (available >= 0),
    leased    bigint   not null default 0 check (leased >= 0),
    spent     bigint   not null default 0 check (spent >= 0),
    lost      bigint   not null default 0 check (lost >= 0),
    expired   bigint   not null default 0 check (expired >= 0),
    topped_up bigint   not null default 0 check (topped_up >= 0),
    check (topped_up = available + leased + spent + lost + expired)
) with (fillfactor = 50);

create table api_key_leases (
    id      bytea    not null primary key,
    meter   text     collate "C" not null,
    kind    smallint not null,
    period  bigint   not null,
    granted bigint   not null check (granted >= 0),
    -- 0 is open, 1 is closed, and 2 is lost.
    state   smallint not null default 0,
    until   bigint   not null
);

create index api_key_leases_open on api_key_leases (meter, until) where state = 0;
create index api_key_leases_over on api_key_leases (until) where state <> 0 or kind = 1;

create table api_key_top_ups (
    meter   text   collate "C" not null,
    id      text   collate "C" not null,
    amount  bigint not null check (amount >= 0),
    made_at bigint not null,
    primary key (meter, id)
);

-- The first day of the next period of the calendar. Spans: 1 is a day, 2 a week, and 3 a month.
create function api_key_meters_period_end(span smallint, first smallint, today bigint) returns bigint
    language plpgsql immutable parallel safe as $$
declare
    present date;
    begins  date;
    nexts   date;
begin
    if span = 1 then
        return today + 1;
    elsif span = 2 then
        -- 1970-01-01 was a Thursday.
        return today + 7 - ((today + 3) % 7 + 8 - first) % 7;
    end if;
    present := date '1970-01-01' + today::integer;
    begins := make_date(date_part('year', present)::integer, date_part('month', present)::integer, 1);
    nexts := (begins + interval '1 month')::date;
    if present < least(begins + first - 1, nexts - 1) then
        return least(begins + first - 1, nexts - 1) - date '1970-01-01';
    end if;
    return least(nexts + first - 1, (nexts + interval '1 month')::date - 1) - date '1970-01-01';
end
$$;

-- Grants units: one row for each ask, with its place among them. `size` is the increment of a rate,
-- the units of a quota or the amount of a refill. A statement sees what was committed before it, so
-- the row of a meter is read as it is once it is locked.
create function api_key_meters_take(
    lease_ids bytea[], replaced_ids bytea[], meters text[], kinds smallint[], sizes bigint[], tolerances bigint[],
    spans smallint[], firsts smallint[], leasts bigint[], waitings bigint[], mores bigint[], deadlines bigint[]
) returns table (place bigint, grant_units bigint, grant_left bigint, grant_wait bigint, grant_ends bigint, grant_lost bigint)
    language plpgsql set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    a_day   constant bigint := 86400000000000;
    -- 2^62. A balance that would be above it gets no more.
    highest constant bigint := 4611686018427387904;
    ask       record;
    is_look   boolean;
    is_there  boolean;
    is_kept   boolean;
    is_changed boolean;
    new_rates integer := 0;
    leases    integer := 0;
    now       bigint;
    today     bigint;
    free      bigint;
    units     bigint;
    rest      bigint;
    part      bigint;
    begun     bigint;
    -- The state of the meter.
    full_time bigint;
    is_of     bigint;
    taken     bigint;
    credit    bigint;
    leasing   bigint;
    gone      bigint;
    written   bigint;
    old       bigint;
    all_time  bigint;
    known     record;
begin
    for ask in
        select * from unnest(lease_ids, replaced_ids, meters, kinds, sizes, tolerances, spans, firsts, leasts, waitings,
                mores, deadlines) with ordinality
            as asks (lease, replaced, name, kind, size, tolerance, span, first, fewest, waiting, more, deadline, place)
        order by name collate "C"
    loop
        place := ask.place;
        grant_wait := null;
        grant_ends := null;
        grant_lost := 0;
        units := 0;
        if ask.kind = 0 then
            is_look := ask.waiting = 0 and ask.more = 0;
            loop
                if is_look then
                    select full_at into full_time from api_key_meters where meter = ask.name;
                else
                    select full_at into full_time from api_key_meters where meter = ask.name for update;
                end if;
                is_there := found;
                now := (date_part('epoch', clock_timestamp()) * 1000000)::bigint * 1000;
                full_time := greatest(full_time, now);
                free := greatest(ask.tolerance - (full_time - now), 0) / ask.size;
                exit when is_look or free < ask.fewest or free = 0;
                units := least(free, ask.waiting);
                rest := free - units;
                units := units + least(ask.more, greatest(rest / 16, least(1, rest)));
                full_time := full_time + units * ask.size;
                if is_there then
                    update api_key_meters set full_at = full_time where meter = ask.name;
                    exit;
                end if;
                insert into api_key_meters (meter, kind, full_at) values (ask.name, 0, full_time) on conflict do nothing;
                if found then
                    new_rates := new_rates + 1;
                    exit;
                end if;
                -- Another node has made it in between.
                units := 0;
            end loop;
            grant_units := units;
            grant_left := greatest(ask.tolerance - (full_time - now), 0) / ask.size;
            if units < ask.waiting then
                rest := case when units = 0 then greatest(ask.fewest, 1) else 1 end;
                if rest <= ask.tolerance / ask.size then
                    grant_wait := greatest(full_time + rest * ask.size - now - ask.tolerance, 0);
                end if;
            end if;
            return next;
            continue;
        end if;

        is_look := ask.lease is null and ask.replaced is null;
        loop
            if is_look then
                select period, used, available, leased, spent, lost, expired, topped_up
                    into is_of, taken, credit, leasing, gone, written, old, all_time
                    from api_key_meters where meter = ask.name;
            else
                select period, used, available, leased, spent, lost, expired, topped_up
                    into is_of, taken, credit, leasing, gone, written, old, all_time
                    from api_key_meters where meter = ask.name for update;
                leases := leases + 1;
            end if;
            is_there := found;
            is_changed := false;
            if not is_there then
                is_of := 0; taken := 0; credit := 0; leasing := 0; gone := 0; written := 0; old := 0; all_time := 0;
            end if;
            now := (date_part('epoch', clock_timestamp()) * 1000000)::bigint * 1000;
            today := now / a_day;
            if is_there and not is_look then
                if ask.replaced is not null then
                    update api_key_leases set state = 1
                        where id = ask.replaced and meter = ask.name and state = 0 returning granted into part;
                    if found and ask.kind > 1 then
                        leasing := leasing - part;
                        is_changed := true;
                        gone := gone + part;
                    end if;
                end if;
                if ask.kind > 1 then
                    with overdue as (
                        update api_key_leases set state = 2
                            where meter = ask.name and state = 0 and until <= now returning granted
                    )
                    select sum(granted) into grant_lost from overdue;
                    grant_lost := coalesce(grant_lost, 0);
                    leasing := leasing - grant_lost;
                    is_changed := is_changed or grant_lost > 0;
                    written := written + grant_lost;
                end if;
            end if;
            if ask.kind = 1 then
                -- A period whose end is too far ahead was counted under another rule, or clock.
                part := is_of;
                rest := 0;
                if today < is_of and is_of - today <= 2 * (case ask.span when 1 then 1 when 2 then 7 else 31 end) then
                    rest := taken;
                else
                    part := api_key_meters_period_end(ask.span, ask.first, today);
                end if;
                free := greatest(ask.size - rest, 0);
            else
                part := 0;
                if ask.span > 0 then
                    begun := (is_of = 0)::integer;
                    part := case when is_of = 0 then api_key_meters_period_end(ask.span, ask.first, today) else is_of end;
                    while part <= today loop
                        begun := begun + 1;
                        part := api_key_meters_period_end(ask.span, ask.first, part);
                    end loop;
                    is_of := part;
                    if begun > 0 then
                        is_changed := true;
                        if ask.kind = 3 then
                            old := old + credit;
                            credit := 0;
                            begun := 1;
                        end if;
                        rest := least(ask.size::numeric * begun, highest - all_time);
                        credit := credit + rest;
                        all_time := all_time + rest;
                    end if;
                end if;
                free := credit;
            end if;
            units := 0;
            if ask.lease is not null and free >= ask.fewest then
                units := least(free, ask.waiting);
                units := units + least(ask.more, (free - units) / 16);
            end if;
            is_kept := ask.lease is not null and (units > 0 or (ask.waiting = 0 and ask.more = 0));
            if ask.lease is null or not (is_there or is_kept) then
                grant_units := 0;
            else
                if not is_there then
                    -- Locks the meter for the lease.
                    insert into api_key_meters (meter, kind) values (ask.name, least(ask.kind, 2)) on conflict do nothing;
                    continue when not found;
                    is_there := true;
                end if;
                if is_kept then
                    insert into api_key_leases (id, meter, kind, period, granted, until)
                        values (ask.lease, ask.name, ask.kind, case when ask.kind = 1 then part else is_of end, units,
                            now + ask.deadline)
                        on conflict do nothing;
                    is_kept := found;
                end if;
                grant_units := units;
                if not is_kept then
                    -- The lease is known, or there is none.
                    units := 0;
                    select granted, state into known from api_key_leases where id = ask.lease and meter = ask.name;
                    grant_units := case when found and known.state = 0 then known.granted else 0 end;
                end if;
            end if;
            if ask.kind = 1 then
                if units > 0 then
                    update api_key_meters set period = part, used = rest + units where meter = ask.name;
                end if;
                grant_left := greatest(ask.size - rest - units, 0);
                grant_ends := part * a_day - now;
                if grant_units < ask.waiting and ask.size > 0 then
                    grant_wait := grant_ends;
                end if;
            else
                credit := credit - units;
                if is_there and not is_look and (is_changed or units > 0) then
                    update api_key_meters set period = is_of, available = credit, leased = leasing + units, spent = gone,
                            lost = written, expired = old, topped_up = all_time
                        where meter = ask.name;
                end if;
                grant_left := credit;
                if grant_units < ask.waiting and ask.span > 0 then
                    grant_wait := part * a_day - now;
                end if;
            end if;
            exit;
        end loop;
        return next;
    end loop;

    -- All rows are locked, and the rows from here on are locked without a wait, so no two calls wait
    -- for each other.
    if leases > 0 then
        delete from api_key_leases where id = any (array(
            select id from api_key_leases where (state <> 0 or kind = 1) and until < now - 3600000000000
            order by until limit greatest(100, 2 * leases) for update skip locked));
    end if;
    -- A rate whose burst is full equals one without a row. An index on the time would make each
    -- update slower, so this looks at one page of the table, more often if rows are added.
    if random() < 0.004 + new_rates / 16.0 then
        part := floor(random() * (pg_relation_size(to_regclass('api_key_meters')) / current_setting('block_size')::integer));
        delete from api_key_meters where ctid = any (array(
            select ctid from api_key_meters
            where ctid = any (array(select format('(%s,%s)', part, line)::tid from generate_series(1, 291) as line))
                and kind = 0 and full_at < now
            for update skip locked));
    end if;
end
$$;

-- Closes leases. A lease that is not open is left alone.
create function api_key_meters_give_back(lease_ids bytea[], meters text[], lefts bigint[]) returns void
    language plpgsql set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    done     record;
    lease    record;
    state_of record;
    of_spent bigint;
    of_lost  bigint;
    back     bigint;
    is_over  boolean;
begin
    for done in
        select * from unnest(lease_ids, meters, lefts) with ordinality as returns (id, name, remains, place)
        order by name collate "C", place
    loop
        select period, spent, lost into state_of from api_key_meters where meter = done.name for update;
        continue when not found;
        update api_key_leases set state = 1 where id = done.id and meter = done.name and state = 0
            returning kind, period, granted into lease;
        continue when not found;
        if lease.kind = 1 then
            if lease.period = state_of.period and done.remains > 0 then
                update api_key_meters set used = greatest(used - done.remains, 0) where meter = done.name;
            end if;
            continue;
        end if;
        -- What is left beyond the grant was spent from an earlier lease, or was written off.
        of_spent := least(greatest(done.remains - lease.granted, 0),
            state_of.spent + greatest(lease.granted - done.remains, 0));
        of_lost := least(greatest(done.remains - lease.granted, 0) - of_spent, state_of.lost);
        back := least(done.remains, lease.granted) + of_spent + of_lost;
        is_over := lease.kind = 3 and lease.period <> state_of.period;
        update api_key_meters set leased = leased - lease.granted,
                spent = spent + greatest(lease.granted - done.remains, 0) - of_spent, lost = lost - of_lost,
                expired = expired + case when is_over then back else 0 end,
                available = available + case when is_over then 0 else back end
            where meter = done.name;
    end loop;
end
$$;

-- Adds credits once for each meter and id. Returns the amount of the first call, whether this is it,
-- and the balance.
create function api_key_meters_top_up(name text, once text, adds bigint)
    returns table (amount bigint, is_new boolean, available bigint, leased bigint, spent bigint, lost bigint,
        expired bigint, topped_up bigint)
    language plpgsql as $$
#variable_conflict use_column
begin
    insert into api_key_top_ups (meter, id, amount, made_at)
        values (name, once, adds, (date_part('epoch', clock_timestamp()) * 1000000)::bigint * 1000)
        on conflict do nothing;
    is_new := found;
    if is_new then
        insert into api_key_meters as meters (meter, kind, available, topped_up) values (name, 2, adds, adds)
            on conflict (meter) do update set available = meters.available + adds, topped_up = meters.topped_up + adds;
    end if;
    select top_ups.amount, meters.available, meters.leased, meters.spent, meters.lost, meters.expired, meters.topped_up
        into amount, available, leased, spent, lost, expired, topped_up
        from api_key_top_ups as top_ups join api_key_meters as meters on meters.meter = top_ups.meter
        where top_ups.meter = name and top_ups.id = once;
    if topped_up > 4611686018427387904 then
        raise exception 'the balance would be above 2^62' using errcode = 'numeric_value_out_of_range';
    end if;
    return next;
end
$$;

-- The roles that may change keys take units of their meters.
do $$
declare
    writer text;
begin
    for writer in
        select distinct quote_ident(pg_get_userbyid(acl.grantee)) from pg_catalog.pg_class, aclexplode(relacl) as acl
        where pg_class.oid = to_regclass('api_keys') and acl.privilege_type in ('INSERT', 'UPDATE', 'DELETE')
            and acl.grantee not in (0, relowner)
    loop
        execute format('grant select, insert, update, delete on table api_key_meters to %s', writer);
        execute format('grant select, insert, update, delete on table api_key_leases to %s', writer);
        execute format('grant select, insert, update, delete on table api_key_top_ups to %s', writer);
    end loop;
end
$$;
