-- +goose Up
-- 008_void: cancel and void, changes in somebody's own transaction, adjustments that
-- were superseded, and SKUs that can only be drawn on.

-- Such a SKU has draws, be they none, so that commit_orders, which looks at the draws
-- of a batch only where a SKU has some, asks misdrawn_orders about it.
alter table lastunit.skus add column pool_only boolean not null default false,
    add constraint skus_pool_only_check check (not pool_only or draw_skus is not null);

-- +goose StatementBegin
-- change_orders changes orders, one after the other; order.Action has what each
-- action does. No two IDs are equal. Whatever the action, it counts what was done
-- to the order in somebody's own transaction. The verdicts:
--
--   done        the order is as it was asked to be, be it since before
--   missing     there is no such order
--   busy        another transaction has it, or has one of its SKUs
--   cancelled   it is
--   expired     it has expired, or its time is over
--   limited     reclaim: the customer would have too much
--   full        reclaim: it would exceed the capacity
create or replace function lastunit.change_orders(
    p_store uuid, p_ids text[], p_actions text[],
    p_holds bigint[],        -- in microseconds: of extend, how long; of expire, since when its time must be over
    p_skip boolean,          -- not to wait for a SKU that somebody has locked: its orders are busy
    out verdicts text[],
    out deciding integer[],  -- which of its units decided it, from 1, if limited or full
    out lefts bigint[]       -- units left of that one, if full; what the customer has of it, if limited
) language plpgsql set enable_seqscan = off set jit = off as $$
declare
    n integer := cardinality(p_ids);
    v_known text[];
    v_skus text[];
    v_locked text[];
    v_seen boolean[] := array_fill(false, array[n]);                 -- its SKUs are locked
    v_status text[] := array_fill(null::text, array[n]);             -- what the order becomes
    v_expires timestamptz[] := array_fill(null::timestamptz, array[n]);
    v_changed boolean[] := array_fill(false, array[n]);              -- its status does
    v_touched boolean[] := array_fill(false, array[n]);              -- the row is to be written
    v_moves integer[] := '{}'; -- of each movement: its order
    v_kinds text[] := '{}';    -- of each movement
    v_ours text[]; -- IDs of the orders whose rows are locked
    v_now timestamptz;
    v_verdict text;
    v_used bigint;
    s lastunit.skus;
    r record;
begin
    -- Many times what a batch keeps a SKU for, and short for the orders of others.
    if current_setting('lock_timeout')::interval not between interval '1 ms' and interval '500 ms' then
        perform set_config('lock_timeout', '500ms', true);
    end if;
    perform lastunit.enter(p_store);
    for r in select u.i, o.skus from unnest(p_ids) with ordinality u(id, i) join lastunit.orders o on o.id = u.id loop
        v_seen[r.i] := true;
        v_skus := v_skus || r.skus;
    end loop;
    v_skus := array(select distinct l.sku from unnest(v_skus) l(sku));
    if p_skip then
        v_locked := array(select k.sku from lastunit.skus k where k.sku = any(v_skus) order by k.sku for update skip locked);
        if cardinality(v_locked) <> cardinality(v_skus) then
            v_skus := array(select l.sku from unnest(v_skus) l(sku) where l.sku <> all(v_locked));
            for r in
                select u.i from unnest(p_ids) with ordinality u(id, i) join lastunit.orders o on o.id = u.id where o.skus && v_skus
            loop
                v_seen[r.i] := false;
            end loop;
        end if;
    else
        perform from lastunit.skus where sku = any(v_skus) order by sku for update;
    end if;
    v_known := array(select o.id from lastunit.orders o where o.id = any(p_ids));
    -- Under the locks, as everywhere, so that inserts of one ID never wait for
    -- each other's locks.
    insert into lastunit.orders (id, customer, status, counted, skus, quantities, consumed, created_at, changed_at)
    select u.id, '', 'cancelled', 'cancelled', '{}', '{}', '{}', clock_timestamp(), clock_timestamp()
    from unnest(p_ids, p_actions) u(id, action)
    where u.action = 'void' and not u.id = any(v_known)
    order by u.id
    on conflict (id) do nothing;
    verdicts := array_fill('missing'::text, array[n]);
    deciding := array_fill(0, array[n]);
    lefts := array_fill(0::bigint, array[n]);
    for r in select u.i from unnest(p_ids) with ordinality u(id, i) join lastunit.orders o on o.id = u.id loop
        verdicts[r.i] := 'busy'; -- unless we can lock it
    end loop;

    -- The moment at which all of them are decided, as of which they are stored: else
    -- one would be confirmed after its time. Locked before it: else one could be
    -- extended of which somebody's own transaction was just told that its time is over.
    -- Nothing waits from here on.
    v_ours := array(select o.id from lastunit.orders o where o.id = any(p_ids) order by o.id for update skip locked);
    v_now := clock_timestamp();
    for r in
        select o.*, u.i, u.action, u.hold
        from unnest(p_ids, p_actions, p_holds) with ordinality u(id, action, hold, i)
        join lastunit.orders o on o.id = u.id
        where o.id = any(v_ours)
        order by u.i
    loop
        -- What came in after we looked stays busy, but for what we have inserted.
        continue when not v_seen[r.i] and r.skus <> '{}';
        v_verdict := 'done';
        v_status[r.i] := r.status;
        v_expires[r.i] := r.expires_at;
        if r.status <> r.counted then
            v_moves := v_moves || r.i::integer;
            v_kinds := v_kinds || r.status::text;
            v_touched[r.i] := true;
        end if;

        case r.action
        when 'cancel', 'void' then
            v_status[r.i] := 'cancelled';
        when 'expire' then
            if r.status = 'held' and r.expires_at <= v_now - r.hold * interval '1 microsecond' then
                v_status[r.i] := 'expired';
            end if;
        when 'count' then
            null;
        else
            if r.status = 'cancelled' then
                v_verdict := 'cancelled';
            elsif r.action = 'reclaim' and r.status = 'expired' then
                -- Its units are taken anew, without Redis.
                for u in 1..cardinality(r.skus) loop
                    -- Others of this call may have changed it already.
                    select * into s from lastunit.skus where sku = r.skus[u];
                    if s.customer_limit is not null then
                        v_used := lastunit.used_by_customer(r.customer, s.sku);
                        if v_used + r.quantities[u] > s.customer_limit then
                            v_verdict := 'limited';
                            deciding[r.i] := u;
                            lefts[r.i] := v_used;
                            exit;
                        end if;
                    end if;
                    if s.allocated + r.quantities[u] > s.capacity then
                        v_verdict := 'full';
                        deciding[r.i] := u;
                        lefts[r.i] := greatest(0, s.capacity - s.allocated);
                        exit;
                    end if;
                end loop;
                if v_verdict = 'done' then
                    v_status[r.i] := 'confirmed';
                end if;
            elsif r.status = 'expired' or r.status = 'held' and r.expires_at <= v_now and r.action in ('confirm', 'extend') then
                v_verdict := 'expired';
            elsif r.status = 'held' and r.action = 'extend' then
                v_expires[r.i] := greatest(r.expires_at, v_now + r.hold * interval '1 microsecond');
                v_touched[r.i] := v_touched[r.i] or v_expires[r.i] <> r.expires_at;
            elsif r.status = 'held' then -- confirm, confirm_late, reclaim
                v_status[r.i] := 'confirmed';
            end if;
        end case;
        verdicts[r.i] := v_verdict;

        if v_status[r.i] <> r.status::text then
            v_changed[r.i] := true;
            v_touched[r.i] := true;
            -- The units of an expired order are back already.
            continue when r.status = 'expired' and v_status[r.i] = 'cancelled';
            v_moves := v_moves || r.i::integer;
            v_kinds := v_kinds || case when r.status = 'expired' then 'reclaimed' else v_status[r.i] end;
        end if;
        if r.action = 'reclaim' and r.status = 'expired' and v_verdict = 'done' then
            -- At once, so that the next one of this call finds it: reclaims are rare.
            perform lastunit.write_changes(p_ids[r.i:r.i], v_status[r.i:r.i], v_expires[r.i:r.i], v_changed[r.i:r.i], v_now);
            perform lastunit.write_movements(array[r.i::integer], v_kinds[cardinality(v_kinds):cardinality(v_kinds)], p_ids, v_now);
            v_touched[r.i] := false;
            v_moves := v_moves[:cardinality(v_moves) - 1];
            v_kinds := v_kinds[:cardinality(v_kinds) - 1];
        end if;
    end loop;
    if true = any(v_touched) then
        perform lastunit.write_changes(t.ids, t.statuses, t.expires, t.changed, v_now)
        from (
            select array_agg(x.id) as ids, array_agg(x.status) as statuses, array_agg(x.expires) as expires, array_agg(x.changed) as changed
            from unnest(p_ids, v_status, v_expires, v_changed, v_touched) x(id, status, expires, changed, touched)
            where x.touched
        ) t;
        perform lastunit.write_movements(v_moves, v_kinds, p_ids, v_now);
    end if;
end $$;
-- +goose StatementEnd

drop function lastunit.change_in_transaction(text, text);

-- +goose StatementBegin
-- change_in_transaction confirms or cancels an order inside its caller's
-- transaction, which may last: nothing is touched but the order's row. What it
-- means for the counters and the ledger is counted by a later change_orders,
-- which finds the order as its status is not the counted one. It refuses a transaction
-- of another store than the caller's, as enter does, where the caller knows its own.
create or replace function lastunit.change_in_transaction(p_id text, p_action text, p_store uuid default null)
returns text language plpgsql set enable_seqscan = off set jit = off as $$
declare
    o lastunit.orders;
    v_now timestamptz;
begin
    if not exists (select from lastunit.store where id = coalesce(p_store, id)) then
        raise exception 'this is not store %', p_store using errcode = 'LU001';
    end if;
    perform lastunit.await_standbys();
    -- Locked before anything is decided, so that it is the answer until the end of the
    -- transaction, and so that an old snapshot is an error and not an answer.
    select * into o from lastunit.orders where id = p_id for update;
    if not found then
        return 'missing';
    end if;
    v_now := clock_timestamp(); -- nothing waits from here on
    if p_action = 'cancel' then
        if o.status in ('held', 'confirmed') then
            update lastunit.orders set status = 'cancelled', changed_at = v_now where id = p_id;
        elsif o.status = 'expired' then
            -- Its units are back already: there is nothing to count.
            update lastunit.orders set status = 'cancelled', counted = 'cancelled', changed_at = v_now where id = p_id;
        end if;
        return 'done';
    end if;
    if o.status = 'held' and o.expires_at > v_now then
        update lastunit.orders set status = 'confirmed', changed_at = v_now where id = p_id;
        return 'done';
    end if;
    return case o.status when 'cancelled' then 'cancelled' when 'confirmed' then 'done' else 'expired' end;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- adjust_capacity changes how many units there are, once under an ID. It returns
-- done, unknown, conflict, superseded, or the capacity that the adjustment can't be made to.
create or replace function lastunit.adjust_capacity(
    p_store uuid, p_id text, p_sku text, p_kind text, p_units bigint, p_reason text, p_reference text
) returns text language plpgsql as $$
declare
    s lastunit.skus;
    a lastunit.adjustments;
    v_capacity bigint;
begin
    perform lastunit.enter(p_store);
    select * into s from lastunit.skus where sku = p_sku for update;
    if not found then
        return 'unknown';
    end if;
    v_capacity := case p_kind
        when 'set_capacity' then p_units
        when 'restock' then s.capacity + p_units
        else s.capacity - p_units end;
    -- First the ID: an adjustment that was made may not be possible any more.
    select * into a from lastunit.adjustments where id = p_id;
    if not found then
        if v_capacity not between 0 and 1000000000000 then
            return s.capacity::text;
        end if;
        insert into lastunit.adjustments (id, sku, kind, units, reason, reference, adjusted_at)
        values (p_id, p_sku, p_kind, p_units, p_reason, p_reference, clock_timestamp())
        on conflict (id) do nothing;
        if found then
            if v_capacity <> s.capacity then
                update lastunit.skus set capacity = v_capacity, version = version + 1 where sku = p_sku;
                perform lastunit.write_movement(p_sku, case p_kind when 'set_capacity' then 'capacity' else p_kind end,
                    v_capacity - s.capacity, p_reason, p_reference);
            end if;
            return 'done';
        end if;
        select * into a from lastunit.adjustments where id = p_id; -- of another SKU, this moment
    end if;
    if (a.sku, a.kind, a.units, a.reason, a.reference) = (p_sku, p_kind, p_units, p_reason, p_reference) then
        return case when p_kind = 'set_capacity' and s.capacity <> p_units then 'superseded' else 'done' end;
    end if;
    return 'conflict';
end $$;
-- +goose StatementEnd

drop function lastunit.put_on_sale(uuid, text[], smallint[], bigint[], bigint[], timestamptz[], timestamptz[], integer[], text[], bigint[]);

-- +goose StatementBegin
-- put_on_sale makes SKUs, all of them or none: LU002 says that one is there
-- already. Draws stand flat: p_draw_items is the item, from 1.
create or replace function lastunit.put_on_sale(
    p_store uuid, p_skus text[], p_partitions smallint[], p_capacities bigint[], p_limits bigint[],
    p_opens timestamptz[], p_closes timestamptz[],
    p_draw_items integer[], p_draw_skus text[], p_draw_quantities bigint[],
    p_pool_only boolean[] default null
) returns void language plpgsql as $$
declare
    v_ledger boolean;
    n_made integer;
begin
    perform lastunit.enter(p_store);
    -- Shared, so that the ledger is not switched meanwhile.
    select ledger into v_ledger from lastunit.store for share;
    insert into lastunit.skus (sku, partition, capacity, epoch, customer_limit, opens_at, closes_at, draw_skus, draw_quantities, pool_only, ledger, recorded, moved)
    select i.sku, i.partition, i.capacity, lastunit.next_epoch(0), i.customer_limit, i.opens_at, i.closes_at,
        case when i.pool_only then coalesce(d.skus, '{}') else d.skus end, case when i.pool_only then coalesce(d.quantities, '{}') else d.quantities end,
        coalesce(i.pool_only, false),
        v_ledger, v_ledger, v_ledger::integer
    from unnest(p_skus, p_partitions, p_capacities, p_limits, p_opens, p_closes, p_pool_only)
        with ordinality i(sku, partition, capacity, customer_limit, opens_at, closes_at, pool_only, i)
    left join (
        select d.i, array_agg(d.sku order by d.sku collate "C") as skus, array_agg(d.quantity order by d.sku collate "C") as quantities
        from unnest(p_draw_items, p_draw_skus, p_draw_quantities) d(i, sku, quantity)
        group by d.i
    ) d on d.i = i.i
    order by i.sku collate "C"
    on conflict (sku) do nothing;
    get diagnostics n_made = row_count;
    if n_made <> cardinality(p_skus) then
        raise exception 'a SKU was put on sale meanwhile' using errcode = 'LU002';
    end if;
    if v_ledger then
        insert into lastunit.movement_batches (sku, first_number, last_number, moved_at, kinds, quantities)
        select i.sku, 1, 1, clock_timestamp(), '{on_sale}', array[i.capacity] from unnest(p_skus, p_capacities) i(sku, capacity);
    end if;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- misdrawn_orders are the orders, from 1, that say that their lines draw
-- something else on pools than their SKUs, locked, do, or that have a line of a SKU
-- that can only be drawn on. That is commit_orders' guard of pool_only: whoever is sent
-- back by it reads the SKU and finds the reason there.
create or replace function lastunit.misdrawn_orders(
    p_skus text[], p_unit_orders integer[], p_unit_skus integer[], p_unit_quantities bigint[], p_unit_drawn bigint[]
) returns integer[] language sql set enable_seqscan = off set jit = off as $$
    with units as (
        select u.o, p_skus[u.k] as sku, u.quantity, coalesce(u.drawn, 0) as drawn
        from unnest(p_unit_orders, p_unit_skus, p_unit_quantities, p_unit_drawn) u(o, k, quantity, drawn)
    ), draws as (
        select u.o, d.sku, sum((u.quantity - u.drawn) * d.quantity) as drawn
        from units u join lastunit.skus s on s.sku = u.sku,
            unnest(s.draw_skus, s.draw_quantities) d(sku, quantity)
        where u.quantity > u.drawn
        group by u.o, d.sku
    )
    select array(
        select distinct coalesce(u.o, d.o)
        from units u full join draws d on d.o = u.o and d.sku = u.sku
        where coalesce(u.drawn, 0) <> coalesce(d.drawn, 0)
        union
        select u.o from units u join lastunit.skus s on s.sku = u.sku
        where s.pool_only and u.quantity > u.drawn)
$$;
-- +goose StatementEnd

insert into lastunit.migrations (version, hash) values (8, '3048c8db08b2f4f473e38beac83fa6aa3247bd27c0908ba3edb4cab5034fd120');
