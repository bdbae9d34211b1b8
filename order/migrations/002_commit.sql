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
-- Asked under the SKU's lock, the sum can only become smaller meanwhile. Without
-- "collate", the collation of a column that is given as p_sku would be that of
-- the comparison, and the index of another.
create function lastunit.used_by_customer(p_customer text, p_sku text) returns bigint language sql stable as $$
    select coalesce(sum(l.quantity), 0)::bigint
    from lastunit.orders o, unnest(o.skus, o.quantities) l(sku, quantity)
    where o.customer = p_customer collate "default" and p_customer <> '' and o.limited and o.status in ('held', 'confirmed') and l.sku = p_sku
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- commit_orders decides orders, one after the other, and commits those that it
-- takes. It locks the SKU rows in order, then looks up the order IDs if it is to or
-- if anything could refuse an order, then decides each order:
--
--   existing   its ID is there
--   unknown    there is no such SKU
--   again      a deduction is of another epoch or fenced, or the order draws on
--              other pools than its SKUs do: deduct again
--   paused, not_open, closed   a SKU is not sold at the moment
--   limited    the customer would have too much
--   full       it would exceed the capacity
--   reopening  what is left of a SKU came back only just now: see its reopens_at
--   booked     it was inserted, and consumed its deductions
--
-- The units stand flat, ordered by order and SKU; epoch 0 is a unit without a
-- deduction, which no admitted unit stands for: it shrinks the supply, so it
-- makes a version. p_skus is sorted, without duplicates, and each has a unit; no
-- two order IDs are equal.
--
-- In most batches nothing can refuse an order, whatever became of those before
-- it. That is found out for all of them at once; only where something could,
-- decide_orders goes from one to the next. What is booked is then written at once.
--
-- A session that plans it while the orders are few would scan them ever after,
-- so it never scans; without jit, as what can't but be scanned then looks dear.
-- Where arrays become rows, "from unnest(a, b)" would store them first, and
-- "select unnest(a), unnest(b)" does not.
create function lastunit.commit_orders(
    p_store uuid,
    p_look boolean,           -- some ID may be there; else one that is fails the transaction, on the primary key
    p_ids text[], p_customers text[], p_digests bytea[],
    p_holds bigint[],         -- how long it is held, in microseconds; 0 if it is confirmed
    p_skus text[],
    p_unit_orders integer[],  -- the unit's order, from 1
    p_unit_numbers bigint[],  -- the unit within its order, from 1
    p_unit_skus integer[],    -- the unit's SKU in p_skus, from 1
    p_unit_quantities bigint[],
    p_unit_drawn bigint[],    -- the part of the quantity that lines draw on a pool; null if nothing is
    p_unit_epochs bigint[], p_unit_seqs bigint[],
    out verdicts text[],      -- of each order; null if all are booked
    out deciding integer[],   -- which of its units decided it, from 1, if it was refused; null if none was
    out lefts bigint[],       -- units left of that one, if full; what the customer has of it, if limited; microseconds to wait, if reopening
    out again boolean[],      -- of each unit: its deduction is dead; null if none is
    out decided_at timestamptz
) language plpgsql set enable_seqscan = off set jit = off as $$
declare
    v_single boolean := cardinality(p_unit_orders) = cardinality(p_ids); -- each order has one unit
    v_booked boolean[] := array_fill(true, array[cardinality(p_ids)]);   -- of each order
    v_existing text[];
    v_misdrawn integer[];
    v_skus text[] := p_skus;
    v_plain boolean; -- nothing refuses an order
    b record;
begin
    perform lastunit.enter(p_store);
    -- To write to an array makes it one whose elements are found at once; else each
    -- is looked for from the first one on, for every unit.
    v_skus[1] := v_skus[1];
    -- Until the end of the transaction: to plan is dearer than to commit an order.
    perform set_config('plan_cache_mode', 'force_generic_plan', true);

    -- What the SKUs, now locked, mean for the batch as a whole.
    select count(*) = cardinality(v_skus) as known,
        bool_and(s.allocated + s.asked <= s.capacity) as fitting,
        bool_and(s.epoch = s.first_epoch and s.epoch = s.last_epoch) as alive,
        bool_or(s.paused or s.opens_at is not null or s.closes_at is not null) as windowed,
        max(s.reopens_at) as reopens_at,
        bool_or(s.draw_skus is not null) as drawing,
        array_agg(s.customer_limit is not null) as limited, -- of each SKU, as they are sorted
        array_agg(s.ledger) as ledger,                      -- of each SKU
        array_agg(s.moved) as moved                         -- of each SKU
    into b
    from (
        select s.allocated, s.capacity, s.epoch, s.paused, s.opens_at, s.closes_at, s.reopens_at, s.draw_skus, s.customer_limit, s.ledger, s.moved,
            u.asked, coalesce(u.first_epoch, s.epoch) as first_epoch, coalesce(u.last_epoch, s.epoch) as last_epoch
        from (
            select u.k, sum(u.quantity) as asked, min(nullif(u.epoch, 0)) as first_epoch, max(nullif(u.epoch, 0)) as last_epoch
            from (select unnest(p_unit_skus) as k, unnest(p_unit_quantities) as quantity, unnest(p_unit_epochs) as epoch) u
            group by u.k
        ) u join lastunit.skus s on s.sku = v_skus[u.k]
        order by s.sku for update of s
    ) s;
    -- The moment at which all of them are decided, as of which they are stored.
    decided_at := clock_timestamp();
    if not b.known then
        -- One that is not there has its place in the arrays all the same.
        select array_agg(s.customer_limit is not null order by u.k), array_agg(s.ledger order by u.k), array_agg(s.moved order by u.k)
        into b.limited, b.ledger, b.moved
        from unnest(v_skus) with ordinality u(sku, k) left join lastunit.skus s on s.sku = u.sku;
    end if;

    -- Whatever became of the orders before it, nothing refuses one that is new
    -- if each SKU is there and has enough for all that the batch asks for, if no
    -- deduction and no draws are wrong, if everything is sold at the moment and
    -- nothing is reopening, and if each customer may have all that they ask for.
    v_plain := b.known and b.fitting and b.alive and coalesce(b.reopens_at <= decided_at, true)
        and not exists (select from lastunit.fences f where f.sku = any(v_skus));
    if b.drawing or p_unit_drawn is not null then
        v_misdrawn := lastunit.misdrawn_orders(v_skus, p_unit_orders, p_unit_skus, p_unit_quantities, p_unit_drawn);
        v_plain := v_plain and v_misdrawn = '{}';
    end if;
    if v_plain and b.windowed then
        v_plain := not exists (
            select from lastunit.skus s
            where s.sku = any(v_skus) and lastunit.closed_because(s.opens_at, s.closes_at, s.paused, decided_at) is not null);
    end if;
    if v_plain and true = any(b.limited) then
        v_plain := not lastunit.beyond_limits(p_customers, v_skus, p_unit_orders, p_unit_skus, p_unit_quantities);
    end if;
    -- Only now, under the locks: whoever had them before has committed.
    -- "= any" by the key, as the planner turns NOT EXISTS into a scan.
    if p_look or not v_plain then
        v_existing := array(select o.id from lastunit.orders o where o.id = any(p_ids));
        if v_existing <> '{}' then
            select array_agg(e.id is null order by o.i), array_agg(case when e.id is null then 'booked' else 'existing' end order by o.i)
            into v_booked, verdicts
            from unnest(p_ids) with ordinality o(id, i) left join unnest(v_existing) e(id) on e.id = o.id;
        end if;
    end if;
    if not v_plain then
        select d.* into v_booked, verdicts, deciding, lefts, again
        from lastunit.decide_orders(p_customers, v_booked, v_misdrawn, v_skus, p_unit_orders, p_unit_numbers, p_unit_skus,
            p_unit_quantities, p_unit_epochs, p_unit_seqs, decided_at) d;
    end if;
    if not true = any(v_booked) then
        return;
    end if;

    if v_plain and not p_look then
        -- Where somebody's transaction has changed an order with one of these IDs, the
        -- primary key would wait for its end, with the SKUs locked: rather look.
        perform set_config('lock_timeout', '50ms', true);
    end if;
    -- Sorted by ID: two batches with the same IDs and other SKUs meet in order.
    -- An ID that is there although we did not look, or that came in by other SKUs or
    -- was cancelled since, is an error of the primary key, after which the batch is
    -- decided anew: ON CONFLICT would look for each of them once more.
    --
    -- Two statements, as what is not executed costs a small batch its start.
    if v_single then
        insert into lastunit.orders (id, customer, status, counted, digest, skus, quantities, drawn, consumed, limited,
            expires_at, due_at, created_at, changed_at)
        select o.id, o.customer, o.status, o.status, o.digest, array[v_skus[o.k]], array[o.quantity],
            case when o.drawn > 0 then array[o.drawn] end, case when o.epoch <> 0 then array[array[1, o.epoch, o.seq]] else '{}' end,
            b.limited[o.k], o.expires_at, o.expires_at, decided_at, decided_at
        from (
            select o.*, case when o.hold = 0 then 'confirmed' else 'held' end::lastunit.order_status as status,
                case when o.hold <> 0 then decided_at + o.hold * interval '1 microsecond' end as expires_at
            from (
                select unnest(p_ids) as id, unnest(p_customers) as customer, unnest(p_digests) as digest, unnest(p_holds) as hold,
                    unnest(v_booked) as booked, unnest(p_unit_skus) as k, unnest(p_unit_quantities) as quantity,
                    unnest(p_unit_drawn) as drawn, unnest(p_unit_epochs) as epoch, unnest(p_unit_seqs) as seq
            ) o
            where o.booked
        ) o
        order by o.id;
    else
        insert into lastunit.orders (id, customer, status, counted, digest, skus, quantities, drawn, consumed, limited,
            expires_at, due_at, created_at, changed_at)
        select o.id, o.customer, o.status, o.status, o.digest, o.skus, o.quantities, o.drawn, o.consumed, o.limited,
            o.expires_at, o.expires_at, decided_at, decided_at
        from (
            select o.*, case when o.hold = 0 then 'confirmed' else 'held' end::lastunit.order_status as status,
                case when o.hold <> 0 then decided_at + o.hold * interval '1 microsecond' end as expires_at
            from lastunit.gather_units(p_ids, p_customers, p_digests, p_holds, v_booked, v_skus, b.limited,
                p_unit_orders, p_unit_numbers, p_unit_skus, p_unit_quantities, p_unit_drawn, p_unit_epochs, p_unit_seqs) o
        ) o
        order by o.id;
    end if;

    if true = any(b.ledger) then
        if v_single and cardinality(v_skus) = 1 and true = all(v_booked) and (0 = all(p_holds) or 0 <> all(p_holds)) then
            -- Most batches on a hot SKU: the row is there already.
            insert into lastunit.movement_batches (sku, first_number, last_number, moved_at, kinds, quantities, order_ids)
            values (v_skus[1], b.moved[1] + 1, b.moved[1] + cardinality(p_ids), decided_at,
                array_fill(case when p_holds[1] = 0 then 'booked' else 'held' end::lastunit.movement_kind, array[cardinality(p_ids)]),
                p_unit_quantities, p_ids);
        else
            if not v_single then
                -- From here on these are of each unit.
                p_ids := array(
                    select o.id
                    from unnest(p_unit_orders) with ordinality u(o, i) join unnest(p_ids) with ordinality o(id, i) on o.i = u.o
                    order by u.i);
            end if;
            insert into lastunit.movement_batches (sku, first_number, last_number, moved_at, kinds, quantities, order_ids)
            select v_skus[u.k], b.moved[u.k] + 1, b.moved[u.k] + count(*), decided_at,
                array_agg(case when p_holds[u.o] = 0 then 'booked' else 'held' end::lastunit.movement_kind order by u.o),
                array_agg(u.quantity order by u.o), array_agg(u.id order by u.o)
            from (
                select unnest(p_ids) as id, unnest(p_unit_orders) as o, unnest(p_unit_skus) as k, unnest(p_unit_quantities) as quantity
            ) u
            where v_booked[u.o] and b.ledger[u.k]
            group by u.k;
        end if;
    end if;

    update lastunit.skus s
    set allocated = s.allocated + u.units, admitted = s.admitted + u.admitted, top_seq = greatest(s.top_seq, u.top_seq),
        version = s.version + u.direct, moved = s.moved + case when s.ledger then u.moves else 0 end
    from (
        select u.k, sum(u.quantity) as units, sum(case when u.epoch <> 0 then u.quantity else 0 end) as admitted,
            max(u.seq) as top_seq, bool_or(u.epoch = 0)::integer as direct, count(*) as moves
        from (
            select unnest(p_unit_orders) as o, unnest(p_unit_skus) as k, unnest(p_unit_quantities) as quantity,
                unnest(p_unit_epochs) as epoch, unnest(p_unit_seqs) as seq
        ) u
        where v_booked[u.o]
        group by u.k
    ) u
    where s.sku = v_skus[u.k];
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- gather_units makes a row of each order that is booked, with its units.
create function lastunit.gather_units(
    p_ids text[], p_customers text[], p_digests bytea[], p_holds bigint[], p_booked boolean[],
    p_skus text[], p_limited boolean[],
    p_unit_orders integer[], p_unit_numbers bigint[], p_unit_skus integer[], p_unit_quantities bigint[],
    p_unit_drawn bigint[], p_unit_epochs bigint[], p_unit_seqs bigint[]
) returns table (
    id text, customer text, digest bytea, hold bigint,
    skus text[], quantities bigint[], drawn bigint[], consumed bigint[], limited boolean
) language sql stable set enable_seqscan = off set jit = off as $$
    select o.id, o.customer, o.digest, o.hold, u.skus, u.quantities, u.drawn, coalesce(u.consumed, '{}'), u.limited
    from unnest(p_ids, p_customers, p_digests, p_holds) with ordinality o(id, customer, digest, hold, i)
    join (
        select u.o, array_agg(p_skus[u.k] order by u.n) as skus, array_agg(u.quantity order by u.n) as quantities,
            case when bool_or(u.drawn > 0) then array_agg(u.drawn order by u.n) end as drawn,
            array_agg(array[u.n, u.epoch, u.seq] order by u.n) filter (where u.epoch <> 0) as consumed,
            bool_or(p_limited[u.k]) as limited
        from unnest(p_unit_orders, p_unit_numbers, p_unit_skus, p_unit_quantities, p_unit_drawn, p_unit_epochs, p_unit_seqs)
            u(o, n, k, quantity, drawn, epoch, seq)
        where p_booked[u.o]
        group by u.o
    ) u on u.o = o.i
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- misdrawn_orders are the orders, from 1, that say that their lines draw
-- something else on pools than their SKUs, locked, do.
create function lastunit.misdrawn_orders(
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
        where coalesce(u.drawn, 0) <> coalesce(d.drawn, 0))
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- beyond_limits says whether a customer asks for more than they may have, of any
-- of the SKUs, which are locked.
create function lastunit.beyond_limits(
    p_customers text[], p_skus text[], p_unit_orders integer[], p_unit_skus integer[], p_unit_quantities bigint[]
) returns boolean language sql set enable_seqscan = off set jit = off as $$
    select exists (
        select from (
            select o.customer, p_skus[u.k] as sku, sum(u.quantity) as units
            from unnest(p_unit_orders, p_unit_skus, p_unit_quantities) u(o, k, quantity)
            join unnest(p_customers) with ordinality o(customer, i) on o.i = u.o
            group by o.customer, u.k
        ) a join lastunit.skus s on s.sku = a.sku
        where a.units + lastunit.used_by_customer(a.customer, s.sku) > s.customer_limit)
$$;
-- +goose StatementEnd

-- +goose StatementBegin
-- decide_orders decides the orders of commit_orders, whose SKUs are locked, one
-- after the other, so that a large one that doesn't fit does not refuse a small
-- one behind it. It writes nothing.
create function lastunit.decide_orders(
    p_customers text[],
    p_new boolean[],       -- of each order: its ID is not there
    p_misdrawn integer[],  -- orders that say other draws than those of their SKUs
    p_skus text[],
    p_unit_orders integer[], p_unit_numbers bigint[], p_unit_skus integer[], p_unit_quantities bigint[],
    p_unit_epochs bigint[], p_unit_seqs bigint[],
    p_at timestamptz,
    out booked boolean[], out verdicts text[], out deciding integer[], out lefts bigint[], out again boolean[]
) language plpgsql set enable_seqscan = off set jit = off as $$
declare
    n_orders integer := cardinality(p_customers);
    n_units integer := cardinality(p_unit_orders);
    n_skus integer := cardinality(p_skus);
    v_capacity bigint[] := array_fill(null::bigint, array[n_skus]);
    v_allocated bigint[] := array_fill(null::bigint, array[n_skus]);
    v_epoch bigint[] := array_fill(0::bigint, array[n_skus]);
    v_closed text[] := array_fill(null::text, array[n_skus]);
    v_limit bigint[] := array_fill(null::bigint, array[n_skus]);
    v_reopens timestamptz[] := array_fill(null::timestamptz, array[n_skus]);
    v_misdrawn boolean[] := array_fill(false, array[n_orders]);
    v_pair integer[]; -- of each unit: a number for its customer and SKU
    v_used bigint[] := array_fill(null::bigint, array[n_units]); -- of each pair: what the customer has
    v_first integer;
    v_next integer := 1;
    v_refusal text;
    k integer;
    r record;
begin
    booked := array_fill(false, array[n_orders]);
    verdicts := array_fill('existing'::text, array[n_orders]);
    deciding := array_fill(0, array[n_orders]);
    lefts := array_fill(0::bigint, array[n_orders]);
    again := array_fill(false, array[n_units]);

    for r in
        select s.*, u.k, lastunit.closed_because(s.opens_at, s.closes_at, s.paused, p_at) as because
        from unnest(p_skus) with ordinality u(sku, k) join lastunit.skus s on s.sku = u.sku
    loop
        v_capacity[r.k] := r.capacity;
        v_allocated[r.k] := r.allocated;
        v_epoch[r.k] := r.epoch;
        v_closed[r.k] := r.because;
        v_limit[r.k] := r.customer_limit;
        v_reopens[r.k] := r.reopens_at;
    end loop;
    for r in select m.o from unnest(p_misdrawn) m(o) loop
        v_misdrawn[r.o] := true;
    end loop;
    for r in
        select u.i
        from unnest(p_unit_skus, p_unit_epochs, p_unit_seqs) with ordinality u(k, epoch, seq, i)
        join lastunit.fences f on f.sku = p_skus[u.k] and f.epoch = u.epoch and f.seq = u.seq
    loop
        again[r.i] := true;
    end loop;
    if exists (select from unnest(v_limit) l(customer_limit) where l.customer_limit is not null) then
        select array_agg(p.pair order by p.i) into v_pair
        from (
            select u.i, dense_rank() over (order by o.customer, u.k)::integer as pair
            from unnest(p_unit_orders, p_unit_skus) with ordinality u(o, k, i)
            join unnest(p_customers) with ordinality o(customer, i) on o.i = u.o
        ) p;
    end if;

    for i in 1..n_orders loop
        v_first := v_next;
        while v_next <= n_units and p_unit_orders[v_next] = i loop
            v_next := v_next + 1;
        end loop;
        continue when not p_new[i];

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
                -- Unless the clock was set back since.
                if v_refusal is null and v_reopens[k] > p_at and v_reopens[k] <= p_at + interval '50 ms' then
                    v_refusal := 'reopening';
                    lefts[i] := extract(microseconds from v_reopens[k] - p_at);
                end if;
                deciding[i] := p_unit_numbers[l];
            end if;
        end loop;
        if v_refusal is not null then
            verdicts[i] := v_refusal;
            continue;
        end if;

        verdicts[i] := 'booked';
        booked[i] := true;
        for l in v_first..v_next - 1 loop
            k := p_unit_skus[l];
            v_allocated[k] := v_allocated[k] + p_unit_quantities[l];
            if v_limit[k] is not null then
                v_used[v_pair[l]] := v_used[v_pair[l]] + p_unit_quantities[l];
            end if;
        end loop;
    end loop;
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
