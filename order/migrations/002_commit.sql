-- +goose Up
-- 002_commit: the functions that decide about orders and deductions.

-- +goose StatementBegin
-- closed_because says why a SKU is not sold at a moment; null if it is.
create function lastunit.closed_because(p_opens_at timestamptz, p_closes_at timestamptz, p_paused boolean, p_at timestamptz)
returns text language sql immutable as $$
    select case
        when p_paused then 'paused'
        when p_at >= p_closes_at then 'closed'
        when p_at < p_opens_at then 'not_open'
    end
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- used_by_customer is what live orders of a customer have of a SKU with a limit;
-- nothing for customers who were erased.
-- Asked under the SKU's lock, the sum can only become smaller meanwhile.
create function lastunit.used_by_customer(p_customer text, p_sku text) returns bigint language sql stable as $$
    select coalesce(sum(l.quantity), 0)::bigint
    from lastunit.orders o, unnest(o.skus, o.quantities) l(sku, quantity)
    where o.customer = p_customer and p_customer <> '' and o.limited and o.status in ('held', 'confirmed') and l.sku = p_sku
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- commit_orders decides orders, one after the other, and commits those that it
-- takes. It locks the SKU rows in order, then looks up the order IDs, then
-- decides each order:
--
--   existing   its ID is there
--   unknown    there is no such SKU
--   again      a deduction is of another epoch or fenced, or the order draws on
--              other pools than its SKUs do: deduct again
--   paused, not_open, closed   a SKU is not sold at the moment
--   limited    the customer would have too much
--   full       it would exceed the capacity
--   booked     it was inserted, and consumed its deductions
--
-- The units stand flat, ordered by order and SKU; epoch 0 is a unit without a
-- deduction, which no admitted unit stands for: it shrinks the supply, so it
-- makes a version. p_skus is sorted, without duplicates; so are no two order IDs
-- equal.
--
-- A session that plans it while the orders are few would scan them ever after,
-- so it never scans; without jit, as what can't but be scanned then looks dear.
create function lastunit.commit_orders(
    p_store uuid,
    p_ids text[], p_customers text[], p_digests bytea[],
    p_holds bigint[],         -- how long it is held, in microseconds; 0 if it is confirmed
    p_skus text[],
    p_unit_orders integer[],  -- the unit's order, from 1
    p_unit_numbers bigint[],  -- the unit within its order, from 1
    p_unit_skus integer[],    -- the unit's SKU in p_skus, from 1
    p_unit_quantities bigint[],
    p_unit_drawn bigint[],    -- the part of the quantity that lines draw on a pool; null if nothing is
    p_unit_epochs bigint[], p_unit_seqs bigint[],
    out verdicts text[],      -- of each order
    out deciding integer[],   -- which of its units decided it, from 1, if it was refused
    out lefts bigint[],       -- units left of that one, if full; what the customer has of it, if limited
    out again boolean[],      -- of each unit: its deduction is dead
    out decided_at timestamptz
) language plpgsql set enable_seqscan = off set jit = off as $$
declare
    n_orders integer := cardinality(p_ids);
    n_units integer := cardinality(p_unit_orders);
    n_skus integer := cardinality(p_skus);
    v_capacity bigint[] := array_fill(null::bigint, array[n_skus]);
    v_allocated bigint[] := array_fill(null::bigint, array[n_skus]);
    v_admitted bigint[] := array_fill(0::bigint, array[n_skus]);
    v_epoch bigint[] := array_fill(0::bigint, array[n_skus]);
    v_top_seq bigint[] := array_fill(0::bigint, array[n_skus]);
    v_direct bigint[] := array_fill(0::bigint, array[n_skus]);
    v_touched boolean[] := array_fill(false, array[n_skus]);
    v_closed text[] := array_fill(null::text, array[n_skus]);
    v_limit bigint[] := array_fill(null::bigint, array[n_skus]);
    v_misdrawn boolean[] := array_fill(false, array[n_orders]); -- the order says other draws than those of its SKUs
    v_drawing boolean := p_unit_drawn is not null;
    v_windowed boolean := false;
    v_limiting boolean := false;
    v_ledger boolean := false;
    v_pair integer[];   -- of each unit: a number for its customer and SKU
    v_used bigint[] := array_fill(null::bigint, array[n_units]);   -- of each pair: what the customer has
    v_moved bigint[] := array_fill(null::bigint, array[n_skus]);   -- the SKU's last movement; null without a ledger
    v_number bigint[] := array_fill(null::bigint, array[n_units]); -- of the unit's movement
    v_existing text[];
    n_booked integer := 0;
    n_inserted integer;
    v_first integer;
    v_next integer := 1;
    v_refusal text;
    k integer;
    r record;
begin
    perform lastunit.enter(p_store);
    verdicts := array_fill(null::text, array[n_orders]);
    deciding := array_fill(0, array[n_orders]);
    lefts := array_fill(0::bigint, array[n_orders]);
    again := array_fill(false, array[n_units]);

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
        v_windowed := v_windowed or r.paused or r.opens_at is not null or r.closes_at is not null;
        v_limit[r.k] := r.customer_limit;
        v_limiting := v_limiting or r.customer_limit is not null;
        v_drawing := v_drawing or r.draw_skus is not null;
        if r.ledger then
            v_ledger := true;
            v_moved[r.k] := r.moved;
        end if;
    end loop;
    -- The moment at which all of them are decided, as of which they are stored.
    decided_at := clock_timestamp();
    if v_windowed then
        for r in
            select u.k, lastunit.closed_because(s.opens_at, s.closes_at, s.paused, decided_at) as because
            from unnest(p_skus) with ordinality u(sku, k) join lastunit.skus s on s.sku = u.sku
        loop
            v_closed[r.k] := r.because;
        end loop;
    end if;

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
            from unnest(p_unit_skus, p_unit_epochs, p_unit_seqs) with ordinality l(k, epoch, seq, i)
            join unnest(p_skus) with ordinality u(sku, k) on u.k = l.k
            join lastunit.fences f on f.sku = u.sku and f.epoch = l.epoch and f.seq = l.seq
        loop
            again[r.i] := true;
        end loop;
    end if;
    if v_drawing then
        -- What the lines of each order draw must be what it says that they do.
        for r in
            with units as (
                select l.o, l.i, u.sku, l.quantity, coalesce(p_unit_drawn[l.i], 0) as drawn
                from unnest(p_unit_orders, p_unit_skus, p_unit_quantities) with ordinality l(o, k, quantity, i)
                join unnest(p_skus) with ordinality u(sku, k) on u.k = l.k
            ), draws as (
                select l.o, d.sku, sum((l.quantity - l.drawn) * d.quantity) as drawn
                from units l join lastunit.skus s on s.sku = l.sku,
                    unnest(s.draw_skus, s.draw_quantities) d(sku, quantity)
                where l.quantity > l.drawn
                group by l.o, d.sku
            )
            select distinct coalesce(l.o, d.o) as o
            from units l full join draws d on d.o = l.o and d.sku = l.sku
            where coalesce(l.drawn, 0) <> coalesce(d.drawn, 0)
        loop
            v_misdrawn[r.o] := true;
        end loop;
    end if;
    if v_limiting then
        select array_agg(p.pair order by p.i) into v_pair
        from (
            select l.i, dense_rank() over (order by c.customer, l.k)::integer as pair
            from unnest(p_unit_orders, p_unit_skus) with ordinality l(o, k, i)
            join unnest(p_customers) with ordinality c(customer, o) on c.o = l.o
        ) p;
    end if;

    -- One order after the other, so that a large one that doesn't fit does not
    -- refuse a small one behind it.
    for i in 1..n_orders loop
        v_first := v_next;
        while v_next <= n_units and p_unit_orders[v_next] = i loop
            v_next := v_next + 1;
        end loop;
        continue when verdicts[i] is not null;

        v_refusal := null;
        for l in v_first..v_next - 1 loop
            k := p_unit_skus[l];
            if v_capacity[k] is null then
                v_refusal := 'unknown';
                deciding[i] := p_unit_numbers[l];
                exit;
            end if;
            if p_unit_epochs[l] <> 0 and (v_misdrawn[i] or p_unit_epochs[l] <> v_epoch[k]) then
                again[l] := true;
            end if;
            if again[l] or v_misdrawn[i] then
                v_refusal := 'again';
            elsif v_refusal is null then
                if v_closed[k] is not null then
                    v_refusal := v_closed[k];
                elsif v_limit[k] is not null then
                    if v_used[v_pair[l]] is null then
                        v_used[v_pair[l]] := lastunit.used_by_customer(p_customers[i], p_skus[k]);
                    end if;
                    if v_used[v_pair[l]] + p_unit_quantities[l] > v_limit[k] then
                        v_refusal := 'limited';
                        lefts[i] := v_used[v_pair[l]];
                    end if;
                end if;
                if v_refusal is null and v_allocated[k] + p_unit_quantities[l] > v_capacity[k] then
                    v_refusal := 'full';
                    lefts[i] := greatest(0, v_capacity[k] - v_allocated[k]);
                end if;
                deciding[i] := p_unit_numbers[l];
            end if;
        end loop;
        if v_refusal is not null then
            verdicts[i] := v_refusal;
            continue;
        end if;

        verdicts[i] := 'booked';
        n_booked := n_booked + 1;
        for l in v_first..v_next - 1 loop
            k := p_unit_skus[l];
            v_allocated[k] := v_allocated[k] + p_unit_quantities[l];
            v_touched[k] := true;
            if v_ledger then
                v_moved[k] := v_moved[k] + 1;
                v_number[l] := v_moved[k];
            end if;
            if v_limiting and v_limit[k] is not null then
                v_used[v_pair[l]] := v_used[v_pair[l]] + p_unit_quantities[l];
            end if;
            if p_unit_epochs[l] = 0 then
                v_direct[k] := 1;
            else
                v_admitted[k] := v_admitted[k] + p_unit_quantities[l];
                v_top_seq[k] := greatest(v_top_seq[k], p_unit_seqs[l]);
            end if;
        end loop;
    end loop;

    if n_booked = 0 then
        return;
    end if;

    -- Sorted by ID: two batches with the same IDs and other SKUs meet in order.
    insert into lastunit.orders (id, customer, status, counted, digest, skus, quantities, drawn, consumed, limited,
        expires_at, due_at, created_at, changed_at)
    select o.id, o.customer, o.status, o.status, o.digest, l.skus, l.quantities, l.drawn, coalesce(l.consumed, '{}'), l.limited,
        o.expires_at, o.expires_at, decided_at, decided_at
    from (
        select o.i, o.id, o.customer, o.digest, o.verdict,
            case when o.hold = 0 then 'confirmed' else 'held' end::lastunit.order_status as status,
            case when o.hold <> 0 then decided_at + o.hold * interval '1 microsecond' end as expires_at
        from unnest(p_ids, p_customers, p_digests, p_holds, verdicts) with ordinality o(id, customer, digest, hold, verdict, i)
    ) o
    join (
        select x.o, array_agg(u.sku order by x.unit) as skus, array_agg(x.quantity order by x.unit) as quantities,
            case when bool_or(x.drawn > 0) then array_agg(x.drawn order by x.unit) end as drawn,
            array_agg(array[x.unit, x.epoch, x.seq] order by x.unit) filter (where x.epoch <> 0) as consumed,
            bool_or(u.customer_limit is not null) as limited
        from unnest(p_unit_orders, p_unit_numbers, p_unit_skus, p_unit_quantities, p_unit_drawn, p_unit_epochs, p_unit_seqs)
            x(o, unit, k, quantity, drawn, epoch, seq)
        join unnest(p_skus, v_limit) with ordinality u(sku, customer_limit, k) on u.k = x.k
        group by x.o
    ) l on l.o = o.i
    where o.verdict = 'booked'
    order by o.id
    on conflict (id) do nothing;
    get diagnostics n_inserted = row_count;
    if n_inserted <> n_booked then
        -- The same ID came in by other SKUs, or was cancelled, since we looked.
        raise exception 'an order ID was taken meanwhile' using errcode = 'serialization_failure';
    end if;

    if v_ledger then
        insert into lastunit.movements (sku, number, kind, quantity, order_id, moved_at)
        select u.sku, x.number, case when o.hold = 0 then 'booked' else 'held' end::lastunit.movement_kind, x.quantity, o.id, decided_at
        from unnest(p_unit_orders, p_unit_skus, p_unit_quantities, v_number) x(o, k, quantity, number)
        join unnest(p_ids, p_holds) with ordinality o(id, hold, i) on o.i = x.o
        join unnest(p_skus) with ordinality u(sku, k) on u.k = x.k
        where x.number is not null;
    end if;

    update lastunit.skus s
    set allocated = c.allocated, admitted = c.admitted, top_seq = c.top_seq, version = s.version + c.direct,
        moved = coalesce(c.moved, s.moved)
    from unnest(p_skus, v_allocated, v_admitted, v_top_seq, v_direct, v_moved, v_touched)
        c(sku, allocated, admitted, top_seq, direct, moved, touched)
    where s.sku = c.sku and c.touched;
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

insert into lastunit.migrations (version) values (2);
