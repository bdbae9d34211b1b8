-- +goose Up
-- 001_core: SKUs, orders, fences, and the functions that decide.
--
-- This file is plain SQL for psql, for tern, for goose (its marks are comments
-- to everybody else), and for order.Migrate. It must run in one transaction; it
-- records its own version, so that these tools can be mixed.

create schema lastunit;

create table lastunit.migrations (
    version    integer     primary key,
    applied_at timestamptz not null default clock_timestamp()
);

-- One row: the name of this store, and the key of its digests.
create table lastunit.store (
    one        boolean primary key default true check (one),
    id         uuid    not null default gen_random_uuid(),
    digest_key bytea   not null default decode(
        replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
);
insert into lastunit.store default values;

-- One row a SKU: the counters that every commit locks first.
create table lastunit.skus (
    sku        text     collate "C" primary key,
    partition  smallint not null, -- of the background work
    capacity   bigint   not null check (capacity between 0 and 1000000000000),
    allocated  bigint   not null default 0 check (allocated >= 0), -- units in held and confirmed orders
    admitted   bigint   not null default 0 check (admitted >= 0),  -- units committed through Redis in this epoch
    epoch      bigint   not null check (epoch between 1 and 4503599627370496),
    version    bigint   not null default 1 check (version between 1 and 4503599627370496),
    top_seq    bigint   not null default 0 check (top_seq >= 0),   -- highest seq consumed in this epoch
    created_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50); -- room to update the counters in place
create index skus_partition on lastunit.skus (partition, sku);

create type lastunit.order_status as enum ('held', 'confirmed', 'cancelled', 'expired');

-- One row an order, its lines in parallel arrays: one insert for each booking.
create table lastunit.orders (
    id         text   collate "C" primary key,
    number     bigint generated always as identity, -- newest first, for paging
    customer   text   not null,
    status     lastunit.order_status not null,
    digest     bytea,                               -- of the content; null if it was cancelled before it was booked
    skus       text[]   not null,
    quantities bigint[] not null,
    consumed   bigint[] not null, -- identities of the deductions, one row each: line (from 1), epoch, seq
    created_at timestamptz not null,
    changed_at timestamptz not null -- when the status last changed
);
create index orders_status_number on lastunit.orders (status, number);

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
    perform lastunit.await_standbys();
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

-- +goose StatementBegin
-- commit_orders decides orders, one after the other, and commits those that it
-- takes. It locks the SKU rows in order, then looks up the order IDs, then
-- decides each order:
--
--   existing   its ID is there
--   unknown    there is no such SKU
--   again      a deduction is of another epoch or fenced: deduct again
--   full       it would exceed the capacity
--   booked     it was inserted, and consumed its deductions
--
-- The lines stand flat, ordered by order; epoch 0 is a line without a deduction,
-- which no admitted unit stands for: it shrinks the supply, so it makes a
-- version. p_skus is sorted, without duplicates; so are no two order IDs equal.
--
-- A session that plans it while the orders are few would scan them ever after,
-- so it never scans; without jit, as what can't but be scanned then looks dear.
create function lastunit.commit_orders(
    p_store uuid,
    p_ids text[], p_customers text[], p_digests bytea[],
    p_skus text[],
    p_line_orders integer[],  -- the line's order, from 1
    p_line_numbers bigint[],  -- the line within its order, from 1
    p_line_skus integer[],    -- the line's SKU in p_skus, from 1
    p_line_quantities bigint[], p_line_epochs bigint[], p_line_seqs bigint[],
    out verdicts text[],      -- of each order
    out deciding integer[],   -- the line that decided it, if unknown or full
    out lefts bigint[],       -- units left for that line
    out again boolean[],      -- of each line: its deduction is dead
    out decided_at timestamptz
) language plpgsql set enable_seqscan = off set jit = off as $$
declare
    n_orders integer := cardinality(p_ids);
    n_lines integer := cardinality(p_line_orders);
    n_skus integer := cardinality(p_skus);
    v_capacity bigint[] := array_fill(null::bigint, array[n_skus]);
    v_allocated bigint[] := array_fill(null::bigint, array[n_skus]);
    v_admitted bigint[] := array_fill(0::bigint, array[n_skus]);
    v_epoch bigint[] := array_fill(0::bigint, array[n_skus]);
    v_top_seq bigint[] := array_fill(0::bigint, array[n_skus]);
    v_direct bigint[] := array_fill(0::bigint, array[n_skus]);
    v_existing text[];
    v_booked integer := 0;
    v_inserted integer;
    v_first integer;
    v_next integer := 1;
    k integer;
    r record;
begin
    perform lastunit.enter(p_store);
    verdicts := array_fill(null::text, array[n_orders]);
    deciding := array_fill(0, array[n_orders]);
    lefts := array_fill(0::bigint, array[n_orders]);
    again := array_fill(false, array[n_lines]);

    for r in
        select s.*, u.k
        from unnest(p_skus) with ordinality u(sku, k) join lastunit.skus s on s.sku = u.sku
        order by s.sku for update of s
    loop
        v_capacity[r.k] := r.capacity;
        v_allocated[r.k] := r.allocated;
        v_admitted[r.k] := r.admitted;
        v_epoch[r.k] := r.epoch;
        v_top_seq[r.k] := r.top_seq;
    end loop;

    -- Only now, under the locks: whoever had them before has committed.
    -- "= any" by the key, as the planner turns NOT EXISTS into a scan.
    v_existing := array(select o.id from lastunit.orders o where o.id = any(p_ids));
    if cardinality(v_existing) > 0 then
        for r in select u.i from unnest(p_ids) with ordinality u(id, i) where u.id = any(v_existing) loop
            verdicts[r.i] := 'existing';
        end loop;
    end if;
    if exists (select from lastunit.fences f where f.sku = any(p_skus)) then
        for r in
            select l.i
            from unnest(p_line_skus, p_line_epochs, p_line_seqs) with ordinality l(k, epoch, seq, i)
            join unnest(p_skus) with ordinality u(sku, k) on u.k = l.k
            join lastunit.fences f on f.sku = u.sku and f.epoch = l.epoch and f.seq = l.seq
        loop
            again[r.i] := true;
        end loop;
    end if;

    -- One order after the other, so that a large one that doesn't fit does not
    -- refuse a small one behind it.
    for i in 1..n_orders loop
        v_first := v_next;
        while v_next <= n_lines and p_line_orders[v_next] = i loop
            v_next := v_next + 1;
        end loop;
        continue when verdicts[i] is not null;

        for l in v_first..v_next - 1 loop
            k := p_line_skus[l];
            if v_capacity[k] is null then
                verdicts[i] := 'unknown';
                deciding[i] := p_line_numbers[l];
                exit;
            end if;
            if p_line_epochs[l] <> 0 and p_line_epochs[l] <> v_epoch[k] then
                again[l] := true;
            end if;
            if again[l] then
                verdicts[i] := 'again';
            elsif verdicts[i] is null and v_allocated[k] + p_line_quantities[l] > v_capacity[k] then
                verdicts[i] := 'full';
                deciding[i] := p_line_numbers[l];
                lefts[i] := greatest(0, v_capacity[k] - v_allocated[k]);
            end if;
        end loop;
        continue when verdicts[i] is not null;

        verdicts[i] := 'booked';
        v_booked := v_booked + 1;
        for l in v_first..v_next - 1 loop
            k := p_line_skus[l];
            v_allocated[k] := v_allocated[k] + p_line_quantities[l];
            if p_line_epochs[l] = 0 then
                v_direct[k] := 1;
            else
                v_admitted[k] := v_admitted[k] + p_line_quantities[l];
                v_top_seq[k] := greatest(v_top_seq[k], p_line_seqs[l]);
            end if;
        end loop;
    end loop;

    decided_at := clock_timestamp();
    if v_booked = 0 then
        return;
    end if;

    -- Sorted by ID: two batches with the same IDs and other SKUs meet in order.
    insert into lastunit.orders (id, customer, status, digest, skus, quantities, consumed, created_at, changed_at)
    select o.id, o.customer, 'confirmed', o.digest, l.skus, l.quantities, coalesce(l.consumed, '{}'), decided_at, decided_at
    from unnest(p_ids, p_customers, p_digests, verdicts) with ordinality o(id, customer, digest, verdict, i)
    join (
        select x.i, array_agg(u.sku order by x.line) as skus, array_agg(x.quantity order by x.line) as quantities,
            array_agg(array[x.line, x.epoch, x.seq] order by x.line) filter (where x.epoch <> 0) as consumed
        from unnest(p_line_orders, p_line_numbers, p_line_skus, p_line_quantities, p_line_epochs, p_line_seqs)
            x(i, line, k, quantity, epoch, seq)
        join unnest(p_skus) with ordinality u(sku, k) on u.k = x.k
        group by x.i
    ) l on l.i = o.i
    where o.verdict = 'booked'
    order by o.id
    on conflict (id) do nothing;
    get diagnostics v_inserted = row_count;
    if v_inserted <> v_booked then
        -- The same ID came in by other SKUs, or was cancelled, since we looked.
        raise exception 'an order ID was taken meanwhile' using errcode = 'serialization_failure';
    end if;

    update lastunit.skus s
    set allocated = c.allocated, admitted = c.admitted, top_seq = c.top_seq, version = s.version + c.direct
    from unnest(p_skus, v_allocated, v_admitted, v_top_seq, v_direct) c(sku, allocated, admitted, top_seq, direct)
    where s.sku = c.sku and s.allocated <> c.allocated;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- cancel_order gives the units of a live order back. An unknown ID becomes a
-- cancelled order without content, so that a late original can't book it.
create function lastunit.cancel_order(p_store uuid, p_id text)
returns void language plpgsql set enable_seqscan = off set jit = off as $$
declare
    o lastunit.orders;
begin
    perform lastunit.enter(p_store);
    select * into o from lastunit.orders where id = p_id;
    if not found then
        insert into lastunit.orders (id, customer, status, skus, quantities, consumed, created_at, changed_at)
        values (p_id, '', 'cancelled', '{}', '{}', '{}', clock_timestamp(), clock_timestamp())
        on conflict (id) do nothing;
        if found then
            return;
        end if;
        select * into o from lastunit.orders where id = p_id;
    end if;
    if o.status not in ('held', 'confirmed') then
        return;
    end if;
    -- SKU rows before orders, as everywhere.
    perform from lastunit.skus where sku = any(o.skus) order by sku for update;
    update lastunit.orders set status = 'cancelled', changed_at = clock_timestamp()
    where id = p_id and status in ('held', 'confirmed');
    if not found then
        return; -- somebody else was first
    end if;
    update lastunit.skus s set allocated = s.allocated - l.quantity, version = s.version + 1
    from unnest(o.skus, o.quantities) l(sku, quantity) where s.sku = l.sku;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- fence_deductions says of each deduction whether its order consumed it. Of one
-- that it did not, it makes sure that no order ever will: the order is there
-- without it, or the epoch is over, or a fence is written.
create function lastunit.fence_deductions(
    p_store uuid, p_skus text[], p_orders text[], p_epochs bigint[], p_seqs bigint[]
) returns boolean[] language plpgsql set enable_seqscan = off set jit = off as $$
declare
    v_consumed boolean[];
begin
    perform lastunit.enter(p_store);
    perform from lastunit.skus where sku = any(p_skus) order by sku for update;
    v_consumed := array(
        select exists (
            select from lastunit.orders o, generate_subscripts(o.consumed, 1) c
            where o.id = d.order_id and o.skus[o.consumed[c][1]] = d.sku
                and o.consumed[c][2] = d.epoch and o.consumed[c][3] = d.seq)
        from unnest(p_skus, p_orders, p_epochs, p_seqs) with ordinality d(sku, order_id, epoch, seq, i)
        order by d.i);
    insert into lastunit.fences (sku, epoch, seq)
    select d.sku, d.epoch, d.seq
    from unnest(p_skus, p_orders, p_epochs, p_seqs) d(sku, order_id, epoch, seq)
    join lastunit.skus s on s.sku = d.sku and s.epoch = d.epoch
    where not exists (select from lastunit.orders o where o.id = d.order_id)
    order by d.sku, d.seq
    on conflict do nothing;
    return v_consumed;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- begin_epoch moves a SKU to a new epoch if its epoch is still the one that the
-- caller saw, and says whether it did. From then on, every deduction of an older epoch is void.
create function lastunit.begin_epoch(p_store uuid, p_sku text, p_seen bigint) returns boolean language plpgsql as $$
begin
    perform lastunit.enter(p_store);
    update lastunit.skus
    set epoch = lastunit.next_epoch(epoch), version = version + 1, admitted = 0, top_seq = 0
    where sku = p_sku and epoch = p_seen;
    if not found then
        return false;
    end if;
    delete from lastunit.fences where sku = p_sku and epoch <= p_seen;
    return true;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- set_capacity changes how many units there are.
create function lastunit.set_capacity(p_store uuid, p_sku text, p_capacity bigint) returns boolean language plpgsql as $$
begin
    perform lastunit.enter(p_store);
    update lastunit.skus set capacity = p_capacity, version = version + 1
    where sku = p_sku and capacity <> p_capacity;
    return found;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- put_on_sale makes a SKU. One that is there stays as it is.
create function lastunit.put_on_sale(p_store uuid, p_sku text, p_partition smallint, p_capacity bigint)
returns boolean language plpgsql as $$
begin
    perform lastunit.enter(p_store);
    insert into lastunit.skus (sku, partition, capacity, epoch)
    values (p_sku, p_partition, p_capacity, lastunit.next_epoch(0))
    on conflict (sku) do nothing;
    return found;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- recount sets allocated to what the live orders hold, under the SKU's lock.
create function lastunit.recount(p_store uuid, p_sku text) returns boolean language plpgsql as $$
declare
    live bigint;
begin
    perform lastunit.enter(p_store);
    perform from lastunit.skus where sku = p_sku for update;
    select coalesce(sum(l.quantity), 0) into live
    from lastunit.orders o, unnest(o.skus, o.quantities) l(sku, quantity)
    where o.status in ('held', 'confirmed') and l.sku = p_sku;
    update lastunit.skus set allocated = live, version = version + 1
    where sku = p_sku and allocated <> live;
    return found;
end $$;
-- +goose StatementEnd

insert into lastunit.migrations (version) values (1);
