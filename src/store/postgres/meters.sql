-- The meters of limits that all nodes share, the leases that nodes have taken of them, and top-ups.
-- Kinds: 0 is a rate, 1 a quota, 2 credits, and 3 credits whose refill replaces the balance. Times
-- are in nanoseconds and periods in days since 1970.
create table api_key_meters (
    meter     text     collate "C" not null primary key,
    kind      smallint not null,
    -- A rate: when its burst is full again.
    full_at   bigint   not null default 0,
    -- A quota: the day that ends the present period. Refilled credits: the day that ends the period
    -- of the last refill, and the day of that refill.
    period    bigint   not null default 0,
    refilled  bigint   not null default 0,
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
    -- As of the grant: the period of a quota, or the day of the last refill of credits.
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
-- the units of a quota or the amount of a refill. First it locks the rows, in the order of their
-- meters. Each statement sees what was committed before it, so it reads the rows as they are then.
-- No statement after the first one waits for another node, except for rows that both insert, in
-- this order too. So no two calls wait for each other. If another node has made a row meanwhile,
-- the call fails as a whole, with the code of a failed serialization, and is to be repeated.
-- A plan is made while the tables are small, and stays: so each row is looked up by a lateral query
-- or `on conflict`, for which there is no plan but one with the index.
create function api_key_meters_take(
    lease_ids bytea[], replaced_ids bytea[], meters text[], kinds smallint[], sizes bigint[], tolerances bigint[],
    spans smallint[], firsts smallint[], leasts bigint[], waitings bigint[], mores bigint[], deadlines bigint[],
    carries bigint[], are_first boolean[]
) returns table (place bigint, grant_units bigint, grant_left bigint, grant_wait bigint, grant_ends bigint, grant_lost bigint,
    grant_expired bigint)
    language plpgsql set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    a_day   constant bigint := 86400000000000;
    -- 2^62. A balance that would be above it gets no more.
    highest constant bigint := 4611686018427387904;
    now     bigint;
    today   bigint;
    ask     record;
    locked  integer;
    found_rows integer := 0;
    full_time bigint;
    free    bigint;
    units   bigint;
    rest    bigint;
    begun   bigint;
    ends    bigint;
    last    bigint;
    credit  bigint;
    old     bigint;
    all_time bigint;
    -- What becomes of a lease that is replaced.
    carried bigint;
    spent_of_it bigint;
    found_again bigint;
    is_changed boolean;
    is_open boolean;
    has_leases boolean := false;
    -- The rows to insert, and those to update.
    new_names text[] := '{}';
    new_kinds smallint[] := '{}';
    rates   text[] := '{}';
    times   bigint[] := '{}';
    quotas  text[] := '{}';
    periods bigint[] := '{}';
    uses    bigint[] := '{}';
    owners  text[] := '{}';
    refills bigint[] := '{}';
    lasts   bigint[] := '{}';
    credits bigint[] := '{}';
    leasing bigint[] := '{}';
    spending bigint[] := '{}';
    losing  bigint[] := '{}';
    expiring bigint[] := '{}';
    topping bigint[] := '{}';
    closed_ids bytea[] := '{}';
    lost_ids bytea[] := '{}';
    lent_ids bytea[] := '{}';
    lent_names text[] := '{}';
    lent_kinds smallint[] := '{}';
    lent_periods bigint[] := '{}';
    lent_units bigint[] := '{}';
    lent_until bigint[] := '{}';
    lent_states smallint[] := '{}';
begin
    -- A look does not wait.
    perform from (
            select name from unnest(lease_ids, replaced_ids, meters, kinds, waitings, mores)
                as asks (lease, replaced, name, kind, waiting, more)
            where case kind when 0 then waiting > 0 or more > 0 else lease is not null or replaced is not null end
            order by name collate "C" offset 0
        ) as asks
        cross join lateral (select from api_key_meters where meter = asks.name for update) as stored;
    get diagnostics locked = row_count;
    now := (date_part('epoch', clock_timestamp()) * 1000000)::bigint * 1000;
    today := now / a_day;

    for ask in
        select asks.*, stored.meter is not null as is_there,
            case asks.kind when 0 then asks.waiting = 0 and asks.more = 0
                else asks.lease is null and asks.replaced is null end as is_look,
            -- A clock that went back would lock a rate for as long. Kept, also without a grant: else each
            -- ask would find a used burst.
            greatest(least(coalesce(full_at, 0), now + asks.tolerance), now) as full_at,
            full_at > now + asks.tolerance as is_ahead, coalesce(stored.period, 0) as period, coalesce(refilled, 0) as refilled, coalesce(used, 0) as used,
            coalesce(available, 0) as available, coalesce(leased, 0) as leased, coalesce(spent, 0) as spent,
            coalesce(lost, 0) as lost, coalesce(expired, 0) as expired, coalesce(topped_up, 0) as topped_up,
            known.state as known, known.granted as granted, known.period as known_period, coalesce(closed.granted, 0) as closed,
            closed.granted is not null as closes, closed.period as closed_period, closed.kind as closed_kind, coalesce(overdue.granted, 0) as overdue, overdue.ids as overdue_ids
        from unnest(lease_ids, replaced_ids, meters, kinds, sizes, tolerances, spans, firsts, leasts, waitings, mores,
                deadlines, carries, are_first) with ordinality
            as asks (lease, replaced, name, kind, size, tolerance, span, first, fewest, waiting, more, deadline, carried,
                is_first, place)
        left join lateral (select * from api_key_meters where meter = asks.name offset 0) as stored on true
        left join lateral (
            -- This call may close it, or write it off.
            select case when kind > 1 and until <= now or id = asks.replaced then 1 else state end as state, granted, period
            from api_key_leases where asks.kind > 0 and id = asks.lease and meter = asks.name offset 0
        ) as known on true
        left join lateral (
            select granted, period, kind from api_key_leases
            where asks.kind > 0 and id = asks.replaced and meter = asks.name and state + 0 = 0 offset 0
        ) as closed on true
        left join lateral (
            select sum(granted)::bigint as granted, array_agg(id) as ids from api_key_leases
            where asks.kind > 1 and (asks.lease is not null or asks.replaced is not null)
                and meter = asks.name and state = 0 and until <= now and id is distinct from asks.replaced
        ) as overdue on true
    loop
        place := ask.place;
        grant_wait := null;
        grant_ends := null;
        grant_lost := ask.overdue;
        grant_expired := 0;
        units := 0;
        if ask.is_there and not ask.is_look then
            found_rows := found_rows + 1;
        end if;

        if ask.kind = 0 then
            full_time := ask.full_at;
            free := greatest(ask.tolerance - (full_time - now), 0) / ask.size;
            if free > 0 and free >= ask.fewest then
                units := least(free, ask.waiting);
                rest := free - units;
                units := units + least(ask.more, greatest(rest / 16, least(1, rest)));
            end if;
            if units > 0 then
                full_time := full_time + units * ask.size;
                free := greatest(ask.tolerance - (full_time - now), 0) / ask.size;
            end if;
            if units > 0 or ask.is_ahead and not ask.is_look then
                rates := rates || ask.name;
                times := times || full_time;
                if not ask.is_there then
                    new_names := new_names || ask.name;
                    new_kinds := new_kinds || ask.kind;
                end if;
            end if;
            grant_units := units;
            grant_left := free;
            if units < ask.waiting then
                rest := case when units = 0 then greatest(ask.fewest, 1) else 1 end;
                if rest <= ask.tolerance / ask.size then
                    grant_wait := greatest(full_time + rest * ask.size - now - ask.tolerance, 0);
                end if;
            end if;
            return next;
            continue;
        end if;

        has_leases := has_leases or not ask.is_look;
        if ask.closes then
            closed_ids := closed_ids || ask.replaced;
        end if;
        if ask.overdue_ids is not null then
            lost_ids := lost_ids || ask.overdue_ids;
        end if;
        ends := ask.period;
        last := ask.refilled;
        is_changed := false;
        if ask.kind = 1 then
            -- A period whose end is too far ahead was counted under another rule, or clock.
            rest := ask.used;
            if today >= ends or ends - today > 2 * (case ask.span when 1 then 1 when 2 then 7 else 31 end) then
                ends := api_key_meters_period_end(ask.span, ask.first, today);
                rest := 0;
            end if;
            free := greatest(ask.size - rest, 0);
        else
            credit := ask.available;
            old := ask.expired;
            all_time := ask.topped_up;
            if last > today + (case ask.span when 1 then 1 when 2 then 7 else 31 end) and ask.span > 0 then
                -- The clock was far ahead.
                last := today;
                is_changed := true;
            end if;
            if ask.span = 0 then
                if ends between 1 and today then
                    -- A later refill is the first one again.
                    ends := 0;
                    last := 0;
                    is_changed := true;
                end if;
            elsif last = 0 or last < today and api_key_meters_period_end(ask.span, ask.first, last) <= today then
                -- The refills of days without an ask come now: of those after the period of the last one.
                begun := 0;
                if last > 0 then
                    ends := api_key_meters_period_end(ask.span, ask.first, ends - 1);
                    while ends <= today loop
                        begun := begun + 1;
                        ends := api_key_meters_period_end(ask.span, ask.first, ends);
                    end loop;
                end if;
                begun := greatest(begun, 1);
                ends := api_key_meters_period_end(ask.span, ask.first, today);
                last := today;
                if ask.kind = 3 then
                    old := old + credit;
                    credit := 0;
                    begun := 1;
                end if;
                rest := least(ask.size::numeric * begun, highest - all_time);
                credit := credit + rest;
                all_time := all_time + rest;
                is_changed := true;
            end if;
            is_changed := is_changed or ask.closes or grant_lost > 0;
            free := credit;
        end if;

        carried := 0;
        spent_of_it := ask.closed;
        found_again := 0;
        if ask.closes and ask.lease is not null and ask.known is null then
            if ask.kind = 1 then
                carried := case when ask.closed_period = ends then ask.carried else 0 end;
            else
                -- As in api_key_meters_give_back.
                rest := greatest(ask.carried - ask.closed, 0);
                spent_of_it := greatest(ask.closed - ask.carried, 0);
                carried := least(rest, ask.spent + spent_of_it);
                spent_of_it := spent_of_it - carried;
                found_again := least(rest - carried, ask.lost);
                carried := carried + found_again + least(ask.carried, ask.closed);
                if ask.closed_kind = 3 and ask.closed_period < last then
                    old := old + carried;
                    grant_expired := carried;
                    carried := 0;
                end if;
            end if;
        end if;

        grant_units := 0;
        if ask.known is not null then
            -- Units of an earlier period are over.
            if ask.known = 0 and (ask.kind > 1 or ask.known_period = ends) then
                grant_units := greatest(ask.granted - ask.carried, 0);
                grant_expired := greatest(ask.carried - ask.granted, 0);
            end if;
        elsif ask.lease is not null then
            if free >= ask.fewest then
                units := least(free, ask.waiting);
                units := units + least(ask.more, (free - units) / 16);
            end if;
            grant_units := units;
            is_open := units > 0 or ask.carried > 0 or (ask.waiting = 0 and ask.more = 0);
            if is_open or not ask.is_first then
                lent_ids := lent_ids || ask.lease;
                lent_names := lent_names || ask.name;
                lent_kinds := lent_kinds || ask.kind;
                lent_periods := lent_periods || case ask.kind when 1 then ends else last end;
                lent_units := lent_units || (units + carried);
                lent_until := lent_until || (now + ask.deadline);
                lent_states := lent_states || (case when is_open then 0 else 1 end)::smallint;
            end if;
            if is_open then
                is_changed := true;
                -- Without a row, no other call would wait for this one.
                if not ask.is_there then
                    new_names := new_names || ask.name;
                    new_kinds := new_kinds || least(ask.kind, 2::smallint);
                end if;
            end if;
        end if;
        if ask.kind = 1 then
            if units > 0 then
                quotas := quotas || ask.name;
                periods := periods || ends;
                uses := uses || (rest + units);
            end if;
            grant_left := free - units;
            grant_ends := ends * a_day - now;
            if grant_units < ask.waiting and ask.size > 0 then
                grant_wait := grant_ends;
            end if;
        else
            credit := credit - units;
            if is_changed and not ask.is_look and (ask.is_there or ask.name = new_names[cardinality(new_names)]) then
                owners := owners || ask.name;
                refills := refills || ends;
                lasts := lasts || last;
                credits := credits || credit;
                leasing := leasing || (ask.leased + units + carried - ask.closed - grant_lost);
                spending := spending || (ask.spent + spent_of_it);
                losing := losing || (ask.lost + grant_lost - found_again);
                expiring := expiring || old;
                topping := topping || all_time;
            end if;
            grant_left := credit;
            if grant_units < ask.waiting and ask.span > 0 then
                grant_wait := api_key_meters_period_end(ask.span, ask.first, last) * a_day - now;
            end if;
        end if;
        return next;
    end loop;

    if cardinality(new_names) > 0 then
        insert into api_key_meters (meter, kind)
            select name, kind from unnest(new_names, new_kinds) as new (name, kind) order by name collate "C"
            on conflict do nothing;
        get diagnostics begun = row_count;
    end if;
    if found_rows > locked or begun < cardinality(new_names) then
        raise exception 'another node has made the row of a meter' using errcode = 'serialization_failure';
    end if;
    if cardinality(rates) > 0 then
        insert into api_key_meters (meter, kind, full_at) select name, 0, time from unnest(rates, times) as rows (name, time)
            on conflict (meter) do update set full_at = excluded.full_at;
    end if;
    if cardinality(quotas) > 0 then
        insert into api_key_meters (meter, kind, period, used) select name, 1, a, b from unnest(quotas, periods, uses) as rows (name, a, b)
            on conflict (meter) do update set period = excluded.period, used = excluded.used;
    end if;
    if cardinality(owners) > 0 then
        insert into api_key_meters (meter, kind, period, refilled, available, leased, spent, lost, expired, topped_up)
            select name, 2, a, b, c, d, e, f, g, h
            from unnest(owners, refills, lasts, credits, leasing, spending, losing, expiring, topping)
                as rows (name, a, b, c, d, e, f, g, h)
            on conflict (meter) do update set period = excluded.period, refilled = excluded.refilled,
                available = excluded.available, leased = excluded.leased, spent = excluded.spent, lost = excluded.lost, expired = excluded.expired,
                topped_up = excluded.topped_up;
    end if;
    if cardinality(closed_ids) > 0 then
        update api_key_leases set state = 1 where id = any (closed_ids);
    end if;
    if cardinality(lost_ids) > 0 then
        update api_key_leases set state = 2 where id = any (lost_ids);
    end if;
    if cardinality(lent_ids) > 0 then
        -- In the order of their ids. Another call has the same lease only if its meter has no row.
        insert into api_key_leases (id, meter, kind, period, granted, until, state)
            select * from unnest(lent_ids, lent_names, lent_kinds, lent_periods, lent_units, lent_until, lent_states)
            order by 1
            on conflict do nothing;
        get diagnostics begun = row_count;
        if begun < cardinality(lent_ids) then
            raise exception 'another call has made the row of a lease' using errcode = case
                when exists (select from unnest(lent_ids, lent_names) as lent (lease, name)
                    join api_key_leases on id = lease where meter <> name)
                then 'unique_violation' else 'serialization_failure' end;
        end if;
    end if;

    -- What is over goes, without a wait.
    if has_leases then
        delete from api_key_leases where id = any (array(
            select id from api_key_leases where (state <> 0 or kind = 1) and until < now - 3600000000000
            order by until limit greatest(100, 2 * cardinality(meters)) for update skip locked));
    end if;
    -- A rate whose burst is full equals one without a row, as does a quota of two months ago. An index on the time would make each
    -- update slower, so this looks at one page of the table, more often if rows are added.
    if random() < 0.004 + cardinality(new_names) / 16.0 then
        rest := floor(random() * (pg_relation_size(to_regclass('api_key_meters')) / current_setting('block_size')::integer));
        delete from api_key_meters where ctid = any (array(
            select ctid from api_key_meters
            where ctid = any (array(select format('(%s,%s)', rest, line)::tid from generate_series(1, 291) as line))
                and (kind = 0 and full_at < now or kind = 1 and period < today - 62)
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
        select period, refilled, spent, lost into state_of from api_key_meters where meter = done.name for update;
        continue when not found;
        select kind, period, granted, state = 2 as is_lost into lease
            from api_key_leases where id = done.id and meter = done.name and state <> 1;
        continue when not found;
        update api_key_leases set state = 1 where id = done.id;
        -- What comes back late is not lost, unless it has come back otherwise.
        if lease.is_lost and lease.kind > 1 then
            lease.granted := least(lease.granted, state_of.lost);
            state_of.lost := state_of.lost - lease.granted;
        end if;
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
        is_over := lease.kind = 3 and lease.period < state_of.refilled;
        update api_key_meters set leased = leased - case when lease.is_lost then 0 else lease.granted end,
                spent = spent + greatest(lease.granted - done.remains, 0) - of_spent, lost = state_of.lost - of_lost,
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
