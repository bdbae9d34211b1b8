-- +goose Up
-- 003_change: the life of an order after it was booked.

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
create function lastunit.change_orders(
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
    where u.action = 'cancel' and not u.id = any(v_known)
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
        when 'cancel' then
            if r.status in ('held', 'confirmed') then
                v_status[r.i] := 'cancelled';
            end if;
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

-- +goose StatementBegin
-- write_changes writes the new statuses and expiries of orders, all of which are
-- locked, and what that changes in the counters of their SKUs, which are too.
create function lastunit.write_changes(
    p_ids text[], p_statuses text[], p_expires timestamptz[], p_changed boolean[], p_now timestamptz
) returns void language plpgsql set enable_seqscan = off set jit = off as $$
begin
    update lastunit.skus s
    set allocated = s.allocated + d.units, version = s.version + 1
    from (
        select l.sku, sum(case
            when o.counted in ('held', 'confirmed') and c.status not in ('held', 'confirmed') then -l.quantity
            when o.counted not in ('held', 'confirmed') and c.status in ('held', 'confirmed') then l.quantity
            else 0 end) as units
        from unnest(p_ids, p_statuses) c(id, status) join lastunit.orders o on o.id = c.id,
            unnest(o.skus, o.quantities) l(sku, quantity)
        group by l.sku
    ) d
    where s.sku = d.sku and d.units <> 0;
    update lastunit.orders o
    set status = c.status::lastunit.order_status, counted = c.status::lastunit.order_status,
        expires_at = c.expires, due_at = case when c.expires is distinct from o.expires_at then c.expires else o.due_at end,
        changed_at = case when c.changed then greatest(p_now, o.changed_at) else o.changed_at end
    from unnest(p_ids, p_statuses, p_expires, p_changed) c(id, status, expires, changed)
    where o.id = c.id;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- write_movements writes a movement for each unit of orders whose SKUs are
-- locked, where those have a ledger.
create function lastunit.write_movements(p_orders integer[], p_kinds text[], p_ids text[], p_now timestamptz)
returns void language sql set enable_seqscan = off set jit = off as $$
    with moves as (
        select s.sku, s.moved + 1 as first_number, s.moved + count(*) as last_number,
            array_agg(m.kind::lastunit.movement_kind order by m.n) as kinds,
            array_agg(case when m.kind in ('cancelled', 'expired') then -l.quantity else l.quantity end order by m.n) as quantities,
            array_agg(o.id order by m.n) as order_ids
        from unnest(p_orders, p_kinds) with ordinality m(i, kind, n)
        join unnest(p_ids) with ordinality u(id, i) on u.i = m.i
        join lastunit.orders o on o.id = u.id
        cross join unnest(o.skus, o.quantities) l(sku, quantity)
        join lastunit.skus s on s.sku = l.sku
        where s.ledger
        group by s.sku
    ), written as (
        insert into lastunit.movement_batches (sku, first_number, last_number, moved_at, kinds, quantities, order_ids)
        select sku, first_number, last_number, p_now, kinds, quantities, order_ids from moves
    )
    update lastunit.skus s set moved = m.last_number
    from moves m
    where s.sku = m.sku
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- change_in_transaction confirms or cancels an order inside its caller's
-- transaction, which may last: nothing is touched but the order's row. What it
-- means for the counters and the ledger is counted by a later change_orders,
-- which finds the order as its status is not the counted one.
create function lastunit.change_in_transaction(p_id text, p_action text)
returns text language plpgsql set enable_seqscan = off set jit = off as $$
declare
    o lastunit.orders;
    v_now timestamptz;
begin
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
-- refuse_orders stores that accepted orders are refused, each as a cancelled one
-- with its content, and says of each whether it was not there. The arrays are
-- those of commit_orders. A bare order has neither customer nor lines: for those
-- that somebody's constraint rejects.
create function lastunit.refuse_orders(
    p_store uuid, p_ids text[], p_customers text[], p_digests bytea[], p_refused text[], p_refused_skus text[],
    p_skus text[], p_unit_orders integer[], p_unit_numbers bigint[], p_unit_skus integer[],
    p_unit_quantities bigint[], p_unit_drawn bigint[], p_bare boolean
) returns boolean[] language plpgsql set enable_seqscan = off set jit = off as $$
declare
    v_known text[];
    v_written text[];
begin
    perform lastunit.enter(p_store);
    -- Under the locks, as everywhere: a commit of the same ID was before, or sees this.
    perform from lastunit.skus where sku = any(p_skus) order by sku for update;
    v_known := array(select o.id from lastunit.orders o where o.id = any(p_ids));
    with written as (
        insert into lastunit.orders (id, customer, status, counted, digest, skus, quantities, drawn, consumed,
            created_at, changed_at, refused, refused_sku)
        select o.id, case when p_bare then '' else o.customer end, 'cancelled', 'cancelled',
            case when not p_bare then o.digest end, case when p_bare then '{}' else l.skus end,
            case when p_bare then '{}' else l.quantities end, case when not p_bare then l.drawn end, '{}',
            clock_timestamp(), clock_timestamp(), o.refused, nullif(o.refused_sku, '')
        from unnest(p_ids, p_customers, p_digests, p_refused, p_refused_skus)
            with ordinality o(id, customer, digest, refused, refused_sku, i)
        join (
            select x.o, array_agg(u.sku order by x.unit) as skus, array_agg(x.quantity order by x.unit) as quantities,
                case when bool_or(x.drawn > 0) then array_agg(x.drawn order by x.unit) end as drawn
            from unnest(p_unit_orders, p_unit_numbers, p_unit_skus, p_unit_quantities, p_unit_drawn) x(o, unit, k, quantity, drawn)
            join unnest(p_skus) with ordinality u(sku, k) on u.k = x.k
            group by x.o
        ) l on l.o = o.i
        where not o.id = any(v_known)
        order by o.id
        on conflict (id) do nothing
        returning id
    )
    select coalesce(array_agg(w.id), '{}') into v_written from written w;
    return array(select u.id = any(v_written) from unnest(p_ids) with ordinality u(id, i) order by u.i);
end $$;
-- +goose StatementEnd

insert into lastunit.migrations (version) values (3);
