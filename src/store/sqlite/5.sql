-- The requests with each key, by day and outcome. A day is the number of days since 1970-01-01, in
-- UTC.
create table api_key_usage (
    key_id     text    not null,
    day        integer not null,
    accepted   integer not null,
    forbidden  integer not null,
    rejected   integer not null,
    limited    integer not null,
    primary key (key_id, day)
) strict, without rowid;

-- Old days are removed in batches, which must not read the days that are kept.
create index api_key_usage_by_day on api_key_usage (day);
