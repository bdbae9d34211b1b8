-- +goose Up
-- 001_tables: SKUs, orders, fences, adjustments, movements.
--
-- These files are plain SQL for psql, for tern, for goose (its marks are comments
-- to everybody else), and for order.Migrate. Each must run in one transaction; it
-- records its own version, so that these tools can be mixed.

create schema lastunit;

create table lastunit.migrations (
    version    integer     primary key,
    applied_at timestamptz not null default clock_timestamp()
);

-- One row: the name of this store, whether new SKUs have a ledger, and the key
-- of its digests.
create table lastunit.store (
    one        boolean primary key default true check (one),
    id         uuid    not null default gen_random_uuid(),
    ledger     boolean not null default true,
    digest_key bytea   not null default decode(
        replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
);
insert into lastunit.store default values;

-- One row a SKU: the counters that every commit locks first.
create table lastunit.skus (
    sku        text     collate "C" primary key,
    partition  smallint not null, -- of the background work
    capacity   bigint   not null check (capacity between 0 and 1000000000000),
    allocated  bigint   not null default 0 check (allocated >= 0), -- units in orders that are counted as held or confirmed
    admitted   bigint   not null default 0 check (admitted >= 0),  -- units committed through Redis in this epoch
    epoch      bigint   not null check (epoch between 1 and 4503599627370496),
    version    bigint   not null default 1 check (version between 1 and 4503599627370496),
    top_seq    bigint   not null default 0 check (top_seq >= 0),   -- highest seq consumed in this epoch
    customer_limit  bigint check (customer_limit between 1 and 1000000), -- units in a customer's live orders; null for no limit
    opens_at        timestamptz,
    closes_at       timestamptz check (closes_at > opens_at),
    paused          boolean not null default false,
    draw_skus       text[],   -- what one unit takes of pools, those of pools included; null for nothing
    draw_quantities bigint[],
    ledger          boolean not null, -- whether its movements are written
    recorded        boolean not null, -- whether they always were, so that they tell of every order
    moved           bigint  not null default 0, -- number of the last movement
    reopens_at      timestamptz, -- when new orders may take what came back after it was sold out; null if nothing did
    created_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50); -- room to update the counters in place
create index skus_partition on lastunit.skus (partition, sku);

-- Whoever was told, at a moment at which nobody was changing a SKU, that it was
-- sold out, may say so for 50 ms without asking again (order.Reopening). So that no
-- order is denied that is there, what comes back is kept for as long. The clock is
-- read under the row's lock, so after that moment.
-- +goose StatementBegin
create function lastunit.reopen() returns trigger language plpgsql as $$
begin
    new.reopens_at := clock_timestamp() + interval '50 ms';
    return new;
end $$;
-- +goose StatementEnd
create trigger skus_reopen before update on lastunit.skus
    for each row when (old.allocated >= old.capacity and new.allocated < new.capacity)
    execute function lastunit.reopen();

create type lastunit.order_status as enum ('held', 'confirmed', 'cancelled', 'expired');

-- One row an order, its units in parallel arrays: one insert for each booking.
-- The units are what it takes of each SKU, by its lines and by what they draw on
-- pools.
--
-- Every function here locks SKU rows first, sorted, and then orders. Orders may
-- also be changed in somebody's own transaction, which touches nothing else and
-- may last: so a function that has SKU rows locked never waits for an order.
create table lastunit.orders (
    id         text   collate "C" primary key,
    number     bigint generated always as identity, -- newest first, for paging
    customer   text   not null,
    status     lastunit.order_status not null,
    counted    lastunit.order_status not null,      -- the status that the counters and the movements know of
    digest     bytea,                               -- of the content; null if it was cancelled before it was booked
    skus       text[]   not null,
    quantities bigint[] not null,
    drawn      bigint[],          -- the part of each quantity that lines draw on a pool; null if nothing is
    consumed   bigint[] not null, -- identities of the deductions, one row each: unit (from 1), epoch, seq
    limited    boolean  not null default false, -- one of its SKUs has a customer limit
    expires_at timestamptz,       -- of the hold; null if it was never held
    due_at     timestamptz,       -- when the background work looks at the hold next
    created_at timestamptz not null,
    changed_at timestamptz not null, -- when the status last changed
    refused     text, -- why an accepted order was refused; null if it was not
    refused_sku text  -- the SKU that decided it
);
create index orders_status_number on lastunit.orders (status, number);
create index orders_due on lastunit.orders (due_at) where status = 'held';
create index orders_limited on lastunit.orders (customer) where limited and status in ('held', 'confirmed');
create index orders_uncounted on lastunit.orders (id) where status <> counted;

-- Changes of capacity, so that each is made once under its ID.
create table lastunit.adjustments (
    id          text   collate "C" primary key,
    sku         text   collate "C" not null,
    kind        text   not null check (kind in ('set_capacity', 'restock', 'write_off')),
    units       bigint not null,
    reason      text   not null,
    reference   text   not null,
    adjusted_at timestamptz not null
);

create type lastunit.movement_kind as enum (
    'on_sale', 'capacity', 'restock', 'write_off',                                -- of the capacity
    'held', 'booked', 'reclaimed', 'cancelled', 'expired', 'recounted',           -- of what is allocated
    'confirmed');                                                                 -- of neither

-- The ledger, and the outbox: what happened to each SKU, written in the
-- transaction in which it happened. Numbered under the SKU's lock, so that whoever
-- reads the movements of a SKU sees the first ones without a gap.
--
-- One row holds all that a transaction moved of a SKU at one moment, in parallel
-- arrays: a row for each movement would cost a third of what a commit does. The
-- view lastunit.movements has a line for each.
create table lastunit.movement_batches (
    sku          text   collate "C" not null,
    first_number bigint not null,  -- of its movements; the others follow without a gap
    last_number  bigint not null,
    moved_at     timestamptz not null,
    kinds        lastunit.movement_kind[] not null,
    quantities   bigint[] not null,
    order_ids    text[], -- null if they are of no order
    reason       text,   -- of an adjustment
    reference    text,   -- of an adjustment
    primary key (sku, last_number) -- by the last: the movements after a number begin in the first row beyond it
);
-- Most IDs are as good as random: to try and compress them is time lost.
alter table lastunit.movement_batches alter column order_ids set storage external;

-- The ledger as people read it.
create view lastunit.movements as
select b.sku, b.first_number + m.i - 1 as number, m.kind, m.quantity, m.order_id, b.reason, b.reference, b.moved_at
from lastunit.movement_batches b, unnest(b.kinds, b.quantities, b.order_ids) with ordinality m(kind, quantity, order_id, i);

-- The word of Postgres that a deduction is dead: no commit may consume it.
create table lastunit.fences (
    sku       text   collate "C" not null,
    epoch     bigint not null,
    seq       bigint not null,
    fenced_at timestamptz not null default clock_timestamp(),
    primary key (sku, epoch, seq)
);

-- The SKUs are shared out in partitions; whoever claims one that nobody claimed
-- for a while does its background work. Nobody needs to give a claim back.
create table lastunit.partitions (
    partition  smallint primary key,
    claimed_at timestamptz not null default '-infinity'
);
insert into lastunit.partitions (partition) select generate_series(0, 63);

-- +goose StatementBegin
-- await_standbys makes the transaction wait, as it commits, until the standbys
-- have all that was written before it. A row can be visible before they do: its
-- writer's wait was cut short. Nobody may be told of it until they have it.
create function lastunit.await_standbys() returns void language plpgsql as $$
begin
    if current_setting('synchronous_commit') in ('off', 'local') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    if current_setting('synchronous_standby_names') <> '' then
        perform pg_logical_emit_message(true, 'lastunit', '');
    end if;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- enter begins every writing function. It keeps the caller's settings from
-- weakening a promise, bounds the wait for a lock where nobody else does, and
-- refuses a caller that remembers another store: the database was made anew
-- under it, and its digests are of another key. It also awaits the standbys: a
-- repeated call writes nothing that would wait for what the first one wrote.
create function lastunit.enter(p_store uuid) returns void language plpgsql as $$
begin
    if current_setting('synchronous_commit') in ('off', 'local') or current_setting('synchronous_standby_names') <> '' then
        perform lastunit.await_standbys();
    end if;
    if current_setting('lock_timeout') = '0' then
        perform set_config('lock_timeout', '5s', true);
    end if;
    if not exists (select from lastunit.store where id = p_store) then
        raise exception 'this is not store %', p_store using errcode = 'LU001';
    end if;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- next_epoch: a clock as well as a counter, so that a SKU or a database that was
-- made anew does not meet an epoch of its former life.
create function lastunit.next_epoch(p_epoch bigint) returns bigint language sql as $$
    select greatest(p_epoch + 1, floor(extract(epoch from clock_timestamp()) * 1000)::bigint)
$$;
-- +goose StatementEnd

insert into lastunit.migrations (version) values (1);
