-- +goose Up
-- 011_hand: what somebody's hand in the tables did is found, and mended or refused.

-- The row of a SKU that was deleted leaves a mark: a fence of epoch 0, which is no
-- deduction's. Its orders may be there still, and what is sold of it anew would come on
-- top of them.
-- +goose StatementBegin
create function lastunit.remember_deleted() returns trigger language plpgsql as $$
begin
    insert into lastunit.fences (sku, epoch, seq) values (old.sku, 0, 0) on conflict do nothing;
    return null;
end $$;
-- +goose StatementEnd
create trigger skus_deleted after delete on lastunit.skus for each row execute function lastunit.remember_deleted();
insert into lastunit.fences (sku, epoch, seq)
select distinct l.sku, 0, 0 from lastunit.orders o, unnest(o.skus) l(sku)
where o.counted in ('held', 'confirmed') and not exists (select from lastunit.skus s where s.sku = l.sku)
on conflict do nothing;

-- +goose StatementBegin
-- put_on_sale makes SKUs, all of them or none: LU002 says that one is there
-- already, and LU004 that the row of one was deleted, with its name as the detail.
-- Draws stand flat: p_draw_items is the item, from 1.
create or replace function lastunit.put_on_sale(
    p_store uuid, p_skus text[], p_partitions smallint[], p_capacities bigint[], p_limits bigint[],
    p_opens timestamptz[], p_closes timestamptz[],
    p_draw_items integer[], p_draw_skus text[], p_draw_quantities bigint[],
    p_pool_only boolean[] default null
) returns void language plpgsql as $$
declare
    v_ledger boolean;
    v_orphan text;
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
    -- Its numbers or its units would be given a second time. To look through the orders
    -- is worth the time only where a row was deleted.
    select u.sku into v_orphan
    from unnest(p_skus) u(sku)
    where exists (select from lastunit.movement_batches b where b.sku = u.sku)
        or exists (select from lastunit.fences f where f.sku = u.sku and f.epoch = 0)
            and exists (select from lastunit.orders o where o.counted in ('held', 'confirmed') and u.sku = any(o.skus))
    limit 1;
    if found then
        raise exception 'the row of a SKU was deleted' using errcode = 'LU004', detail = v_orphan;
    end if;
    delete from lastunit.fences where epoch = 0 and sku = any(p_skus);
    if v_ledger then
        insert into lastunit.movement_batches (sku, first_number, last_number, moved_at, kinds, quantities)
        select i.sku, 1, 1, clock_timestamp(), '{on_sale}', array[i.capacity] from unnest(p_skus, p_capacities) i(sku, capacity);
    end if;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- recount sets allocated to what the orders hold, the number of the last movement to
-- what it is, and makes the sums of the movements right, under the SKU's lock. A number
-- that is ahead stays: readers may have a cursor there.
create or replace function lastunit.recount(p_store uuid, p_sku text) returns boolean language plpgsql as $$
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
    update lastunit.skus s set moved = b.last_number
    from (select max(b.last_number) as last_number from lastunit.movement_batches b where b.sku = p_sku) b
    where s.sku = p_sku and s.moved < b.last_number;
    v_recounted := v_recounted or found;
    perform lastunit.balance(array[p_sku], 'recounted');
    return v_recounted;
end $$;
-- +goose StatementEnd

insert into lastunit.migrations (version, hash) values (11, 'ec804b8779f12d483a3fb45e738f16d4e005f447b928a8cd50a43603e6843e70');
