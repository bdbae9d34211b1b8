-- +goose Up
-- 010_retire: SKUs that are retired, orders that are purged.

-- A retired SKU is paused, for good: so whoever decides an order refuses it. Once Redis
-- is known to have no counters of it, the background work leaves it out.
alter table lastunit.skus
    add column retired_at timestamptz, -- null if it was not
    add column removed boolean not null default false,
    add constraint skus_retired check (retired_at is null or paused),
    add constraint skus_removed check (not removed or retired_at is not null);
drop index lastunit.skus_partition;
create index skus_partition on lastunit.skus (partition, sku) where not removed;

-- The orders that may be purged, those first that ended the longest ago. An order that
-- is live has no part in it.
create index orders_ended on lastunit.orders (changed_at) where status in ('cancelled', 'expired') and skus <> '{}';

-- +goose StatementBegin
-- retire ends a SKU, and reports whether it did. Its last epoch begins, so that every
-- deduction is void.
create function lastunit.retire(p_store uuid, p_sku text) returns boolean language plpgsql as $$
begin
    perform lastunit.enter(p_store);
    update lastunit.skus
    set retired_at = clock_timestamp(), paused = true,
        epoch = lastunit.next_epoch(epoch), version = version + 1, admitted = 0, top_seq = 0
    where sku = p_sku and retired_at is null;
    if not found then
        return false;
    end if;
    delete from lastunit.fences where sku = p_sku;
    return true;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- removed takes note that Redis has no counters of retired SKUs any more.
create function lastunit.removed(p_store uuid, p_skus text[]) returns void language plpgsql as $$
begin
    perform lastunit.enter(p_store);
    perform from lastunit.skus where sku = any(p_skus) and retired_at is not null and not removed order by sku for update;
    update lastunit.skus set removed = true where sku = any(p_skus) and retired_at is not null and not removed;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- purge_orders strips up to so many orders that ended before a moment, but for what a
-- repeated request is compared with, and returns how many. Like a transaction of
-- somebody's own it locks no SKU.
create function lastunit.purge_orders(p_store uuid, p_before timestamptz, p_limit integer)
returns integer language plpgsql set enable_seqscan = off set jit = off as $$
declare
    n_purged integer;
begin
    perform lastunit.enter(p_store);
    update lastunit.orders
    set customer = '', skus = '{}', quantities = '{}', drawn = null, consumed = '{}', limited = false
    where id = any(array(
        select id from lastunit.orders
        where status in ('cancelled', 'expired') and skus <> '{}' and status = counted and changed_at < p_before
        order by changed_at limit p_limit for update skip locked));
    get diagnostics n_purged = row_count;
    return n_purged;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- set_paused stops selling a SKU, or goes on, unless it was retired.
create or replace function lastunit.set_paused(p_store uuid, p_sku text, p_paused boolean) returns boolean language plpgsql as $$
begin
    perform lastunit.enter(p_store);
    update lastunit.skus set paused = p_paused, version = version + 1 where sku = p_sku and paused <> p_paused and retired_at is null;
    return found;
end $$;
-- +goose StatementEnd

-- +goose StatementBegin
-- begin_epoch moves a SKU to a new epoch if its epoch is still the one that the
-- caller saw, and says whether it did. From then on, every deduction of an older epoch is void.
--
-- An epoch above the SKU's own was seen in Redis and never begun here: this database was
-- restored, or somebody wrote there. The new one is above it, so that the SKU never comes
-- to an epoch whose deductions were taken for void before. No clock gets to 2^51 before
-- the year 73,000: an epoch from there on is left alone, as to follow it would use up
-- what is left below 2^52.
-- Of a retired SKU it begins none.
create or replace function lastunit.begin_epoch(p_store uuid, p_sku text, p_seen bigint) returns boolean language plpgsql as $$
begin
    perform lastunit.enter(p_store);
    update lastunit.skus
    set epoch = lastunit.next_epoch(p_seen), version = version + 1, admitted = 0, top_seq = 0
    where sku = p_sku and retired_at is null and (epoch = p_seen or epoch < p_seen and p_seen < 2251799813685248);
    if not found then
        return false;
    end if;
    delete from lastunit.fences where sku = p_sku and epoch <= p_seen;
    return true;
end $$;
-- +goose StatementEnd

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
--   retired     reclaim: a SKU was
--   purged      reclaim: the order was, and its units are not known any more
create or replace function lastunit.change_orders(
    p_store uuid, p_ids text[], p_actions text[],
    p_holds bigint[],        -- in microseconds: of extend, how long; of expire, since when its time must be over
    p_skip boolean,          -- not to wait for a SKU that somebody has locked: its orders are busy
    out verdicts text[],
    out deciding integer[],  -- which of its units decided it, from 1, if limited, full or retired
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
    if n > 1 and 'reclaim' = any(p_actions) then
        -- Each is written at once. In order and before the first one, as one statement
        -- would write them all.
        perform from lastunit.feed f
        where f.partition in (select k.partition from lastunit.skus k where k.sku = any(v_skus))
        order by f.partition for update;
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
            elsif r.action = 'reclaim' and r.status = 'expired' and r.skus = '{}' then
                v_verdict := 'purged';
            elsif r.action = 'reclaim' and r.status = 'expired' then
                -- Its units are taken anew, without Redis.
                for u in 1..cardinality(r.skus) loop
                    -- Others of this call may have changed it already.
                    select * into s from lastunit.skus where sku = r.skus[u];
                    if s.retired_at is not null then
                        v_verdict := 'retired';
                        deciding[r.i] := u;
                        exit;
                    end if;
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

insert into lastunit.migrations (version, hash) values (10, 'a4791754528e8988d691f7ee651e3b095766651a5896e9ce7ef5bb94ce347847');
