-- The meters of limits that all nodes share, the leases that nodes have taken of them, and top-ups.
-- Kinds: 0 is a rate, 1 a quota, 2 credits, and 3 credits whose refill replaces the balance. Times
-- are in nanoseconds and periods in days since 1970.
create table api_key_meters (
    meter     text    not null primary key,
    kind      integer not null,
    -- A rate: when its burst is full again.
    full_at   integer not null default 0,
    -- A quota: the day that ends the present period. Refilled credits: the day that ends the period
    -- of the last refill, and the day of that refill.
    period    integer not null default 0,
    refilled  integer not null default 0,
    used      integer not null default 0 check (used >= 0),
    available integer not null default 0 check (available >= 0),
    leased    integer not null default 0 check (leased >= 0),
    spent     integer not null default 0 check (spent >= 0),
    lost      integer not null default 0 check (lost >= 0),
    expired   integer not null default 0 check (expired >= 0),
    topped_up integer not null default 0 check (topped_up >= 0),
    check (topped_up = available + leased + spent + lost + expired)
) strict, without rowid;

create table api_key_leases (
    id      blob    not null primary key,
    meter   text    not null,
    kind    integer not null,
    -- As of the grant: the period of a quota, or the day of the last refill of credits.
    period  integer not null,
    granted integer not null check (granted >= 0),
    -- 0 is open, 1 is closed, and 2 is lost.
    state   integer not null default 0,
    until   integer not null
) strict, without rowid;

create index api_key_leases_open on api_key_leases (meter, until) where state = 0;
create index api_key_leases_over on api_key_leases (until) where state <> 0 or kind = 1;

create table api_key_top_ups (
    meter   text    not null,
    id      text    not null,
    amount  integer not null check (amount >= 0),
    made_at integer not null,
    primary key (meter, id)
) strict, without rowid;
