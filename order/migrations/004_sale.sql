-- +goose Up
-- 004_sale: SKUs on sale, their capacity and terms, epochs, and the ledger.

-- +goose StatementBegin
-- put_on_sale makes SKUs, all of them or none: LU002 says that one is there
-- already. Draws stand flat: p_draw_items is the item, from 1.
create function lastunit.put_on_sale(
    p_store uuid, p_skus text[], p_partitions smallint[], p_capacities bigint[], p_limits bigint[],
    p_opens timestamptz[], p_closes timestamptz[],
    p_draw_items integer[], p_draw_skus text[], p_draw_quantities bigint[]
) returns void language plpgsql as $$
declare
    v_ledger boolean;
    n_made integer;
begin
    perform lastunit.enter(p_store);
    -- Shared, so that the ledger is not switched meanwhile.
    select ledger into v_ledger from lastunit.store for share;
    insert into lastunit.skus (sku, partition, capacity, epoch, customer_limit, opens_at, closes_at, draw_skus, draw_quantities, ledger, recorded, moved)
    select i.sku, i.partition, i.capacity, lastunit.next_epoch(0), i.customer_limit, i.opens_at, i.closes_at, d.skus, d.quantities,
        v_ledger, v_ledger, v_ledger::integer
    from unnest(p_skus, p_partitions, p_capacities, p_limits, p_opens, p_closes)
        with ordinality i(sku, partition, capacity, customer_limit, opens_at, closes_at, i)
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
-- adjust_capacity changes how many units there are, once under an ID. It returns
-- done, unknown, conflict, or the capacity that the adjustment can't be made to.
create function lastunit.adjust_capacity(
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
        return 'done';
    end if;
    return 'conflict';
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- write_movement writes a movement that is of no order, if the SKU, which is
-- locked, has a ledger.
create function lastunit.write_movement(p_sku text, p_kind text, p_quantity bigint, p_reason text, p_reference text)
returns void language plpgsql as $$
declare
    v_number bigint;
begin
    update lastunit.skus set moved = moved + 1 where sku = p_sku and ledger returning moved into v_number;
    if found then
        insert into lastunit.movement_batches (sku, first_number, last_number, moved_at, kinds, quantities, reason, reference)
        values (p_sku, v_number, v_number, clock_timestamp(), array[p_kind::lastunit.movement_kind], array[p_quantity],
            nullif(p_reason, ''), nullif(p_reference, ''));
    end if;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- set_limit changes how many units one customer may have; null is no limit. The
-- orders that there are become findable by their customer.
create function lastunit.set_limit(p_store uuid, p_sku text, p_limit bigint) returns boolean language plpgsql as $$
declare
    s lastunit.skus;
begin
    perform lastunit.enter(p_store);
    select * into s from lastunit.skus where sku = p_sku for update;
    if not found or s.customer_limit is not distinct from p_limit then
        return false;
    end if;
    if p_limit is not null and s.customer_limit is null then
        -- Also ended ones: they may be reclaimed. One that somebody's open
        -- transaction has locked is not waited for while the SKU is locked.
        perform from lastunit.orders where not limited and p_sku = any(skus) order by id for update nowait;
        update lastunit.orders set limited = true where not limited and p_sku = any(skus);
    end if;
    update lastunit.skus set customer_limit = p_limit, version = version + 1 where sku = p_sku;
    return true;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- set_window changes when a SKU is sold; null for no such moment.
create function lastunit.set_window(p_store uuid, p_sku text, p_opens_at timestamptz, p_closes_at timestamptz)
returns boolean language plpgsql as $$
begin
    perform lastunit.enter(p_store);
    update lastunit.skus set opens_at = p_opens_at, closes_at = p_closes_at, version = version + 1
    where sku = p_sku and (opens_at, closes_at) is distinct from (p_opens_at, p_closes_at);
    return found;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- set_paused stops selling a SKU, or goes on.
create function lastunit.set_paused(p_store uuid, p_sku text, p_paused boolean) returns boolean language plpgsql as $$
begin
    perform lastunit.enter(p_store);
    update lastunit.skus set paused = p_paused, version = version + 1 where sku = p_sku and paused <> p_paused;
    return found;
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
-- recount sets allocated to what the orders hold, and makes the sums of the
-- movements right, under the SKU's lock.
create function lastunit.recount(p_store uuid, p_sku text) returns boolean language plpgsql as $$
declare
    v_counted bigint;
    v_recounted boolean;
begin
    perform lastunit.enter(p_store);
    perform from lastunit.skus where sku = p_sku for update;
    select coalesce(sum(l.quantity), 0) into v_counted
    from lastunit.orders o, unnest(o.skus, o.quantities) l(sku, quantity)
    where o.counted in ('held', 'confirmed') and l.sku = p_sku;
    update lastunit.skus set allocated = v_counted, version = version + 1
    where sku = p_sku and allocated <> v_counted;
    v_recounted := found;
    perform lastunit.balance(array[p_sku], 'recounted');
    return v_recounted;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- movements_after are a SKU's first movements beyond a number. It reads row by
-- row until it has enough, whatever the planner thinks of the table's size: sorted
-- are the movements of one row at a time, as the rows come in order.
create function lastunit.movements_after(p_sku text, p_after bigint, p_limit bigint) returns setof lastunit.movements
language sql stable set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
    select b.sku, b.first_number + m.i - 1, m.kind, m.quantity, m.order_id, b.reason, b.reference, b.moved_at
    from lastunit.movement_batches b, unnest(b.kinds, b.quantities, b.order_ids) with ordinality m(kind, quantity, order_id, i)
    where b.sku = p_sku and b.last_number > p_after and b.first_number + m.i - 1 > p_after
    order by b.last_number, m.i limit p_limit
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- moved_units is what the movements of SKUs add up to, for those with a ledger.
create function lastunit.moved_units(p_skus text[]) returns table (sku text, capacity bigint, allocated bigint) language sql stable as $$
    select s.sku,
        coalesce(sum(m.quantity) filter (where m.kind in ('on_sale', 'capacity', 'restock', 'write_off')), 0)::bigint,
        coalesce(sum(m.quantity) filter (where m.kind in ('held', 'booked', 'reclaimed', 'cancelled', 'expired', 'recounted')), 0)::bigint
    from lastunit.skus s
    left join (lastunit.movement_batches b cross join unnest(b.kinds, b.quantities) m(kind, quantity)) on b.sku = s.sku
    where s.ledger and s.sku = any(p_skus)
    group by s.sku
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- balance writes the movements that make the sums those of the counters, for
-- SKUs that are locked and have a ledger.
create function lastunit.balance(p_skus text[], p_reason text) returns void language plpgsql as $$
declare
    r record;
begin
    for r in
        select s.sku, s.capacity - m.capacity as capacity, s.allocated - m.allocated as allocated
        from lastunit.moved_units(p_skus) m join lastunit.skus s on s.sku = m.sku
        where (s.capacity, s.allocated) <> (m.capacity, m.allocated)
    loop
        if r.capacity <> 0 then
            perform lastunit.write_movement(r.sku, 'capacity', r.capacity, p_reason, '');
        end if;
        if r.allocated <> 0 then
            perform lastunit.write_movement(r.sku, 'recounted', r.allocated, p_reason, '');
        end if;
    end loop;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- set_ledger switches the writing of movements on or off.
create function lastunit.set_ledger(p_store uuid, p_on boolean) returns void language plpgsql as $$
declare
    v_skus text[];
begin
    perform lastunit.enter(p_store);
    -- Exclusive, so that no SKU is put on sale meanwhile.
    perform from lastunit.store for update;
    v_skus := array(select sku from lastunit.skus where ledger <> p_on order by sku for update);
    update lastunit.skus set ledger = p_on, recorded = false where sku = any(v_skus);
    update lastunit.store set ledger = p_on where ledger <> p_on;
    if p_on then
        perform lastunit.balance(v_skus, 'ledger switched on');
    end if;
end $$;
-- +goose StatementEnd

insert into lastunit.migrations (version) values (4);
