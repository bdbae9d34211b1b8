-- +goose Up
-- 012_guard: what the owner of the database adds to its tables, or does there by hand, is
-- noticed where it would break a promise, and keeps nobody waiting.

-- +goose StatementBegin
-- commit_orders decides orders and commits those that it takes: see 002. New is that
-- it waits for nothing but the SKUs and the feed, and that it notices an order that is
-- not stored.
create or replace function lastunit.commit_orders(
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
    n_stored integer;
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

    -- With the SKUs locked, nothing waits for long: not for somebody's transaction that has
    -- changed an order with one of these IDs, where the primary key would wait for its
    -- end; nor for one that has locked what a trigger or a foreign key of this table needs.
    perform set_config('lock_timeout', '50ms', true);
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
    get diagnostics n_stored = row_count;
    if n_stored <> cardinality(array_positions(v_booked, true)) then
        -- A trigger, or a rule, that is not ours.
        raise exception 'the database dropped an order without an error' using errcode = 'LU006';
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
-- write_changes writes the new statuses and expiries of orders, all of which are
-- locked, and what that changes in the counters of their SKUs, which are too.
create or replace function lastunit.write_changes(
    p_ids text[], p_statuses text[], p_expires timestamptz[], p_changed boolean[], p_now timestamptz
) returns void language plpgsql set enable_seqscan = off set jit = off as $$
declare
    n_stored integer;
begin
    -- With the SKUs and the orders locked, nothing waits for long, as in commit_orders.
    perform set_config('lock_timeout', '50ms', true);
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
    get diagnostics n_stored = row_count;
    if n_stored <> cardinality(p_ids) then
        raise exception 'the database dropped the change of an order without an error' using errcode = 'LU006';
    end if;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- change_in_transaction confirms or cancels an order inside its caller's transaction: see
-- 008. New is that it notices a change that is not stored.
create or replace function lastunit.change_in_transaction(p_id text, p_action text, p_store uuid default null)
returns text language plpgsql set enable_seqscan = off set jit = off as $$
declare
    o lastunit.orders;
    v_now timestamptz;
    v_answer text;
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
    v_answer := 'done';
    if p_action = 'cancel' and o.status in ('held', 'confirmed') then
        update lastunit.orders set status = 'cancelled', changed_at = v_now where id = p_id;
    elsif p_action = 'cancel' and o.status = 'expired' then
        -- Its units are back already: there is nothing to count.
        update lastunit.orders set status = 'cancelled', counted = 'cancelled', changed_at = v_now where id = p_id;
    elsif p_action <> 'cancel' and o.status = 'held' and o.expires_at > v_now then
        update lastunit.orders set status = 'confirmed', changed_at = v_now where id = p_id;
    elsif p_action <> 'cancel' then
        v_answer := case o.status when 'cancelled' then 'cancelled' when 'confirmed' then 'done' else 'expired' end;
    end if;
    -- After no update, this is of the order that was selected.
    if not found then
        raise exception 'the database dropped the change of an order without an error' using errcode = 'LU006';
    end if;
    return v_answer;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- refuse_orders stores that accepted orders are refused: see 003. New is that it does not
-- wait for long with the SKUs locked.
create or replace function lastunit.refuse_orders(
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
    perform set_config('lock_timeout', '50ms', true); -- as in commit_orders
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

-- +goose StatementBegin
-- feed_positions gives positions to the movements that a statement has written: see 006.
-- New is that a missing row of the feed is an error, and no gap that nobody sees.
create or replace function lastunit.feed_positions() returns trigger language plpgsql
set lock_timeout = '5s' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
begin
    with moved as materialized (
        select m.partition, array_agg(m.sku) as skus, array_agg(m.last_number) as last_numbers,
            array_agg(m.upto - m.moves) as behind, max(m.upto) as moves
        from (
            select s.partition, w.sku, w.last_number, w.last_number - w.first_number + 1 as moves,
                sum(w.last_number - w.first_number + 1) over (partition by s.partition order by w.sku desc, w.last_number desc)::bigint as upto
            from written w join lastunit.skus s on s.sku = w.sku
        ) m
        group by m.partition order by m.partition
    ), advanced as (
        update lastunit.feed f set position = f.position + m.moves
        from moved m
        where f.partition = m.partition
        returning f.partition, f.position
    )
    insert into lastunit.feed_entries (partition, last_position, skus, last_numbers, behind)
    select m.partition, a.position, m.skus, m.last_numbers, m.behind
    from moved m left join advanced a on a.partition = m.partition; -- without a row of the feed it is an error
    return null;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- recount sets allocated to what the orders hold, the number of the last movement and
-- the position of the last one in the feed to what they are, and makes the sums of the
-- movements right, under the SKU's lock. What is ahead stays: readers may have a cursor
-- there.
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
    if exists (select from lastunit.skus s left join lastunit.feed f on f.partition = s.partition where s.sku = p_sku and f.partition is null) then
        -- It takes a right that nothing else does.
        insert into lastunit.feed (partition) select s.partition from lastunit.skus s where s.sku = p_sku;
        v_recounted := true;
    end if;
    update lastunit.feed f set position = e.last_position
    from lastunit.skus s, lateral (
        select max(e.last_position) as last_position from lastunit.feed_entries e where e.partition = s.partition
    ) e
    where s.sku = p_sku and f.partition = s.partition and f.position < e.last_position;
    v_recounted := v_recounted or found;
    perform lastunit.balance(array[p_sku], 'recounted');
    return v_recounted;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- begin_epoch moves a SKU to a new epoch: see 007 and 010.
create or replace function lastunit.begin_epoch(p_store uuid, p_sku text, p_seen bigint) returns boolean language plpgsql as $$
begin
    perform lastunit.enter(p_store);
    update lastunit.skus
    set epoch = lastunit.next_epoch(p_seen), version = version + 1, admitted = 0, top_seq = 0
    where sku = p_sku and retired_at is null and (epoch = p_seen or epoch < p_seen and p_seen < 2251799813685248);
    if not found then
        return false;
    end if;
    delete from lastunit.fences where sku = p_sku and epoch between 1 and p_seen; -- 0 is the mark of a deleted SKU
    return true;
end $$;
-- +goose StatementEnd

-- The rows of SKUs may go in other ways than by delete.
-- +goose StatementBegin
create function lastunit.remember_truncated() returns trigger language plpgsql as $$
begin
    insert into lastunit.fences (sku, epoch, seq) select s.sku, 0, 0 from lastunit.skus s on conflict do nothing;
    return null;
end $$;
-- +goose StatementEnd
create trigger skus_truncated before truncate on lastunit.skus for each statement execute function lastunit.remember_truncated();
create trigger skus_renamed after update of sku on lastunit.skus
    for each row when (old.sku <> new.sku) execute function lastunit.remember_deleted();

insert into lastunit.migrations (version, hash) values (12, '23b1ef768cb277bf1238f27261895e394553d838f8ea177273f875ba47bcc4e8');
